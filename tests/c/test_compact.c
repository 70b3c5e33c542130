/* Compact sets against all paths through a list of events, over random automata and a window that slides. */
#include "check.h"
#include "compact.h"

#define STATES_MOST 5
#define CLASSES_MOST 8
#define EVENTS 300

static struct compact_cell cells[STATES_MOST * CLASSES_MOST];
static struct compact_take takes[STATES_MOST * CLASSES_MOST * 3];
static struct compact_automaton automaton;

static struct compact_event model[EVENTS];
static uint32_t n_model, first_model;

static const struct compact_take *take_of(uint32_t state, uint32_t class_)
{
    const struct compact_cell *c = compact_cell(&automaton, state, class_);
    return c->n_takes > 0 && takes[c->first_take].target != COMPACT_FINAL ? &takes[c->first_take] : NULL;
}

static void make_automaton(void)
{
    uint32_t n_takes = 0;
    automaton = (struct compact_automaton){.cells = cells, .takes = takes, .n_states = 2 + random_below(STATES_MOST - 1),
                                           .n_classes = 2U << random_below(3), .counts = random_below(3) > 0};
    for (uint32_t q = 0; q < automaton.n_states; q++) {
        for (uint32_t c = 0; c < automaton.n_classes; c++) {
            struct compact_cell *cell = &cells[q * automaton.n_classes + c];
            *cell = (struct compact_cell){n_takes, 0};
            if (random_below(3) == 0 || (q == 0 && c == 0)) {
                takes[n_takes++] = (struct compact_take){q, 1 + random_below(automaton.n_states - 1)};
                cell->n_takes++;
            }
            for (uint32_t i = 0; q > 0 && i < random_below(3); i++) {
                takes[n_takes++] = (struct compact_take){q + i, COMPACT_FINAL};
                cell->n_takes++;
            }
        }
    }
}

/* The paths that begin in the start state and have reached this one by taking some of the events from `at` on; each is a partial match
 * (class_ COMPACT_OPEN), or as many matches as an event of class_ completes it in stages. */
static uint64_t count_paths(uint32_t state, uint32_t at, uint32_t class_)
{
    uint64_t n = 0;
    if (state > 0) {
        const uint32_t n_takes = class_ == COMPACT_OPEN ? 1 : compact_cell(&automaton, state, class_)->n_takes;
        n += n_takes - (class_ != COMPACT_OPEN && take_of(state, class_) != NULL);
    }
    for (uint32_t i = at; i < n_model; i++) {
        const struct compact_take *t = take_of(state, model[i].class_);
        n += t == NULL ? 0 : count_paths(t->target, i + 1, class_);
    }
    return n;
}

static void forget(int64_t window, event_time_t now)
{
    while (first_model < n_model && model[first_model].time + window <= now) {
        first_model++;
    }
    while (first_model < n_model && take_of(0, model[first_model].class_) == NULL) {
        first_model++;
    }
}

/* A walk, as nfa_compact.c goes it; gives the number of paths, and sees that they come first events first. */
static uint64_t walk(struct compact_walk *w, struct arena *arena, const struct compact_key *k, uint32_t class_)
{
    uint64_t n = 0;
    CHECK(compact_begin(w, arena, &automaton, k, class_) == STATUS_OK);
    uint32_t states[64], events[64], at[64], depth = 1;
    states[0] = 0;
    at[0] = w->stack[0].at;
    while (true) {
        const uint32_t q = states[depth - 1];
        if (at[depth - 1] >= w->ends[q]) {
            if (depth == 1) {
                return n;
            }
            const uint32_t all = class_ == COMPACT_OPEN ? 1 : compact_cell(&automaton, q, class_)->n_takes;
            n += all - (class_ != COMPACT_OPEN && take_of(q, class_) != NULL);
            depth--;
            continue;
        }
        const struct compact_item item = k->lists[q].items[at[depth - 1]++];
        const uint32_t target = takes[item.take].target;
        if (item.event < w->bounds[target]) {
            CHECK(depth == 1 || item.event > events[depth - 1]);
            const uint64_t before = n;
            states[depth] = target;
            events[depth] = item.event;
            at[depth++] = compact_after(&k->lists[target], item.event);
            CHECK(before == n && depth < 64);
        }
    }
}

static void test(void)
{
    struct arena arena;
    struct event_store store;
    struct compact_key k;
    struct compact_walk w = {NULL, NULL, 0, {0}, {0}, NULL, 0, 0};
    uint32_t segment;
    arena_init(&arena);
    event_store_init(&store, &arena, 0, 1);
    CHECK(event_store_open(&store, &segment) == STATUS_OK);
    store.segments[segment].pinned = 1;
    make_automaton();
    n_model = first_model = 0;
    const int64_t window = 1 + random_below(12);
    event_time_t now = 0;
    arena.fail_after = random_below(4);
    if (compact_open(&k, &arena, &automaton) != STATUS_OK) {
        arena.fail_after = 0;
        CHECK(compact_open(&k, &arena, &automaton) == STATUS_OK);
    }
    arena.fail_after = 0;
    for (uint32_t row = 0; row < EVENTS; row++) {
        now += random_below(20) == 0 ? 15 : random_below(3);
        forget(window, now);
        CHECK(compact_expire(&k, &arena, &automaton, &store, window, now) == STATUS_OK);
        CHECK(k.end - k.first == n_model - first_model && store.live == n_model - first_model);
        const uint32_t class_ = random_below(automaton.n_classes);
        for (uint32_t c = 0; c < automaton.n_classes && random_below(4) == 0; c++) {
            const uint64_t wanted = count_paths(0, first_model, c);
            CHECK(!automaton.counts || compact_count(&k, &automaton, c) == wanted);
            CHECK(walk(&w, &arena, &k, c) == wanted);
        }
        if (first_model < n_model || take_of(0, class_) != NULL) {
            model[n_model] = (struct compact_event){{segment, row}, now, class_, 0};
            n_model++;
            CHECK(compact_push(&k, &arena, &automaton, &store, (struct event_ref){segment, row}, now, class_) == STATUS_OK);
        }
        CHECK(compact_check(&k, &automaton) == NULL);
        const uint64_t open = count_paths(0, first_model, COMPACT_OPEN);
        CHECK(compact_partials(&k, &automaton) == open && walk(&w, &arena, &k, COMPACT_OPEN) == open);
    }
    compact_close(&k, &arena, &automaton, &store);
    CHECK(store.live == 0);
    compact_walk_free(&w, &arena);
    event_store_free(&store);
    CHECK(arena.bytes_used == 0);
    arena_free_all(&arena);
}

int main(void)
{
    return run_seeds(test, 60);
}
