/* The option parser and its tables: the sources of the program itself, with verbs that do nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/options.c"
#include "cli/verbs.c"

/* ---- what the program would do ---- */

static char said[512];

int cli_usage(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(said, sizeof(said), fmt, ap);
    va_end(ap);
    return TN_EXIT_USAGE;
}

int cli_completion(const char *shell)
{
    (void)shell;
    return 0;
}

#define VERB(name)                                                                                           \
    int name(const struct cli_options *o)                                                                    \
    {                                                                                                        \
        (void)o;                                                                                             \
        return 0;                                                                                            \
    }
VERB(cmd_init)
VERB(cmd_validate)
VERB(cmd_doctor)
VERB(cmd_explain)
VERB(cmd_schema)
VERB(cmd_config)
VERB(cmd_diff)
VERB(cmd_deploy)
VERB(cmd_rollback)
VERB(cmd_destroy)
VERB(cmd_status)
VERB(cmd_wait)
VERB(cmd_resume)
VERB(cmd_abort)
VERB(cmd_restart)
VERB(cmd_logs)
VERB(cmd_exec)
VERB(cmd_history)
VERB(cmd_show)
VERB(cmd_events)
VERB(cmd_lease)
VERB(cmd_prune)
VERB(cmd_version)
VERB(cmd_help)

/* ---- the tests ---- */

static struct cli_options o;
static const struct cli_verb *verb;

/* The words of `line`, split at single spaces ("''" = an empty word). */
static int parse(const char *line)
{
    static char text[1024];
    static char *argv[64];
    int argc = 1;
    cli_options_clear(&o);
    memset(&o, 0, sizeof(o));
    said[0] = 0;
    snprintf(text, sizeof(text), "%s", line);
    argv[0] = (char *)(uintptr_t) "turnout";
    for (char *rest = text, *word; *line && (word = strsep(&rest, " ")) && argc < 63;)
        argv[argc++] = strcmp(word, "''") == 0 ? word + 2 : word;
    argv[argc] = NULL;
    return cli_parse(argc, argv, &o, &verb);
}

static void good(const char *line, const char *name)
{
    if (parse(line) != 0)
        fail_msg("'%s': %s", line, said);
    if (!tn_streq(verb ? verb->name : NULL, name))
        fail_msg("'%s': %s", line, verb ? verb->name : "no verb");
}

static void bad(const char *line, const char *says)
{
    int rc = parse(line);
    if (rc != TN_EXIT_USAGE || !strstr(said, says))
        fail_msg("'%s': %d '%s'", line, rc, said);
}

static void test_defaults(void **state)
{
    (void)state;
    good("", NULL);
    good("diff", "diff");
    assert_int_equal(o.timeout, -1);
    assert_int_equal(o.lease_wait, -1);
    assert_int_equal(o.interval, -1);
    assert_int_equal(o.tail, 100);
    assert_int_equal(o.limit, 20);
    assert_int_equal(o.output, OUTPUT_TEXT);
    assert_int_equal(o.progress, PROGRESS_AUTO);
    assert_int_equal(o.color, COLOR_AUTO);
    assert_false(o.yes || o.dry_run || o.help || o.force);
    assert_int_equal(o.args.n, 0);
}

static void test_verbs(void **state)
{
    (void)state;
    good("plan", "diff"); /* aliases */
    good("apply", "deploy");
    good("--version", "version");
    good("deploy web api", "deploy");
    assert_int_equal(o.args.n, 2);
    assert_string_equal(o.args.v[1], "api");
    bad("deplyo", "did you mean 'deploy'");
    bad("xyzzy", "unknown verb 'xyzzy'");
    bad("''", "unknown verb");
    assert_null(cli_find_verb(""));
    good("deploy deploy", "deploy"); /* a service of that name */
    assert_string_equal(o.args.v[0], "deploy");
}

static void test_forms_of_flags(void **state)
{
    (void)state;
    static const char *const forms[] = {"deploy -f a.yaml", "deploy -fa.yaml", "deploy --file a.yaml",
                                        "deploy --file=a.yaml", "-f a.yaml deploy"};
    for (size_t i = 0; i < TN_COUNT(forms); i++) {
        good(forms[i], "deploy");
        assert_int_equal(o.files.n, 1);
        assert_string_equal(o.files.v[0], "a.yaml");
    }
    good("deploy -f a -f b --set x=1 --set y=2 --var k=v=w", "deploy");
    assert_int_equal(o.files.n, 2);
    assert_string_equal(o.files.v[1], "b");
    assert_int_equal(o.sets.n, 2);
    assert_string_equal(o.vars.v[0], "k=v=w");
    good("deploy -yq", "deploy");
    assert_true(o.yes);
    assert_int_equal(o.progress, PROGRESS_QUIET);
    good("deploy -yf a", "deploy"); /* the last of a group may take a value */
    assert_true(o.yes);
    assert_string_equal(o.files.v[0], "a");
    good("deploy --file= -", "deploy");
    assert_string_equal(o.files.v[0], "");
    assert_string_equal(o.args.v[0], "-"); /* alone it is a word */
    good("deploy -f -", "deploy");
    assert_string_equal(o.files.v[0], "-");
    good("deploy --auto-approve", "deploy");
    assert_true(o.yes);
    good("deploy -e prod -e test", "deploy"); /* the last one counts */
    assert_string_equal(o.environment, "test");
}

