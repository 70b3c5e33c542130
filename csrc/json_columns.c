#include "json_columns.h"

#include <math.h>
#include <string.h>

static inline bool has_text(uint8_t type)
{
    return type == JSON_STRING || type == JSON_ANY;
}

static inline void set_bit(uint8_t *bits, uint32_t i)
{
    bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << (i % 8));
}

static inline void clear_bit(uint8_t *bits, uint32_t i)
{
    bits[i / 8] = (uint8_t)(bits[i / 8] & ~(1u << (i % 8)));
}

static inline bool has_bit(const uint8_t *bits, uint32_t i)
{
    return (bits[i / 8] >> (i % 8) & 1) != 0;
}

/* --- names -------------------------------------------------------------------------------------------------------------------- */

static uint64_t hash_name(const uint8_t *name, size_t size)
{
    uint64_t h = size;
    for (; size >= 8; size -= 8, name += 8) {
        uint64_t eight;
        memcpy(&eight, name, 8);
        h = mix64(h ^ eight);
    }
    uint64_t rest = 0;
    memcpy(&rest, name, size);
    return mix64(h ^ rest);
}

static uint32_t find_field(const struct json_columns *j, const uint8_t *name, size_t size)
{
    for (uint32_t i = (uint32_t)hash_name(name, size);; i++) {
        const uint32_t field = j->table[i & j->table_mask];
        if (field == JSON_NO_FIELD ||
            (j->fields[field].name_size == size && memcmp(j->fields[field].name, name, size) == 0)) {
            return field;
        }
    }
}

/* Whether the n-th name of this text is that of the last one; then the cursor is behind it. */
static inline bool same_name(const struct json_columns *j, struct json_cursor *at, uint32_t n, uint32_t *field)
{
    if (n >= JSON_PLACES) {
        return false;
    }
    const struct json_place *const place = &j->places[n];
    const size_t size = place->size;
    if (size == 0 || (size_t)(at->end - at->at) < size || memcmp(at->at, place->name, size) != 0) {
        return false;
    }
    at->at += size;
    *field = place->field;
    return true;
}

/* The n-th name of a text, and its field. */
static enum status take_name(struct json_columns *j, struct json_cursor *at, uint32_t n, uint32_t *field, enum json_fault *fault)
{
    const uint8_t *const first = at->at;
    struct json_text name;
    if (UNLIKELY(at->at == at->end || *at->at != '"')) {
        *fault = at->at == at->end ? JSON_CUT_OFF : JSON_BAD_TOKEN;
        return STATUS_OK;
    }
    *fault = json_string(at, &name);
    if (UNLIKELY(*fault)) {
        return STATUS_OK;
    }
    if (LIKELY(!name.has_escapes)) {
        *field = find_field(j, name.bytes, name.size);
    } else {
        void *scratch = j->scratch;
        const enum status st = arena_reserve(j->arena, &scratch, &j->scratch_capacity, name.size, 1);
        j->scratch = scratch;
        if (st) {
            return st;
        }
        *field = find_field(j, j->scratch, json_unescape(&name, j->scratch));
    }
    if (n < JSON_PLACES && name.size + 2 <= JSON_SHORT_NAME) {
        j->places[n].field = *field;
        j->places[n].size = (uint32_t)name.size + 2;
        memcpy(j->places[n].name, first, name.size + 2);
    }
    return STATUS_OK;
}

/* --- life --------------------------------------------------------------------------------------------------------------------- */

static size_t width_of(uint8_t type)
{
    return has_text(type) ? 4 : 8;
}

static size_t values_size(uint8_t type, uint32_t capacity)
{
    return type == JSON_BOOL ? (size_t)capacity / 8 + 1 : ((size_t)capacity + has_text(type)) * width_of(type);
}

static size_t bits_size(uint32_t capacity)
{
    return (size_t)capacity / 8 + 1;
}

