/* The general run engine: per pattern and key a list of runs (partial matches), stepped by one event at a time.
 *
 *   row -> timers due before it -> for each pattern that the row's mask concerns: key slot -> step its runs -> completed
 *       -> skip strategy -> results
 *
 * A run is a fixed-size record {start, last event, node in the match graph, state, registers}; the runs of a key lie side by
 * side, ordered by their first event, so that what a window or a skip strategy ends is always a prefix. Cost of a row: one dictionary
 * look-up and a test per run of its key; a row whose mask has no bit that matters costs nothing here.
 * Semantics: docs/semantics.md.
 */
#ifndef FYKE_NFA_H
#define FYKE_NFA_H

#include "changes.h"
#include "compact.h"
#include "keyspace.h"
#include "match_graph.h"
#include "plan.h"
#include "predicate.h"
#include "records.h"
#include "reorder.h"
#include "results.h"
#include "strict.h"
#include "timers.h"

/* A run that holds one event only needs no node yet: most runs end before they take a second. Then `node` is SINGLE | the event's stage,
 * `only` is the event (the run holds the reference), and its time is start_time. Runs with registers always have nodes. */
#define SINGLE 0x80000000U

struct run {
    event_time_t start_time;
    uint64_t start_order;
    union {
        event_time_t previous_time; /* of the last event taken */
        struct event_ref only;
    };
    uint32_t node;
    uint32_t state;
    uint64_t registers[];
};

/* A finished run on its way out, or held back by a skip strategy. */
struct completed {
    uint64_t start_order;
    event_time_t start_time;
    uint32_t node;
};

/* What one pattern holds for one key. */
struct keyed {
    struct run *runs;
    struct completed *held;
    uint32_t n_runs, runs_capacity;
    uint32_t n_held, held_capacity;
    uint32_t pattern;
    uint32_t slot; /* in the pattern's keyspace; free entries link the next one here */
    uint64_t birth;
    uint32_t gone;   /* places before the first run, of runs that have ended */
    uint32_t *tags;  /* one a run (nfa_index.c); the first n_tags are known */
    uint32_t n_tags, tags_capacity;
    uint64_t overdue_after; /* position of the event that made a run already overdue, or NO_POSITION */
    event_time_t last_time; /* of the latest event that was stepped, for key_ttl */
};

enum limit_policy { LIMIT_ERROR = 0, LIMIT_DROP_OLDEST = 1, LIMIT_DROP_NEWEST = 2 };

/* What an event does to a run in a state, looked up instead of judged: for a state whose guards read at most DECISION_BITS mask bits and
 * nothing else there is an outcome for each combination of them. */
#define DECISION_BITS 6
#define NO_DECISION UINT32_MAX

enum outcome_kind {
    OUTCOME_EDGES = 0, /* anything else: step through the edges listed */
    OUTCOME_STAY,      /* the run stays as it is */
    OUTCOME_END,
    OUTCOME_TAKE,      /* the event joins, the run goes on in `target`; nothing is complete */
    OUTCOME_MOVE,      /* same events, other state */
};

struct outcome {
    uint32_t kind;
    uint32_t target;
    uint32_t stage;
    uint32_t stopped;
    uint32_t first_open, n_open; /* into nfa.decision_edges */
};

struct decision {
    uint32_t first_outcome; /* NO_DECISION: judge the guards */
    uint32_t n_bits;
    uint32_t bits[DECISION_BITS];
    /* where the bits lie side by side in one word, as they nearly always do: one shift; adjacent is 0 elsewhere */
    uint32_t word, shift;
    uint64_t adjacent;
};

/* The combination of a decision's bits in a mask. */
static inline uint32_t decision_index(const struct decision *d, const uint64_t *mask)
{
    if (LIKELY(d->adjacent != 0)) {
        return (uint32_t)((mask[d->word] >> d->shift) & d->adjacent);
    }
    uint32_t index = 0;
    for (uint32_t i = 0; i < d->n_bits; i++) {
        index |= (uint32_t)((mask[d->bits[i] >> 6] >> (d->bits[i] & 63)) & 1) << i;
    }
    return index;
}

