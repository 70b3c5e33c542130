#include "key_columns.h"

#include <string.h>

enum status key_columns_init(struct key_columns *c, struct arena *arena, const struct plan *plan, const struct keyspace *k)
{
    memset(c, 0, sizeof *c);
    c->arena = arena;
    const uint32_t n = k->plan->n_columns;
    if (n == 0) {
        return STATUS_OK;
    }
    c->parts = arena_alloc(arena, n * sizeof *c->parts);
    if (c->parts == NULL) {
        return STATUS_NO_MEMORY;
    }
    c->n_parts = n;
    memset(c->parts, 0, n * sizeof *c->parts);
    for (uint32_t i = 0; i < n; i++) {
        c->parts[i].type = plan->column_types[k->columns[i]];
    }
    return STATUS_OK;
}

static size_t width(const struct key_column *p)
{
    return p->type == COLUMN_BOOL ? 1 : 8;
}

void key_columns_free(struct key_columns *c)
{
    for (uint32_t i = 0; i < c->n_parts; i++) {
        arena_free(c->arena, c->parts[i].values, c->parts[i].capacity * width(&c->parts[i]));
        arena_free(c->arena, c->parts[i].text, c->parts[i].text_capacity);
    }
    if (c->arena != NULL) {
        arena_free(c->arena, c->parts, c->n_parts * sizeof *c->parts);
    }
    memset(c, 0, sizeof *c);
}

void key_columns_clear(struct key_columns *c)
{
    c->n_rows = 0;
    for (uint32_t i = 0; i < c->n_parts; i++) {
        c->parts[i].text_size = 0;
    }
}

/* Room for more rows, and for so much more text. */
static enum status reserve(struct key_columns *c, struct key_column *p, uint32_t rows, uint64_t text)
{
    void *values = p->values;
    enum status st = arena_reserve(c->arena, &values, &p->capacity, (uint64_t)c->n_rows + rows + 1, width(p));
    p->values = values;
    if (st == STATUS_OK && text > 0) {
        void *bytes = p->text;
        st = arena_reserve(c->arena, &bytes, &p->text_capacity, p->text_size + text, 1);
        p->text = bytes;
    }
    return st;
}

/* One part of an encoded key: its eight bytes (text: size and place); returns what follows. */
static const char *read_part(const char *at, uint64_t *bits, const char **text)
{
    const char type = *at++;
    *text = NULL;
    *bits = 0;
    if (type == COLUMN_BOOL) {
        *bits = (uint8_t)*at;
        return at + 1;
    }
    memcpy(bits, at, 8);
    at += 8;
    if (type == COLUMN_STR) {
        *text = at;
        at += *bits;
    }
    return at;
}

enum status key_columns_append(struct key_columns *c, const struct keyspace *k, uint32_t slot)
{
    const struct key_slot *s = &k->slots[slot];
    if (k->integer) {
        struct key_column *p = &c->parts[0];
        if (UNLIKELY((uint64_t)c->n_rows + 2 > p->capacity)) {
            const enum status st = reserve(c, p, 1, 0);
            if (st != STATUS_OK) {
                return st;
            }
        }
        ((int64_t *)p->values)[c->n_rows++] = s->i64;
        return STATUS_OK;
    }
    const char *at = s->bytes;
    const char *text;
    uint64_t bits;
    for (uint32_t i = 0; i < c->n_parts; i++) {
        at = read_part(at, &bits, &text);
        const enum status st = reserve(c, &c->parts[i], 1, text == NULL ? 0 : bits);
        if (st != STATUS_OK) {
            return st;
        }
    }
    at = s->bytes;
    for (uint32_t i = 0; i < c->n_parts; i++) {
        struct key_column *p = &c->parts[i];
        at = read_part(at, &bits, &text);
        if (p->type == COLUMN_BOOL) {
            ((uint8_t *)p->values)[c->n_rows] = (uint8_t)bits;
        } else if (p->type != COLUMN_STR) {
            ((uint64_t *)p->values)[c->n_rows] = bits;
        } else {
            if (bits > 0) {
                memcpy(p->text + p->text_size, text, bits);
            }
            ((int64_t *)p->values)[0] = 0;
            p->text_size += bits;
            ((int64_t *)p->values)[c->n_rows + 1] = (int64_t)p->text_size;
        }
    }
    c->n_rows++;
    return STATUS_OK;
}

enum status key_columns_extend(struct key_columns *c, uint32_t n, int64_t **numbers)
{
    const enum status st = reserve(c, &c->parts[0], n, 0);
    if (st == STATUS_OK) {
        *numbers = (int64_t *)c->parts[0].values + c->n_rows;
        c->n_rows += n;
    }
    return st;
}

/* Numbers in order as unsigned ones. A NaN key is the positive one (keyspace.c), and so the last. */
static uint64_t rank_of(uint8_t type, uint64_t bits)
{
    if (type == COLUMN_F64) {
        return bits & KEY_SIGN ? ~bits : bits | KEY_SIGN;
    }
    return type == COLUMN_I64 ? bits ^ KEY_SIGN : bits;
}

static uint64_t rank_of_text(const char *text, uint64_t size)
{
    uint64_t rank = 0;
    for (uint64_t i = 0; i < 8; i++) {
        rank = rank << 8 | (i < size ? (uint8_t)text[i] : 0);
    }
    return rank;
}

uint64_t key_rank(const struct keyspace *k, uint32_t slot)
{
    const struct key_slot *s = &k->slots[slot];
    if (k->integer) {
        return (uint64_t)s->i64 ^ KEY_SIGN;
    }
    if (s->size == 0) {
        return 0;
    }
    const char *text;
    uint64_t bits;
    (void)read_part(s->bytes, &bits, &text);
    return text != NULL ? rank_of_text(text, bits) : rank_of((uint8_t)s->bytes[0], bits);
}

int key_compare(const struct keyspace *k, uint32_t a, uint32_t b)
{
    const struct key_slot *x = &k->slots[a], *y = &k->slots[b];
    if (k->integer) {
        return (x->i64 > y->i64) - (x->i64 < y->i64);
    }
    const char *p = x->bytes, *q = y->bytes;
    for (uint32_t i = 0; i < k->plan->n_columns; i++) {
        const uint8_t type = (uint8_t)*p;
        uint64_t m, n;
        const char *s, *t;
        p = read_part(p, &m, &s);
        q = read_part(q, &n, &t);
        if (s != NULL) {
            const uint64_t both = m < n ? m : n;
            const int c = both == 0 ? 0 : memcmp(s, t, both);
            if (c != 0 || m != n) {
                return c != 0 ? c : m < n ? -1 : 1;
            }
        } else if (m != n) {
            return rank_of(type, m) < rank_of(type, n) ? -1 : 1;
        }
    }
    return 0;
}
