/* Strict sequences: which beginnings of a pattern the last events of a key match, a bit each.
 *
 * Where nothing may lie between the events of a match, the runs of a key differ only in how far back they began, so a run is a bit:
 *
 *   the key's events   ... e4 e5 e6 e7       next event e: bits = (bits << 1 | 1) & the places whose condition e meets
 *   bit 0: a run that holds          e7      bit n_places - 1: a match
 *   bit 2: a run that holds    e5 e6 e7
 *
 * This is the Shift-And automaton (Baeza-Yates and Gonnet, 1992, "A new approach to text searching"). Beside the bits a record holds the
 * key's last events in a ring, from the first event of the oldest run on; older ones stay until their place is needed, or until
 * strict_trim, so that a step need not ask which runs ended. Records of all such patterns lie in one pool, of one size, found by their
 * number; they own a reference on each event they hold.
 */
#ifndef FYKE_STRICT_H
#define FYKE_STRICT_H

#include "event_store.h"

struct strict_key {
    uint32_t bits; /* 0: a free record */
    uint8_t capacity; /* of the ring: an event less than a match has */
    uint8_t newest;   /* place in the ring */
    uint8_t n_events; /* held: at least as many as the highest bit says */
    uint8_t n_runs;   /* bits set */
    uint32_t pattern;
    uint32_t slot; /* in the pattern's keyspace; a free record links the next one here, + 1 */
    uint64_t birth;
    struct event_ref events[];
};

struct strict_keys {
    struct arena *arena;
    struct event_store *store;
    char *records;
    size_t record_size;
    uint32_t n_records; /* ever used */
    uint32_t capacity;
    uint32_t free_list; /* id + 1 */
    uint32_t n_live;
    uint64_t n_runs;
};

/* Records with rings for sequences of up to n_places events. */
void strict_init(struct strict_keys *s, struct arena *arena, struct event_store *store, uint32_t n_places);
void strict_free(struct strict_keys *s);

/* A record without runs, which the caller gives its first at once. STATUS_NO_MEMORY leaves everything as it was. */
MUST_CHECK enum status strict_open(struct strict_keys *s, uint32_t pattern, uint32_t slot, uint32_t n_places, uint64_t birth, uint32_t *id);
/* Takes back a record without runs. */
void strict_close(struct strict_keys *s, uint32_t id);
/* Lets go of the events that no run holds any more; walks all records. */
void strict_trim(struct strict_keys *s);
/* References on events, of all records; walks them. */
uint64_t strict_references(const struct strict_keys *s);
/* The invariants in words; NULL if they hold. Walks everything. */
const char *strict_check(const struct strict_keys *s);

static inline struct strict_key *strict_at(const struct strict_keys *s, uint32_t id)
{
    return (struct strict_key *)(void *)(s->records + s->record_size * id);
}

static inline uint32_t bits_set(uint32_t x)
{
    x -= (x >> 1) & 0x55555555U;
    x = (x & 0x33333333U) + ((x >> 2) & 0x33333333U);
    return (((x + (x >> 4)) & 0x0f0f0f0fU) * 0x01010101U) >> 24;
}

/* How many events the oldest of these runs holds. */
static inline uint32_t bits_length(uint32_t bits)
{
    return bits == 0 ? 0 : 32 - (uint32_t)__builtin_clz(bits);
}

/* The event `back` before the newest; back < n_events. */
static inline struct event_ref *strict_event(struct strict_key *k, uint32_t back)
{
    const uint32_t newest = k->newest;
    return &k->events[newest >= back ? newest - back : newest + k->capacity - back];
}

/* Lets go of the oldest events, down to n. */
static inline void strict_shrink(struct strict_keys *s, struct strict_key *k, uint32_t n)
{
    while (k->n_events > n) {
        event_release(s->store, strict_event(k, k->n_events - 1U)->segment);
        k->n_events--;
    }
}

/* Only these runs are left. */
static inline void strict_keep(struct strict_keys *s, struct strict_key *k, uint32_t bits)
{
    const uint32_t n_runs = bits_set(bits);
    s->n_runs += n_runs;
    s->n_runs -= k->n_runs;
    k->n_runs = (uint8_t)n_runs;
    k->bits = bits;
    if (UNLIKELY(bits == 0)) {
        strict_shrink(s, k, 0);
    }
}

/* Puts the key's next event into the ring; the record takes over a reference on it. Returns the event that had to go, whose reference is
 * the caller's; segment UINT32_MAX: none had to. */
static inline struct event_ref strict_push(struct strict_key *k, struct event_ref event)
{
    struct event_ref gone = {UINT32_MAX, 0};
    k->newest = (uint8_t)(k->newest + 1U == k->capacity ? 0 : k->newest + 1U);
    if (LIKELY(k->n_events == k->capacity)) {
        gone = k->events[k->newest];
    } else {
        k->n_events++;
    }
    k->events[k->newest] = event;
    return gone;
}

/* The key's next event: these runs are left of the step, those of bit 0 on hold it. */
static inline void strict_step(struct strict_keys *s, struct strict_key *k, uint32_t bits, struct event_ref event)
{
    strict_keep(s, k, bits);
    if (bits != 0) {
        event_retain(s->store, event.segment);
        const struct event_ref gone = strict_push(k, event);
        if (gone.segment != UINT32_MAX) {
            event_release(s->store, gone.segment);
        }
    }
}

#endif
