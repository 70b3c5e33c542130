/* Tokens of JSON against a recursive validator, strtod and strings that the test made of code points. */
#include "json_scan.h"
#include "check.h"

#include <math.h>

/* --- a validator by the book, recursive -------------------------------------------------------------------------------------- */

struct toy {
    const uint8_t *at;
    const uint8_t *end;
    int depth;
};

static bool toy_value(struct toy *t);

static void toy_space(struct toy *t)
{
    while (t->at < t->end && memchr(" \n\r\t", *t->at, 4) != NULL) {
        t->at++;
    }
}

static bool toy_is(struct toy *t, uint8_t b)
{
    if (t->at < t->end && *t->at == b) {
        t->at++;
        return true;
    }
    return false;
}

static bool toy_word(struct toy *t, const char *word)
{
    for (; *word; word++) {
        if (!toy_is(t, (uint8_t)*word)) {
            return false;
        }
    }
    return true;
}

static bool toy_digits(struct toy *t)
{
    const uint8_t *first = t->at;
    while (t->at < t->end && *t->at >= '0' && *t->at <= '9') {
        t->at++;
    }
    return t->at > first;
}

static bool toy_number(struct toy *t)
{
    (void)toy_is(t, '-');
    if (!toy_is(t, '0') && !toy_digits(t)) {
        return false;
    }
    if (toy_is(t, '.') && !toy_digits(t)) {
        return false;
    }
    if (t->at < t->end && (*t->at == 'e' || *t->at == 'E')) {
        t->at++;
        (void)(toy_is(t, '-') || toy_is(t, '+'));
        return toy_digits(t);
    }
    return true;
}

/* One code point as UTF-8 has it; -1: none. Decodes first and asks then whether the form was the shortest. */
static int32_t toy_point(struct toy *t)
{
    static const int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t b = *t->at++;
    const int n = b < 0x80 ? 1 : b >> 5 == 6 ? 2 : b >> 4 == 14 ? 3 : b >> 3 == 30 ? 4 : 0;
    if (n == 0) {
        return -1;
    }
    int32_t point = n == 1 ? b : b & (0x7f >> n);
    for (int i = 1; i < n; i++) {
        if (t->at == t->end || *t->at >> 6 != 2) {
            return -1;
        }
        point = point << 6 | (*t->at++ & 0x3f);
    }
    return point < least[n] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000) ? -1 : point;
}

static int32_t toy_hex(struct toy *t)
{
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdefABCDEF";
        const char *found = t->at < t->end && *t->at != 0 ? strchr(digits, *t->at) : NULL;
        if (found == NULL) {
            return -1;
        }
        const int32_t digit = (int32_t)(found - digits);
        unit = unit * 16 + (digit > 15 ? digit - 6 : digit);
        t->at++;
    }
    return unit;
}

static bool toy_string(struct toy *t)
{
    if (!toy_is(t, '"')) {
        return false;
    }
    while (t->at < t->end) {
        if (toy_is(t, '"')) {
            return true;
        }
        if (toy_is(t, '\\')) {
            if (toy_is(t, 'u')) {
                const int32_t unit = toy_hex(t);
                if (unit < 0 || (unit >= 0xdc00 && unit < 0xe000)) {
                    return false;
                }
                if (unit >= 0xd800 && unit < 0xdc00) {
                    const int32_t low = toy_word(t, "\\u") ? toy_hex(t) : -1;
                    if (low < 0xdc00 || low >= 0xe000) {
                        return false;
                    }
                }
            } else if (t->at == t->end || memchr("\"\\/bfnrt", *t->at++, 8) == NULL) {
                return false;
            }
        } else if (*t->at < 0x20 || toy_point(t) < 0) {
            return false;
        }
    }
    return false;
}

static bool toy_members(struct toy *t, bool object)
{
    const uint8_t close = object ? '}' : ']';
    toy_space(t);
    if (toy_is(t, close)) {
        return true;
    }
    for (;;) {
        toy_space(t);
        if (object) {
            if (!toy_string(t)) {
                return false;
            }
            toy_space(t);
            if (!toy_is(t, ':')) {
                return false;
            }
        }
        if (!toy_value(t)) {
            return false;
        }
        toy_space(t);
        if (toy_is(t, close)) {
            return true;
        }
        if (!toy_is(t, ',')) {
            return false;
        }
    }
}

static bool toy_value(struct toy *t)
{
    toy_space(t);
    if (t->at == t->end) {
        return false;
    }
    switch (*t->at) {
    case '{':
    case '[': {
        const bool object = *t->at++ == '{';
        if (++t->depth > JSON_DEPTH) {
            return false;
        }
        const bool good = toy_members(t, object);
        t->depth--;
        return good;
    }
    case '"':
        return toy_string(t);
    case 't':
        return toy_word(t, "true");
    case 'f':
        return toy_word(t, "false");
    case 'n':
        return toy_word(t, "null");
    default:
        return toy_number(t);
    }
}

