/* JSON texts, token by token: strings, numbers, whole values to be passed over. Everything is checked (RFC 8259, UTF-8 without lone
 * surrogates), also what nobody asked for, so that a text is good or bad whatever is read of it.
 *
 * A cursor stands at the next byte. On success it stands behind what was read; on a fault at the byte that was wrong, which may be
 * `end`. No recursion; nothing is allocated; O(bytes).
 */
#ifndef FYKE_JSON_SCAN_H
#define FYKE_JSON_SCAN_H

#include "base.h"

#define JSON_DEPTH 1024 /* objects and arrays within each other */

enum json_fault {
    JSON_FINE = 0,
    JSON_CUT_OFF,       /* the text ends too early */
    JSON_NO_OBJECT,     /* the text is something else than an object */
    JSON_BAD_TOKEN,     /* a byte that may not stand there */
    JSON_BAD_NUMBER,
    JSON_BAD_CONTROL,   /* a control character within a string */
    JSON_BAD_ESCAPE,    /* an unknown one, or half of a surrogate pair */
    JSON_BAD_UTF8,
    JSON_TRAILING,      /* something follows the object */
    JSON_TOO_DEEP,
    JSON_WRONG_TYPE,    /* the value is not of the field's type */
    JSON_OUT_OF_RANGE,  /* the value is, but too large */
};

struct json_cursor {
    const uint8_t *at;
    const uint8_t *end;
};

/* The inside of a string: what stands between its quotes, escapes as they are. */
struct json_text {
    const uint8_t *bytes;
    size_t size;
    bool has_escapes;
};

/* A number as its digits say: mantissa * 10^exponent, exactly, unless it has more than 19 significant digits. */
struct json_number {
    const uint8_t *bytes;
    size_t size;
    uint64_t mantissa;
    int32_t exponent; /* saturated at +-100,000 */
    bool negative;
    bool exact;       /* false: too many digits; only `bytes` has them all */
};

static inline void json_space(struct json_cursor *c)
{
    while (c->at < c->end && *c->at <= ' ' && (*c->at == ' ' || *c->at == '\n' || *c->at == '\r' || *c->at == '\t')) {
        c->at++;
    }
}

/* All of these expect the cursor at the first byte of the thing. */
MUST_CHECK enum json_fault json_string(struct json_cursor *c, struct json_text *text);
MUST_CHECK enum json_fault json_number(struct json_cursor *c, struct json_number *number);
MUST_CHECK enum json_fault json_word(struct json_cursor *c, const char *word, size_t size); /* true, false, null */
MUST_CHECK enum json_fault json_skip(struct json_cursor *c);                                /* any value */

/* Writes the string without its escapes, in UTF-8; `to` has room for text->size bytes. Returns how many were written. */
size_t json_unescape(const struct json_text *text, uint8_t *to);

/* The integer, if it is one (1.0 and 1e3 are) and fits. */
MUST_CHECK enum json_fault json_to_i64(const struct json_number *number, int64_t *out);
/* The nearest double, ties to even; false: only its text can tell (over 19 digits, or an exponent beyond +-27). */
MUST_CHECK bool json_to_f64(const struct json_number *number, double *out);

#endif
