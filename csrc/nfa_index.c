/* The runs of a key as an array whose oldest leave at no cost, and an index on it for conditions that ask for equality.
 *
 * Where each condition of a pattern asks for col.x == ref(first).y, an event can change only runs whose first event's y is its x. Beside
 * the runs lies an array of tags, hashes of these values; the runs concerned are found in it, 4 bytes a run, and judged as ever. So the
 * index is no state of its own: what is not known of it is worked out again from the runs.
 */
#include "nfa.h"

#include <string.h>

/* ------------------------------------------------------------------ the array */

enum status nfa_reserve_runs(struct nfa *n, struct keyed *k, uint32_t n_kept, uint64_t need)
{
    const size_t size = run_size(n, k->pattern);
    if (LIKELY(need <= k->runs_capacity)) {
        return STATUS_OK;
    }
    const uint32_t gone = k->gone;
    if (gone > 0) {
        struct run *runs = (struct run *)(void *)((char *)k->runs - gone * size);
        memmove(runs, k->runs, n_kept * size);
        k->runs = runs;
        k->runs_capacity += gone;
        if (k->tags != NULL) {
            k->n_tags = k->n_tags < n_kept ? k->n_tags : n_kept;
            memmove(k->tags - gone, k->tags, k->n_tags * sizeof *k->tags);
            k->tags -= gone;
            k->tags_capacity += gone;
        }
        k->gone = 0;
        if (need <= k->runs_capacity && gone >= k->runs_capacity / 2) {
            return STATUS_OK; /* else it would be done again too soon */
        }
        need = need <= k->runs_capacity ? (uint64_t)k->runs_capacity + 1 : need;
    }
    void *runs = k->runs;
    const enum status st = arena_reserve(n->arena, &runs, &k->runs_capacity, need, size);
    k->runs = runs;
    return st;
}

static void free_tags(struct nfa *n, struct keyed *k)
{
    if (k->tags != NULL) {
        arena_free(n->arena, k->tags - k->gone, ((size_t)k->tags_capacity + k->gone) * sizeof *k->tags);
    }
    k->tags = NULL;
    k->tags_capacity = k->n_tags = 0;
}

void nfa_skip_runs(struct nfa *n, struct keyed *k, uint32_t count)
{
    if (UNLIKELY(k->tags != NULL && k->tags_capacity < count)) {
        free_tags(n, k); /* runs have been added since */
    }
    k->runs = run_at(k->runs, run_size(n, k->pattern), count);
    k->runs_capacity -= count;
    k->gone += count;
    k->n_runs -= count;
    n->n_runs -= count;
    if (k->tags != NULL) {
        k->tags += count;
        k->tags_capacity -= count;
        k->n_tags -= k->n_tags < count ? k->n_tags : count;
    }
}

void nfa_free_runs(struct nfa *n, struct keyed *k)
{
    const size_t size = run_size(n, k->pattern);
    if (k->runs != NULL) {
        arena_free(n->arena, (char *)k->runs - k->gone * size, ((size_t)k->runs_capacity + k->gone) * size);
    }
    free_tags(n, k);
    k->runs = NULL;
    k->runs_capacity = k->gone = 0;
}

/* ------------------------------------------------------------------ tags */

static uint64_t hash_bytes(struct str_view s)
{
    uint64_t hash = s.size;
    for (uint64_t i = 0; i < s.size; i += 8) {
        uint64_t part = 0;
        memcpy(&part, s.data + i, s.size - i < 8 ? s.size - i : 8);
        hash = mix64(hash ^ part) + i;
    }
    return hash;
}

uint32_t nfa_tag(const struct nfa *n, struct event_ref e, uint32_t column)
{
    const struct column *c = &n->events->segments[e.segment].columns[column];
    uint64_t hash;
    if (column_is_null(c, e.row)) {
        return 0;
    }
    if (c->type == COLUMN_STR) {
        hash = hash_bytes(column_str(c, e.row));
    } else if (c->type == COLUMN_F64) {
        double x = ((const double *)c->data)[e.row];
        x = x == 0 ? 0 : x; /* both zeros are equal */
        memcpy(&hash, &x, sizeof hash);
    } else {
        hash = c->type == COLUMN_BOOL ? ((const uint8_t *)c->data)[e.row] != 0 : ((const uint64_t *)c->data)[e.row];
    }
    return (uint32_t)(mix64(hash) >> 32) | 1U;
}

static struct event_ref first_event(const struct nfa *n, const struct run *run)
{
    if (run->node & SINGLE) {
        return run->only;
    }
    uint32_t at = run->node;
    while (n->graph.nodes[at].parent != 0) {
        at = n->graph.nodes[at].parent;
    }
    return n->graph.nodes[at].event;
}

enum status nfa_index_runs(struct nfa *n, struct keyed *k)
{
    const struct pattern *p = &n->plan->patterns[k->pattern];
    const size_t size = run_size(n, k->pattern);
    if (UNLIKELY(k->tags_capacity < k->runs_capacity)) {
        const size_t before = k->tags == NULL ? 0 : ((size_t)k->tags_capacity + k->gone) * sizeof *k->tags;
        const size_t after = ((size_t)k->runs_capacity + k->gone) * sizeof *k->tags;
        uint32_t *tags = k->tags == NULL ? arena_alloc(n->arena, after) : arena_resize(n->arena, k->tags - k->gone, before, after);
        if (tags == NULL) {
            return STATUS_NO_MEMORY;
        }
        k->tags = tags + k->gone;
        k->tags_capacity = k->runs_capacity;
    }
    for (; k->n_tags < k->n_runs; k->n_tags++) {
        k->tags[k->n_tags] = nfa_tag(n, first_event(n, run_at(k->runs, size, k->n_tags)), p->index_of);
    }
    return STATUS_OK;
}

const char *nfa_index_check(const struct nfa *n, const struct keyed *k)
{
    const struct pattern *p = &n->plan->patterns[k->pattern];
    const size_t size = run_size(n, k->pattern);
    if (k->n_tags > k->n_runs || k->n_tags > k->tags_capacity) {
        return "more tags are known than there are runs";
    }
    for (uint32_t i = 0; i < k->n_tags; i++) {
        if (k->tags[i] != nfa_tag(n, first_event(n, run_at(k->runs, size, i)), p->index_of)) {
            return "a run has the tag of another value";
        }
    }
    return NULL;
}

uint32_t nfa_index_next(const struct keyed *k, uint32_t from, uint32_t end, uint32_t tag)
{
    const uint32_t *tags = k->tags;
    uint32_t i = from;
    for (; tag != 0 && end - i >= 32; i += 32) { /* without branches, so that it is done with vectors */
        uint32_t found = 0;
        for (uint32_t j = 0; j < 32; j++) {
            found |= (uint32_t)(tags[i + j] == tag);
        }
        if (found) {
            break;
        }
    }
    while (tag != 0 && i < end && tags[i] != tag) {
        i++;
    }
    return tag != 0 ? i : end;
}
