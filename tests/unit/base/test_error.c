/* The error object: set, prefix, hint, move, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "turnout/error.h"

static void test_set(void **state)
{
    (void)state;
    struct tn_error *e = NULL;
    assert_int_equal(tn_error_set(&e, TN_ENOTFOUND, "image '%s' is not there", "a:1"), TN_ENOTFOUND);
    assert_int_equal(e->code, TN_ENOTFOUND);
    assert_string_equal(e->message, "image 'a:1' is not there");
    assert_null(e->hint);
    assert_int_equal(e->os_errno, 0);
    assert_int_equal(e->http_status, 0);
    tn_error_clear(&e);
    assert_null(e);
}

static void test_nobody_cares(void **state)
{
    (void)state;
    assert_int_equal(tn_error_set(NULL, TN_EIO, "x"), TN_EIO);
    assert_int_equal(tn_error_errno(NULL, TN_EAUTH, EACCES, "x"), TN_EAUTH);
    assert_int_equal(tn_error_prefix(NULL, "x"), TN_EFAIL);
    assert_int_equal(tn_error_hint(NULL, "x"), TN_EFAIL);
    tn_error_clear(NULL);
    tn_error_free(NULL);
    struct tn_error *none = NULL;
    assert_int_equal(tn_error_prefix(&none, "x"), TN_EFAIL);
    assert_int_equal(tn_error_hint(&none, "x"), TN_EFAIL);
    assert_null(none);
}

/* What was there is replaced, also when the new text is made from the old one. */
static void test_set_from_itself(void **state)
{
    (void)state;
    struct tn_error *e = NULL;
    tn_error_errno(&e, TN_EIO, ENOENT, "'%s'", "/x");
    e->http_status = 500;
    tn_error_hint(&e, "look there");
    tn_error_set(&e, TN_EPROTO, "wrapped: %s", e->message);
    assert_int_equal(e->code, TN_EPROTO);
    assert_string_equal(e->message, "wrapped: '/x': No such file or directory");
    assert_null(e->hint);
    assert_int_equal(e->os_errno, 0);
    assert_int_equal(e->http_status, 0);
    tn_error_errno(&e, TN_EIO, EPERM, "again: %s", e->message);
    assert_string_equal(e->message,
                        "again: wrapped: '/x': No such file or directory: Operation not permitted");
    tn_error_clear(&e);
}

static void test_errno(void **state)
{
    (void)state;
    struct tn_error *e = NULL;
    assert_int_equal(tn_error_errno(&e, TN_EUNREACHABLE, ECONNREFUSED, "host '%s'", "a"), TN_EUNREACHABLE);
    assert_string_equal(e->message, "host 'a': Connection refused");
    assert_int_equal(e->os_errno, ECONNREFUSED);
    tn_error_clear(&e);
}

static void test_prefix_and_hint(void **state)
{
    (void)state;
    struct tn_error *e = NULL;
    tn_error_set(&e, TN_EHELD, "held");
    assert_int_equal(tn_error_prefix(&e, "host '%s'", "b"), TN_EHELD);
    assert_int_equal(tn_error_prefix(&e, "cluster 'c'"), TN_EHELD);
    assert_string_equal(e->message, "cluster 'c': host 'b': held");
    assert_int_equal(tn_error_hint(&e, "try %d", 1), TN_EHELD);
    assert_int_equal(tn_error_hint(&e, "try %d", 2), TN_EHELD);
    assert_string_equal(e->hint, "try 2");
    tn_error_clear(&e);
}

static void test_move(void **state)
{
    (void)state;
    struct tn_error *from = NULL, *to = NULL;
    tn_error_set(&to, TN_EIO, "old");
    tn_error_set(&from, TN_EBUSY, "new");
    struct tn_error *moved = from;
    assert_int_equal(tn_error_move(&to, &from), TN_EBUSY);
    assert_null(from);
    assert_ptr_equal(to, moved);
    assert_int_equal(tn_error_move(NULL, &to), TN_EBUSY);
    assert_null(to);
    assert_int_equal(tn_error_move(&to, &from), TN_EFAIL);
    assert_null(to);
}

static void test_message(void **state)
{
    (void)state;
    assert_string_equal(tn_error_message(NULL), "unknown error");
    struct tn_error empty = {.code = TN_EIO};
    assert_string_equal(tn_error_message(&empty), "unknown error");
}

static void test_names(void **state)
{
    const struct {
        enum tn_code code;
        const char *name;
    } rows[] = {
        {TN_OK, "ok"},
        {TN_EFAIL, "failed"},
        {TN_EUSAGE, "usage"},
        {TN_EPLAN, "plan"},
        {TN_ENOTFOUND, "not-found"},
        {TN_EEXISTS, "exists"},
        {TN_EAUTH, "auth"},
        {TN_EUNREACHABLE, "unreachable"},
        {TN_EUNKNOWN, "unknown"},
        {TN_ETIMEOUT, "timeout"},
        {TN_ECANCELLED, "cancelled"},
        {TN_ELIMIT, "limit"},
        {TN_EPROTO, "protocol"},
        {TN_EUNSUPPORTED, "unsupported"},
        {TN_ESTALE, "stale"},
        {TN_EHELD, "held"},
        {TN_EBUSY, "busy"},
        {TN_ESTRANGER, "stranger"},
        {TN_ELOST, "lost"},
        {TN_EIO, "io"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_string_equal(tn_code_name(rows[i].code), rows[i].name);
    assert_string_equal(tn_code_name((enum tn_code) - 20), "?");
    assert_string_equal(tn_code_name((enum tn_code)1), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_nobody_cares),
        cmocka_unit_test(test_set_from_itself),
        cmocka_unit_test(test_errno),
        cmocka_unit_test(test_prefix_and_hint),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
