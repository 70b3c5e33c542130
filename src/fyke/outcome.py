"""What a push of a stream's engine gives: rows by output, and what was put aside, by the box that did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa

from fyke.columns import readable
from fyke.errors import DefinitionError
from fyke.nodes import SIDES
from fyke.operator import Batch, Int64s

__all__ = ["Records", "StreamResults"]


class Records(Sequence[dict[str, Any]]):
    """Rows: a sequence of dicts, made when they are looked at, or a table.

    Times are datetimes in UTC in the dicts, to the microsecond; the table has their nanoseconds.

    Attributes:
        parts: (name of the box, rows).
    """

    __slots__ = ("_columns", "parts")

    def __init__(self, parts: Sequence[tuple[str, Batch | pa.Table]] = ()) -> None:
        self.parts = [(name, part) for name, part in parts if len(part)]
        self._columns = parts[0][1] if parts and not self.parts else None

    def __len__(self) -> int:
        return sum(len(part) for _, part in self.parts)

    @overload
    def __getitem__(self, i: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, i: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, i: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return list(self)[i]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for table in self._tables():
            yield from readable(table)

    @property
    def times(self) -> Int64s:
        """The time of each row in the stream, ns; only of rows that have one.

        Raises:
            DefinitionError: late rows and rows in error have none any more.
        """
        times = []
        for name, part in self.parts:
            if isinstance(part, pa.Table):
                raise DefinitionError(f"{name}: these rows have no time any more")
            times.append(part.times)
        return np.concatenate(times) if times else np.empty(0, np.int64)

    def of(self, box: str) -> Records:
        """Give the rows of one box alone."""
        return Records([(name, part) for name, part in self.parts if name == box])

    @property
    def boxes(self) -> list[str]:
        """The boxes that rows are of."""
        return list(dict.fromkeys(name for name, _ in self.parts))

    def _tables(self) -> list[pa.Table]:
        return [part if isinstance(part, pa.Table) else pa.Table.from_batches([part.rows]) for _, part in self.parts]

    def to_arrow(self) -> pa.Table:
        """Give the rows as a table; rows of several boxes have the columns of all of them.

        Without a row it has the columns that rows would have, once they are known.
        """
        tables = self._tables()
        if tables:
            return pa.concat_tables(tables, promote_options="permissive")
        if self._columns is None:
            return pa.table({})
        return (self._columns if isinstance(self._columns, pa.Table) else self._columns.rows).schema.empty_table()

    @classmethod
    def together(cls, several: Sequence[Records]) -> Records:
        """Put records of several pushes one after the other, box by box."""
        boxes = dict.fromkeys(box for each in several for box in each.boxes)
        return cls([part for box in boxes for each in several for part in each.parts if part[0] == box])

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} rows>"


class StreamResults:
    """What a push, advance or flush of a stream's engine gave.

    Attributes:
        outputs: rows by the name of the output; "results" where the engine was given a single stream.
        sides: what was put aside, by name.
    """

    __slots__ = ("outputs", "sides")

    def __init__(self, outputs: Mapping[str, Records], sides: Mapping[str, Records]) -> None:
        self.outputs = dict(outputs)
        self.sides = dict(sides)

    @property
    def results(self) -> Records:
        """The rows of the stream, where there is one only.

        Raises:
            DefinitionError: there are several; take them by name.
        """
        if len(self.outputs) > 1:
            raise DefinitionError(f'several outputs: take results["{next(iter(self.outputs))}"] and so on')
        return next(iter(self.outputs.values()))

    def __getitem__(self, output: str) -> Records:
        return self.outputs[output]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.results)

    def __len__(self) -> int:
        return sum(map(len, self.outputs.values()))

    def side(self, name: str) -> Records:
        """Give what was put aside under a name, of all boxes; see Records.of.

        A join has two of a kind, late_left and late_right: they are parts of "late", and named join_1.left there.
        """
        parts = list(self.sides[name].parts) if name in self.sides else []
        for each, records in self.sides.items():
            if each.startswith(f"{name}_") and each not in SIDES:
                parts += [(f"{box}.{each.removeprefix(f'{name}_')}", part) for box, part in records.parts]
        return Records(parts)

    @property
    def late(self) -> Records:
        """Rows that came too late, of all boxes."""
        return self.side("late")

    @property
    def errors(self) -> Records:
        """Rows that a box could not take."""
        return self.side("errors")

    @property
    def no_window(self) -> Records:
        """Rows that lie in no window."""
        return self.side("no_window")

    @property
    def timeouts(self) -> Records:
        """Partial matches whose time ran out, where match(..., timeouts=True) asks for them."""
        return self.side("timeouts")

    @property
    def held(self) -> Records:
        """Matches that a skip strategy still held back at the end."""
        return self.side("held")

    @classmethod
    def together(cls, several: Sequence[StreamResults]) -> StreamResults:
        """Put what several calls gave one after the other."""
        outputs = dict.fromkeys(name for each in several for name in each.outputs)
        sides = dict.fromkeys(name for each in several for name in each.sides)
        return cls(
            {name: Records.together([each.outputs.get(name, Records()) for each in several]) for name in outputs},
            {name: Records.together([each.sides.get(name, Records()) for each in several]) for name in sides},
        )

    def __repr__(self) -> str:
        parts = [f"{len(rows)} {'rows' if name == 'results' else name}" for name, rows in self.outputs.items()]
        parts += [f"{len(rows)} {name}" for name, rows in self.sides.items() if len(rows)]
        return f"<{', '.join(parts)}>"
