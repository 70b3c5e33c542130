"""Drives an operator of two inputs with rows and watermarks in one order of arrival, in batches of any size."""

import itertools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fyke.operator import END, START, Batch, Marks

LEFT, RIGHT = 0, 1


@dataclass(frozen=True)
class Row:
    """A row of one input; its origin is its place among the items."""

    side: int
    time: int
    values: tuple


@dataclass(frozen=True)
class Mark:
    """A watermark of one input."""

    side: int
    time: int


class Feed:
    """Items (Rows and Marks) as batches of both inputs."""

    def __init__(self, schemas, items):
        self.schemas = schemas
        self.items = list(items)
        self.reached = [START, START]

    def batches(self, start, stop):
        """Give the batches of both inputs that hold items[start:stop]; to be called in order."""
        return [self._batch(side, start, stop) for side in (LEFT, RIGHT)]

    def _batch(self, side, start, stop):
        here = [(i, x) for i, x in enumerate(self.items[start:stop], start) if x.side == side]
        rows = [(i, x) for i, x in here if isinstance(x, Row)]
        marks = []
        for i, x in here:
            if isinstance(x, Mark) and x.time > self.reached[side]:
                self.reached[side] = x.time
                marks.append((i, x.time))
        schema = self.schemas[side]
        columns = [pa.array([x.values[c] for _, x in rows], field.type) for c, field in enumerate(schema)]
        return Batch(
            pa.RecordBatch.from_arrays(columns, schema=schema),
            np.array([x.time for _, x in rows], np.int64),
            np.array([i for i, _ in rows], np.uint64),
            Marks(np.array([i for i, _ in marks], np.uint64), np.array([w for _, w in marks], np.int64)),
        )


@dataclass
class Ran:
    """All that came out: results as (origin, time, row), watermarks, and the side outputs, each put together."""

    rows: list
    marks: list
    side: dict


def run(operator, feed, cuts=(), start=0, check=True):
    """Feed all items from `start` on, cut into batches before the items whose places are `cuts`."""
    rows, marks, side = [], [], {}
    bounds = [start, *sorted(c for c in cuts if start < c < len(feed.items)), len(feed.items)]
    for at, to in itertools.pairwise(bounds):
        out = operator.step(feed.batches(at, to))
        if check:
            operator.check()
            before = marks[-1][1] if marks else START
            judged = out.results.marks.under(out.results.origins, before)
            rows_out = out.results.rows
            final = rows_out["final"].to_numpy(zero_copy_only=False) if "final" in rows_out.schema.names else True
            assert ((out.results.times > judged) | ~np.bool_(final)).all(), "a result is late"
        assert out.results.rows.schema == operator.schema
        found = out.results
        rows += list(zip(found.origins.tolist(), found.times.tolist(), values(found.rows), strict=True))
        marks += list(zip(found.marks.origins.tolist(), found.marks.times.tolist(), strict=True))
        for name, table in out.side.items():
            side.setdefault(name, []).extend(values(table))
    return Ran(rows, marks, side)


def values(table):
    """Give the rows of a table as tuples."""
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def state_of(operator):
    """Give what an operator exports, in a form that can be compared."""
    return {
        name: (part.schema, part.to_pylist()) if isinstance(part, pa.RecordBatch) else part
        for name, part in operator.export().items()
    }


def in_disorder(rows):
    """Give rows with watermarks of both sides between them, as high as they can be without making a row late."""
    items = []
    for i, row in enumerate(rows):
        items.append(row)
        least = min((later.time for later in rows[i + 1 :]), default=None)
        mark = END if least is None else least - 1
        items += [Mark(LEFT, mark), Mark(RIGHT, mark)]
    return items


def as_table(rows, side, schema):
    """Give the rows of a side as a table, with their times in the column `t`."""
    own = [row for row in rows if row.side == side]
    columns = {f.name: pa.array([row.values[i] for row in own], f.type) for i, f in enumerate(schema)}
    return pa.table(columns | {"t": pa.array([row.time for row in own], pa.int64())})


LOG = pa.schema([("k", pa.string()), ("v", pa.int64())])


class OneInput:
    """Drives an operator of one input with the left side of a feed."""

    def __init__(self, operator):
        self.operator = operator

    def step(self, inputs):
        return self.operator.step(inputs[:1])

    def __getattr__(self, name):
        return getattr(self.operator, name)


def log(operator, rows, cuts=()):
    """Feed rows of LOG to an operator of one input."""
    feed = Feed((LOG, LOG), [Row(LEFT, time, row) for time, row in enumerate(rows)])
    return run(OneInput(operator), feed, cuts, check=False)


def changes(ran):
    """Give the rows that came out."""
    return [row for _, _, row in ran.rows]
