# What a push found, as arrays; Match objects and Arrow tables are made from it when someone looks (src/fyke/match.py).

_RESULT_DTYPE = np.dtype(
    [("pattern", "u4"), ("kind", "u4"), ("cause", "u4"), ("n_events", "u4"), ("first_event", "u8"), ("repeat", "i8"),
     ("cause_value", "u8"), ("released", "i8"), ("time", "i8")]
)
_EVENT_DTYPE = np.dtype([("stage", "u4"), ("segment", "u4"), ("row", "u4")])


cdef class RawResults:
    """packed: a record for one or several results (`repeat`) of one pattern, kind and number of events; events: (stage, segment, row)
    of all results one after the other; segments: by number; found: matches, with those that a limit left out (2**64 - 1: or more)."""

    cdef readonly object packed
    cdef readonly object events
    cdef readonly dict segments
    cdef readonly object late  # (Segment, row numbers) or None
    cdef readonly object found
    cdef object _rows

    def __init__(self, packed, events, segments, late, found=0):
        self.packed = packed
        self.events = events
        self.segments = segments
        self.late = late
        self.found = found

    @property
    def rows(self):
        """A record a result."""
        if self._rows is None:
            repeat = self.packed["repeat"]
            if (repeat == 1).all():
                self._rows = self.packed
            else:
                rows = np.repeat(self.packed, repeat)
                ends = np.cumsum(repeat)
                places = np.arange(len(rows)) - np.repeat(ends - repeat, repeat)  # of a result within its record
                rows["first_event"] += (places * rows["n_events"]).astype(np.uint64)
                rows["repeat"] = 1
                self._rows = rows
        return self._rows

    def count(self, uint32_t kind):
        """How many results there are of a kind."""
        return int(self.packed["repeat"][self.packed["kind"] == kind].sum())


def gather_positions(RawResults raw, uint32_t kind, uint32_t pattern, repeats):
    """The arrival positions of the events of all results of a kind and pattern, by stage.

    Args:
        repeats: of each stage, whether a result can have several of its events.

    Returns a list of (values, offsets): int64, and where each result's begin (a place more than results); of a stage that does not
    repeat a value each, -1 where it has none, and None.
    """
    cdef uint32_t n_stages = len(repeats), s
    cdef uint64_t n = 0, i, j, k, at
    cdef const result *rows = <const result *> address_of(raw.packed)
    cdef const result_event *events = <const result_event *> address_of(raw.events)
    cdef const result_event *e
    cdef uint64_t n_rows = len(raw.packed)
    cdef uint32_t n_segments = max(raw.segments, default=0) + 1
    cdef object places = np.zeros(n_segments, np.uint64)
    cdef uint64_t *positions = <uint64_t *> address_of(places)
    cdef int64_t *counts
    cdef int64_t **out
    for number, segment in raw.segments.items():
        positions[<uint32_t> number] = <uint64_t> address_of(segment.positions)
    for i in range(n_rows):
        if rows[i].kind == kind and rows[i].pattern == pattern:
            n += rows[i].repeat
    offsets = [np.zeros(n + 1, np.int64) if repeat else None for repeat in repeats]
    starts = np.array([0 if o is None else <uint64_t> address_of(o) for o in offsets] or [0], np.uint64)
    cdef int64_t **ends = <int64_t **> address_of(starts)  # of repeating stages: counted, then summed up
    if any(repeats):
        at = 0
        for i in range(n_rows):
            if rows[i].kind != kind or rows[i].pattern != pattern:
                continue
            e = events + rows[i].first_event
            for j in range(rows[i].repeat):
                at += 1
                for k in range(rows[i].n_events):
                    if ends[e.stage] != NULL:
                        ends[e.stage][at] += 1
                    e += 1
        for o in offsets:
            if o is not None:
                np.cumsum(o, out=o)
    values = [np.full(n, -1, np.int64) if o is None else np.empty(o[n], np.int64) for o in offsets]
    outs = np.array([<uint64_t> address_of(v) for v in values] or [0], np.uint64)
    out = <int64_t **> address_of(outs)
    filled = np.zeros(n_stages + 1, np.int64)
    counts = <int64_t *> address_of(filled)
    at = 0
    with nogil:
        for i in range(n_rows):
            if rows[i].kind != kind or rows[i].pattern != pattern:
                continue
            e = events + rows[i].first_event
            for j in range(rows[i].repeat):
                for k in range(rows[i].n_events):
                    s = e.stage
                    if ends[s] == NULL:
                        out[s][at] = <int64_t> (<uint64_t *> positions[e.event.segment])[e.event.row]
                    else:
                        out[s][counts[s]] = <int64_t> (<uint64_t *> positions[e.event.segment])[e.event.row]
                        counts[s] += 1
                    e += 1
                at += 1
    return list(zip(values, offsets))
