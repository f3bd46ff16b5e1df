/* Times as text, and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "turnout/clock.h"
#include "turnout/mem.h"

static void test_parse(void **state)
{
    const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"2026-11-24T20:35:45.123Z", 1795552545123},
        {"2026-11-24T20:35:45Z", 1795552545000},
        {"2026-11-24T20:35:45.123456789Z", 1795552545123},
        {"2026-11-24T20:35:45.5Z", 1795552545500},
        {"2026-11-24T21:35:45.123+01:00", 1795552545123},
        {"2026-11-24T15:05:45-05:30", 1795552545000},
        {"2024-02-29T00:00:00Z", 1709164800000},
        {"1970-01-01T00:00:00Z", 0},
        {"0001-01-01T00:00:00Z", -1}, /* Go's zero time */
        {"", -1},
        {"now", -1},
        {"2026-11-24", -1},
        {"2026-11-24T20:35:45", -1},
        {"2026-11-24 20:35:45Z", -1},
        {"2026-11-24T20:35:45+", -1},
        {"2026-11-24T20:35:45X", -1},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        int64_t got = tn_parse_time(rows[i].text);
        if (got != rows[i].ms)
            fail_msg("'%s': %lld", rows[i].text, (long long)got);
    }
    assert_int_equal(tn_parse_time(NULL), -1);
}

/* "-1 when it is not one": fields out of range and what follows the zone make it no RFC 3339 time. */
static void test_parse_is_strict(void **state)
{
    static const char *const bad[] = {
        "2026-13-24T20:35:45Z",       "2026-00-24T20:35:45Z",      "2026-11-32T20:35:45Z",
        "2026-11-24T25:35:45Z",       "2026-11-24T20:61:45Z",      "2026-11-24T20:35:45Zx",
        "2026-11-24T20:35:45+01:00x", "2026-11-24T20:35:45+99:99",
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(bad); i++) {
        if (tn_parse_time(bad[i]) != -1)
            fail_msg("'%s' was taken", bad[i]);
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    char text[32];
    assert_string_equal(tn_format_time(1795552545123, text, sizeof(text)), "2026-11-24T20:35:45.123Z");
    assert_string_equal(tn_format_time(0, text, sizeof(text)), "1970-01-01T00:00:00.000Z");
    for (int64_t t = 0; t < 4000000000000; t += 98765432101)
        assert_int_equal(tn_parse_time(tn_format_time(t, text, sizeof(text))), t);
}

static void test_local_clock(void **state)
{
    (void)state;
    char text[16];
    setenv("TZ", "UTC-2", 1);
    tzset();
    assert_string_equal(tn_format_clock(1795552545123, text, sizeof(text)), "22:35:45");
    unsetenv("TZ");
    tzset();
}

static void test_clocks_run(void **state)
{
    (void)state;
    int64_t a = tn_mono_us(), b = tn_mono_us(), ms = tn_mono_ms();
    assert_true(b >= a && ms >= a / 1000);
    assert_true(tn_wall_ms() > 1700000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),      cmocka_unit_test(test_parse_is_strict),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_local_clock),
        cmocka_unit_test(test_clocks_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