/* How a strict sequence is run (nfa_strict.c): what there is of it beside the automaton. */
struct place {
    uint32_t guard;
    uint32_t stage;
    int64_t gap; /* the next event comes within it; 0: none */
};

struct sequence {
    struct place *places; /* NULL: the pattern is run in general */
    uint32_t n_places;
    uint32_t kept; /* the runs that stay when a match goes out */
    bool fails;    /* its skip strategy refuses every match */
    bool waits;    /* runs can end by time */
    /* which places an event may take, a bit each: looked up by the mask bits in `decision`, or judged if there are too many */
    struct decision decision;
    uint32_t *taken_by;
};

/* A pattern whose partial matches are a compact set (nfa_compact.c). */
struct compact_pattern {
    const struct compact_plan *plan; /* NULL: the pattern is run otherwise */
    struct compact_automaton automaton;
    struct decision decision; /* the mask bits that make an event's class */
    uint8_t *class_of;
    uint64_t starts, extends, completes; /* classes of events that do so, a bit each */
    bool on; /* false after a restore of partial matches that are no compact set: they are run in general */
};

/* Which patterns a row concerns (nfa_dispatch.c): those of the bits in its mask, and those that every row does. Bitmaps over patterns. */
struct dispatch {
    uint64_t *always;
    uint64_t *concerned; /* of the current row */
    uint32_t n_words;
    uint64_t *care;    /* bits of the mask that concern a pattern */
    uint32_t *first;   /* per bit: its first entry */
    uint32_t *entries; /* patterns */
    uint32_t n_entries;
};

/* What is remembered of the events before, per keyspace (nfa_lag.c). */
struct lag {
    struct timers timers; /* when an idle key's last event is forgotten */
    uint32_t columns[LAG_VALUES];
    uint32_t n_columns; /* 0: none, or more than the slots hold */
    bool all_keyed;     /* the chunk's keys are known not to be null; never where keys expire */
};

/* Changes since a checkpoint, and a freeze under way (nfa_changes.c). Sets: keyed states, strict records, compact sets, lags of each keyspace. */
enum { CHANGED_KEYED = 0, CHANGED_STRICT = 1, CHANGED_COMPACT = 2, CHANGED_LAGS = 3 };

struct gone_lag {
    uint64_t position;
    uint32_t keyspace;
};

struct changes {
    struct change_set *sets;
    bool tracking;
    uint64_t births; /* at the last checkpoint: what has been born since is not in it */
    uint64_t *gone;  /* births of what is in the last checkpoint and no longer there */
    uint32_t n_gone, gone_capacity;
    struct gone_lag *gone_lags;
    uint32_t n_gone_lags, gone_lags_capacity;
    uint64_t **positions; /* per keyspace and slot: of the key's latest event in the last checkpoint, or NO_POSITION */
    uint32_t *positions_capacity;
    struct records *frozen; /* NULL: no freeze is being collected */
    uint64_t frozen_births;
    bool begins; /* the freeze is the checkpoint that changes are told from */
};

struct nfa_options {
    uint32_t timeouts; /* report runs that time out */
    uint32_t max_partials_policy;
    uint32_t max_memory_policy;
    uint32_t limited; /* report at most `limit` of the matches of a pattern and key that one event or deadline completes */
    uint64_t limit;
    uint64_t max_partials; /* 0: no bound */
    uint64_t max_memory;
    int64_t key_ttl;
};

struct nfa_counters {
    uint64_t rows_stepped;
    uint64_t null_keys;
    uint64_t matches;
    uint64_t timeouts;
    uint64_t pruned;
    uint64_t stopped;
    uint64_t dropped_partials;
    uint64_t expired_keys;
};

/* 1: holds, 0: does not, -1: raised. */
typedef int (*python_condition)(void *context, uint32_t callable, struct event_ref event, uint32_t node);

