#include "turnout/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t clock_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t tn_mono_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int64_t tn_mono_ms(void)
{
    return tn_mono_us() / 1000;
}

int64_t tn_wall_ms(void)
{
    return clock_us(CLOCK_REALTIME) / 1000;
}

const char *tn_format_time(int64_t wall_ms, char *buf, size_t n)
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    char date[24];
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(buf, n, "%s.%03dZ", date, (int)(wall_ms % 1000));
    return buf;
}

const char *tn_format_clock(int64_t wall_ms, char *buf, size_t n)
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    localtime_r(&s, &tm);
    strftime(buf, n, "%H:%M:%S", &tm);
    return buf;
}

/* ".123456789" → 123; *s moves behind it. */
static int64_t fraction_ms(const char **s)
{
    int64_t ms = 0, unit = 100;
    if (**s != '.')
        return 0;
    for (++*s; **s >= '0' && **s <= '9'; ++*s) {
        ms += (**s - '0') * unit;
        unit /= 10;
    }
    return ms;
}

/* "Z", "+01:00", "-05:30", and nothing behind it. */
static bool parse_zone(const char *p, int64_t *seconds)
{
    int h = 0, m = 0;
    *seconds = 0;
    if (*p == 'Z')
        return p[1] == 0;
    if ((*p != '+' && *p != '-') || strlen(p) != 6 || sscanf(p + 1, "%2d:%2d", &h, &m) != 2 || h > 23 ||
        m > 59)
        return false;
    *seconds = (*p == '+' ? 1 : -1) * (h * 60 + m) * 60;
    return true;
}

static bool within(int value, int low, int high)
{
    return value >= low && value <= high;
}

static bool parse_date(const char *s, struct tm *tm)
{
    if (sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d", &tm->tm_year, &tm->tm_mon, &tm->tm_mday, &tm->tm_hour,
               &tm->tm_min, &tm->tm_sec) != 6)
        return false;
    return within(tm->tm_year, 1970, 9999) && within(tm->tm_mon, 1, 12) && within(tm->tm_mday, 1, 31) &&
           within(tm->tm_hour, 0, 23) && within(tm->tm_min, 0, 59) && within(tm->tm_sec, 0, 60);
}

int64_t tn_parse_time(const char *s)
{
    struct tm tm = {0};
    int64_t zone;
    if (!s || strlen(s) < 20 || !parse_date(s, &tm))
        return -1;
    const char *p = s + 19;
    int64_t ms = fraction_ms(&p);
    if (!parse_zone(p, &zone))
        return -1;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return ((int64_t)timegm(&tm) - zone) * 1000 + ms;
}
