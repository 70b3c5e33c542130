# JSON texts -> columns: bytes objects in, buffers in Arrow's layout out. The kernel is json_columns.h.

cdef extern from "json_scan.h" nogil:
    cdef enum json_fault:
        JSON_FINE

cdef extern from "json_columns.h" nogil:
    cdef enum:
        JSON_I64, JSON_F64, JSON_BOOL, JSON_STRING, JSON_ANY
        JSON_NO_FIELD
    cdef struct json_field:
        uint8_t *name
        uint32_t name_size
        uint8_t type
    cdef struct json_column:
        int64_t *i64
        uint8_t *bits
        int32_t *offsets
        uint8_t *valid
        uint32_t n_valid
        uint8_t *text
        uint32_t text_size
    cdef struct json_columns:
        json_field *fields
        json_column *columns
        uint32_t n_fields
        uint32_t n_rows
    cdef struct json_error:
        json_fault fault
        uint32_t field
        size_t at
    ctypedef double (*json_parse_double)(void *context, const uint8_t *text, size_t size) noexcept nogil
    status json_columns_init(json_columns *j, arena *a, const json_field *fields, uint32_t n_fields, json_parse_double parse, void *context)
    void json_columns_free(json_columns *j)
    status json_columns_begin(json_columns *j, uint32_t capacity)
    status json_columns_add(json_columns *j, const uint8_t *bytes, size_t size, json_error *error)

# What became of a text, beside the faults of json_scan.h.
JSON_NULL = 255
_JSON_TYPES = {"int64": JSON_I64, "float64": JSON_F64, "bool": JSON_BOOL, "string": JSON_STRING, "any": JSON_ANY}


cdef double _parse_double(void *context, const uint8_t *text, size_t size) noexcept with gil:
    return float((<const char *> text)[:size])  # rounds right, knows no locale; its grammar holds JSON's


cdef class JsonDecoder:
    """Texts of JSON objects to columns. Not thread-safe; runs without the GIL but for doubles of more than 19 digits.

    Args:
        names: the fields to take, no two alike.
        types: of each: int64, float64, bool, string, or any: the value's own text.
    """

    cdef arena arena
    cdef json_columns columns
    cdef tuple types

    def __cinit__(self, names, types):
        cdef json_field *fields
        cdef uint32_t n = <uint32_t> len(names), i
        arena_init(&self.arena)
        self.types = tuple(types)
        encoded = [name.encode() for name in names]
        fields = <json_field *> arena_alloc(&self.arena, n * sizeof(json_field))
        if fields == NULL:
            raise MemoryError
        for i in range(n):
            fields[i].name = <uint8_t *> PyBytes_AS_STRING(encoded[i])
            fields[i].name_size = <uint32_t> len(encoded[i])
            fields[i].type = <uint8_t> _JSON_TYPES[types[i]]
        st = json_columns_init(&self.columns, &self.arena, fields, n, _parse_double, NULL)
        arena_free(&self.arena, fields, n * sizeof(json_field))
        if st:
            raise MemoryError

    def __dealloc__(self):
        json_columns_free(&self.columns)
        arena_free_all(&self.arena)

    def decode(self, list texts not None):
        """Decode texts, each bytes or None; together they must have less than 2^31 bytes.

        Returns:
            The number of rows; a (valid, values, text) each column, where valid is None if no row is null, and values are the
            offsets of a text; what became of each text (0: the next row, JSON_NULL: it was None, else a fault) or None if all
            are rows; and where a text is faulty, the byte and the field (-1: none).
        """
        cdef Py_ssize_t n = len(texts), i, total = 0
        cdef status st = STATUS_OK
        cdef json_error error
        cdef bint fine = True
        pointers, sizes = np.empty(n, np.uint64), np.empty(n, np.uint64)
        cdef uint64_t *at = <uint64_t *> address_of(pointers)
        cdef uint64_t *size = <uint64_t *> address_of(sizes)
        for i in range(n):
            text = texts[i]
            if text is None:
                at[i] = size[i] = 0
            elif type(text) is bytes:
                at[i] = <uint64_t> <uintptr_t> PyBytes_AS_STRING(text)
                size[i] = <uint64_t> PyBytes_GET_SIZE(text)
                total += PyBytes_GET_SIZE(text)
            else:
                raise TypeError(f"a text is bytes or None, not {type(text).__name__}")
        if total >= 2**31 or n >= 2**31:
            raise OverflowError(f"{total:,} bytes in {n:,} texts: 2,147,483,647 are allowed")
        outcomes = np.zeros(n, np.uint8)
        places, fields = np.zeros(n, np.int64), np.full(n, -1, np.int32)
        cdef uint8_t *outcome = <uint8_t *> address_of(outcomes)
        cdef int64_t *place = <int64_t *> address_of(places)
        cdef int32_t *field = <int32_t *> address_of(fields)
        with nogil:
            st = json_columns_begin(&self.columns, <uint32_t> n)
            for i in range(n):
                if st:
                    break
                if at[i] == 0:
                    outcome[i] = 255
                    fine = False
                    continue
                st = json_columns_add(&self.columns, <const uint8_t *> <uintptr_t> at[i], size[i], &error)
                if error.fault:
                    fine = False
                    outcome[i] = <uint8_t> error.fault
                    place[i] = <int64_t> error.at
                    field[i] = -1 if error.field == JSON_NO_FIELD else <int32_t> error.field
        if st:
            raise MemoryError
        columns = [self._column(<uint32_t> f) for f in range(self.columns.n_fields)]
        return self.columns.n_rows, columns, None if fine else outcomes, places, fields

    cdef tuple _column(self, uint32_t f):
        cdef json_column *c = &self.columns.columns[f]
        cdef uint8_t type = self.columns.fields[f].type
        cdef Py_ssize_t n = self.columns.n_rows, n_bits = (n + 7) // 8
        valid = None if c.n_valid == n else PyBytes_FromStringAndSize(<char *> c.valid, n_bits)
        if type == JSON_BOOL:
            return valid, PyBytes_FromStringAndSize(<char *> c.bits, n_bits), None
        if type == JSON_STRING or type == JSON_ANY:
            offsets = PyBytes_FromStringAndSize(<char *> c.offsets, 4 * (n + 1))
            return valid, offsets, PyBytes_FromStringAndSize(<char *> c.text, c.text_size)
        return valid, PyBytes_FromStringAndSize(<char *> c.i64, 8 * n), None
