/* turnout/text.h - words: nearest known name, durations, sizes, the one filter before a terminal, globs, enum tables. */
#ifndef TURNOUT_TEXT_H
#define TURNOUT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "turnout/buf.h"

/* One row of an enum's string table; the table ends with {NULL, 0}. */
struct tn_name {
    const char *name;
    int value;
};
const char *tn_name_of(const struct tn_name *table, int value);             /* "?" when unknown */
bool tn_name_find(const struct tn_name *table, const char *name, int *out); /* false when unknown */

bool tn_streq(const char *a, const char *b); /* NULL equals only NULL */
bool tn_starts_with(const char *s, const char *prefix);
bool tn_ends_with(const char *s, const char *suffix);
/* `*` and `?`, the whole string. */
bool tn_glob(const char *pattern, const char *s);

/* Index of the nearest of n names (edit distance ≤ 1/3 of the length, at least 1 and at most 4), or -1. */
int tn_nearest(const char *word, const char *const *names, size_t n);

/* Durations: 300ms, 2s, 5m, 1h30m, 2d; a unit is required (0 alone is fine). Result in milliseconds. */
bool tn_parse_duration(const char *s, int64_t *out_ms);
/* The shortest exact form: 90000 → "1m30s". buf ≥ 32 bytes. */
const char *tn_format_duration(int64_t ms, char *buf, size_t n);
/* For people: "1.9s", "4m10s", "3d". buf ≥ 32 bytes. */
const char *tn_format_age(int64_t ms, char *buf, size_t n);
/* Sizes: 512Mi, 1Gi, 128m (docker), 100k, 1048576. Result in bytes. */
bool tn_parse_size(const char *s, int64_t *out_bytes);
/* CPUs: 0.5, 2, 500m. Result in thousandths. */
bool tn_parse_cpu(const char *s, int64_t *out_milli);
bool tn_parse_int(const char *s, int64_t *out); /* decimal, whole string */

/* THE filter: bytes from elsewhere → what a terminal may see. Escape sequences are removed, control and hidden
 * characters become '?', invalid UTF-8 becomes \xNN; tabs become a space; newlines are kept only when `keep_newlines`. */
void tn_filter(struct tn_buf *out, const char *s, size_t n, bool keep_newlines);

/* Columns that a UTF-8 text takes (wide characters count 2). */
size_t tn_columns(const char *s);

#endif