struct nfa {
    struct arena *arena;
    const struct plan *plan;
    struct event_store *events;
    struct match_graph graph;
    struct keyspace *keyspaces;
    struct timers timers;
    struct strict_keys strict;
    struct timers strict_timers; /* no later than the deadline they stand for: it is worked out when they fire */
    struct sequence *sequences;  /* per pattern */
    struct dispatch dispatch;
    struct compact_pattern *compacts; /* per pattern */
    struct compact_key *compact_keys;
    uint32_t n_compact_keys, compact_keys_capacity, compact_free; /* free list: index + 1 */
    uint32_t n_compact_live;
    struct timers compact_timers; /* nothing is reported when they fire: memory is freed */
    struct lag *lags;            /* per keyspace */
    struct vm vm;
    struct results results;
    struct nfa_options options;
    struct nfa_counters counters;
    uint64_t found; /* matches since the owner set it to 0, whether reported or not */
    struct failure failure;
    struct changes *changes; /* NULL: nobody asks for them */
    python_condition callback;
    void *callback_context;

    uint32_t **heads; /* per pattern: slot -> keyed + 1; of a strict sequence: -> strict record + 1; of a compact set: -> compact key + 1 */
    uint32_t *head_capacities;
    struct keyed *keyed;
    uint32_t n_keyed, keyed_capacity, keyed_free; /* free list: index + 1 */
    uint32_t n_keyed_live;
    uint64_t n_runs;
    uint64_t n_single; /* of these, without a node */
    uint64_t n_held;
    uint64_t births;
    uint64_t order; /* of the row being stepped */
    uint64_t payload_bytes; /* what the owner's segments hold, counted towards max_memory */

    /* the row being stepped */
    struct event_ref event;
    struct event_ref previous; /* of the key: lag */
    uint32_t row; /* its place in the chunk */
    event_time_t now;
    const uint64_t *mask;

    /* scratch */
    uint64_t n_in_call; /* matches reported of the pattern and key that is stepped */
    struct compact_walk walk;
    struct result_event *path;
    uint32_t path_capacity;
    struct run *out; /* successors */
    uint32_t n_out, out_capacity;
    struct completed *done;
    uint32_t n_done, done_capacity;
    struct completed *sort_space;
    uint32_t sort_capacity;
    uint8_t *condition_values;
    uint64_t *condition_stamps;
    uint64_t stamp;
    uint32_t *slots; /* of the current row, one a keyspace */
    struct run *start_run;
    struct run *branching; /* a run with several successors, while they are made */
    const struct edge **open; /* its open edges */
    uint32_t most_edges;
    struct decision *decisions; /* one a state */
    struct outcome *outcomes;
    uint32_t n_outcomes, outcomes_capacity;
    const struct edge **decision_edges;
    uint32_t n_decision_edges, decision_edges_capacity;
    bool bounded; /* max_partials or max_memory is set */
    bool single;  /* one pattern, every row, a lag: see step_single */
    uint32_t largest_run;
    uint64_t *care; /* union of the patterns' care words */
    bool every_row;
    uint64_t *chunk_masks;
    struct event_ref *chunk_refs;
    struct event_ref *chunk_previous; /* per keyspace with a lag */
    bool in_place;                    /* the rows of the chunk lie one after the other in one segment */
    int64_t *chunk_keys;
    uint64_t *chunk_hashes;
    uint32_t *chunk_slots; /* per keyspace with a lag: the key's slot, alive for the whole chunk unless keys expire */
    uint64_t *lag_values;  /* of the rows' previous events, VM_BLOCK a column */
    uint8_t *lag_nulls;
};

MUST_CHECK enum status nfa_init(struct nfa *n, struct arena *arena, const struct plan *plan, struct event_store *events,
                                const struct nfa_options *options);
void nfa_free(struct nfa *n);

static inline size_t run_size(const struct nfa *n, uint32_t pattern)
{
    return sizeof(struct run) + n->plan->patterns[pattern].n_registers * sizeof(uint64_t);
}

static inline struct run *run_at(struct run *runs, size_t size, uint32_t i)
{
    return (struct run *)((char *)runs + size * i);
}

/* The arrival position of the row being stepped. */
static inline uint64_t nfa_position(const struct nfa *n)
{
    return n->order == 0 ? 0 : event_position(n->events, n->event);
}

