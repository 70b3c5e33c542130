/* Grids against a search through all windows, with and without the clock of a zone; bounds at the ends of time. */
#include "check.h"
#include "window_assign.h"

#define HOUR INT64_C(3600000000000)
#define CHANGES 8

static event_time_t from[CHANGES];
static int64_t offset[CHANGES];

static event_time_t local_time(const struct grid *g, event_time_t t)
{
    return g->zone.n == 0 ? t : t + g->zone.offset[zone_at(&g->zone, t)];
}

/* A zone that changes every few days by whole hours, so that midnights are jumped over and set back over. */
static void make_zone(struct grid *g)
{
    event_time_t at = -20 * DAY_NS;
    for (uint32_t i = 0; i < CHANGES; i++) {
        from[i] = i == 0 ? TIME_MIN : at;
        offset[i] = ((int64_t)random_below(27) - 13) * HOUR;
        at += (1 + (event_time_t)random_below(96)) * HOUR;
    }
    g->zone = (struct zone){CHANGES, from, offset};
}

/* Windows of days begin when the clock first shows their begin or more, so their begins never fall, and each time has a last one. */
static void check_time(const struct grid *g, event_time_t t)
{
    const int64_t number = grid_number(g, t);
    const struct span here = grid_span(g, number), next = grid_span(g, number + 1);
    CHECK(here.start <= t && t < next.start);
    CHECK(here.start <= here.end);
    if (g->zone.n == 0) {
        CHECK((here.start - g->offset) % g->slide == 0 && here.end - here.start == g->size);
        CHECK(next.start - here.start == g->slide);
    } else {
        CHECK(local_time(g, here.start) >= (event_time_t)number * g->slide + g->offset);
        CHECK(local_time(g, here.start - 1) < (event_time_t)number * g->slide + g->offset);
    }
}

static void test(void)
{
    const bool days = random_below(2) == 0;
    const int64_t unit = days ? DAY_NS : 1;
    struct grid g = {.size = (1 + (int64_t)random_below(12)) * unit, .slide = (1 + (int64_t)random_below(9)) * unit};
    g.offset = (int64_t)random_below((uint32_t)(2 * g.slide / unit) - 1) * unit - g.slide + unit;
    if (days) {
        make_zone(&g);
    }
    for (uint32_t i = 0; i < 400; i++) {
        check_time(&g, days ? ((event_time_t)random_below(1000) - 600) * HOUR + (event_time_t)random_below(3) - 1 : (event_time_t)random_below(200) - 100);
    }
}

/* Beyond the range of times bounds are cut off, and no window is lost or met twice. */
static void test_ends(void)
{
    const struct grid g = {.size = 7, .slide = 3, .offset = (int64_t)random_below(5) - 2};
    const event_time_t times[] = {TIME_MIN, TIME_MIN + 1, TIME_MIN + 5, TIME_MAX - 9, TIME_MAX - 1};
    for (uint32_t i = 0; i < 5; i++) {
        uint32_t n = 0;
        const int64_t number = grid_number(&g, times[i]);
        for (int64_t k = number; grid_span(&g, k).end > times[i]; k--) {
            const struct span s = grid_span(&g, k);
            CHECK(s.start <= times[i] && s.start <= s.end);
            n++;
        }
        CHECK(n == 2 || n == 3);
    }
    CHECK(span_touches((struct span){0, 10}, (struct span){10, 20}) && !span_touches((struct span){0, 10}, (struct span){11, 20}));
    CHECK(floor_div(-1, 10) == -1 && floor_div(-10, 10) == -1 && floor_div(9, 10) == 0 && floor_div(-11, 10) == -2);
}

static void all(void)
{
    test();
    test_ends();
}

int main(void)
{
    return run_seeds(all, 200);
}