static void test_end_of_flags(void **state)
{
    (void)state;
    good("exec web -- ls -la --yes", "exec");
    assert_int_equal(o.args.n, 4);
    assert_string_equal(o.args.v[2], "-la");
    assert_string_equal(o.args.v[3], "--yes");
    assert_false(o.yes);
    good("exec web --", "exec");
    assert_int_equal(o.args.n, 1);
}

static void test_values(void **state)
{
    (void)state;
    good("deploy --timeout 1h30m --progress json -o json", "deploy");
    assert_int_equal(o.timeout, 5400000);
    assert_int_equal(o.progress, PROGRESS_JSON);
    assert_int_equal(o.output, OUTPUT_JSON);
    good("logs --tail 5", "logs");
    assert_int_equal(o.tail, 5);
    good("status --color never", "status");
    assert_int_equal(o.color, COLOR_NEVER);
    good("status --color always --no-color", "status");
    assert_int_equal(o.color, COLOR_NEVER);
    bad("deploy --timeout 5", "'5' is no time");
    bad("deploy --timeout soon", "--timeout: 'soon'");
    bad("logs --tail many", "'many' is no whole number");
    bad("logs --tail 5x", "whole number");
    bad("deploy -o yaml", "one of text|json, not 'yaml'");
    bad("deploy -o tex", "one of text|json"); /* no beginnings */
    bad("deploy --progress ''", "one of auto|tty");
    bad("deploy --progress auto|tty", "one of auto|tty");
    bad("deploy --yes=true", "--yes takes no value");
    bad("deploy -f", "--file needs a value");
    bad("deploy --timeout", "--timeout needs a value");
}

static void test_optional_value(void **state)
{
    (void)state;
    good("deploy --lease-wait", "deploy");
    assert_int_equal(o.lease_wait, 15 * 60 * 1000);
    good("deploy --lease-wait=30s", "deploy");
    assert_int_equal(o.lease_wait, 30000);
    good("deploy --lease-wait web", "deploy"); /* the next word is not its value */
    assert_int_equal(o.lease_wait, 15 * 60 * 1000);
    assert_string_equal(o.args.v[0], "web");
    bad("deploy --lease-wait=", "is no time");
}

static void test_unknown_flags(void **state)
{
    (void)state;
    bad("deploy --dry-rum", "did you mean --dry-run?");
    bad("deploy --xyzzy", "unknown flag '--xyzzy'");
    bad("deploy --dry", "unknown flag '--dry'"); /* no beginnings */
    bad("deploy -Z", "unknown flag '-Z'");
    bad("deploy -yZ", "unknown flag '-yZ'");
    bad("deploy --=x", "unknown flag");
}

/* Each verb refuses the flags that mean nothing to it, wherever they stand. */
static void test_flags_of_verbs(void **state)
{
    (void)state;
    bad("diff --yes", "--yes does not go with 'diff'");
    bad("--yes diff", "--yes does not go with 'diff'");
    bad("version --file a", "--file does not go with 'version'");
    bad("deploy --detailed-exitcode", "does not go with 'deploy'");
    bad("history --to x", "does not go with 'history'");
    good("diff --detailed-exitcode --out f", "diff");
    good("rollback --to abc", "rollback");
    assert_string_equal(o.to, "abc");
    good("resume --hook skip r1", "resume");
    good("destroy --confirm shop", "destroy");
    good("diff --help --yes", "diff"); /* help is help */
    assert_true(o.help);
    good("-h", NULL);
    assert_true(o.help);
}

