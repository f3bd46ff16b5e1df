/* Words, durations, sizes, globs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "turnout/mem.h"
#include "turnout/text.h"

static void test_names(void **state)
{
    static const struct tn_name table[] = {{"one", 1}, {"two", 2}, {NULL, 0}};
    (void)state;
    int v = 7;
    assert_string_equal(tn_name_of(table, 2), "two");
    assert_string_equal(tn_name_of(table, 0), "?");
    assert_true(tn_name_find(table, "one", &v));
    assert_int_equal(v, 1);
    assert_false(tn_name_find(table, "On", &v));
    assert_int_equal(v, 1);
}

static void test_compare(void **state)
{
    (void)state;
    assert_true(tn_streq(NULL, NULL) && tn_streq("a", "a"));
    assert_false(tn_streq(NULL, "") || tn_streq("", NULL) || tn_streq("a", "b"));
    assert_true(tn_starts_with("abc", "ab") && tn_starts_with("abc", "") && tn_starts_with("a", "a"));
    assert_false(tn_starts_with("ab", "abc"));
    assert_true(tn_ends_with("abc", "bc") && tn_ends_with("abc", "") && tn_ends_with("abc", "abc"));
    assert_false(tn_ends_with("bc", "abc") || tn_ends_with("abc", "ab"));
}

static void test_glob(void **state)
{
    const struct {
        const char *pattern, *text;
        bool fits;
    } rows[] = {
        {"*", "", true},
        {"*", "anything/at all", true},
        {"web", "web", true},
        {"web", "web-1", false},
        {"web-*", "web-1", true},
        {"web-?", "web-1", true},
        {"web-?", "web", false},
        {"web-?", "web-10", false},
        {"*-db", "a-db", true},
        {"*-db", "a-db2", false},
        {"a*b*c", "aXXbYYc", true},
        {"a*b*c", "ac", false},
        {"", "", true},
        {"", "a", false},
        {"*.*", "a.b", true},
        {"*a*", "bcd", false},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        if (tn_glob(rows[i].pattern, rows[i].text) != rows[i].fits)
            fail_msg("'%s' and '%s'", rows[i].pattern, rows[i].text);
    }
}

static void test_nearest(void **state)
{
    static const char *const names[] = {"image", "replicas", "environment", "healthy_deadline",
                                        "ports", "env"};
    const struct {
        const char *word;
        int index;
    } rows[] = {
        {"image", 0},    {"imgae", 0},        {"imag", 0},           {"replica", 1},
        {"repliacs", 1}, {"enviroment", 2},   {"helthy_dedline", 3}, {"prots", 4},
        {"port", 4},     {"envs", 5},         {"zebra", -1},         {"", -1},
        {"x", -1},       {"hlthydedlin", -1},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        int got = tn_nearest(rows[i].word, names, TN_COUNT(names));
        if (got != rows[i].index)
            fail_msg("'%s': %d, not %d", rows[i].word, got, rows[i].index);
    }
    char word[200];
    memset(word, 'a', sizeof(word) - 1);
    word[sizeof(word) - 1] = 0;
    const char *same[] = {word};
    assert_int_equal(tn_nearest(word, same, 1), -1); /* longer words are not compared */
    assert_int_equal(tn_nearest("image", names, 0), -1);
}

/* The nearer of two wins, and an exact one over all. */
static void test_nearest_takes_the_nearer(void **state)
{
    (void)state;
    static const char *const names[] = {"restarts", "restart", "resta"};
    assert_int_equal(tn_nearest("restart", names, 3), 1);
    assert_int_equal(tn_nearest("restrat", names, 3), 1);
    assert_int_equal(tn_nearest("restartss", names, 3), 0);
}

static void test_duration(void **state)
{
    const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"0", 0},
        {"0s", 0},
        {"300ms", 300},
        {"2s", 2000},
        {"5m", 300000},
        {"1h", 3600000},
        {"1h30m", 5400000},
        {"2d", 172800000},
        {"1.5s", 1500},
        {"0.5m", 30000},
        {"1m1ms", 60001},
        {"1d2h3m4s5ms", 93784005},
        {"0.0014s", 1},
        {"0.0016s", 2},
        {"5", -1},
        {"", -1},
        {" 5s", -1},
        {"5s ", -1},
        {"-5s", -1},
        {"5 s", -1},
        {"s", -1},
        {".5s", -1},
        {"5x", -1},
        {"5sm", -1},
        {"1e3s", -1},
        {"0x10s", -1},
        {"+1s", -1},
        {"inf", -1},
        {"nan", -1},
        {"00", -1},
        {"99999999999999999999d", -1},
        {"5S", -1},
        {"1h30", -1},
        {"5s\n", -1},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        int64_t v = -1;
        bool ok = tn_parse_duration(rows[i].text, &v);
        if (ok != (rows[i].ms >= 0) || v != rows[i].ms)
            fail_msg("'%s': %d, %lld", rows[i].text, ok, (long long)v);
    }
    int64_t untouched = 42;
    assert_false(tn_parse_duration(NULL, &untouched));
    assert_int_equal(untouched, 42);
}

