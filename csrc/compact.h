/* All partial matches of a key, kept as the events they are made of.
 *
 * Where every event may be passed over and conditions read the event only, a partial match is any path of takes through the key's
 * events in their order: nothing of it has to be written down but the events, each in the lists of the states it can be taken from.
 *
 *   a any b any c      events  a1 b1 a2 b2        list of state 0 (start): a1 a2     open: a1, a2, a1 b1, a1 b2, a2 b2
 *                                                 list of state 1:         b1 b2
 *
 * An event costs an entry in a list or two, however long the window and however many partial matches there are. Matches are found when
 * one is complete, by a walk (struct compact_walk) that never enters a path that leads nowhere, first events first: the order of
 * results. Their number is known without the walk: the ways from state to state over a row of events are a matrix, those over two rows
 * in a row the product; two stacks keep the product over a window that slides (GRETA's counts, VLDB 2017; two stacks as in Tangwongsan
 * et al., 2015). Counts stop at UINT64_MAX. This is the compact set of CORE (tECS, VLDB 2022) for automata whose states stay as they
 * are, where its unions are ranges of lists.
 */
#ifndef FYKE_COMPACT_H
#define FYKE_COMPACT_H

#include "event_store.h"
#include "plan.h"

/* An automaton without epsilon, deterministic: for a state and a class of events at most one take leads on. Borrowed from the plan. */
struct compact_automaton {
    const struct compact_cell *cells; /* state * n_classes + class */
    const struct compact_take *takes;
    uint32_t n_states;
    uint32_t n_classes;
    bool counts; /* keys keep what compact_count needs */
};

struct compact_event {
    struct event_ref event;
    event_time_t time;
    uint32_t class_;
    uint32_t reserved;
};

/* The events that can be taken from one state, ascending. */
struct compact_item {
    uint32_t event; /* into the key's events */
    uint32_t take;
};

struct compact_list {
    struct compact_item *items;
    uint32_t first, end, capacity;
};

struct compact_key {
    struct compact_event *events;
    uint32_t first, end, capacity; /* the first is one that begins a match */
    uint32_t pattern, slot;        /* a free key links the next one in slot, + 1 */
    uint64_t birth;
    struct compact_list *lists; /* one a state; NULL: a free key */
    /* counting: for each event before the middle a row of n_states, the paths from the start state over it and those up to the middle;
     * and the matrix of the paths over the events from the middle on */
    uint64_t *front;
    int64_t front_base; /* the event of its first row */
    uint32_t middle;
    uint32_t front_capacity;
    uint64_t *back;
};

static inline const struct compact_cell *compact_cell(const struct compact_automaton *a, uint32_t state, uint32_t class_)
{
    return &a->cells[(size_t)state * a->n_classes + class_];
}

static inline bool compact_is_empty(const struct compact_key *k)
{
    return k->first == k->end;
}

MUST_CHECK enum status compact_open(struct compact_key *k, struct arena *arena, const struct compact_automaton *a);
/* Gives back everything, references on events too. */
void compact_close(struct compact_key *k, struct arena *arena, const struct compact_automaton *a, struct event_store *store);
/* When what begins at t in a window of this length ends. Never "never": at the end of input every deadline has passed. */
static inline event_time_t compact_deadline(event_time_t t, int64_t window)
{
    const event_time_t deadline = time_add(t, window);
    return deadline == TIME_MAX ? TIME_MAX - 1 : deadline;
}

/* Lets go of what began in a window that is over: of length `window` (0: none), by `now`. */
MUST_CHECK enum status compact_expire(struct compact_key *k, struct arena *arena, const struct compact_automaton *a, struct event_store *store,
                                      int64_t window, event_time_t now);
/* Takes the key's next event wherever it can be taken; the first of a key must be one that begins a match. STATUS_NO_MEMORY: the key
 * holds it nowhere or is unusable; the engine stops. */
MUST_CHECK enum status compact_push(struct compact_key *k, struct arena *arena, const struct compact_automaton *a, struct event_store *store,
                                    struct event_ref event, event_time_t time, uint32_t class_);
/* How many matches an event of this class completes now; needs a->counts. */
uint64_t compact_count(const struct compact_key *k, const struct compact_automaton *a, uint32_t class_);
/* How many partial matches are open; looks at all events. */
uint64_t compact_partials(const struct compact_key *k, const struct compact_automaton *a);
/* The invariants in words; NULL if they hold. Walks everything. */
const char *compact_check(const struct compact_key *k, const struct compact_automaton *a);

static inline uint64_t compact_add(uint64_t x, uint64_t y)
{
    uint64_t sum;
    return __builtin_add_overflow(x, y, &sum) ? UINT64_MAX : sum;
}

/* ------------------------------------------------------------------ walks */

#define COMPACT_OPEN UINT32_MAX /* in place of a class: walk over the partial matches */

struct compact_frame {
    uint32_t state;
    uint32_t at;    /* next item of the state's list */
    uint32_t event; /* that led here; none in the first frame */
    uint32_t node;  /* for the one who walks */
};

struct compact_walk {
    const struct compact_automaton *automaton;
    const struct compact_key *key;
    uint32_t class_;
    uint32_t bounds[COMPACT_STATES]; /* a path that stands in the state can be completed if its last event is before this one */
    uint32_t ends[COMPACT_STATES];   /* in the state's list: after the last item that leads to a match */
    struct compact_frame *stack;
    uint32_t depth, capacity;
};

/* A walk that is zeroed may be begun, and begun again; free gives its stack back. */
MUST_CHECK enum status compact_begin(struct compact_walk *w, struct arena *arena, const struct compact_automaton *a, const struct compact_key *k,
                                     uint32_t class_);
/* Goes one step down, by an item to its take's target. */
MUST_CHECK enum status compact_enter(struct compact_walk *w, struct arena *arena, uint32_t state, struct compact_item item);
void compact_walk_free(struct compact_walk *w, struct arena *arena);

/* The first item of a list after an event. */
static inline uint32_t compact_after(const struct compact_list *l, uint32_t event)
{
    uint32_t low = l->first;
    uint32_t high = l->end;
    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        if (l->items[mid].event <= event) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

#endif