enum status json_columns_init(struct json_columns *j, struct arena *a, const struct json_field *fields, uint32_t n_fields,
                              json_parse_double parse, void *context)
{
    *j = (struct json_columns){.arena = a, .parse = parse, .context = context, .table_mask = 7};
    while (j->table_mask < 2 * n_fields) {
        j->table_mask = j->table_mask * 2 + 1;
    }
    j->table = arena_alloc(a, ((size_t)j->table_mask + 1) * sizeof *j->table);
    j->fields = arena_alloc(a, n_fields * sizeof *j->fields);
    j->columns = arena_alloc(a, n_fields * sizeof *j->columns);
    if (j->fields != NULL && j->columns != NULL) {
        j->n_fields = n_fields;
        memset(j->fields, 0, n_fields * sizeof *j->fields);
        memset(j->columns, 0, n_fields * sizeof *j->columns);
    }
    if (j->table == NULL || (n_fields != 0 && j->n_fields == 0)) {
        goto failed;
    }
    memset(j->table, 0xff, ((size_t)j->table_mask + 1) * sizeof *j->table);
    for (uint32_t f = 0; f < n_fields; f++) {
        j->fields[f] = fields[f];
        j->fields[f].name = arena_alloc(a, fields[f].name_size);
        if (j->fields[f].name == NULL) {
            goto failed;
        }
        memcpy(j->fields[f].name, fields[f].name, fields[f].name_size);
        uint32_t i = (uint32_t)hash_name(fields[f].name, fields[f].name_size);
        while (j->table[i & j->table_mask] != JSON_NO_FIELD) {
            i++;
        }
        j->table[i & j->table_mask] = f;
    }
    return STATUS_OK;
failed:
    if (j->n_fields == 0) { /* one of the two may be there */
        arena_free(a, j->fields, n_fields * sizeof *j->fields);
        arena_free(a, j->columns, n_fields * sizeof *j->columns);
        j->fields = NULL;
        j->columns = NULL;
    }
    json_columns_free(j);
    return STATUS_NO_MEMORY;
}

static void free_arrays(struct json_columns *j)
{
    for (uint32_t f = 0; f < j->n_fields; f++) {
        struct json_column *c = &j->columns[f];
        arena_free(j->arena, c->i64, values_size(j->fields[f].type, j->capacity));
        arena_free(j->arena, c->valid, bits_size(j->capacity));
        c->i64 = NULL;
        c->valid = NULL;
    }
    j->capacity = 0;
}

void json_columns_free(struct json_columns *j)
{
    struct arena *a = j->arena;
    if (a == NULL) {
        return;
    }
    free_arrays(j);
    for (uint32_t f = 0; f < j->n_fields; f++) {
        arena_free(a, j->columns[f].text, j->columns[f].text_capacity);
        arena_free(a, j->fields[f].name, j->fields[f].name_size);
    }
    arena_free(a, j->fields, j->n_fields * sizeof *j->fields);
    arena_free(a, j->columns, j->n_fields * sizeof *j->columns);
    arena_free(a, j->table, ((size_t)j->table_mask + 1) * sizeof *j->table);
    arena_free(a, j->scratch, j->scratch_capacity);
    *j = (struct json_columns){0};
}

enum status json_columns_begin(struct json_columns *j, uint32_t capacity)
{
    capacity += capacity == 0; /* so that there are arrays */
    j->n_rows = 0;
    if (capacity > j->capacity) {
        free_arrays(j);
        j->capacity = capacity; /* frees what there is of them, however far the loop comes */
        for (uint32_t f = 0; f < j->n_fields; f++) {
            struct json_column *c = &j->columns[f];
            c->i64 = arena_alloc(j->arena, values_size(j->fields[f].type, capacity));
            c->valid = arena_alloc(j->arena, bits_size(capacity));
            if (c->i64 == NULL || c->valid == NULL) {
                free_arrays(j);
                return STATUS_NO_MEMORY;
            }
        }
    }
    for (uint32_t f = 0; f < j->n_fields; f++) {
        struct json_column *c = &j->columns[f];
        c->n_valid = 0;
        c->text_size = 0;
        memset(c->valid, 0, bits_size(j->capacity));
        if (j->fields[f].type == JSON_BOOL) {
            memset(c->bits, 0, bits_size(j->capacity));
        } else if (has_text(j->fields[f].type)) {
            c->offsets[0] = 0;
        }
    }
    return STATUS_OK;
}

