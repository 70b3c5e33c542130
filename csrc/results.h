/* What a push found: a row a result, and the events of each as (stage, event_ref), in the order taken. */
#ifndef FYKE_RESULTS_H
#define FYKE_RESULTS_H

#include "event_store.h"

enum result_kind { RESULT_MATCH = 0, RESULT_TIMEOUT = 1, RESULT_HELD = 2 };
/* why now: an event, a deadline, or a deadline that was past already when the event made the run */
enum result_cause { CAUSE_EVENT = 0, CAUSE_TIME = 1, CAUSE_AFTER = 2, CAUSE_END = 3 };

struct result {
    uint32_t pattern;
    uint32_t kind;
    uint32_t cause;
    uint32_t n_events; /* of each match */
    uint64_t first_event;
    uint64_t repeat; /* so many matches, their events one after the other: compact sets report those of one event together */
    uint64_t cause_value; /* position, or deadline */
    event_time_t released;
    event_time_t time; /* in the stream: released, or, if that was past already, the time of the event that made it so */
};

struct result_event {
    uint32_t stage;
    struct event_ref event;
};

struct results {
    struct result *rows;
    uint32_t n_rows, rows_capacity;
    struct result_event *events;
    uint32_t n_events, events_capacity;
};

#endif
