/* Secrets: where they come from, what is refused, and that no value gets into an error. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "turnout/mem.h"
#include "tests/unit/plan/plan_help.h"

static struct tn_plan *plan_with(const char *from)
{
    tn_autofree char *text = tn_format(HEAD "secrets: { s: \"%s\" }\nservices: {}\n", from);
    return plan_load_good(text);
}

static void program(const char *path, const char *body)
{
    plan_write(path, body);
    assert_int_equal(chmod(path, 0755), 0);
}

static void test_values(void **state)
{
    (void)state;
    setenv("TURNOUT_TEST_SECRET", "from env", 1);
    setenv("TURNOUT_TEST_EMPTY", "", 1);
    plan_write("secrets/a", "line\n");
    plan_write("secrets/b", "two\n\n");
    plan_write("secrets/c", "dos\r\n");
    program(
        "get",
        "#!/bin/sh\nread -r x && exit 9\nprintf '%s|%s|%s\\n' \"$1\" \"$2\" \"$(pwd)\" | cut -d'|' -f1,2\n");
    static const struct {
        const char *from, *value;
    } rows[] = {
        {"env://TURNOUT_TEST_SECRET", "from env"},
        {"env://TURNOUT_TEST_EMPTY", ""},
        {"file://./secrets/a", "line"},
        {"file://secrets/b", "two\n"},
        {"file://secrets/c", "dos"},
        {"exec:///bin/echo hello  world", "hello world"},
        {"exec://./get a $b", "a|$b"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tn_plan *p = plan_with(rows[i].from);
        struct tn_error *err = NULL;
        size_t len = 99;
        char *value = tn_secret_resolve(p, "s", &len, &err);
        if (!value)
            print_error("%s: %s\n", rows[i].from, tn_error_message(err));
        assert_non_null(value);
        assert_string_equal(value, rows[i].value);
        assert_int_equal(len, strlen(rows[i].value));
        tn_secret_free(value, len);
        tn_plan_free(p);
    }
}

static void test_refused(void **state)
{
    (void)state;
    unsetenv("TURNOUT_TEST_GONE");
    program("fails", "#!/bin/sh\necho hunter2\necho hunter2 >&2\nexit 3\n");
    program("dies", "#!/bin/sh\nkill -TERM $$\n");
    program("big", "#!/bin/sh\nhead -c 70000 /dev/zero | tr '\\0' x\n");
    program("nul", "#!/bin/sh\nprintf 'a\\000b'\n");
    static const struct {
        const char *from;
        enum tn_code code;
        const char *part;
    } rows[] = {
        {"env://TURNOUT_TEST_GONE", TN_ENOTFOUND, "the environment variable 'TURNOUT_TEST_GONE' is not set"},
        {"file://nowhere", TN_ENOTFOUND, "secret 's'"},
        {"file://.", TN_EIO, "not a regular file"},
        {"exec://./fails", TN_EFAIL, "'./fails' exited with 3"},
        {"exec://./dies", TN_EFAIL, "was ended by signal 15"},
        {"exec://./big", TN_ELIMIT, "larger than 65536 bytes"},
        {"exec://./nul", TN_EFAIL, "holds a NUL byte"},
        {"exec://./gone", TN_ENOTFOUND, "'./gone' is not there"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tn_plan *p = plan_with(rows[i].from);
        struct tn_error *err = NULL;
        assert_null(tn_secret_resolve(p, "s", NULL, &err));
        if (!strstr(tn_error_message(err), rows[i].part))
            print_error("%s: %s\n", rows[i].from, tn_error_message(err));
        assert_non_null(strstr(tn_error_message(err), rows[i].part));
        assert_null(strstr(tn_error_message(err), "hunter2"));
        assert_int_equal(err->code, rows[i].code);
        tn_error_free(err);
        tn_plan_free(p);
    }
    struct tn_plan *p = plan_with("env://A");
    struct tn_error *err = NULL;
    assert_null(tn_secret_resolve(p, "other", NULL, &err));
    assert_int_equal(err->code, TN_ENOTFOUND);
    tn_error_free(err);
    tn_plan_free(p);
}

static void test_no_exec(void **state)
{
    (void)state;
    setenv("TURNOUT_NO_EXEC", "1", 1);
    program("touches", "#!/bin/sh\ntouch was-run\n");
    struct tn_plan *p = plan_with("exec://./touches");
    struct tn_error *err = NULL;
    assert_null(tn_secret_resolve(p, "s", NULL, &err));
    assert_int_equal(err->code, TN_EUNSUPPORTED);
    struct stat st;
    assert_int_not_equal(stat("was-run", &st), 0);
    unsetenv("TURNOUT_NO_EXEC");
    tn_error_free(err);
    tn_plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_exec),
    };
    return cmocka_run_group_tests_name("plan: secrets", tests, plan_enter_folder, plan_leave_folder);
}
