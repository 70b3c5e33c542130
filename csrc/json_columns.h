/* JSON objects, one a row, to columns laid out as Arrow's: values, a validity bitmap, offsets and bytes for text.
 *
 * The fields are known beforehand; others are passed over, but checked. A missing field and null are null; of a name that occurs
 * twice the last value counts. A text with a fault adds no row and leaves the columns as they were.
 *
 * Messages of one producer have the same names in the same order, so the names of the last row are remembered by their place, and
 * one comparison finds the field; else a hash table does. Cost: O(bytes), about a nanosecond each. Memory: what is taken of the texts.
 */
#ifndef FYKE_JSON_COLUMNS_H
#define FYKE_JSON_COLUMNS_H

#include "arena.h"
#include "json_scan.h"

#define JSON_NO_FIELD UINT32_MAX
#define JSON_PLACES 64     /* names remembered by their place */
#define JSON_SHORT_NAME 40 /* with its quotes; longer ones are always looked up */

enum json_type {
    JSON_I64 = 0, /* a number that is an integer, also if written 1.0 */
    JSON_F64 = 1,
    JSON_BOOL = 2,
    JSON_STRING = 3,
    JSON_ANY = 4, /* the value's own text, checked */
};

struct json_field {
    uint8_t *name;
    uint32_t name_size;
    uint8_t type;
};

/* Arrays for `capacity` rows. */
struct json_column {
    union {
        int64_t *i64;
        double *f64;
        uint8_t *bits; /* of JSON_BOOL */
        int32_t *offsets; /* of JSON_STRING and JSON_ANY: capacity + 1 */
    };
    uint8_t *valid;
    uint32_t n_valid;
    uint8_t *text;
    uint32_t text_size;
    uint32_t text_capacity;
};

struct json_place {
    uint32_t field; /* or JSON_NO_FIELD: passed over */
    uint32_t size;  /* 0: nothing is remembered */
    uint8_t name[JSON_SHORT_NAME]; /* as it stands in the text, with its quotes */
};

/* A double that only its text can tell; infinity where it is too large. */
typedef double (*json_parse_double)(void *context, const uint8_t *text, size_t size);

struct json_columns {
    struct arena *arena;
    struct json_field *fields;
    struct json_column *columns;
    uint32_t n_fields;
    uint32_t n_rows;
    uint32_t capacity;
    uint32_t *table; /* open addressing: a field's number or JSON_NO_FIELD */
    uint32_t table_mask;
    struct json_place places[JSON_PLACES];
    uint8_t *scratch; /* a name without its escapes */
    uint32_t scratch_capacity;
    json_parse_double parse;
    void *context;
};

/* Where a text is wrong. */
struct json_error {
    enum json_fault fault;
    uint32_t field; /* whose value it is, or JSON_NO_FIELD */
    size_t at;      /* bytes from the beginning */
};

/* The names are copied; two equal ones are the caller's mistake (the first is found). `parse` is kept. */
MUST_CHECK enum status json_columns_init(struct json_columns *j, struct arena *a, const struct json_field *fields, uint32_t n_fields,
                                         json_parse_double parse, void *context);
void json_columns_free(struct json_columns *j);
/* Begins anew, without rows, with room for `capacity`; what was handed out before is overwritten. */
MUST_CHECK enum status json_columns_begin(struct json_columns *j, uint32_t capacity);
/* Adds one row; there must be room. Sets error->fault to JSON_FINE, or says what is wrong: then there is no row. Only STATUS_NO_MEMORY
 * fails; it leaves no row either. The bytes of all texts together must stay below 2^31. */
MUST_CHECK enum status json_columns_add(struct json_columns *j, const uint8_t *bytes, size_t size, struct json_error *error);

#endif
