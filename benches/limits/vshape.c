/* The limit of `vshape`: by key, strict: any event; 3 x price < the one before; 2 x price > the one before; skip past last event.
 *
 * A match reads D D D U U off the price changes of a key. Its first change is a fall and its last a rise, so two matches can
 * share no more than one event, the last of the one and the first of the other, and that is what the skip forbids. One state
 * per key is therefore enough:
 *   0 no event yet, or the one before ended a match    1 an event to start from    2, 3, 4 one, two, three or more falls
 *   5 three falls and a rise
 */
#include <stdint.h>
#include <stdlib.h>

enum { FRESH, BEGUN, FALL_1, FALL_2, FALL_3, RISE_1, N_STATES };
enum { SAME, DOWN, UP };

static const uint8_t NEXT[N_STATES][3] = {
    /*             SAME   DOWN    UP */
    [FRESH] = {BEGUN, BEGUN, BEGUN},
    [BEGUN] = {BEGUN, FALL_1, BEGUN},
    [FALL_1] = {BEGUN, FALL_2, BEGUN},
    [FALL_2] = {BEGUN, FALL_3, BEGUN},
    [FALL_3] = {BEGUN, FALL_3, RISE_1},
    [RISE_1] = {BEGUN, FALL_1, FRESH}, /* the rise to FRESH is the match */
};

struct lane {
    double price;
    uint64_t state;
};

/* Returns the number of matches, -1 if memory ran out. */
__attribute__((visibility("default")))
int64_t limit_vshape(const int64_t *key, const double *price, int64_t n, int64_t n_keys)
{
    struct lane *lanes = calloc((size_t)n_keys, sizeof *lanes);
    int64_t matches = 0;

    if (!lanes)
        return -1;
    for (int64_t i = 0; i < n; i++) {
        struct lane *lane = &lanes[key[i]];
        double p = price[i];
        unsigned change = (unsigned)(p < lane->price) * DOWN + (unsigned)(p > lane->price) * UP;
        matches += (lane->state == RISE_1) & (change == UP);
        lane->state = NEXT[lane->state][change];
        lane->price = p;
    }
    free(lanes);
    return matches;
}
