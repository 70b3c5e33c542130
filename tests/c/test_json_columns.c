/* Rows of JSON into columns, against values that the test wrote the texts from; faults and missing memory leave no row. */
#include "json_columns.h"
#include "check.h"

#include <math.h>

#define N_FIELDS 5
#define MOST_ROWS 200

struct cell {
    bool present;
    int64_t i64; /* or the bool */
    double f64;
    char text[64];
};

static struct cell expected[MOST_ROWS][N_FIELDS];
static const char *const names[N_FIELDS] = {"id", "price", "ok", "a name of more than forty-four bytes in all, so a long one", "raw"};
static char row[2000];

static double slowly(void *context, const uint8_t *bytes, size_t size)
{
    char copy[400];
    (void)context;
    CHECK(size < sizeof copy);
    memcpy(copy, bytes, size);
    copy[size] = 0;
    return strtod(copy, NULL);
}

/* A value for field f, as text, and what it is. */
static void any_value(uint32_t f, char *out, struct cell *cell)
{
    static const char *const raws[] = {"[1, 2, {\"id\": 3}]", "{}", "17", "true", "\"x\\u0041\""};
    memset(cell, 0, sizeof *cell);
    if (random_below(5) == 0) {
        strcpy(out, "null");
        return;
    }
    cell->present = true;
    switch (f) {
    case 0:
        cell->i64 = (int64_t)random_u64() >> random_below(63);
        sprintf(out, "%" PRId64, cell->i64);
        break;
    case 1:
        cell->f64 = ((double)(int64_t)random_u64()) * pow(10, (double)random_below(60) - 40);
        sprintf(out, "%.*e", (int)random_below(25), cell->f64);
        cell->f64 = strtod(out, NULL);
        break;
    case 2:
        cell->i64 = random_below(2);
        strcpy(out, cell->i64 ? "true" : "false");
        break;
    case 3: {
        const uint32_t n = random_below(12);
        for (uint32_t i = 0; i < n; i++) {
            cell->text[i] = (char)('a' + random_below(26));
        }
        sprintf(out, random_below(2) ? "\"%s\"" : "\"\\u0041%s\"", cell->text);
        if (out[1] == '\\') {
            memmove(cell->text + 1, cell->text, n);
            cell->text[0] = 'A';
        }
        break;
    }
    default:
        strcpy(cell->text, raws[random_below(5)]);
        strcpy(out, cell->text);
    }
}

/* A whole object; fields in some order, some twice, some missing, some that nobody asked for. */
static void any_row(struct cell cells[N_FIELDS])
{
    char value[400];
    const uint32_t turn = random_below(8) ? 0 : random_below(N_FIELDS); /* mostly the same order */
    bool first = true;
    memset(cells, 0, N_FIELDS * sizeof *cells);
    strcpy(row, "{");
    for (uint32_t i = 0; i < N_FIELDS + 2; i++) {
        const uint32_t f = i < N_FIELDS ? (i + turn) % N_FIELDS : random_below(N_FIELDS);
        if (i < N_FIELDS ? random_below(8) == 0 : random_below(6) != 0) {
            continue;
        }
        any_value(f, value, &cells[f]);
        strcat(row, first ? "" : random_below(2) ? "," : " , ");
        strcat(row, f == 0 && random_below(4) == 0 ? "\"\\u0069d\":" : ""); /* "id", escaped */
        if (row[strlen(row) - 1] != ':') {
            sprintf(row + strlen(row), "\"%s\"%s", names[f], random_below(2) ? ":" : " : ");
        }
        strcat(row, value);
        if (random_below(6) == 0) {
            strcat(row, ",\"other\":{\"id\":[]}");
        }
        first = false;
    }
    strcat(row, "}");
}

static void check_columns(const struct json_columns *j, uint32_t n_rows)
{
    CHECK(j->n_rows == n_rows);
    for (uint32_t f = 0; f < N_FIELDS; f++) {
        const struct json_column *c = &j->columns[f];
        uint32_t n_valid = 0;
        for (uint32_t i = 0; i < n_rows; i++) {
            const struct cell *cell = &expected[i][f];
            const bool valid = (c->valid[i / 8] >> (i % 8) & 1) != 0;
            n_valid += valid;
            CHECK(valid == cell->present);
            if (f >= 3) {
                const size_t size = (size_t)(c->offsets[i + 1] - c->offsets[i]);
                CHECK(size == strlen(cell->text) && (size == 0 || memcmp(c->text + c->offsets[i], cell->text, size) == 0));
            } else if (f == 2) {
                CHECK((c->bits[i / 8] >> (i % 8) & 1) == cell->i64);
            } else if (f == 1) {
                CHECK(c->f64[i] == cell->f64);
            } else {
                CHECK(c->i64[i] == cell->i64);
            }
        }
        CHECK(c->n_valid == n_valid);
    }
}

static void test(void)
{
    struct arena a;
    struct json_columns j;
    struct json_field fields[N_FIELDS];
    static const uint8_t types[N_FIELDS] = {JSON_I64, JSON_F64, JSON_BOOL, JSON_STRING, JSON_ANY};
    arena_init(&a);
    for (uint32_t f = 0; f < N_FIELDS; f++) {
        char *name;
        memcpy(&name, &names[f], sizeof name);
        fields[f] = (struct json_field){.name = (uint8_t *)name, .name_size = (uint32_t)strlen(names[f]), .type = types[f]};
    }
    do { /* with one allocation more each time, until it works */
        a.fail_after = random_below(12);
    } while (json_columns_init(&j, &a, fields, N_FIELDS, slowly, NULL) != STATUS_OK);
    a.fail_after = 0;
    for (int batch = 0; batch < 3; batch++) {
        const uint32_t capacity = random_below(4) ? random_below(MOST_ROWS + 1) : 0;
        uint32_t n = 0;
        do {
            a.fail_after = random_below(8);
        } while (json_columns_begin(&j, capacity) != STATUS_OK);
        a.fail_after = 0;
        for (uint32_t tries = 0; tries < 2 * capacity && n < capacity; tries++) {
            struct json_error error;
            any_row(expected[n]);
            size_t size = strlen(row);
            const bool cut = random_below(4) == 0;
            a.fail_after = random_below(20) == 0;
            if (cut) {
                size = random_below((uint32_t)size);
            } else if (random_below(8) == 0) {
                strcat(row, " x");
                size += 2;
                CHECK(json_columns_add(&j, (uint8_t *)row, size, &error) || (error.fault == JSON_TRAILING && error.at == size - 1));
                a.fail_after = 0;
                continue;
            }
            const enum status st = json_columns_add(&j, (uint8_t *)row, size, &error);
            a.fail_after = 0;
            CHECK(st == STATUS_OK || st == STATUS_NO_MEMORY);
            if (st == STATUS_OK && !cut) {
                CHECK(error.fault == JSON_FINE);
                n++;
            } else if (st == STATUS_OK) {
                CHECK((error.fault == JSON_CUT_OFF && error.at == size) || (error.fault == JSON_BAD_ESCAPE && error.at < size));
            }
            CHECK(j.n_rows == n);
        }
        check_columns(&j, n);
    }
    json_columns_free(&j);
    CHECK(a.bytes_used == 0);
    arena_free_all(&a);
}

int main(void)
{
    return run_seeds(test, 100);
}
