#include "window_spec.h"

#include "bytes.h"

#include <string.h>

/* Two a year, and then some. */
#define MOST_CHANGES 100000

static enum status fail(struct window_spec *s, const char **reason, const char *why)
{
    window_spec_free(s);
    *reason = why;
    return STATUS_BAD_PLAN;
}

static const char *wrong_zone(const struct window_spec *s)
{
    const struct zone *z = &s->grid.zone;
    for (uint32_t i = 0; i < z->n; i++) {
        if (z->offset[i] <= -ZONE_FURTHEST || z->offset[i] >= ZONE_FURTHEST) {
            return "a time zone is days from UTC";
        }
        if (i == 0 ? z->from[i] != TIME_MIN : z->from[i] <= z->from[i - 1]) {
            return "the changes of a time zone are out of order";
        }
    }
    if (z->n > 0 && (s->kind != WINDOW_GRID || s->grid.size % DAY_NS != 0 || s->grid.slide % DAY_NS != 0)) {
        return "only windows of days have a time zone";
    }
    return NULL;
}

static const char *wrong(const struct window_spec *s, uint32_t flags, uint32_t n_columns, const uint8_t *column_types)
{
    if ((unsigned)s->kind > WINDOW_GLOBAL || (unsigned)s->trigger > TRIGGER_NEVER || flags > WINDOW_FLAGS) {
        return "no such window or trigger";
    }
    if (s->kind != WINDOW_GLOBAL && !(s->kind == WINDOW_SESSION && s->gap_column != NO_COLUMN) && s->grid.size < 1) {
        return "a window has no size";
    }
    if (s->gap_column != NO_COLUMN &&
        (s->kind != WINDOW_SESSION || s->gap_column >= n_columns || column_types[s->gap_column] != COLUMN_I64)) {
        return "the column of a gap is none of integers";
    }
    if ((s->kind == WINDOW_GRID || s->kind == WINDOW_SLIDING_COUNT) && s->grid.slide < 1) {
        return "a window has no slide";
    }
    if (s->kind == WINDOW_GRID && (s->grid.offset <= -s->grid.slide || s->grid.offset >= s->grid.slide)) {
        return "a window's offset reaches over its slide";
    }
    if (s->lateness < 0 || ((s->trigger == TRIGGER_CONTINUOUS || s->trigger == TRIGGER_COUNT) && s->trigger_n < 1)) {
        return "a lateness or a trigger's number is too small";
    }
    if ((s->kind == WINDOW_COUNT || s->kind == WINDOW_SLIDING_COUNT) && s->trigger != TRIGGER_NEVER) {
        return "windows of rows have no trigger";
    }
    return wrong_zone(s);
}

enum status window_spec_load(struct window_spec *s, struct arena *arena, const uint8_t *bytes, size_t size, uint32_t n_columns,
                             const uint8_t *column_types, const char **reason)
{
    struct reader r = {bytes, bytes + size, false};
    memset(s, 0, sizeof *s);
    s->arena = arena;
    s->kind = (enum window_kind)read_u32(&r);
    s->trigger = (enum window_trigger)read_u32(&r);
    const uint32_t flags = read_u32(&r);
    s->purges = (flags & WINDOW_PURGES) != 0;
    s->closes = (flags & WINDOW_CLOSES) != 0;
    s->slices = (flags & WINDOW_SLICES) != 0;
    s->gap_column = read_u32(&r);
    s->grid.size = read_i64(&r);
    s->grid.slide = read_i64(&r);
    s->grid.offset = read_i64(&r);
    s->lateness = read_i64(&r);
    s->trigger_n = read_i64(&r);
    const uint32_t n = read_count(&r, 2 * sizeof(int64_t));
    if (r.failed || n > MOST_CHANGES) {
        return fail(s, reason, "the definition of a window ends too early");
    }
    if (n > 0) {
        s->zone_from = arena_alloc(arena, n * sizeof *s->zone_from);
        s->zone_offset = arena_alloc(arena, n * sizeof *s->zone_offset);
        s->grid.zone = (struct zone){n, s->zone_from, s->zone_offset};
        if (s->zone_from == NULL || s->zone_offset == NULL) {
            window_spec_free(s);
            return STATUS_NO_MEMORY;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        s->zone_from[i] = read_i64(&r);
        s->zone_offset[i] = read_i64(&r);
    }
    if (r.failed || r.at != r.end) {
        return fail(s, reason, "the definition of a window does not end where it should");
    }
    const char *why = wrong(s, flags, n_columns, column_types);
    return why == NULL ? STATUS_OK : fail(s, reason, why);
}

void window_spec_free(struct window_spec *s)
{
    if (s->arena != NULL) {
        arena_free(s->arena, s->zone_from, s->grid.zone.n * sizeof *s->zone_from);
        arena_free(s->arena, s->zone_offset, s->grid.zone.n * sizeof *s->zone_offset);
    }
    memset(s, 0, sizeof *s);
}