static void set_environment(const char *name, const char *value)
{
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

static void test_environment(void **state)
{
    (void)state;
    set_environment("TURNOUT_LEASE_WAIT", "7s");
    set_environment("TURNOUT_YES", "1");
    set_environment("TURNOUT_PROGRESS", "plain");
    good("deploy", "deploy");
    assert_int_equal(o.lease_wait, 7000);
    assert_true(o.yes);
    assert_int_equal(o.progress, PROGRESS_PLAIN);
    good("deploy --lease-wait=9s --progress tty", "deploy"); /* the command line wins */
    assert_int_equal(o.lease_wait, 9000);
    assert_int_equal(o.progress, PROGRESS_TTY);
    good("diff", "diff"); /* it is no error where the flag does not go */
    set_environment("TURNOUT_YES", "0");
    set_environment("TURNOUT_DRY_RUN", "false");
    set_environment("TURNOUT_PROGRESS", "");
    good("deploy", "deploy");
    assert_false(o.yes || o.dry_run);
    assert_int_equal(o.progress, PROGRESS_AUTO);
    set_environment("TURNOUT_LEASE_WAIT", "soon");
    bad("deploy", "'soon' is no time");
    set_environment("TURNOUT_LEASE_WAIT", NULL);
    set_environment("TURNOUT_HELP", "1");
    set_environment("TURNOUT_FILE", "x"); /* lists have none */
    good("deploy", "deploy");
    assert_false(o.help);
    assert_int_equal(o.files.n, 0);
    static const char *const names[] = {"TURNOUT_YES", "TURNOUT_DRY_RUN", "TURNOUT_PROGRESS", "TURNOUT_HELP",
                                        "TURNOUT_FILE"};
    for (size_t i = 0; i < TN_COUNT(names); i++)
        unsetenv(names[i]);
}

/* Wrong values of the environment name the variable: nobody finds a flag that was never typed. */
static void test_environment_is_named(void **state)
{
    (void)state;
    set_environment("TURNOUT_TIMEOUT", "soon");
    int rc = parse("deploy");
    unsetenv("TURNOUT_TIMEOUT");
    assert_int_equal(rc, TN_EXIT_USAGE);
    if (!strstr(said, "TURNOUT_TIMEOUT"))
        fail_msg("%s", said);
}

static void check_flag(const struct cli_flag *f)
{
    unsigned known = 0;
    for (const struct cli_verb *v = cli_verbs; v->name; v++)
        known |= v->run ? v->flags : 0;
    if (!(f->groups & (known | FLAGS_COMMON)))
        fail_msg("--%s goes with no verb", f->name);
    if ((f->kind == FLAG_BOOL) != (f->argument == NULL) || (f->kind == FLAG_CHOICE) != (f->choices != NULL))
        fail_msg("--%s: argument or choices", f->name);
    for (const struct cli_flag *g = f + 1; g->name; g++)
        if (strcmp(f->name, g->name) == 0 || (f->letter && f->letter == g->letter))
            fail_msg("--%s and --%s", f->name, g->name);
}

static void test_tables(void **state)
{
    (void)state;
    size_t flags = 0, verbs = 0;
    for (const struct cli_flag *f = cli_flags; f->name; f++, flags++)
        check_flag(f);
    for (const struct cli_verb *v = cli_verbs; v->name; v++, verbs++) {
        assert_ptr_equal(cli_find_verb(v->name), v); /* no name twice, no alias that is a name */
        assert_true(!v->alias || cli_find_verb(v->alias) == v);
        assert_true(*v->group && *v->summary);
    }
    assert_true(flags < 64 && verbs < 64); /* bounds of the nearest-name search */
}

static void test_many_words(void **state)
{
    (void)state;
    static char *argv[400];
    argv[0] = argv[1] = (char *)(uintptr_t) "deploy";
    for (int i = 2; i < 400; i++)
        argv[i] = (char *)(uintptr_t)(i % 2 ? "web" : "-y");
    cli_options_clear(&o);
    assert_int_equal(cli_parse(400, argv, &o, &verb), 0);
    assert_int_equal(o.args.n, 199);
    /* one that does not go with the verb is found behind many that do */
    argv[399] = (char *)(uintptr_t) "--detailed-exitcode";
    cli_options_clear(&o);
    assert_int_equal(cli_parse(400, argv, &o, &verb), TN_EXIT_USAGE);
    cli_options_clear(&o);
    memset(&o, 0, sizeof(o));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_forms_of_flags), cmocka_unit_test(test_end_of_flags),
        cmocka_unit_test(test_values),         cmocka_unit_test(test_optional_value),
        cmocka_unit_test(test_unknown_flags),  cmocka_unit_test(test_flags_of_verbs),
        cmocka_unit_test(test_environment),    cmocka_unit_test(test_environment_is_named),
        cmocka_unit_test(test_tables),         cmocka_unit_test(test_many_words),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cli_options_clear(&o);
    return failed;
}