static inline event_time_t run_previous_time(const struct run *run)
{
    return run->node & SINGLE ? run->start_time : run->previous_time;
}

/* The run's node, made if it has none; 0: no memory. */
static inline uint32_t run_node(struct nfa *n, struct run *run)
{
    if (run->node & SINGLE) {
        const uint32_t node = node_adopt(&n->graph, run->only, run->start_order, run->node & ~SINGLE, 0);
        if (node == 0) {
            return 0;
        }
        run->previous_time = run->start_time;
        run->node = node;
        n->n_single--;
    }
    return run->node;
}

/* Gives back what the run refers to. */
static inline void run_release(struct nfa *n, const struct run *run)
{
    if (run->node & SINGLE) {
        event_release(n->events, run->only.segment);
        n->n_single--;
    } else {
        node_release(&n->graph, run->node);
    }
}

/* Whether a row with this mask can concern any pattern. */
static inline bool nfa_cares(const struct nfa *n, const uint64_t *mask)
{
    if (n->every_row) {
        return true;
    }
    for (uint32_t w = 0; w < n->plan->mask_words; w++) {
        if (mask[w] & n->care[w]) {
            return true;
        }
    }
    return false;
}

/* Steps rows in the order given (released by the reorder buffer), firing what is due before each. On failure n->failure says more. */
MUST_CHECK enum status nfa_step_rows(struct nfa *n, const struct waiting *rows, uint32_t n_rows);
/* Fires all deadlines <= time, in order. */
MUST_CHECK enum status nfa_fire(struct nfa *n, event_time_t time);
/* End of input: reports what skip strategies still hold back. */
MUST_CHECK enum status nfa_report_held(struct nfa *n);

/* --- parts, each in its own file */

/* nfa_step.c: fills the decision tables. */
MUST_CHECK enum status nfa_decide(struct nfa *n);
/* Adds the mask bits that a guard reads; false if it reads more than bits, or there are too many. */
bool nfa_collect_guard(const struct nfa *n, struct decision *d, uint32_t guard);
/* Where the bits of a decision lie, once all are there. */
void nfa_arrange_bits(struct decision *d);
/* Writes combination c of a decision's bits into a mask. */
void nfa_combine_bits(const struct decision *d, uint32_t c, uint64_t *mask);
/* Judges a guard that reads mask bits only. */
bool nfa_bits_hold(struct nfa *n, uint32_t guard);
/* nfa_step.c: steps the runs of one key and starts a new one; successors and completions end up in k and n->done. */
MUST_CHECK enum status nfa_step_key(struct nfa *n, struct keyed *k);
/* nfa_emit.c: hands n->done on: reports it, or holds it until the skip strategy lets it go. */
MUST_CHECK enum status nfa_emit(struct nfa *n, struct keyed *k, uint32_t cause, uint64_t cause_value, event_time_t released);
MUST_CHECK enum status nfa_report(struct nfa *n, const struct keyed *k, uint32_t kind, uint32_t node, uint32_t cause, uint64_t cause_value,
                                  event_time_t released);
/* A new result, counted; returns where its events go. NULL: no memory. */
struct result_event *nfa_result(struct nfa *n, uint32_t pattern, uint32_t kind, uint32_t n_events, uint32_t cause, uint64_t cause_value,
                                event_time_t released);
/* Counts a match that is complete; whether it is one more than the limit allows to report. */
bool nfa_counts_only(struct nfa *n);
MUST_CHECK enum status nfa_complete(struct nfa *n, const struct run *run, uint32_t node);
void nfa_drop_runs(struct nfa *n, struct keyed *k, uint32_t first, uint32_t count);

