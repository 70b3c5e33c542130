# Rows as Python objects -> columns. The one place that reads Python values; Arrow data needs no decoding.
#
# A column is what Segment takes: (values, offsets, valid, valid offset, wide, physical type, address shift), buffers laid out as
# in Arrow (offsets are int64; they and valid, a bitmap, may be None).

import datetime as _dt
import struct as _struct

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.datetime cimport (
    datetime, datetime_day, datetime_hour, datetime_microsecond, datetime_minute, datetime_month, datetime_second, datetime_year,
    import_datetime,
)
from cpython.dict cimport PyDict_GetItemWithError
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.object cimport PyObject

from fyke.errors import DataError, FykeError, LimitError, SkipError, StateError

import_datetime()

_EPOCH = _dt.datetime(1970, 1, 1, tzinfo=_dt.timezone.utc)
_EPOCH_NAIVE = _dt.datetime(1970, 1, 1)
_EPOCH_DAY = _dt.date(1970, 1, 1).toordinal()
_INT64_MIN = -(2**63)
_INT64_MAX = 2**63 - 1
_EXACT = 2**53
_empty = np.empty
_int64 = np.dtype(np.int64)
_uint64 = np.dtype(np.uint64)
_utc = _dt.timezone.utc
_datetime = _dt.datetime
cdef int64_t _MAX = 2**63 - 1


cdef uintptr_t address_of(object buffer) except? 0:
    """Where a contiguous buffer starts; the caller keeps it alive. 0 for None and for an empty one."""
    cdef Py_buffer view
    if buffer is None:
        return 0
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    cdef uintptr_t at = <uintptr_t> view.buf
    PyBuffer_Release(&view)
    return at


def scale_times(const int64_t[::1] raw, int64_t scale):
    """raw * scale as an int64 array, and the first row whose product is outside the range of times (-1: none)."""
    cdef Py_ssize_t n = raw.shape[0], i, bad = -1
    cdef int64_t most = (_MAX - 1) // scale
    times = np.empty(n, np.int64)
    cdef int64_t *out = <int64_t *> address_of(times)
    with nogil:
        for i in range(n):
            out[i] = <int64_t> (<uint64_t> raw[i] * <uint64_t> scale)
            if raw[i] > most or raw[i] < -most:
                if bad < 0:
                    bad = i
    return times, bad


def count_from(uint64_t first, Py_ssize_t n):
    """first, first + 1, ...: n of them."""
    numbers = _empty(n, _uint64)
    cdef uint64_t *out = <uint64_t *> address_of(numbers)
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = first + <uint64_t> i
    return numbers


def rising_marks(const int64_t[::1] times, const uint64_t[::1] origins, int64_t highest, int64_t watermark, int64_t bound):
    """The watermarks that rows bring, where they rise: `bound` below the highest time so far, less one.

    Gives their origins, their times, and the highest time and the watermark after the last row.
    """
    cdef Py_ssize_t n = times.shape[0], i, k = 0
    cdef int64_t lowest = <int64_t> _INT64_MIN + bound + 2, passed
    of, at = _empty(n, _uint64), _empty(n, _int64)
    cdef uint64_t *mark_origins = <uint64_t *> address_of(of)
    cdef int64_t *mark_times = <int64_t *> address_of(at)
    with nogil:
        for i in range(n):
            if times[i] <= highest:
                continue
            highest = times[i]
            passed = highest - bound - 1
            if highest >= lowest and passed > watermark:
                watermark = passed
                mark_origins[k] = origins[i]
                mark_times[k] = passed
                k += 1
    return of[:k], at[:k], highest, watermark


def first_not_above(const int64_t[::1] numbers):
    """The first place whose number is negative or not above the one before it; -1: there is none."""
    cdef Py_ssize_t n = numbers.shape[0], i
    cdef bint bad = n > 0 and numbers[0] < 0
    with nogil:
        for i in range(1, n):
            bad |= numbers[i] <= numbers[i - 1]
    if not bad:
        return -1
    for i in range(n):
        if numbers[i] < 0 or (i > 0 and numbers[i] <= numbers[i - 1]):
            return i


cdef int64_t _plain_ns(datetime value) noexcept:
    """Nanoseconds since the epoch of a datetime in UTC in the years 1678 to 2261."""
    cdef int64_t y = datetime_year(value), m = datetime_month(value), days
    # Days in years that begin in March, so that the leap day is the last of its year.
    if m <= 2:
        y -= 1
        m += 12
    days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * (m - 3) + 2) // 5 + datetime_day(value) - 719_469
    return (
        (days * 86_400 + datetime_hour(value) * 3_600 + datetime_minute(value) * 60 + datetime_second(value)) * 1_000_000
        + datetime_microsecond(value)
    ) * 1_000


