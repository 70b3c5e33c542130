#include "changes.h"

#include <string.h>

void change_set_init(struct change_set *s, struct arena *arena)
{
    memset(s, 0, sizeof *s);
    s->arena = arena;
}

void change_set_free(struct change_set *s)
{
    if (s->arena == NULL) {
        return;
    }
    arena_free(s->arena, s->marks, s->capacity);
    arena_free(s->arena, s->list, s->list_capacity * sizeof *s->list);
    memset(s, 0, sizeof *s);
}

enum status change_set_reserve(struct change_set *s, uint32_t n)
{
    const uint32_t before = s->capacity;
    void *marks = s->marks;
    const enum status st = arena_reserve(s->arena, &marks, &s->capacity, n, 1);
    s->marks = marks;
    if (s->capacity > before) {
        memset(s->marks + before, 0, s->capacity - before);
    }
    return st;
}

enum status change_set_add(struct change_set *s, uint32_t id, uint64_t birth)
{
    if (s->marks[id] & MARK_CHANGED) {
        return STATUS_OK;
    }
    void *list = s->list;
    const enum status st = arena_reserve(s->arena, &list, &s->list_capacity, (uint64_t)s->n + 1, sizeof *s->list);
    s->list = list;
    if (st == STATUS_OK) {
        s->list[s->n++] = (struct changed){birth, id};
        s->marks[id] |= MARK_CHANGED;
    }
    return st;
}

void change_set_clear(struct change_set *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        s->marks[s->list[i].id] &= (uint8_t)~MARK_CHANGED;
    }
    s->n = 0;
}

enum status change_set_freeze(struct change_set *s, uint32_t n, bool track)
{
    enum status st = change_set_reserve(s, n);
    if (st == STATUS_OK && track) {
        void *list = s->list;
        st = arena_reserve(s->arena, &list, &s->list_capacity, n, sizeof *s->list);
        s->list = list;
    }
    if (st != STATUS_OK) {
        return st;
    }
    for (uint32_t i = 0; i < s->capacity; i++) {
        s->marks[i] &= (uint8_t)~MARK_FROZEN;
    }
    s->next = 0;
    s->n_frozen = n;
    return STATUS_OK;
}