void nfa_close_keyed(struct nfa *n, uint32_t id);
/* nfa_bound.c: max_partials and max_memory, after a step of what the pattern holds for a key. */
MUST_CHECK enum status nfa_bound(struct nfa *n, uint32_t pattern, uint32_t id);
/* nfa_index.c: room for `need` runs; the first n_kept are kept. */
MUST_CHECK enum status nfa_reserve_runs(struct nfa *n, struct keyed *k, uint32_t n_kept, uint64_t need);
/* The oldest runs have ended; what they held has been released. */
void nfa_skip_runs(struct nfa *n, struct keyed *k, uint32_t count);
void nfa_free_runs(struct nfa *n, struct keyed *k);
/* The tag of a value; 0: null. */
uint32_t nfa_tag(const struct nfa *n, struct event_ref e, uint32_t column);
/* Makes the tags of all runs known. */
MUST_CHECK enum status nfa_index_runs(struct nfa *n, struct keyed *k);
const char *nfa_index_check(const struct nfa *n, const struct keyed *k);
/* The first run from `from` on that has the tag; `end`: none. */
uint32_t nfa_index_next(const struct keyed *k, uint32_t from, uint32_t end, uint32_t tag);
/* nfa_dispatch.c */
MUST_CHECK enum status nfa_dispatch_init(struct nfa *n);
void nfa_dispatch_free(struct nfa *n);
/* The patterns that the current row concerns, as a bitmap of dispatch.n_words. */
const uint64_t *nfa_concerned(struct nfa *n);

/* nfa_lag.c */
MUST_CHECK enum status nfa_lag_init(struct nfa *n);
void nfa_lag_free(struct nfa *n);
/* Looks up the keys of a chunk, makes its rows their latest events, and judges the conditions on the events before. */
MUST_CHECK enum status nfa_lag_chunk(struct nfa *n, uint32_t keyspace, const struct waiting *rows, uint32_t n_rows);
/* Lets go of the events before, once the chunk has been stepped. */
void nfa_lag_release(struct nfa *n, uint32_t keyspace, uint32_t n_rows);
/* Forgets the last events of keys that have been quiet for key_ttl. */
MUST_CHECK enum status nfa_fire_lags(struct nfa *n, uint32_t keyspace, event_time_t time);

/* nfa_compact.c: compact sets. */
MUST_CHECK enum status nfa_compact_init(struct nfa *n);
void nfa_compact_free(struct nfa *n);
/* What the current row is to the pattern. */
uint32_t nfa_compact_class(const struct nfa *n, uint32_t pattern);
MUST_CHECK enum status nfa_compact_step(struct nfa *n, uint32_t pattern, uint32_t slot, uint32_t class_);
/* Frees what no window holds any more. */
MUST_CHECK enum status nfa_compact_fire(struct nfa *n, event_time_t time);
const char *nfa_compact_check(const struct nfa *n);
/* Of all keys; these walk them. */
uint64_t nfa_compact_references(const struct nfa *n);
uint64_t nfa_compact_partials(const struct nfa *n);
/* Takes over a filled set for a key that has none; it is gone in any case. */
MUST_CHECK enum status nfa_compact_install(struct nfa *n, uint32_t pattern, uint32_t slot, struct compact_key *made);
/* nfa_compact_adopt.c: after a restore, makes the runs of all keys compact sets; if any are none, the pattern is run in general. */
MUST_CHECK enum status nfa_compact_adopt(struct nfa *n, uint32_t pattern);

/* nfa_strict.c: strict sequences. */
MUST_CHECK enum status nfa_strict_init(struct nfa *n);
void nfa_strict_free(struct nfa *n);
/* The places of the sequence that the current row may take. */
uint32_t nfa_strict_taken(struct nfa *n, const struct sequence *q);
/* Steps the pattern's sequence for the key in this slot with the current row; `taken` is nfa_strict_taken's. */
MUST_CHECK enum status nfa_strict_step(struct nfa *n, uint32_t pattern, uint32_t slot, uint32_t taken);
/* As step_single in nfa_rows.c, for a strict sequence. */
MUST_CHECK enum status nfa_strict_single(struct nfa *n, const struct waiting *rows, uint32_t n_rows);
/* What is due for one key: ends runs, or finds that nothing is due yet and sets the timer again. */
MUST_CHECK enum status nfa_strict_fire(struct nfa *n, uint32_t id, event_time_t deadline);
/* When the record's runs end by time, or its key is forgotten; TIME_MAX: never. */
event_time_t nfa_strict_deadline(const struct nfa *n, uint32_t id);
/* Closes an empty record; else sees to it that its timer fires no later than its deadline. */
MUST_CHECK enum status nfa_strict_settle(struct nfa *n, uint32_t id);
/* Drops `count` runs, the oldest or the newest; the record is settled by the caller. */
void nfa_strict_drop(struct nfa *n, uint32_t id, bool newest, uint32_t count);
const char *nfa_strict_check(const struct nfa *n);
/* For restore: makes a strict record of a keyed state. STATUS_BAD_SNAPSHOT: its runs are not those of a strict sequence. The keyed state is gone in any case. */
MUST_CHECK enum status nfa_strict_adopt(struct nfa *n, uint32_t keyed);