/* --- rows --------------------------------------------------------------------------------------------------------------------- */

/* Room for `more` bytes of text. */
static enum status reserve_text(struct json_columns *j, struct json_column *c, size_t more)
{
    void *text = c->text;
    const enum status st = arena_reserve(j->arena, &text, &c->text_capacity, (uint64_t)c->text_size + more, 1);
    c->text = text;
    return st;
}

static enum json_fault take_f64(struct json_columns *j, const struct json_number *number, double *out)
{
    if (!json_to_f64(number, out)) {
        *out = j->parse(j->context, number->bytes, number->size);
    }
    return isinf(*out) ? JSON_OUT_OF_RANGE : JSON_FINE;
}

static enum json_fault take_number(struct json_columns *j, uint8_t type, struct json_column *c, struct json_cursor *at)
{
    const uint8_t *const first = at->at;
    struct json_number number;
    enum json_fault fault = json_number(at, &number);
    if (UNLIKELY(fault)) {
        return fault;
    }
    fault = type == JSON_I64   ? json_to_i64(&number, &c->i64[j->n_rows])
            : type == JSON_F64 ? take_f64(j, &number, &c->f64[j->n_rows])
                               : JSON_WRONG_TYPE;
    if (UNLIKELY(fault)) {
        at->at = first; /* the number itself is right, and what is said points at it */
    }
    return fault;
}

/* The value of a field: into its column, at the row that is being read. */
static enum status take_value(struct json_columns *j, uint32_t f, struct json_cursor *at, enum json_fault *fault)
{
    struct json_column *c = &j->columns[f];
    const uint8_t type = j->fields[f].type;
    const uint32_t row = j->n_rows;
    if (UNLIKELY(has_bit(c->valid, row))) { /* the name occurs twice: the last one counts */
        clear_bit(c->valid, row);
        c->n_valid--;
        if (type == JSON_BOOL) {
            clear_bit(c->bits, row);
        } else if (has_text(type)) {
            c->text_size = (uint32_t)c->offsets[row];
        }
    }
    if (UNLIKELY(at->at == at->end)) {
        *fault = JSON_CUT_OFF;
        return STATUS_OK;
    }
    const uint8_t *const first = at->at;
    if (*first == 'n') {
        *fault = json_word(at, "null", 4);
        return STATUS_OK;
    }
    if (type == JSON_ANY) {
        *fault = json_skip(at);
        if (UNLIKELY(*fault)) {
            return STATUS_OK;
        }
        const size_t size = (size_t)(at->at - first);
        const enum status st = reserve_text(j, c, size);
        if (st) {
            return st;
        }
        memcpy(c->text + c->text_size, first, size);
        c->text_size += (uint32_t)size;
    } else if (*first == '"') {
        struct json_text text;
        *fault = json_string(at, &text);
        if (UNLIKELY(*fault || type != JSON_STRING)) {
            if (!*fault) {
                *fault = JSON_WRONG_TYPE;
                at->at = first;
            }
            return STATUS_OK;
        }
        const enum status st = reserve_text(j, c, text.size);
        if (st) {
            return st;
        }
        if (LIKELY(!text.has_escapes)) {
            if (text.size != 0) {
                memcpy(c->text + c->text_size, text.bytes, text.size);
            }
            c->text_size += (uint32_t)text.size;
        } else {
            c->text_size += (uint32_t)json_unescape(&text, c->text + c->text_size);
        }
    } else if (*first == '-' || (*first >= '0' && *first <= '9')) {
        *fault = take_number(j, type, c, at);
    } else if (*first == 't' || *first == 'f') {
        *fault = *first == 't' ? json_word(at, "true", 4) : json_word(at, "false", 5);
        if (!*fault && type != JSON_BOOL) {
            *fault = JSON_WRONG_TYPE;
            at->at = first;
        } else if (!*fault && *first == 't') {
            set_bit(c->bits, row);
        }
    } else if (*first == '{' || *first == '[') {
        *fault = json_skip(at);
        if (!*fault) {
            *fault = JSON_WRONG_TYPE;
            at->at = first;
        }
    } else {
        *fault = JSON_BAD_TOKEN;
    }
    if (LIKELY(!*fault)) {
        set_bit(c->valid, row);
        c->n_valid++;
    }
    return STATUS_OK;
}

