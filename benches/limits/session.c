/* The limit of `session`: count, sum and max of price per key; a session ends when its key is silent for longer than `gap`.
 * Rows arrive at most `bound` behind the highest time seen.
 *
 * One row per time (as in the stream): a ring with a place for each time that can still be waiting sorts without comparing; in order
 * (bound 0) rows need none. In order of time a key has one open session. A result is a row in each of six columns.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

struct place {
    int64_t ts; /* 0: empty; times of the stream begin at 1 */
    int64_t key;
    double price;
};

struct session {
    int64_t start, last, count;
    double sum, max;
};

struct results {
    int64_t *start, *end, *key, *count;
    double *sum, *max;
    int64_t n, capacity;
};

static inline void put(struct results *out, int64_t key, const struct session *session, int64_t gap)
{
    if (out->n < out->capacity) {
        out->start[out->n] = session->start;
        out->end[out->n] = session->last + gap;
        out->key[out->n] = key;
        out->count[out->n] = session->count;
        out->sum[out->n] = session->sum;
        out->max[out->n] = session->max;
    }
    out->n++;
}

static inline void take(struct session *sessions, int64_t ts, int64_t key, double price, int64_t gap, struct results *out)
{
    struct session *session = &sessions[key];

    if (session->count && ts - session->last > gap) {
        put(out, key, session, gap);
        session->count = 0;
    }
    if (!session->count)
        *session = (struct session){ts, ts, 0, 0.0, -INFINITY};
    session->last = ts;
    session->count++;
    session->sum += price;
    session->max = price > session->max ? price : session->max;
}

/* Writes at most `capacity` results; returns the number of all, -1 if memory ran out, -2 if a row is late or two rows have one time. */
__attribute__((visibility("default")))
int64_t limit_session(const int64_t *ts, const int64_t *key, const double *price, int64_t n, int64_t n_keys, int64_t gap,
                      int64_t bound, int64_t *out_start, int64_t *out_end, int64_t *out_key, int64_t *out_count,
                      double *out_sum, double *out_max, int64_t capacity)
{
    int64_t size = 1;
    while (size < 2 * (bound + 2))
        size *= 2;
    struct place *ring = calloc((size_t)size, sizeof *ring);
    struct session *sessions = calloc((size_t)n_keys, sizeof *sessions);
    struct results out = {out_start, out_end, out_key, out_count, out_sum, out_max, 0, capacity};
    int64_t released = 0, highest = 0;

    if (!ring || !sessions) {
        out.n = -1;
        goto done;
    }
    for (int64_t i = 0; i < n; i++) {
        if (bound == 0) {
            if (ts[i] <= highest) {
                out.n = -2;
                goto done;
            }
            highest = released = ts[i];
            take(sessions, ts[i], key[i], price[i], gap, &out);
            continue;
        }
        struct place *place = &ring[ts[i] & (size - 1)];
        if (ts[i] > highest) {
            highest = ts[i];
            for (; released < highest - bound - 1; released++) {
                struct place *row = &ring[(released + 1) & (size - 1)];
                if (row->ts) {
                    take(sessions, row->ts, row->key, row->price, gap, &out);
                    row->ts = 0;
                }
            }
        }
        if (ts[i] <= released || place->ts) {
            out.n = -2;
            goto done;
        }
        *place = (struct place){ts[i], key[i], price[i]};
    }
    for (; released < highest; released++) {
        struct place *row = &ring[(released + 1) & (size - 1)];
        if (row->ts)
            take(sessions, row->ts, row->key, row->price, gap, &out);
    }
    for (int64_t k = 0; k < n_keys; k++)
        if (sessions[k].count)
            put(&out, k, &sessions[k], gap);
done:
    free(ring);
    free(sessions);
    return out.n;
}