/* What the current row does to a run in this state; NULL: the guards have to be judged. */
static inline const struct outcome *nfa_decided(const struct nfa *n, uint32_t state)
{
    const struct decision *d = &n->decisions[state];
    return UNLIKELY(d->first_outcome == NO_DECISION) ? NULL : &n->outcomes[d->first_outcome + decision_index(d, n->mask)];
}

/* Never "never": at the end of input every deadline has passed. */
static inline event_time_t deadline_after(event_time_t t, int64_t wait)
{
    const event_time_t deadline = time_add(t, wait);
    return deadline == TIME_MAX ? TIME_MAX - 1 : deadline;
}

/* What is touched soon is read a few rows ahead. Prefetch instructions gained nothing where it was measured (a virtual machine, where
 * page walks are dear), loads a third. */
#define AHEAD 16U

static inline event_time_t nfa_next_deadline(const struct nfa *n)
{
    const event_time_t a = timers_next(&n->timers);
    const event_time_t b = timers_next(&n->strict_timers);
    return a < b ? a : b;
}

/* Whether the next timer is one of a strict sequence: the earlier deadline, of equal ones the earlier birth. */
static inline bool nfa_strict_is_next(const struct nfa *n)
{
    if (n->timers.n == 0 || n->strict_timers.n == 0) {
        return n->strict_timers.n > 0;
    }
    const struct timer *a = &n->timers.heap[0];
    const struct timer *b = &n->strict_timers.heap[0];
    return a->deadline != b->deadline ? b->deadline < a->deadline : b->birth < a->birth;
}

static inline uint32_t head_of(const struct nfa *n, uint32_t pattern, uint32_t slot)
{
    return slot < n->head_capacities[pattern] ? n->heads[pattern][slot] : 0;
}

/* A call that fails reports nothing. */
static inline void take_back(struct nfa *n, enum status st, const struct results *before)
{
    if (UNLIKELY(st != STATUS_OK)) {
        n->results.n_rows = before->n_rows;
        n->results.n_events = before->n_events;
    }
}

/* What stopped the engine, at the current row. */
static inline enum status nfa_fail_row(struct nfa *n, enum status st, uint32_t pattern)
{
    n->failure.status = st;
    n->failure.position = nfa_position(n);
    n->failure.time = n->now;
    n->failure.pattern = pattern;
    return st;
}

/* Time comes first: what is due before the row; then the row becomes the current one, the i-th of its chunk. */
static inline enum status nfa_enter_row(struct nfa *n, const struct waiting *row, uint32_t i)
{
    if (UNLIKELY(nfa_next_deadline(n) <= row->time || n->options.key_ttl > 0)) {
        const enum status st = nfa_fire(n, row->time);
        if (st != STATUS_OK) {
            return st;
        }
    }
    n->order++;
    n->event = row->event;
    n->now = row->time;
    n->row = i;
    n->mask = n->chunk_masks + (size_t)i * n->plan->mask_words;
    return STATUS_OK;
}

bool nfa_has_keyed(const struct nfa *n, uint32_t pattern, uint32_t slot);
/* For restore: a keyed state for (pattern, slot), which must have none. */
MUST_CHECK enum status nfa_open_keyed(struct nfa *n, uint32_t pattern, uint32_t slot, uint32_t *id);
MUST_CHECK enum status nfa_reserve_heads(struct nfa *n, uint32_t pattern, uint32_t slot);
/* Append a run (registers included), a held match, or a key's last event; each keeps its own references, the caller gives none away. */
MUST_CHECK enum status nfa_restore_run(struct nfa *n, uint32_t id, const struct run *run);
MUST_CHECK enum status nfa_restore_held(struct nfa *n, uint32_t id, struct completed held);
MUST_CHECK enum status nfa_restore_last(struct nfa *n, uint32_t keyspace, uint32_t slot, event_time_t time, struct event_ref event);
/* Sets the timer of a keyed state from its runs; frees it if it is empty. */
MUST_CHECK enum status nfa_settle(struct nfa *n, uint32_t id);

