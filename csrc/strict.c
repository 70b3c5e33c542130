#include "strict.h"

#include <string.h>

void strict_init(struct strict_keys *s, struct arena *arena, struct event_store *store, uint32_t n_places)
{
    memset(s, 0, sizeof *s);
    s->arena = arena;
    s->store = store;
    s->record_size = sizeof(struct strict_key) + (n_places > 0 ? n_places - 1 : 0) * sizeof(struct event_ref);
}

void strict_free(struct strict_keys *s)
{
    if (s->arena != NULL) {
        arena_free(s->arena, s->records, s->capacity * s->record_size);
    }
    memset(s, 0, sizeof *s);
}

enum status strict_open(struct strict_keys *s, uint32_t pattern, uint32_t slot, uint32_t n_places, uint64_t birth, uint32_t *id)
{
    if (s->free_list != 0) {
        *id = s->free_list - 1;
        s->free_list = strict_at(s, *id)->slot;
    } else {
        void *records = s->records;
        const enum status st = arena_reserve(s->arena, &records, &s->capacity, (uint64_t)s->n_records + 1, s->record_size);
        s->records = records;
        if (st != STATUS_OK) {
            return st;
        }
        *id = s->n_records++;
    }
    *strict_at(s, *id) = (struct strict_key){.capacity = (uint8_t)(n_places - 1), .pattern = pattern, .slot = slot, .birth = birth};
    s->n_live++;
    return STATUS_OK;
}

void strict_close(struct strict_keys *s, uint32_t id)
{
    struct strict_key *k = strict_at(s, id);
    ASSERT(k->bits == 0 && k->n_events == 0);
    k->slot = s->free_list;
    s->free_list = id + 1;
    s->n_live--;
}

void strict_trim(struct strict_keys *s)
{
    for (uint32_t i = 0; i < s->n_records; i++) {
        struct strict_key *k = strict_at(s, i);
        strict_shrink(s, k, bits_length(k->bits));
    }
}

uint64_t strict_references(const struct strict_keys *s)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < s->n_records; i++) {
        n += strict_at(s, i)->n_events;
    }
    return n;
}

const char *strict_check(const struct strict_keys *s)
{
    uint64_t n_runs = 0;
    uint32_t n_live = 0;
    for (uint32_t i = 0; i < s->n_records; i++) {
        struct strict_key *k = strict_at(s, i);
        n_runs += k->n_runs;
        n_live += k->bits != 0;
        if (k->n_runs != bits_set(k->bits) || k->n_events < bits_length(k->bits) || (k->bits == 0 && k->n_events > 0)) {
            return "a strict sequence holds fewer events than its runs, or some without a run";
        }
        if (k->bits != 0 && (k->n_events > k->capacity || k->newest >= k->capacity)) {
            return "the events of a strict sequence lie outside its ring";
        }
        for (uint32_t back = 0; back < k->n_events; back++) {
            if (!s->store->segments[strict_event(k, back)->segment].in_use) {
                return "a strict sequence holds an event that is gone";
            }
        }
    }
    uint32_t n_free = 0;
    for (uint32_t id = s->free_list; id != 0 && n_free <= s->n_records; id = strict_at(s, id - 1)->slot) {
        n_free += strict_at(s, id - 1)->bits == 0;
    }
    if (n_live != s->n_live || n_live + n_free != s->n_records) {
        return "a record of strict sequences is neither in use nor free";
    }
    return n_runs == s->n_runs ? NULL : "the count of runs of strict sequences is wrong";
}
