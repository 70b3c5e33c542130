/* Which patterns a row concerns: from the bits of its mask to the patterns that care for them, so that a thousand patterns cost a row
 * what the few cost that it can change something in.
 */
#include "nfa.h"

#include <string.h>

static uint64_t cares_of(const struct nfa *n, uint32_t pattern, uint32_t word)
{
    const struct pattern *p = &n->plan->patterns[pattern];
    return p->every_row ? 0 : n->plan->cares[p->first_care + word];
}

/* Patterns by bit, ascending: counted, then filled in from the last. */
static enum status list_patterns(struct nfa *n)
{
    struct dispatch *d = &n->dispatch;
    const uint32_t n_words = n->plan->mask_words;
    uint32_t *ends = d->first + 1;
    for (uint32_t p = 0; p < n->plan->n_patterns; p++) {
        for (uint32_t w = 0; w < n_words; w++) {
            d->care[w] |= cares_of(n, p, w);
            for (uint64_t bits = cares_of(n, p, w); bits != 0; bits &= bits - 1) {
                ends[w * 64 + (uint32_t)__builtin_ctzll(bits)]++;
            }
        }
    }
    for (uint32_t bit = 0; bit < n_words * 64; bit++) {
        d->n_entries += ends[bit];
        ends[bit] = d->n_entries;
    }
    d->entries = arena_alloc(n->arena, d->n_entries * sizeof *d->entries);
    if (d->entries == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t p = n->plan->n_patterns; p-- > 0;) {
        for (uint32_t w = 0; w < n_words; w++) {
            for (uint64_t bits = cares_of(n, p, w); bits != 0; bits &= bits - 1) {
                d->entries[--ends[w * 64 + (uint32_t)__builtin_ctzll(bits)]] = p;
            }
        }
    }
    /* each end has gone down to its bit's first entry */
    memmove(d->first, ends, (size_t)n_words * 64 * sizeof *ends);
    d->first[n_words * 64] = d->n_entries;
    return STATUS_OK;
}

enum status nfa_dispatch_init(struct nfa *n)
{
    struct dispatch *d = &n->dispatch;
    const struct plan *plan = n->plan;
    d->n_words = (plan->n_patterns + 63) / 64;
    const size_t bits = (size_t)plan->mask_words * 64 + 1;
    d->always = arena_alloc(n->arena, d->n_words * sizeof *d->always);
    d->concerned = arena_alloc(n->arena, d->n_words * sizeof *d->concerned);
    d->care = arena_alloc(n->arena, plan->mask_words * sizeof *d->care);
    d->first = arena_alloc(n->arena, bits * sizeof *d->first);
    if (d->always == NULL || d->concerned == NULL || d->care == NULL || d->first == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(d->always, 0, d->n_words * sizeof *d->always);
    memset(d->care, 0, plan->mask_words * sizeof *d->care);
    memset(d->first, 0, bits * sizeof *d->first);
    for (uint32_t p = 0; p < plan->n_patterns; p++) {
        d->always[p >> 6] |= (uint64_t)(plan->patterns[p].every_row != 0) << (p & 63);
    }
    return list_patterns(n);
}

void nfa_dispatch_free(struct nfa *n)
{
    struct dispatch *d = &n->dispatch;
    arena_free(n->arena, d->always, d->n_words * sizeof *d->always);
    arena_free(n->arena, d->concerned, d->n_words * sizeof *d->concerned);
    arena_free(n->arena, d->care, n->plan->mask_words * sizeof *d->care);
    arena_free(n->arena, d->first, ((size_t)n->plan->mask_words * 64 + 1) * sizeof *d->first);
    arena_free(n->arena, d->entries, d->n_entries * sizeof *d->entries);
}

const uint64_t *nfa_concerned(struct nfa *n)
{
    struct dispatch *d = &n->dispatch;
    memcpy(d->concerned, d->always, d->n_words * sizeof *d->concerned);
    for (uint32_t w = 0; w < n->plan->mask_words; w++) {
        for (uint64_t bits = n->mask[w] & d->care[w]; bits != 0; bits &= bits - 1) {
            const uint32_t bit = w * 64 + (uint32_t)__builtin_ctzll(bits);
            for (uint32_t i = d->first[bit]; i < d->first[bit + 1]; i++) {
                d->concerned[d->entries[i] >> 6] |= (uint64_t)1 << (d->entries[i] & 63);
            }
        }
    }
    return d->concerned;
}