/* --- texts -------------------------------------------------------------------------------------------------------------------- */

#define MOST 4000

static uint8_t text[MOST];
static size_t size;

static void put(const char *s)
{
    for (; *s && size < MOST; s++) {
        text[size++] = (uint8_t)*s;
    }
}

static void put_space(void)
{
    static const char *const spaces[] = {"", "", "", "", " ", "\n", "\t\r", "  "};
    put(spaces[random_below(8)]);
}

static void put_string(void)
{
    static const char *const parts[] = {"a",  "name",   "eight by", "te", "\\n", "\\\"", "\\\\", "\\/", "\\u0041", "\\ud83d\\ude00", "é", "€",
                                        "😀", "\x7f", "\\u00e9"};
    put("\"");
    for (uint32_t n = random_below(8); n > 0; n--) {
        put(parts[random_below(sizeof parts / sizeof *parts)]);
    }
    put("\"");
}

static void put_value(int depth)
{
    static const char *const scalars[] = {"true", "false", "null", "0", "-0", "1", "-17", "3.25", "1e5", "2E-3", "-0.5e+1", "123456789012345678901234567890"};
    const uint32_t kind = random_below(depth > 4 ? 3 : 5);
    put_space();
    if (kind == 0) {
        put_string();
    } else if (kind < 3) {
        put(scalars[random_below(sizeof scalars / sizeof *scalars)]);
    } else {
        put(kind == 3 ? "{" : "[");
        const uint32_t n = random_below(4);
        for (uint32_t i = 0; i < n; i++) {
            put(i > 0 ? "," : "");
            put_space();
            if (kind == 3) {
                put_string();
                put_space();
                put(":");
            }
            put_value(depth + 1);
        }
        put_space();
        put(kind == 3 ? "}" : "]");
    }
    put_space();
}

static void mutate(void)
{
    static const uint8_t bytes[] = {'"', '\\', '{', '}', '[', ']', ',', ':', '0', '.', 'e', '-', ' ', 'u', 0, 0x1f, 0x80, 0xc0, 0xe0, 0xed, 0xf4, 0xff};
    for (uint32_t n = random_below(3); n > 0 && size > 0; n--) {
        const size_t at = random_below((uint32_t)size);
        switch (random_below(3)) {
        case 0:
            text[at] = bytes[random_below(sizeof bytes)];
            break;
        case 1:
            memmove(text + at, text + at + 1, size - at - 1);
            size--;
            break;
        default:
            size = at;
        }
    }
}

/* In a block of exactly its size, so that a byte read behind its end is seen. */
static void check_value(void)
{
    uint8_t *exact = malloc(size + 1);
    memcpy(exact, text, size);
    exact = realloc(exact, size ? size : 1);
    struct json_cursor c = {exact, exact + size};
    struct toy t = {exact, exact + size, 0};
    json_space(&c);
    const enum json_fault fault = json_skip(&c);
    const bool good = toy_value(&t);
    CHECK((fault == JSON_FINE) == good);
    CHECK(c.at <= c.end);
    if (good) {
        CHECK(c.at == t.at);
    }
    free(exact);
}

static void test_values(void)
{
    for (int i = 0; i < 50; i++) {
        size = 0;
        put_value(0);
        check_value();
        mutate();
        check_value();
    }
}

static void test_depth(void)
{
    for (int more = 0; more < 2; more++) {
        size = 0;
        for (int i = 0; i < JSON_DEPTH + more; i++) {
            put(random_below(2) ? "[" : "{\"\":");
        }
        put("0"); /* cut off behind it, but not before the last bracket */
        struct json_cursor c = {text, text + size};
        CHECK(size < MOST * 2);
        const enum json_fault fault = size == MOST ? JSON_TOO_DEEP : json_skip(&c);
        CHECK(fault == (more ? JSON_TOO_DEEP : size == MOST ? JSON_TOO_DEEP : JSON_CUT_OFF));
    }
}

/* --- strings and numbers ------------------------------------------------------------------------------------------------------ */