def datetime_ns(value):
    """Nanoseconds since the epoch of a datetime (naive: UTC)."""
    if type(value) is _datetime and (value.tzinfo is None or value.tzinfo is _utc) and 1677 < datetime_year(value) < 2262:
        return _plain_ns(value)
    ns = getattr(value, "value", None)  # pandas keeps nanoseconds here
    if isinstance(ns, int):
        return ns
    delta = value - (_EPOCH_NAIVE if value.tzinfo is None else _EPOCH)
    return (delta.days * 86_400_000_000 + delta.seconds * 1_000_000 + delta.microseconds) * 1000


cdef object _timedelta_ns(value):
    ns = getattr(value, "value", None)  # as of a datetime
    return ns if isinstance(ns, int) else (value // _dt.timedelta(microseconds=1)) * 1000


def encode_any(value):
    """A key part whose type only the data knows, as bytes: a tag, then the value. Values of different types are different keys."""
    if type(value) is str:
        return b"s" + (<str> value).encode("utf-8", "surrogatepass")
    if isinstance(value, (bool, np.bool_)):
        return b"t" + bytes([value])
    if isinstance(value, (float, np.floating)) and value == value and float(value).is_integer():
        value = int(value)  # 1 and 1.0 are one key, as they are one key of a dict
    if isinstance(value, (int, np.integer)):
        value = int(value)
        return b"i" + value.to_bytes(8, "little", signed=True) if _INT64_MIN <= value <= _INT64_MAX else b"I%d" % value
    if isinstance(value, str):
        return b"s" + value.encode("utf-8", "surrogatepass")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b"b" + bytes(value)
    if isinstance(value, (float, np.floating)):
        return b"f" + _struct.pack("<d", float(value) + 0.0 if value == value else float("nan"))
    if isinstance(value, _dt.datetime):
        return b"d" + datetime_ns(value).to_bytes(9, "little", signed=True)
    if isinstance(value, _dt.date):
        return b"D" + (value.toordinal() - _EPOCH_DAY).to_bytes(8, "little", signed=True)
    if isinstance(value, _dt.timedelta):
        return b"e" + _timedelta_ns(value).to_bytes(9, "little", signed=True)
    if isinstance(value, _dt.time) and value.tzinfo is None:
        seconds = (value.hour * 60 + value.minute) * 60 + value.second
        return encode_time((seconds * 1_000_000 + value.microsecond) * 1000)
    if isinstance(value, tuple):
        parts = [encode_any(part) for part in value]
        return b"(" + b"".join(len(p).to_bytes(8, "little") + p for p in parts)
    uuid_bytes = getattr(value, "bytes", None)
    if type(value).__name__ == "UUID" and isinstance(uuid_bytes, bytes):
        return b"u" + uuid_bytes
    if type(value).__name__ == "Decimal":
        return b"c" + str(value.normalize()).encode()
    raise TypeError


def encode_time(int64_t ns):
    """A time of day, given in nanoseconds, as encode_any gives it."""
    return b"T" + (<object> ns).to_bytes(8, "little", signed=True)


_EXPECTED = {
    "int64": "int", "float64": "a number", "bool": "bool", "string": "str", "bytes": "bytes", "timestamp": "datetime",
    "duration": "timedelta", "date": "date",
    "any": "a key (int, str, bytes, bool, date, datetime, UUID or a tuple of them)",
}


def _wrong(str name, str type_, value, position, str note=""):
    shown = repr(value)
    if len(shown) > 60:
        shown = shown[:57] + "..."
    return DataError(
        f"field `{name}`: expected {_EXPECTED[type_]}, got {type(value).__name__} {shown} at position {position}{note}"
    )


cdef int64_t _to_int64(value, str name, str type_, position) except? -1:
    """The physical int64 of a value of a column of type int64, timestamp, duration or date."""
    cdef object number
    if type_ == "int64":
        if type(value) is int:
            number = value
        elif isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
            raise _wrong(name, type_, value, position)
        else:
            number = int(value)
    elif type_ == "timestamp":
        if isinstance(value, _dt.datetime):
            number = datetime_ns(value)
        elif isinstance(value, np.datetime64):
            number = int(value.astype("datetime64[ns]").astype("int64"))
        else:
            raise _wrong(name, type_, value, position)
    elif type_ == "duration":
        if isinstance(value, _dt.timedelta):
            number = _timedelta_ns(value)
        elif isinstance(value, np.timedelta64):
            number = int(value.astype("timedelta64[ns]").astype("int64"))
        else:
            raise _wrong(name, type_, value, position)
    else:
        if isinstance(value, _dt.datetime) or not isinstance(value, _dt.date):
            raise _wrong(name, type_, value, position)
        number = value.toordinal() - _EPOCH_DAY
    if not _INT64_MIN <= number <= _INT64_MAX:
        raise _wrong(name, type_, value, position, ": outside the range of int64")
    return number


cdef double _to_float64(value, str name, position) except? -1:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise _wrong(name, "float64", value, position)
    if isinstance(value, (int, np.integer)) and not -_EXACT <= value <= _EXACT:
        if int(float(value)) != value:
            raise _wrong(name, "float64", value, position, ": not exact as float64; give a schema that says int64")
    return value


cdef bint _is_nat(value) except -1:
    """Whether a value is NumPy's or pandas' "not a time", which Arrow, too, takes for null."""
    if type(value) is str or type(value) is _datetime or not isinstance(value, (_datetime, np.datetime64, np.timedelta64)):
        return False
    return bool(value != value)


cdef enum decoding:
    AS_INT64, AS_TIME, AS_FLOAT64, AS_BOOL, AS_OPAQUE, AS_STRING, AS_BYTES, AS_ANY

_DECODING = {
    "int64": AS_INT64, "timestamp": AS_TIME, "duration": AS_TIME, "date": AS_TIME, "float64": AS_FLOAT64, "bool": AS_BOOL,
    "opaque": AS_OPAQUE, "string": AS_STRING, "bytes": AS_BYTES, "any": AS_ANY,
}


cdef class RowDecoder:
    """Reads named fields of dicts, dataclasses and other objects into columns.

    Args:
        names, types, physical: the columns, with their physical types. time_name: the time field's name. scale: nanoseconds per
            unit of a numeric time, 0: it is a datetime. unit: its name.
    """

    cdef list names
    cdef list types
    cdef list physical
    cdef list decodings
    cdef str time_name
    cdef int64_t scale
    cdef str unit

    def __init__(self, names, types, physical, str time_name, int64_t scale, str unit):
        self.names = list(names)
        self.types = list(types)
        self.physical = list(physical)
        self.decodings = [_DECODING[each] for each in types]
        self.time_name = time_name
        self.scale = scale
        self.unit = unit

    cdef object field(self, object row, str name):
        cdef PyObject *found
        if type(row) is dict:
            found = PyDict_GetItemWithError(row, name)
            return None if found == NULL else <object> found
        if hasattr(row, "keys"):
            return row.get(name) if hasattr(row, "get") else (row[name] if name in row.keys() else None)
        return getattr(row, name, None)

    cdef event_time_t time_of(self, object value, uint64_t position) except? -1:
        cdef object number
        cdef int64_t raw
        cdef int overflow = 0
        if type(value) is int and self.scale > 0:
            raw = PyLong_AsLongLongAndOverflow(value, &overflow)
            if not overflow and -((_MAX - 1) // self.scale) <= raw <= (_MAX - 1) // self.scale:
                return raw * self.scale
        if value is None:
            raise DataError(f"field `{self.time_name}`: the event time is missing at position {position}")
        if self.scale == 0:
            if not isinstance(value, (_dt.datetime, np.datetime64)):
                raise DataError(
                    f"field `{self.time_name}`: expected datetime, got {type(value).__name__} {value!r:.60} at position {position}"
                    + ("; say its unit with unit=\"s\", \"ms\", \"us\" or \"ns\"" if isinstance(value, (int, float)) else "")
                )
            number = _to_int64(value, self.time_name, "timestamp", position)
        elif isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_)):
            number = int(value) * self.scale
        elif isinstance(value, (float, np.floating)) and value == value and abs(value) < 1e19:
            number = round(float(value) * self.scale)
        else:
            raise DataError(
                f"field `{self.time_name}`: expected a number of {self.unit}, got {type(value).__name__} {value!r:.60} "
                f"at position {position}"
            )
        if not _INT64_MIN < number < _INT64_MAX:
            raise DataError(
                f"field `{self.time_name}`: {value!r} {self.unit} at position {position} is outside the range of times (years 1677 "
                "to 2262): is the unit right?"
            )
        return number

    def decode(self, list rows, positions):
        """(times, columns) of rows with these positions; raises DataError for the first value that does not fit."""
        cdef Py_ssize_t n = len(rows), i
        cdef const uint64_t *at = <const uint64_t *> address_of(positions)
        times = _empty(n, _int64)
        cdef int64_t *out = <int64_t *> address_of(times)
        for i in range(n):
            out[i] = self.time_of(self.field(rows[i], self.time_name), at[i])
        cdef list columns = []
        for i in range(len(self.names)):
            columns.append(self.column(rows, i, at))
        return times, columns

    cdef object column(self, list rows, Py_ssize_t number, const uint64_t *at):
        cdef str name = self.names[number], type_ = self.types[number]
        cdef decoding how = self.decodings[number]
        if how >= AS_STRING:
            return self.text_column(rows, number, how, at)
        cdef Py_ssize_t n = len(rows), i
        cdef bytes values = PyBytes_FromStringAndSize(NULL, n * (1 if how == AS_BOOL or how == AS_OPAQUE else 8))
        cdef void *data = <void *> PyBytes_AS_STRING(values)
        cdef object value
        cdef list nulls = None
        memset(data, 0, PyBytes_GET_SIZE(values))
        for i in range(n):
            value = self.field(rows[i], name)
            if value is None or (how == AS_TIME and _is_nat(value)):
                if nulls is None:
                    nulls = []
                nulls.append(i)
            elif how == AS_FLOAT64:
                if type(value) is float:
                    (<double *> data)[i] = value
                else:
                    (<double *> data)[i] = _to_float64(value, name, at[i])
            elif how == AS_BOOL:
                if not isinstance(value, (bool, np.bool_)):
                    raise _wrong(name, type_, value, at[i])
                (<uint8_t *> data)[i] = bool(value)
            elif how == AS_OPAQUE:
                (<uint8_t *> data)[i] = 1  # all that a condition can ask is whether there is a value
            else:
                (<int64_t *> data)[i] = _to_int64(value, name, type_, at[i])
        return values, None, _bitmap(n, nulls), 0, 1, self.physical[number], 0

    cdef object text_column(self, list rows, Py_ssize_t number, decoding how, const uint64_t *at):
        cdef str name = self.names[number], type_ = self.types[number]
        cdef Py_ssize_t n = len(rows), i
        cdef bytes offsets = PyBytes_FromStringAndSize(NULL, (n + 1) * sizeof(int64_t))
        cdef int64_t *out = <int64_t *> PyBytes_AS_STRING(offsets)
        cdef list parts = []
        cdef object value
        cdef list nulls = None
        out[0] = 0
        for i in range(n):
            value = self.field(rows[i], name)
            if value is None or (how == AS_ANY and _is_nat(value)):
                if nulls is None:
                    nulls = []
                nulls.append(i)
                out[i + 1] = out[i]
                continue
            if how == AS_STRING:
                if not isinstance(value, str):
                    raise _wrong(name, type_, value, at[i])
                value = (<str> value).encode("utf-8", "surrogatepass")
            elif how == AS_BYTES:
                if not isinstance(value, (bytes, bytearray, memoryview)):
                    raise _wrong(name, type_, value, at[i])
                value = bytes(value)
            else:
                try:
                    value = encode_any(value)
                except TypeError:
                    raise _wrong(name, type_, value, at[i]) from None
            parts.append(value)
            out[i + 1] = out[i] + PyBytes_GET_SIZE(value)
        cdef object data = parts[0] if len(parts) == 1 else b"".join(parts)
        return data or b"\0", offsets, _bitmap(n, nulls), 0, 1, self.physical[number], 0


cdef object _bitmap(Py_ssize_t n, object nulls):
    """An Arrow validity bitmap without these rows; None if there are none."""
    if nulls is None:
        return None
    valid = np.ones(n, np.bool_)
    valid[nulls] = False
    return np.packbits(valid, bitorder="little")


cdef class Segment:
    """A batch as the core holds it: columns that conditions read, times, positions, and the payload they came with.

    Args:
        times, positions: int64 and uint64 arrays.
        columns: per plan column (values, offsets, valid, valid offset, wide, physical type, address shift in bytes), buffers or None.
        source: the payload: a pyarrow RecordBatch, or a list of row objects.
    """

    cdef readonly object times
    cdef readonly object positions
    cdef readonly list columns
    cdef readonly object source
    cdef readonly object masks
    cdef readonly Py_ssize_t n_rows
    cdef readonly uint64_t n_bytes
    cdef uint32_t id

    def __init__(self, times, positions, list columns, source, uint64_t n_bytes):
        self.times = times
        self.positions = positions
        self.columns = columns
        self.source = source
        self.n_rows = len(times)
        self.n_bytes = n_bytes

    def __len__(self):
        return self.n_rows
