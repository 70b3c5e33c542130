# What a push found, as arrays; Match objects and Arrow tables are made from it when someone looks (src/fyke/match.py).

_RESULT_DTYPE = np.dtype(
    [("pattern", "u4"), ("kind", "u4"), ("cause", "u4"), ("n_events", "u4"), ("first_event", "u8"), ("cause_value", "u8"),
     ("released", "i8"), ("time", "i8")]
)
_EVENT_DTYPE = np.dtype([("stage", "u4"), ("segment", "u4"), ("row", "u4")])


cdef class RawResults:
    """rows: a record a result; events: (stage, segment, row) of all results one after the other; segments: by number."""

    cdef readonly object rows
    cdef readonly object events
    cdef readonly dict segments
    cdef readonly object late  # (Segment, row numbers) or None

    def __init__(self, rows, events, segments, late):
        self.rows = rows
        self.events = events
        self.segments = segments
        self.late = late
