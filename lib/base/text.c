#include "turnout/text.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *tn_name_of(const struct tn_name *table, int value)
{
    for (; table->name; table++)
        if (table->value == value)
            return table->name;
    return "?";
}

bool tn_name_find(const struct tn_name *table, const char *name, int *out)
{
    for (; table->name; table++) {
        if (strcmp(table->name, name) == 0) {
            *out = table->value;
            return true;
        }
    }
    return false;
}

bool tn_streq(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool tn_starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool tn_ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && strcmp(s + n - m, suffix) == 0;
}

bool tn_glob(const char *pattern, const char *s)
{
    return fnmatch(pattern, s, FNM_NOESCAPE) == 0;
}

/* Edit distance with swaps of neighbours counted as one; words longer than 63 never match. */
static size_t distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    size_t n = strlen(a), m = strlen(b);
    if (n >= MAX || m >= MAX)
        return MAX;
    size_t d[MAX][MAX];
    for (size_t i = 0; i <= n; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        for (size_t j = 1; j <= m; j++) {
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[n][m];
}

int tn_nearest(const char *word, const char *const *names, size_t n)
{
    size_t limit = strlen(word) / 3;
    limit = limit < 1 ? 1 : limit > 4 ? 4 : limit;
    int best = -1;
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, names[i]);
        if (d <= limit) {
            if (d == 0)
                return (int)i;
            best = (int)i;
            limit = d - 1;
        }
    }
    return best;
}

bool tn_parse_int(const char *s, int64_t *out)
{
    if (!s || !*s || isspace((unsigned char)*s))
        return false;
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (*end || errno)
        return false;
    *out = v;
    return true;
}

struct unit {
    const char *name;
    int64_t factor;
};

/* Digits with an optional fraction, in units of `factor`; *s moves behind them. */
static bool scan_number(const char **s, double *out)
{
    if (!isdigit((unsigned char)**s))
        return false;
    char *end;
    double v = 0, place = 1;
    const char *p = *s;
    for (; isdigit((unsigned char)*p); p++)
        v = v * 10 + (*p - '0');
    if (*p == '.') {
        for (p++; isdigit((unsigned char)*p); p++)
            v += (*p - '0') * (place /= 10);
    }
    end = (char *)(uintptr_t)p;
    *s = end;
    *out = v;
    return v < 9e15;
}

static const struct unit *scan_unit(const char **s, const struct unit *units)
{
    const struct unit *best = NULL;
    for (const struct unit *u = units; u->name; u++)
        if (tn_starts_with(*s, u->name) && (!best || strlen(u->name) > strlen(best->name)))
            best = u;
    if (best)
        *s += strlen(best->name);
    return best;
}

bool tn_parse_duration(const char *s, int64_t *out_ms)
{
    static const struct unit units[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
    double total = 0;
    if (!s || !*s)
        return false;
    if (strcmp(s, "0") == 0) {
        *out_ms = 0;
        return true;
    }
    while (*s) {
        double v;
        if (!scan_number(&s, &v))
            return false;
        const struct unit *u = scan_unit(&s, units);
        if (!u)
            return false;
        total += v * (double)u->factor;
        if (total > 1e14)
            return false;
    }
    *out_ms = (int64_t)(total + 0.5);
    return true;
}

const char *tn_format_duration(int64_t ms, char *buf, size_t n)
{
    static const struct unit units[] = {
        {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t len = 0;
    buf[0] = 0;
    if (ms <= 0)
        snprintf(buf, n, "0s");
    for (size_t i = 0; i < sizeof(units) / sizeof(*units) && ms > 0 && len + 1 < n; i++) {
        int64_t k = ms / units[i].factor;
        if (k == 0)
            continue;
        ms -= k * units[i].factor;
        len += (size_t)snprintf(buf + len, n - len, "%" PRId64 "%s", k, units[i].name);
    }
    return buf;
}

const char *tn_format_age(int64_t ms, char *buf, size_t n)
{
    if (ms < 0)
        ms = 0;
    if (ms < 1000)
        snprintf(buf, n, "%dms", (int)ms);
    else if (ms < 60000)
        snprintf(buf, n, "%d.%ds", (int)(ms / 1000), (int)(ms % 1000 / 100));
    else if (ms < 3600000)
        snprintf(buf, n, "%dm%02ds", (int)(ms / 60000), (int)(ms / 1000 % 60));
    else if (ms < 2 * 86400000LL)
        snprintf(buf, n, "%dh%02dm", (int)(ms / 3600000), (int)(ms / 60000 % 60));
    else
        snprintf(buf, n, "%" PRId64 "d", ms / 86400000);
    return buf;
}

bool tn_parse_size(const char *s, int64_t *out_bytes)
{
    static const struct unit units[] = {
        {"Ki", 1LL << 10}, {"Mi", 1LL << 20}, {"Gi", 1LL << 30}, {"Ti", 1LL << 40}, {"k", 1000},
        {"K", 1000},       {"M", 1000000},    {"G", 1000000000}, {"m", 1LL << 20},  {"g", 1LL << 30},
        {"b", 1},          {"B", 1},          {NULL, 0},
    };
    double v;
    if (!s || !scan_number(&s, &v))
        return false;
    const struct unit *u = scan_unit(&s, units);
    if (*s)
        return false;
    v *= u ? (double)u->factor : 1;
    if (v > 9e15)
        return false;
    *out_bytes = (int64_t)v;
    return true;
}

bool tn_parse_cpu(const char *s, int64_t *out_milli)
{
    static const struct unit units[] = {{"m", 1}, {NULL, 0}};
    double v;
    if (!s || !scan_number(&s, &v))
        return false;
    const struct unit *u = scan_unit(&s, units);
    if (*s)
        return false;
    *out_milli = (int64_t)(u ? v : v * 1000 + 0.5);
    return true;
}
