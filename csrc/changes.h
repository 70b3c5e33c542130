/* What has changed since a checkpoint, and what a freeze still has to copy: a byte of marks for each thing that can change, and a list of
 * those that did.
 *
 *   marks   [ . C . . CF . ]    C: changed since the last checkpoint, so it is in the list    F: the freeze under way has it
 *   list    [ 1, 4 ]
 *
 * Things are found by their number, which is used again when one is gone; a birth tells whether it is still the same one.
 */
#ifndef FYKE_CHANGES_H
#define FYKE_CHANGES_H

#include "arena.h"

#define MARK_CHANGED 1U
#define MARK_FROZEN 2U

struct changed {
    uint64_t birth;
    uint32_t id;
};

struct change_set {
    struct arena *arena;
    uint8_t *marks;
    uint32_t capacity;
    struct changed *list;
    uint32_t n, list_capacity;
    uint32_t next, n_frozen; /* of a freeze: what is below `next` has been looked at, what is not below n_frozen was not there */
};

void change_set_init(struct change_set *s, struct arena *arena);
void change_set_free(struct change_set *s);
/* Room for the marks of things below n. */
MUST_CHECK enum status change_set_reserve(struct change_set *s, uint32_t n);
/* Puts a thing into the list, unless it is there. */
MUST_CHECK enum status change_set_add(struct change_set *s, uint32_t id, uint64_t birth);
/* Nothing has changed any more. */
void change_set_clear(struct change_set *s);
/* A freeze begins: of the things below n, none has been copied. `track`: changes will be listed, and there is room for n of them. */
MUST_CHECK enum status change_set_freeze(struct change_set *s, uint32_t n, bool track);

#endif