static inline bool keyed_holds(const struct keyed *k)
{
    return k->n_runs > 0 || k->n_held > 0;
}

/* nfa_changes.c: begins to collect the state of now into r, which nfa_collect_some completes; `track`: and to track changes since. */
MUST_CHECK enum status nfa_freeze(struct nfa *n, struct records *r, bool track);
/* Collects up to `budget` things more. */
MUST_CHECK enum status nfa_collect_some(struct nfa *n, uint64_t budget, uint8_t *complete);
/* What has changed since the last checkpoint; changes->gone and gone_lags say what is no longer there. Then nfa_changes_taken. */
MUST_CHECK enum status nfa_collect_changes(struct nfa *n, struct records *r);
void nfa_changes_taken(struct nfa *n);
void nfa_changes_free(struct nfa *n);
MUST_CHECK enum status nfa_change(struct nfa *n, uint32_t set, uint32_t id);
void nfa_gone(struct nfa *n, uint32_t set, uint32_t id, uint64_t birth);

/* To be called before anything about the thing changes. */
MUST_CHECK static inline enum status nfa_touch(struct nfa *n, uint32_t set, uint32_t id)
{
    return LIKELY(n->changes == NULL) ? STATUS_OK : nfa_change(n, set, id);
}

/* The tables of a snapshot, as docs/formats.md has them, columns side by side; `events`: the events by number, in open segments. */
struct nfa_tables {
    const int64_t *node_event, *node_parent;
    const uint32_t *node_stage;
    const uint64_t *node_order;
    const int64_t *run_start_time;
    const uint64_t *run_start_order;
    const int64_t *run_previous_time, *run_node;
    const uint32_t *run_state;
    const int64_t *match_start_time;
    const uint64_t *match_start_order;
    const int64_t *match_node;
    const uint32_t *keyed_pattern, *keyed_runs, *keyed_matches;
    const int64_t *keyed_last_time;
    const uint64_t *keyed_overdue_after;
    const uint32_t *lag_keyspace;
    const int64_t *lag_event, *lag_time;
    const uint64_t *registers;
    const struct event_ref *events;
    uint32_t n_nodes, n_runs, n_matches, n_keyed, n_lags, n_events;
    uint64_t n_registers;
};

/* nfa_restore.c: puts them into a fresh engine. STATUS_BAD_SNAPSHOT: `reason` says what is wrong, and the engine is of no use. */
MUST_CHECK enum status nfa_restore(struct nfa *n, const struct nfa_tables *t, const char **reason);
/* nfa_collect.c: all keyed states and events before, or one keyed state. On failure the records are of no use. */
MUST_CHECK enum status nfa_collect(const struct nfa *n, struct records *r);
/* Room for all of them; what is not used is never touched. */
MUST_CHECK enum status nfa_reserve_records(const struct nfa *n, struct records *r);
MUST_CHECK enum status nfa_collect_keyed(const struct nfa *n, struct records *r, uint32_t id);
MUST_CHECK enum status nfa_collect_strict(const struct nfa *n, struct records *r, uint32_t id);
MUST_CHECK enum status nfa_collect_lag(const struct nfa *n, struct records *r, uint32_t keyspace, uint32_t slot);
/* STATUS_TOO_MANY_PARTIALS: more than can be written one by one. */
MUST_CHECK enum status nfa_collect_compact(const struct nfa *n, struct records *r, uint32_t id);
bool nfa_compact_fits_records(const struct nfa *n, uint32_t id);
/* The invariants in words; NULL if they hold. Walks everything. */
const char *nfa_check(const struct nfa *n);

#endif
