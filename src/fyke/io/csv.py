"""CSV with a header line. Arrow splits the fields, all as text; their types are settled here, a column at a time.

Splitting and typing are apart because Arrow's own inference is final after its first block: it would refuse a float
in what began as integers. Here a column is int64, float64, bool or text: the first that fits all values of the
first batch in which it has any; int64 may become float64 later, all else is an error with its row.
Memory: one block of bytes and its columns.
"""

import csv
import io
from collections.abc import Generator, Iterator
from typing import Unpack

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from fyke.errors import DataError
from fyke.io import Batch
from fyke.io.bounded import FileOptions, FileReader
from fyke.io.cast import TIME, cast, excerpt, null_words
from fyke.io.files import LogFile, Stream

BLOCK_BYTES = 4 << 20
MAX_HEADER_BYTES = 4 << 20
# A number with a leading zero is a code (a card, a postcode): as an integer "007" and "7" would become one.
_CODE = r"^[+-]?0[0-9]"
_HINT = "if it is text, say types= (--type {}=string)"


class Csv(FileReader):
    """Read CSV. The arguments are those of `fyke.io.files.open_log`.

    An empty field is null, a quoted empty field ("") is the empty string. Quoted fields may hold newlines.

    Args:
        delimiter: what stands between fields.
    """

    def __init__(
        self, log: LogFile, *, delimiter: str = ",", block_bytes: int = BLOCK_BYTES, **options: Unpack[FileOptions]
    ) -> None:
        super().__init__(log, **options)
        self._delimiter = delimiter
        self._block_bytes = block_bytes
        self._types: dict[str, pa.DataType] = {}

    def _read(self, start: int) -> Generator[Batch, None, None]:
        self._types = dict(self._declared)
        self._log.open()
        try:
            head = self._log.read(self._block_bytes).removeprefix(b"\xef\xbb\xbf")
            header = self._header(head)
            if header is None:
                return
            position = 0
            for texts in self._split(header, Stream(head, self._log)):
                columns = [self._settle(name, texts.column(name), position) for name in texts.schema.names]
                yield Batch(pa.RecordBatch.from_arrays(columns, texts.schema.names), position)
                position += texts.num_rows
        finally:
            self._log.close()

    def _header(self, head: bytes) -> list[str] | None:
        """Return the names of the first line that is not blank, None for an empty file."""
        try:
            text = io.StringIO(head[:MAX_HEADER_BYTES].decode(errors="replace"), newline="")
            header = next((row for row in csv.reader(text, delimiter=self._delimiter) if row), None)
        except csv.Error as error:
            raise DataError(f"{self.name}: the header cannot be read ({error})") from error
        if header is None:
            return None
        for name in header:
            if not name:
                raise DataError(f"{self.name}: a column of the header has no name: {excerpt(header)}")
            if header.count(name) > 1:
                raise DataError(f"{self.name}: column `{name}` stands twice in the header")
        return header

    def _split(self, header: list[str], stream: Stream) -> Iterator[pa.RecordBatch]:
        """Yield batches of text columns."""
        ragged: list[arrow_csv.InvalidRow] = []

        def remember(row: arrow_csv.InvalidRow) -> str:
            ragged.append(row)
            return "error"

        try:
            reader = arrow_csv.open_csv(
                stream,
                arrow_csv.ReadOptions(use_threads=False, block_size=self._block_bytes),
                arrow_csv.ParseOptions(
                    delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=remember
                ),
                arrow_csv.ConvertOptions(
                    column_types={name: pa.string() for name in header},
                    include_columns=self._present(header),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
            for texts in reader:
                if texts.num_rows:
                    yield texts
        except pa.ArrowInvalid as error:
            if ragged:
                row = ragged[0]
                at = f"line {row.number}: " if row.number is not None else ""
                counts = f"expected {row.expected_columns} fields, got {row.actual_columns}"
                raise DataError(f"{self.name}: {at}{counts}: {excerpt(row.text)}") from error
            raise DataError(f"{self.name}: not CSV that can be read ({error})") from error

    def _settle(self, name: str, texts: pa.Array, first: int) -> pa.Array:
        """Return a column of text as values of its type, learning it where it is not known yet."""
        known = self._types.get(name)
        if known is None:
            known = _looks_like(texts)
            if known is None:
                return pa.nulls(len(texts))
            if name in self._times and known == pa.string():
                known = TIME
            self._types[name] = known
        elif known == pa.int64() and name not in self._declared:
            found = _looks_like(texts)
            if found == pa.float64():
                known = self._types[name] = found
            elif found == pa.string():
                index = _first_not(texts, pa.int64())
                raise DataError(self._refusal(name, known, texts[index].as_py(), first + index))
        try:
            return cast(texts, known, field=name, source=self.name, first=first)
        except DataError as error:
            if name in self._declared or known == TIME:
                raise
            raise DataError(f"{error}; {_HINT.format(name)}") from error

    def _refusal(self, name: str, known: pa.DataType, value: object, row: int) -> str:
        expected = f"expected {known} as in the rows before, got {excerpt(value)} at row {row}"
        return f"{self.name}: field `{name}`: {expected}; {_HINT.format(name)}"


def _looks_like(texts: pa.Array) -> pa.DataType | None:
    """Return the first of int64, float64, bool and string that fits all values; None if there is no value."""
    values = texts.filter(pc.invert(pc.is_in(texts, value_set=null_words()))).drop_null()
    if len(values) == 0:
        return None if texts.null_count == len(texts) else pa.string()
    return next(kind for kind in (pa.int64(), pa.float64(), pa.bool_(), pa.string()) if _fits(values, kind))


def _fits(values: pa.Array, kind: pa.DataType) -> bool:
    if kind == pa.string():
        return True
    if kind == pa.bool_():
        return bool(pc.all(pc.match_substring_regex(values, "^([Tt]rue|TRUE|[Ff]alse|FALSE)$")).as_py())
    try:
        values.cast(kind)
    except pa.ArrowInvalid:
        return False
    if kind == pa.int64():
        return not pc.any(pc.match_substring_regex(values, _CODE + "|x|X")).as_py()
    # An integer too large for int64 would lose digits as a float: it stays text.
    return not pc.any(pc.match_substring_regex(values, _CODE + r"|^[+-]?[0-9]{19,}$")).as_py()


def _first_not(texts: pa.Array, kind: pa.DataType) -> int:
    """Return the index of the first value that is neither null nor of the kind."""
    for index, value in enumerate(texts):
        if value.is_valid and _looks_like(pa.array([value.as_py()])) not in (kind, pa.float64()):
            return index
    return 0
