/* Events as JSON: schema version 1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/event.h"
#include "turnout/mem.h"

static char *line_of(const struct tn_event *e)
{
    json_t *j = tn_event_json(e);
    char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(j);
    return text;
}

static void test_names(void **state)
{
    static const char *const names[] = {
        "rollout", "lease",   "resolve", "pull", "placement", "start", "ready",
        "admit",   "settle",  "drain",   "stop", "failed",    "gate",  "hook",
        "wait",    "warning", "note",    "turn", "placed",    "done",  "world",
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(names); i++)
        assert_string_equal(tn_event_name((enum tn_event_kind)i), names[i]);
    assert_int_equal(TN_EV_WORLD + 1, TN_COUNT(names));
    assert_string_equal(tn_event_name((enum tn_event_kind)(TN_EV_WORLD + 1)), "?");
}

static void test_full(void **state)
{
    (void)state;
    json_t *data = json_pack("{s:i}", "size", 3);
    struct tn_event e = {1795552545123, TN_EV_ADMIT, "r1", "web", "main", "web-1", "web-1 admitted", data};
    tn_autofree char *line = line_of(&e);
    assert_string_equal(line,
                        "{\"at\":\"2026-11-24T20:35:45.123Z\",\"cluster\":\"main\",\"data\":{\"size\":3},"
                        "\"instance\":\"web-1\",\"kind\":\"admit\",\"rollout\":\"r1\",\"service\":\"web\","
                        "\"text\":\"web-1 admitted\",\"v\":1}");
    assert_int_equal(data->refcount, 1); /* the event keeps its own */
    json_decref(data);
}

/* What it does not concern is absent, never null. */
static void test_sparse(void **state)
{
    (void)state;
    struct tn_event e = {.at = 0, .kind = TN_EV_NOTE, .text = "x"};
    tn_autofree char *line = line_of(&e);
    assert_string_equal(line,
                        "{\"at\":\"1970-01-01T00:00:00.000Z\",\"kind\":\"note\",\"text\":\"x\",\"v\":1}");
}

static void test_remote_text(void **state)
{
    (void)state;
    struct tn_event e = {.kind = TN_EV_FAILED, .text = "a\033[31m\n\"b\""};
    tn_autofree char *line = line_of(&e);
    assert_non_null(strstr(line, "a\\u001B[31m\\n\\\"b\\\"")); /* as it is, yet one line */
    assert_null(strchr(line, '\n'));
}

/* Bytes that are no UTF-8 must not take the event away: kind and time stay. */
static void test_invalid_utf8(void **state)
{
    (void)state;
    struct tn_event e = {.kind = TN_EV_FAILED, .service = "web", .text = "log: \xff\xfe"};
    tn_autofree char *line = line_of(&e);
    assert_non_null(strstr(line, "\"kind\":\"failed\""));
    assert_non_null(strstr(line, "\"service\":\"web\""));
}

static void test_invalid_utf8_in_a_name(void **state)
{
    (void)state;
    struct tn_event e = {.kind = TN_EV_FAILED, .service = "web", .instance = "\xff", .text = "x"};
    tn_autofree char *line = line_of(&e);
    assert_non_null(strstr(line, "\"kind\":\"failed\""));
    assert_non_null(strstr(line, "\"v\":1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),        cmocka_unit_test(test_full),
        cmocka_unit_test(test_sparse),       cmocka_unit_test(test_remote_text),
        cmocka_unit_test(test_invalid_utf8), cmocka_unit_test(test_invalid_utf8_in_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