static void test_duration_round_trip(void **state)
{
    (void)state;
    char text[32];
    assert_string_equal(tn_format_duration(90000, text, sizeof(text)), "1m30s");
    assert_string_equal(tn_format_duration(0, text, sizeof(text)), "0s");
    assert_string_equal(tn_format_duration(-5, text, sizeof(text)), "0s");
    assert_string_equal(tn_format_duration(172800000, text, sizeof(text)), "2d");
    assert_string_equal(tn_format_duration(3600001, text, sizeof(text)), "1h1ms");
    uint64_t r = 88172645463325252u;
    for (int i = 0; i < 20000; i++) {
        r ^= r << 13, r ^= r >> 7, r ^= r << 17;
        int64_t ms = (int64_t)(r % 10000000000000u) >> (i % 40), back = -1;
        assert_true(tn_parse_duration(tn_format_duration(ms, text, sizeof(text)), &back));
        if (back != ms)
            fail_msg("%lld became '%s' became %lld", (long long)ms, text, (long long)back);
    }
}

static void test_format_in_a_small_buffer(void **state)
{
    (void)state;
    char text[8] = "zzzzzzz";
    tn_format_duration(93784005, text, 4);
    assert_int_equal(strlen(text), 3);
    assert_string_equal(text + 4, "zzz");
}

static void test_age(void **state)
{
    const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {-1, "0ms"},         {0, "0ms"},         {999, "999ms"},       {1000, "1.0s"},
        {1949, "1.9s"},      {59999, "59.9s"},   {60000, "1m00s"},     {250000, "4m10s"},
        {3599999, "59m59s"}, {3600000, "1h00m"}, {90000000, "25h00m"}, {172799999, "47h59m"},
        {172800000, "2d"},   {259200000, "3d"},
    };
    (void)state;
    char text[32];
    for (size_t i = 0; i < TN_COUNT(rows); i++)
        assert_string_equal(tn_format_age(rows[i].ms, text, sizeof(text)), rows[i].text);
}

static void test_size(void **state)
{
    const struct {
        const char *text;
        int64_t bytes;
    } rows[] = {
        {"0", 0},
        {"1048576", 1048576},
        {"512Mi", 536870912},
        {"1Gi", 1073741824},
        {"128m", 134217728},
        {"2g", 2147483648},
        {"100k", 100000},
        {"100K", 100000},
        {"1Ki", 1024},
        {"3M", 3000000},
        {"1G", 1000000000},
        {"1Ti", 1099511627776},
        {"1.5Gi", 1610612736},
        {"10b", 10},
        {"10B", 10},
        {"", -1},
        {"Mi", -1},
        {"-1", -1},
        {"1 Mi", -1},
        {"1Mib", -1},
        {"1MiB", -1},
        {"1x", -1},
        {"1e9", -1},
        {"99999999Ti", -1},
        {"9999999999999999999", -1},
        {" 1", -1},
        {"1 ", -1},
        {"0x10", -1},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        int64_t v = -1;
        bool ok = tn_parse_size(rows[i].text, &v);
        if (ok != (rows[i].bytes >= 0) || v != rows[i].bytes)
            fail_msg("'%s': %d, %lld", rows[i].text, ok, (long long)v);
    }
    int64_t v;
    assert_false(tn_parse_size(NULL, &v));
}

static void test_cpu(void **state)
{
    const struct {
        const char *text;
        int64_t milli;
    } rows[] = {
        {"0.5", 500}, {"2", 2000}, {"500m", 500}, {"1.25", 1250}, {"0", 0},   {"0.001", 1}, {"", -1},
        {"m", -1},    {"-1", -1},  {"1x", -1},    {"1mm", -1},    {" 1", -1}, {"2 ", -1},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        int64_t v = -1;
        bool ok = tn_parse_cpu(rows[i].text, &v);
        if (ok != (rows[i].milli >= 0) || v != rows[i].milli)
            fail_msg("'%s': %d, %lld", rows[i].text, ok, (long long)v);
    }
    int64_t v;
    assert_false(tn_parse_cpu(NULL, &v));
}

static void test_int(void **state)
{
    const struct {
        const char *text;
        bool ok;
        int64_t v;
    } rows[] = {
        {"0", true, 0},     {"-7", true, -7},  {"0012", true, 12}, {"9223372036854775807", true, INT64_MAX},
        {"", false, 0},     {" 1", false, 0},  {"1 ", false, 0},   {"1.0", false, 0},
        {"0x10", false, 0}, {"ten", false, 0}, {"-", false, 0},    {"9223372036854775808", false, 0},
        {"1\n", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        int64_t v = 0;
        bool ok = tn_parse_int(rows[i].text, &v);
        if (ok != rows[i].ok || v != rows[i].v)
            fail_msg("'%s': %d, %lld", rows[i].text, ok, (long long)v);
    }
    int64_t v;
    assert_false(tn_parse_int(NULL, &v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_glob),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_nearest_takes_the_nearer),
        cmocka_unit_test(test_duration),
        cmocka_unit_test(test_duration_round_trip),
        cmocka_unit_test(test_format_in_a_small_buffer),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_int),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