static void test_strings(void)
{
    for (int i = 0; i < 50; i++) {
        uint8_t expected[200];
        size_t n = 0;
        size = 0;
        put("\"");
        for (uint32_t k = random_below(30); k > 0; k--) {
            static const uint32_t edges[] = {0, 0x1f, 0x20, '"', '\\', '/', 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff};
            uint32_t p = random_below(2) ? edges[random_below(15)] : random_below(0x300);
            char escaped[16];
            uint8_t plain[4];
            const size_t bytes = p < 0x80 ? 1 : p < 0x800 ? 2 : p < 0x10000 ? 3 : 4;
            static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
            for (size_t b = bytes; b-- > 0;) {
                plain[b] = (uint8_t)(b == 0 ? lead[bytes] | p : 0x80 | (p & 0x3f));
                p = b == 0 ? p : p >> 6;
            }
            memcpy(expected + n, plain, bytes);
            n += bytes;
            p = bytes == 1 ? plain[0] : bytes == 2 ? (plain[0] & 0x1fu) << 6 | (plain[1] & 0x3fu)
                : bytes == 3 ? (plain[0] & 0x0fu) << 12 | (plain[1] & 0x3fu) << 6 | (plain[2] & 0x3fu)
                             : (plain[0] & 0x07u) << 18 | (plain[1] & 0x3fu) << 12 | (plain[2] & 0x3fu) << 6 | (plain[3] & 0x3fu);
            if (p < 0x20 || p == '"' || p == '\\' || random_below(3) == 0) {
                if (p < 0x10000) {
                    snprintf(escaped, sizeof escaped, random_below(2) ? "\\u%04x" : "\\u%04X", (unsigned)p);
                } else {
                    snprintf(escaped, sizeof escaped, "\\u%04x\\u%04x", (unsigned)(0xd800 + ((p - 0x10000) >> 10)), (unsigned)(0xdc00 + (p & 0x3ff)));
                }
                put(escaped);
            } else {
                memcpy(text + size, plain, bytes);
                size += bytes;
            }
        }
        put("\"tail");
        struct json_cursor c = {text, text + size};
        struct json_text got;
        uint8_t out[400];
        CHECK(json_string(&c, &got) == JSON_FINE);
        CHECK(c.at == text + size - 4);
        CHECK(json_unescape(&got, out) == n && memcmp(out, expected, n) == 0);
        CHECK(got.has_escapes == (memchr(text, '\\', size) != NULL));
    }
}

static void check_number(const char *s)
{
    struct json_cursor c = {(const uint8_t *)s, (const uint8_t *)s + strlen(s)};
    struct json_number n;
    double got;
    CHECK(json_number(&c, &n) == JSON_FINE);
    CHECK(c.at == c.end && n.size == strlen(s));
    if (json_to_f64(&n, &got)) {
        const double expected = strtod(s, NULL);
        CHECK(memcmp(&got, &expected, sizeof got) == 0);
    } else {
        CHECK(!n.exact || n.exponent < -27 || n.exponent > 27);
    }
    if (strpbrk(s, ".eE") == NULL) {
        char back[32];
        int64_t whole = 0;
        const enum json_fault fault = json_to_i64(&n, &whole);
        snprintf(back, sizeof back, "%" PRId64, whole);
        CHECK(fault == (strcmp(back, s) == 0 || strcmp(s, "-0") == 0 ? JSON_FINE : JSON_OUT_OF_RANGE));
    }
}

static void test_numbers(void)
{
    static const char *const edges[] = {"0", "-0", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "-9223372036854775809",
                                        "18446744073709551615", "18446744073709551616", "9007199254740993", "9007199254740992.5", "0.1", "1e22", "1e23",
                                        "8.5e-27", "2.2250738585072014e-308", "179769313486231570000000", "9999999999999999999", "10000000000000000000"};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        check_number(edges[i]);
    }
    for (int i = 0; i < 100; i++) {
        char s[64], digits[24];
        uint64_t m = random_u64() >> random_below(64);
        snprintf(digits, sizeof digits, "%" PRIu64, m);
        switch (random_below(4)) {
        case 0:
            snprintf(s, sizeof s, "%s%s", random_below(2) ? "-" : "", digits);
            break;
        case 1:
            snprintf(s, sizeof s, "%s0.%s", random_below(2) ? "-" : "", digits);
            break;
        case 2:
            snprintf(s, sizeof s, "%se%d", digits, (int)random_below(70) - 35);
            break;
        default:
            snprintf(s, sizeof s, "%.*s.%se%+d", (int)(1 + random_below((uint32_t)strlen(digits))), digits, digits, (int)random_below(50) - 25);
            if (s[0] == '0') {
                s[1] = '.';
            }
        }
        check_number(s);
    }
    struct json_number n;
    int64_t whole;
    static const struct {
        const char *s;
        enum json_fault fault;
        int64_t value;
    } integers[] = {{"1.0", JSON_FINE, 1}, {"1e3", JSON_FINE, 1000}, {"-12.50e2", JSON_FINE, -1250}, {"0.00", JSON_FINE, 0}, {"0e99999999", JSON_FINE, 0},
                    {"1.5", JSON_WRONG_TYPE, 0}, {"1e-1", JSON_WRONG_TYPE, 0}, {"1e19", JSON_OUT_OF_RANGE, 0}, {"1e99999999999", JSON_OUT_OF_RANGE, 0}};
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        struct json_cursor c = {(const uint8_t *)integers[i].s, (const uint8_t *)integers[i].s + strlen(integers[i].s)};
        whole = 0;
        CHECK(json_number(&c, &n) == JSON_FINE && json_to_i64(&n, &whole) == integers[i].fault && whole == integers[i].value);
    }
}

static void test(void)
{
    test_values();
    test_depth();
    test_strings();
    test_numbers();
}

int main(void)
{
    return run_seeds(test, 60);
}
