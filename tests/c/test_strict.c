/* Records of strict sequences against plain lists of events, one a run. */
#include "check.h"
#include "strict.h"

#define KEYS 20
#define SEGMENTS 6
#define PLACES_MOST 9

struct model_run {
    struct event_ref events[PLACES_MOST];
    uint32_t n;
};

static uint32_t n_places;
static struct model_run model[KEYS][PLACES_MOST]; /* oldest first */
static uint32_t n_model[KEYS];
static uint32_t ids[KEYS];
static uint64_t n_births;

static uint32_t model_bits(uint32_t key)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < n_model[key]; i++) {
        bits |= 1U << (model[key][i].n - 1);
    }
    return bits;
}

static void check_same(const struct strict_keys *s)
{
    CHECK(strict_check(s) == NULL);
    uint64_t n_runs = 0;
    uint64_t n_events = 0;
    uint32_t n_live = 0;
    for (uint32_t key = 0; key < KEYS; key++) {
        if (n_model[key] == 0) {
            continue;
        }
        n_live++;
        n_runs += n_model[key];
        struct strict_key *k = strict_at(s, ids[key]);
        n_events += k->n_events;
        CHECK(k->bits == model_bits(key) && k->slot == key && k->n_runs == n_model[key]);
        CHECK(k->n_events >= model[key][0].n && k->n_events < n_places);
        for (uint32_t i = 0; i < n_model[key]; i++) {
            const struct model_run *run = &model[key][i];
            for (uint32_t back = 0; back < run->n; back++) {
                const struct event_ref *e = strict_event(k, back);
                CHECK(e->segment == run->events[run->n - 1 - back].segment && e->row == run->events[run->n - 1 - back].row);
            }
        }
    }
    CHECK(s->n_live == n_live && s->n_runs == n_runs && strict_references(s) == n_events && s->store->live == n_events);
}

/* The next event of a key: each run takes it where it may, a new one begins; those that hold n_places are done. */
static uint32_t step_model(uint32_t key, uint32_t taken, struct event_ref event)
{
    struct model_run next[PLACES_MOST];
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_model[key]; i++) {
        struct model_run run = model[key][i];
        if ((taken >> run.n) & 1) {
            run.events[run.n++] = event;
            if (run.n < n_places) {
                next[n++] = run;
            }
        }
    }
    if (taken & 1) {
        next[n++] = (struct model_run){{event}, 1};
    }
    memcpy(model[key], next, sizeof next);
    n_model[key] = n;
    return model_bits(key);
}

static void close_if_empty(struct strict_keys *s, uint32_t key, bool was_open)
{
    if (was_open && n_model[key] == 0) {
        strict_close(s, ids[key]);
    }
}

static void push(struct strict_keys *s, uint32_t row)
{
    const uint32_t key = random_below(KEYS);
    const struct event_ref event = {random_below(SEGMENTS), row};
    bool is_open = n_model[key] > 0;
    const uint32_t before = is_open ? strict_at(s, ids[key])->bits : 0;
    const uint32_t taken = (uint32_t)random_u64() | (random_below(3) == 0 ? 0 : (uint32_t)random_u64());
    const uint32_t bits = (before << 1 | 1) & taken & ((1U << (n_places - 1)) - 1);
    if (!is_open && bits != 0) {
        s->arena->fail_after = random_below(8) == 0 ? 1 : 0;
        const enum status st = strict_open(s, 0, key, n_places, n_births, &ids[key]);
        s->arena->fail_after = 0;
        if (st != STATUS_OK) {
            return; /* nothing has changed */
        }
        n_births++;
        is_open = true;
    }
    CHECK(step_model(key, taken, event) == bits);
    if (is_open) {
        strict_step(s, strict_at(s, ids[key]), bits, event);
    }
    close_if_empty(s, key, is_open);
}

static void keep(struct strict_keys *s)
{
    const uint32_t key = random_below(KEYS);
    if (n_model[key] == 0) {
        return;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_model[key]; i++) {
        if (random_below(2) == 0) {
            model[key][n++] = model[key][i];
        }
    }
    n_model[key] = n;
    strict_keep(s, strict_at(s, ids[key]), model_bits(key));
    close_if_empty(s, key, true);
}

static void test(void)
{
    struct arena arena;
    struct event_store store;
    struct strict_keys s;
    arena_init(&arena);
    event_store_init(&store, &arena, 0, 1);
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        uint32_t id;
        CHECK(event_store_open(&store, &id) == STATUS_OK);
        store.segments[id].pinned = 1;
    }
    n_places = 2 + random_below(PLACES_MOST - 1);
    n_births = 0;
    memset(n_model, 0, sizeof n_model);
    strict_init(&s, &arena, &store, n_places);
    for (uint32_t row = 0; row < 400; row++) {
        if (random_below(10) == 0) {
            keep(&s);
        } else if (random_below(50) == 0) {
            strict_trim(&s);
            uint64_t needed = 0;
            for (uint32_t key = 0; key < KEYS; key++) {
                needed += n_model[key] > 0 ? model[key][0].n : 0;
            }
            CHECK(strict_references(&s) == needed);
        } else {
            push(&s, row);
        }
        check_same(&s);
    }
    strict_free(&s);
    event_store_free(&store);
    CHECK(arena.bytes_used == 0);
    arena_free_all(&arena);
}

int main(void)
{
    return run_seeds(test, 40);
}
