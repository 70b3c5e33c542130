"""JSON Lines: one object per line. Bytes in blocks, blocks cut at newlines, each parsed by Arrow in one call.

Types come from JSON itself (int64, float64, bool, string; text is never taken for a time unless asked) and are
learnt from the first value of a column that is not null. Learning and explaining are the same walk over the lines of
one block in plain Python (`_study`): it runs for the first block, when a column appears, and when Arrow refuses.
Every other block costs one Arrow call. Memory: one block of bytes and its columns.
"""

import json
from collections.abc import Generator, Iterator
from typing import Any, Unpack

import pyarrow as pa
import pyarrow.json as arrow_json

from fyke.errors import DataError
from fyke.io import Batch
from fyke.io.bounded import FileOptions, FileReader
from fyke.io.cast import TIME, cast, excerpt
from fyke.io.files import LogFile
from fyke.io.tables import record_batch

BLOCK_BYTES = 4 << 20
FIRST_BLOCK_BYTES = 256 << 10  # smaller, because it is walked line by line
MAX_LINE_BYTES = 64 << 20
_INT64 = range(-(2**63), 2**63)
_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}


class JsonLines(FileReader):
    """Read JSON Lines. The arguments are those of `fyke.io.files.open_log`.

    A row's position is its number from 0, blank lines not counted; messages name the line, from 1.
    """

    def __init__(
        self, log: LogFile, *, block_bytes: int = BLOCK_BYTES, **options: Unpack[FileOptions]
    ) -> None:
        super().__init__(log, **options)
        self._block_bytes = block_bytes
        self._learnt: dict[str, pa.DataType] = {}

    def _read(self, start: int) -> Generator[Batch, None, None]:
        self._learnt = {}
        self._log.open()
        try:
            position = 0
            for block, first_line in self._blocks():
                table = self._parse(block, first_line)
                names = filter(self._wants, table.column_names)
                columns = {name: self._finish(name, table[name], position) for name in names}
                columns |= {
                    name: pa.nulls(table.num_rows, declared)
                    for name, declared in self._declared.items()
                    if name not in columns and self._wants(name)
                }
                yield Batch(record_batch(list(columns.values()), list(columns), table.num_rows), position)
                position += table.num_rows
        finally:
            self._log.close()

    def _wants(self, name: str) -> bool:
        return self._wanted is None or name in self._wanted

    def _blocks(self) -> Iterator[tuple[bytes, int]]:
        """Yield (whole lines, the number of the first from 1), without the lines of white space around them."""
        rest, line = b"", 1
        while True:
            n_bytes = self._block_bytes if line > 1 else min(self._block_bytes, FIRST_BLOCK_BYTES)
            chunk = self._log.read(n_bytes)
            if line == 1 and not rest:
                chunk = chunk.removeprefix(b"\xef\xbb\xbf")
            cut = chunk.rfind(b"\n") + 1
            if chunk and not cut:
                rest += chunk
                if len(rest) > MAX_LINE_BYTES:
                    raise DataError(
                        f"{self.name}: line {line}: longer than {MAX_LINE_BYTES >> 20} MiB; is it JSON Lines?"
                    )
                continue
            block, rest = rest + chunk[:cut], chunk[cut:]
            if block.strip():
                yield block, line
            line += block.count(b"\n")
            if not chunk:
                return

    def _parse(self, block: bytes, first_line: int) -> pa.Table:
        table = self._arrow_parse(block) if self._learnt else None
        if table is None or self._is_news(table) or table.num_rows != _count_lines(block):
            self._study(block, first_line)
            table = self._arrow_parse(block, only_known=True)
        if table is None:
            raise DataError(f"{self.name}: lines from {first_line}: not JSON that can be put into columns")
        return table

    def _arrow_parse(self, block: bytes, only_known: bool = False) -> pa.Table | None:
        """Return the block as a table of the known columns and, unless told otherwise, new ones; None if refused."""
        all_known = self._wanted is not None and self._wanted <= self._learnt.keys()
        options = arrow_json.ParseOptions(
            explicit_schema=pa.schema(list(self._learnt.items())),
            unexpected_field_behavior="ignore" if only_known or all_known else "infer",
        )
        whole = arrow_json.ReadOptions(use_threads=False, block_size=len(block) + 1)
        try:
            table = arrow_json.read_json(pa.BufferReader(block), whole, options)
            table.validate(full=True)  # Arrow's parser does not look whether text is UTF-8
        except pa.ArrowInvalid:
            return None
        return table

    def _is_news(self, table: pa.Table) -> bool:
        """Say whether the table has a column of values that was not known before, or a known one of another type."""
        return any(
            not pa.types.is_null(field.type) and field.type != self._learnt.get(field.name)
            for field in table.schema
            if self._wants(field.name)
        )

    def _study(self, block: bytes, first_line: int) -> None:
        """Learn the types of the block's columns, line by line.

        Raises:
            DataError: a line that is no JSON object, or a value that the type of its column does not allow.
        """
        nested: dict[str, list[Any]] = {}
        for line, text in enumerate(block.split(b"\n"), first_line):
            if not text.strip():
                continue
            for name, value in self._object(text, line).items():
                if not self._wants(name):
                    continue
                if value is None:
                    self._learnt.setdefault(name, pa.null())
                elif isinstance(value, dict | list):
                    if not pa.types.is_nested(self._learnt.get(name, pa.null())):
                        self._learn(name, pa.infer_type([value]), value, line)
                    nested.setdefault(name, []).append(value)
                elif type(value) is int and value not in _INT64 and self._learnt.get(name) != pa.float64():
                    raise DataError(f"{self.name}: line {line}: field `{name}`: {value} does not fit into int64")
                else:
                    self._learn(name, _TYPES[type(value)], value, line)
        for name, values in nested.items():
            try:
                self._learn(name, pa.infer_type(values), values[0], first_line)
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise DataError(f"{self.name}: field `{name}`: nested values that have no common type") from error

    def _object(self, text: bytes, line: int) -> dict[str, Any]:
        def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            found = dict(pairs)
            if len(found) < len(pairs):
                names = [name for name, _ in pairs]
                twice = next(name for name in names if names.count(name) > 1)
                raise DataError(f"{self.name}: line {line}: field `{twice}` stands twice in {excerpt(text.decode())}")
            return found

        try:
            found = json.loads(text, object_pairs_hook=unique)
        except UnicodeDecodeError as error:
            raise DataError(f"{self.name}: line {line}: not UTF-8: {excerpt(text)}") from error
        except json.JSONDecodeError as error:
            raise DataError(
                f"{self.name}: line {line}: not a JSON object ({error.msg} at column {error.colno}): "
                f"{excerpt(text.decode(errors='replace'))}"
            ) from error
        if not isinstance(found, dict):
            raise DataError(f"{self.name}: line {line}: expected a JSON object, got {excerpt(found)}")
        return found

    def _learn(self, name: str, given: pa.DataType, value: object, line: int) -> None:
        known = self._learnt.get(name)
        if known is None or known == given or pa.types.is_null(known):
            self._learnt[name] = given
        elif {known, given} == {pa.int64(), pa.float64()}:
            self._learnt[name] = pa.float64()
        elif pa.types.is_nested(known) and pa.types.is_nested(given):
            both = [pa.schema([(name, known)]), pa.schema([(name, given)])]
            self._learnt[name] = pa.unify_schemas(both, promote_options="permissive").field(name).type
        else:
            expected = f"expected {known} as in the lines before, got {excerpt(value)}"
            raise DataError(f"{self.name}: line {line}: field `{name}`: {expected}")

    def _finish(self, name: str, column: pa.ChunkedArray, first: int) -> pa.Array:
        values = column.combine_chunks()
        if isinstance(values, pa.ChunkedArray):
            values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], column.type)
        target = self._declared.get(name)
        if target is None and name in self._times and pa.types.is_string(values.type):
            target = TIME
        return values if target is None else cast(values, target, field=name, source=self.name, first=first)


def _count_lines(block: bytes) -> int:
    """Return the number of lines, the last one with or without its newline: blank ones make the caller look closer."""
    return block.count(b"\n") + (not block.endswith(b"\n"))