/* The object at the cursor. On a fault error->field is the one being read. */
static enum status take_object(struct json_columns *j, struct json_cursor *at, struct json_error *error)
{
    json_space(at);
    if (UNLIKELY(at->at == at->end || *at->at != '{')) {
        error->fault = at->at == at->end ? JSON_CUT_OFF : JSON_NO_OBJECT;
        return STATUS_OK;
    }
    at->at++;
    json_space(at);
    if (at->at < at->end && *at->at == '}') {
        at->at++;
        return STATUS_OK;
    }
    for (uint32_t n = 0;; n++) {
        enum status st;
        uint32_t field;
        if (UNLIKELY(!same_name(j, at, n, &field))) {
            st = take_name(j, at, n, &field, &error->fault);
            if (UNLIKELY(st || error->fault)) {
                return st;
            }
        }
        json_space(at);
        if (UNLIKELY(at->at == at->end || *at->at != ':')) {
            error->fault = at->at == at->end ? JSON_CUT_OFF : JSON_BAD_TOKEN;
            return STATUS_OK;
        }
        at->at++;
        json_space(at);
        error->field = field;
        if (field == JSON_NO_FIELD) {
            error->fault = json_skip(at);
        } else {
            st = take_value(j, field, at, &error->fault);
            if (UNLIKELY(st)) {
                return st;
            }
        }
        if (UNLIKELY(error->fault)) {
            return STATUS_OK;
        }
        error->field = JSON_NO_FIELD;
        json_space(at);
        if (UNLIKELY(at->at == at->end || (*at->at != ',' && *at->at != '}'))) {
            error->fault = at->at == at->end ? JSON_CUT_OFF : JSON_BAD_TOKEN;
            return STATUS_OK;
        }
        if (*at->at++ == '}') {
            return STATUS_OK;
        }
        json_space(at);
    }
}

/* Takes back what a row that came to nothing has left. */
static void take_back(struct json_columns *j)
{
    const uint32_t row = j->n_rows;
    for (uint32_t f = 0; f < j->n_fields; f++) {
        struct json_column *c = &j->columns[f];
        if (has_bit(c->valid, row)) {
            clear_bit(c->valid, row);
            c->n_valid--;
        }
        if (j->fields[f].type == JSON_BOOL) {
            clear_bit(c->bits, row);
        } else if (has_text(j->fields[f].type)) {
            c->text_size = (uint32_t)c->offsets[row];
        }
    }
}

enum status json_columns_add(struct json_columns *j, const uint8_t *bytes, size_t size, struct json_error *error)
{
    ASSERT(j->n_rows < j->capacity);
    struct json_cursor at = {bytes, bytes + size};
    *error = (struct json_error){.fault = JSON_FINE, .field = JSON_NO_FIELD};
    if (size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) {
        at.at += 3;
    }
    const enum status st = take_object(j, &at, error);
    if (LIKELY(!st && !error->fault)) {
        json_space(&at);
        if (UNLIKELY(at.at != at.end)) {
            error->fault = JSON_TRAILING;
        }
    }
    if (UNLIKELY(st || error->fault)) {
        error->at = (size_t)(at.at - bytes);
        take_back(j);
        return st;
    }
    for (uint32_t f = 0; f < j->n_fields; f++) {
        struct json_column *c = &j->columns[f];
        if (has_text(j->fields[f].type)) {
            c->offsets[j->n_rows + 1] = (int32_t)c->text_size;
        } else if (UNLIKELY(!has_bit(c->valid, j->n_rows)) && j->fields[f].type != JSON_BOOL) {
            c->i64[j->n_rows] = 0; /* no old value below a null */
        }
    }
    j->n_rows++;
    return STATUS_OK;
}
