/* Overlays, --set, includes, variables, env files. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "turnout/mem.h"
#include "tests/unit/plan/plan_help.h"

#define LIST(...) ((const char *const[]){__VA_ARGS__})

static struct tn_plan *good(const struct tn_plan_options *o)
{
    struct tn_problems p = {0};
    struct tn_plan *plan = plan_load_with(o, &p);
    if (!plan) {
        char *all = tn_problems_format(&p);
        print_error("%s\n", all);
        free(all);
    }
    assert_non_null(plan);
    tn_problems_clear(&p);
    return plan;
}

static void refused(const char *name, const struct tn_plan_options *o, int line, int column, const char *part)
{
    struct tn_problems p = {0};
    struct tn_plan *plan = plan_load_with(o, &p);
    assert_null(plan);
    plan_expect(name, &p, line, column, part);
    tn_problems_clear(&p);
}

static const char *env_of(const struct tn_plan *p, const char *name)
{
    for (size_t i = 0; i < p->services[0].env.n; i++)
        if (strcmp(p->services[0].env.v[i].name, name) == 0)
            return p->services[0].env.v[i].value;
    return NULL;
}

/* plan, environments.<e>, turnout.<e>.yaml, further -f, --set: each wins over the one before. */
static void test_order_of_overlays(void **state)
{
    (void)state;
    plan_write("turnout.yaml",
               HEAD "services:\n  web:\n    image: i\n    clusters: [c]\n"
                    "    env: { A: plan, B: plan, C: plan, D: plan, E: plan }\n"
                    "environments:\n"
                    "  prod: { services: { web: { env: { B: env, C: env, D: env, E: env } } } }\n"
                    "  test: { services: { web: { replicas: 7 } } }\n");
    plan_write("turnout.prod.yaml", "services: { web: { env: { C: file, D: file, E: file } } }\n");
    plan_write("more.yaml", "services: { web: { env: { D: more, E: more } } }\n");
    const struct tn_plan_options o = {.files = LIST("turnout.yaml", "more.yaml"),
                                      .n_files = 2,
                                      .sets = LIST("services.web.env.E=set"),
                                      .n_sets = 1,
                                      .environment = "prod"};
    struct tn_plan *p = good(&o);
    assert_string_equal(env_of(p, "A"), "plan");
    assert_string_equal(env_of(p, "B"), "env");
    assert_string_equal(env_of(p, "C"), "file");
    assert_string_equal(env_of(p, "D"), "more");
    assert_string_equal(env_of(p, "E"), "set");
    assert_string_equal(p->environment, "prod");
    assert_int_equal(p->services[0].replicas, 1);
    tn_plan_free(p);
}

/* Lists and scalars replace, null deletes, at every level. */
static void test_merge_rules(void **state)
{
    (void)state;
    plan_write("turnout.yaml", HEAD WEB "    command: [a, b]\n    env: { A: x, B: y }\n    user: me\n");
    plan_write("over.yaml", "services:\n  web:\n    command: [c]\n    env: { A: ~ }\n    user: null\n");
    const struct tn_plan_options o = {.files = LIST("turnout.yaml", "over.yaml"), .n_files = 2};
    struct tn_plan *p = good(&o);
    assert_int_equal(p->services[0].command.n, 1);
    assert_null(env_of(p, "A"));
    assert_string_equal(env_of(p, "B"), "y");
    assert_null(p->services[0].user);
    tn_plan_free(p);
}

static void test_marks_survive(void **state)
{
    (void)state;
    plan_write("turnout.yaml", HEAD WEB);
    plan_write("over.yaml", "\n\nservices: { web: { replicas: none } }\n");
    const struct tn_plan_options o = {.files = LIST("turnout.yaml", "over.yaml"), .n_files = 2};
    struct tn_problems p = {0};
    assert_null(plan_load_with(&o, &p));
    plan_expect("over", &p, 3, 30, "services.web.replicas: 'none' is not a whole number");
    assert_string_equal(p.v[0].mark.file, "over.yaml");
    assert_string_equal(p.v[0].source, "services: { web: { replicas: none } }");
    tn_problems_clear(&p);
}

static void test_environment_errors(void **state)
{
    (void)state;
    plan_write("turnout.yaml",
               HEAD WEB "environments: { staging: {}, prod: { services: { web: { replicsa: 2 } } } }\n");
    const struct tn_plan_options unknown = {.environment = "stagin"};
    struct tn_problems p = {0};
    assert_null(plan_load_with(&unknown, &p));
    const struct tn_problem *found = plan_find_problem(&p, "unknown environment 'stagin'");
    assert_non_null(found);
    assert_string_equal(found->hint, "did you mean 'staging'?");
    tn_problems_clear(&p);
    /* A typo in an environment that was not chosen is found all the same. */
    const struct tn_plan_options none = {0};
    refused("not chosen", &none, 9, 57, "unknown key 'replicsa' in environments.prod.services.web");
    plan_write("turnout.yaml", HEAD WEB "environments: { prod: { turnout: 1, environments: {} } }\n");
    const struct tn_plan_options prod = {.environment = "prod"};
    refused("nested", &prod, 9, 37, "'environments' cannot stand in an environment");
    const struct tn_plan_options evil = {.environment = "../x"};
    refused("path", &evil, 0, 0, "environment '../x' is no name");
}

/* Reserved kinds and open variables in an environment that was not chosen are nobody's problem yet. */
static void test_unused_environment(void **state)
{
    (void)state;
    plan_write("turnout.yaml", HEAD WEB
               "environments:\n  k8s:\n    clusters: { c: { docker: ~, kubernetes: { context: x } } }\n"
               "    services: { web: { replicas: \"${nobody}\", image: ~ } }\n");
    const struct tn_plan_options o = {0};
    tn_plan_free(good(&o));
    const struct tn_plan_options chosen = {.environment = "k8s"};
    struct tn_problems p = {0};
    assert_null(plan_load_with(&chosen, &p));
    assert_null(plan_find_problem(&p, "is not a whole number")); /* what could not be replaced is told once */
    tn_problems_clear(&p);
    refused("chosen", &chosen, 11, 33, "clusters.c.kubernetes: 'kubernetes' is reserved");
}

static void test_set(void **state)
{
    (void)state;
    plan_write("turnout.yaml", HEAD WEB "    env: { A: x }\n");
    const char *const sets[] = {"services.web.replicas=4",           "services.web.command=[a, \"b c\"]",
                                "services.web.env.A=null",           "services.web.env.X\\.Y=1.10",
                                "services.web.stop.grace=3s",        "services.web.image=a:b",
                                "services.web.ports.0.container=81", "services.web.env.EMPTY="};
    const struct tn_plan_options o = {.sets = sets, .n_sets = 8};
    struct tn_plan *p = good(&o);
    assert_int_equal(p->services[0].replicas, 4);
    assert_string_equal(p->services[0].command.argv[1], "b c");
    assert_null(env_of(p, "A"));
    assert_string_equal(env_of(p, "X.Y"), "1.10");
    assert_string_equal(env_of(p, "EMPTY"), "");
    assert_int_equal(p->services[0].stop.grace, 3000);
    assert_int_equal(p->services[0].ports[0].container, 81);
    tn_plan_free(p);
    static const struct {
        const char *set, *part;
    } bad[] = {
        {"services.web.replicas", "is not path=value"},
        {"=3", "is not path=value"},
        {"services..web=3", "is not path=value"},
        {"services.web.replicas=x", "services.web.replicas: 'x' is not a whole number"},
        {"services.web.replcas=3", "unknown key 'replcas' in services.web"},
        {"services.web.command=[a", "not valid YAML"},
        {"services.web.ports.7.container=1", "'7' is not in there"},
        {"services.web.env.A=!!x y", "unknown tag"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct tn_plan_options b = {.sets = &bad[i].set, .n_sets = 1};
        refused(bad[i].set, &b, 0, 0, bad[i].part);
    }
}

static void test_include(void **state)
{
    (void)state;
    plan_write("turnout.yaml", HEAD "include: [./services/api.yaml]\nservices:\n  api: { replicas: 2 }\n");
    plan_write("services/api.yaml",
               "include: more.yaml\nservices:\n  api: { image: \"a:${tag}\", clusters: [c] }\n");
    plan_write("services/more.yaml", "vars: { tag: v1 }\n");
    const struct tn_plan_options o = {0};
    struct tn_plan *p = good(&o);
    assert_string_equal(p->services[0].image, "a:v1");
    assert_int_equal(p->services[0].replicas, 2);
    tn_plan_free(p);

    plan_write("services/more.yaml", "vars: { tag: v1 }\nservices: { api: { imag: x } }\n");
    struct tn_problems problems = {0};
    assert_null(plan_load_with(&o, &problems));
    plan_expect("nested", &problems, 2, 20, "unknown key 'imag' in services.api");
    assert_string_equal(problems.v[0].mark.file, "services/more.yaml");
    tn_problems_clear(&problems);

    plan_write("services/more.yaml", "include: ../turnout.yaml\n");
    refused("cycle", &o, 1, 10, "'../turnout.yaml' includes itself");
    plan_write("services/more.yaml", "x-a: 1\n");
    plan_write("turnout.yaml", HEAD "include: [services/api.yaml, services/more.yaml]\nservices: {}\n");
    refused("twice", &o, 4, 30, "'services/more.yaml' is included twice");
    plan_write("turnout.yaml", HEAD "include: [nowhere.yaml, \"https://x/y\", [a], .]\nservices: {}\n");
    refused("missing", &o, 4, 11, "include 'nowhere.yaml': No such file");
    refused("remote", &o, 4, 25, "include: only local files");
    refused("list", &o, 4, 40, "include: a path is wanted");
    refused("folder", &o, 4, 45, "include '.': not a regular file");
    plan_write("turnout.yaml", HEAD "include: services/more.yaml\nservices: {}\n");
    plan_write("services/more.yaml", "clusters: {}\n");
    refused("clusters", &o, 1, 1, "'clusters' cannot stand in an included file");
}

static void test_fifo_is_not_waited_for(void **state)
{
    (void)state;
    assert_int_equal(mkfifo("pipe.yaml", 0600), 0);
    plan_write("turnout.yaml", HEAD "include: pipe.yaml\nservices: {}\n");
    const struct tn_plan_options o = {0};
    refused("fifo", &o, 4, 10, "include 'pipe.yaml': not a regular file");
}

static void test_stdin(void **state)
{
    (void)state;
    plan_write("in.json",
               "{\"turnout\":1,\"name\":\"shop\",\"clusters\":{\"c\":{\"docker\":{}}},\"services\":{}}");
    int keep = dup(STDIN_FILENO), fd = open("in.json", O_RDONLY);
    dup2(fd, STDIN_FILENO);
    const struct tn_plan_options o = {.files = LIST("-"), .n_files = 1};
    struct tn_plan *p = good(&o);
    assert_string_equal(p->file, "stdin");
    tn_plan_free(p);
    dup2(keep, STDIN_FILENO);
    close(keep);
    close(fd);
}

/* ---- variables -------------------------------------------------------------------------------------- */

static void test_precedence(void **state)
{
    (void)state;
    plan_write("turnout.yaml",
               HEAD WEB "    env: { A: \"${a}\", B: \"${b}\", C: \"${c}\", D: \"${d}\" }\n"
                        "vars: { a: default, b: default, c: { default: default }, d: default }\n");
    plan_write("vars.yaml", "c: file\nd: file\n");
    setenv("TURNOUT_VAR_b", "env", 1);
    setenv("TURNOUT_VAR_c", "env", 1);
    setenv("TURNOUT_VAR_d", "env", 1);
    const struct tn_plan_options o = {
        .vars = LIST("d=flag"), .n_vars = 1, .var_files = LIST("vars.yaml"), .n_var_files = 1};
    struct tn_plan *p = good(&o);
    assert_string_equal(env_of(p, "A"), "default");
    assert_string_equal(env_of(p, "B"), "env");
    assert_string_equal(env_of(p, "C"), "file");
    assert_string_equal(env_of(p, "D"), "flag");
    tn_plan_free(p);
    unsetenv("TURNOUT_VAR_b");
    unsetenv("TURNOUT_VAR_c");
    unsetenv("TURNOUT_VAR_d");
}

static void test_substitution(void **state)
{
    (void)state;
    setenv("TURNOUT_TEST_X", "from env", 1);
    unsetenv("TURNOUT_TEST_Y");
    plan_write("turnout.yaml", HEAD
               "vars: { tag: 1.10, n: 3, empty: \"\", list: { default: [a, b] }, both: \"${tag}-${n}\" }\n"
               "services:\n  web:\n    image: \"shop/web:${tag}\"\n    clusters: [c]\n    replicas: ${n}\n"
               "    command: ${list}\n"
               "    env:\n"
               "      A: ${tag}\n      B: x${n}y$${n}$\n      C: ${empty:-fallback}\n      D: "
               "${env.TURNOUT_TEST_X}\n"
               "      E: ${env.TURNOUT_TEST_Y:-${tag}}\n      F: ${service}@${cluster}\n      G: ${both}\n"
               "      H: \"${n}\"\n      I: $HOME $5\n      J: ${empty}\n      K: $${tag}\n");
    const struct tn_plan_options o = {0};
    struct tn_plan *p = good(&o);
    assert_string_equal(p->services[0].image, "shop/web:1.10");
    assert_int_equal(p->services[0].replicas, 3);
    assert_int_equal(p->services[0].command.n, 2);
    assert_string_equal(env_of(p, "A"), "1.10");
    assert_string_equal(env_of(p, "B"), "x3y${n}$");
    assert_string_equal(env_of(p, "C"), "fallback");
    assert_string_equal(env_of(p, "D"), "from env");
    assert_string_equal(env_of(p, "E"), "1.10");
    assert_string_equal(env_of(p, "F"), "web@c");
    assert_string_equal(env_of(p, "G"), "1.10-3");
    assert_string_equal(env_of(p, "H"), "3");
    assert_string_equal(env_of(p, "I"), "$HOME $5");
    assert_string_equal(env_of(p, "J"), "");
    assert_string_equal(env_of(p, "K"), "${tag}");
    tn_plan_free(p);
}

/* A value never changes the structure. */
static void test_no_injection(void **state)
{
    (void)state;
    plan_write("turnout.yaml",
               HEAD "vars: { v: x }\n" WEB "    env: { A: \"${v}\" }\n    labels: { \"${v}\": y }\n");
    const struct tn_plan_options o = {.vars = LIST("v=a, B: c }\nservices: {"), .n_vars = 1};
    struct tn_plan *p = good(&o);
    assert_int_equal(p->services[0].env.n, 1);
    assert_string_equal(env_of(p, "A"), "a, B: c }\nservices: {");
    assert_string_equal(p->services[0].labels.v[0].name, "${v}"); /* never on keys */
    tn_plan_free(p);
    const struct tn_plan_options null = {.vars = LIST("v=null"), .n_vars = 1};
    p = good(&null);
    assert_string_equal(env_of(p, "A"), "null"); /* a text, it deletes nothing */
    tn_plan_free(p);
}

static const struct {
    const char *vars, *env, *given;
    int line, column;
    const char *part;
} bad_vars[] = {
    {"{ tag: v1 }", "${tga}", NULL, 10, 15, "'${tga}' is not defined"},
    {"{ tag: v1 }", "${secrets.x}", NULL, 10, 15, "a secret cannot be put into text"},
    {"{ tag: v1 }", "${region}", NULL, 10, 15, "'${region}' is reserved"},
    {"{ tag: v1 }", "${region.subnets}", NULL, 10, 15, "'${region.subnets}' is reserved"},
    {"{ tag: v1 }", "${canary.weight}", NULL, 10, 15, "'${canary.weight}' is reserved"},
    {"{ tag: v1 }", "${host}", NULL, 10, 15, "'${host}' is reserved"},
    {"{ tag: v1 }", "${color}", NULL, 10, 15, "'${color}' is reserved"},
    {"{ tag: v1 }", "${env.TURNOUT_TEST_NO}", NULL, 10, 15, "'${env.TURNOUT_TEST_NO}' is not defined here"},
    {"{ tag: v1 }", "${tag", NULL, 10, 15, "a ${ without its }"},
    {"{ tag: v1 }", "${}", NULL, 10, 15, "'${}' is not understood"},
    {"{ tag: v1 }", "${tag:x}", NULL, 10, 15, "'${tag:x}' is not understood"},
    {"{ tag: v1 }", "${tag|upper}", NULL, 10, 15, "'${tag|upper}' is not understood"},
    {"{ tag: \"\" }", "${tag:?set a tag}", NULL, 10, 15, "'${tag}': set a tag"},
    {"{ tag: {} }", "${tag}", NULL, 10, 15, "'${tag}' has no value"},
    {"{ tag: { default: [a] } }", "x${tag}", NULL, 10, 15, "'${tag}' is a list and cannot be part of a text"},
    {"{ tag: { required: true } }", "${tag}", NULL, 4, 9, "variable 'tag' is required and has no value"},
    {"{ tag: { enum: [a, b] } }", "x", "tag=c", 0, 0, "variable 'tag': 'c' is none of its values"},
    {"{ tag: { pattern: \"^v[0-9]+$\" } }", "x", "tag=w1", 0, 0,
     "variable 'tag': 'w1' does not match its pattern"},
    {"{ tag: { pattern: \"(\" } }", "x", NULL, 4, 25, "vars.tag.pattern: is no extended regular expression"},
    {"{ tag: { pattern: \"((a{255}){255}){255}\" } }", "x", NULL, 4, 25, "or too large a one"},
    {"{ tag: { pattern: \"(a)\\\\1\" } }", "x", NULL, 4, 25, "or too large a one"},
    {"{ tag: { defualt: x } }", "x", NULL, 4, 16, "unknown key 'defualt' in vars.tag"},
    {"{ tag: \"${later}\", later: x }", "x", NULL, 4, 14, "'${later}' is not defined"},
    {"{ tag: v1 }", "x", "tga=v2", 0, 0, "the plan has no variable 'tga'"},
    {"{ tag: v1 }", "x", "tag", 0, 0, "'tag' is not name=value"},
};

static void test_bad_variables(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_vars) / sizeof(bad_vars[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text), HEAD "vars: %s\n" WEB "    env: { A: \"%s\" }\n", bad_vars[i].vars,
                 bad_vars[i].env);
        plan_write("turnout.yaml", text);
        const struct tn_plan_options o = {.vars = &bad_vars[i].given, .n_vars = bad_vars[i].given ? 1 : 0};
        refused(bad_vars[i].part, &o, bad_vars[i].line, bad_vars[i].column, bad_vars[i].part);
    }
    assert_int_equal(plan_failures, 0);
}

static void test_variable_bomb(void **state)
{
    (void)state;
    char text[8192];
    size_t n = (size_t)snprintf(text, sizeof(text),
                                HEAD WEB "    env: { A: \"${v30}\" }\nvars:\n  v0: 0123456789abcdef\n");
    for (int i = 1; i <= 30; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "  v%d: ${v%d}${v%d}\n", i, i - 1, i - 1);
    struct tn_problems p = {0};
    assert_null(plan_load(text, &p));
    assert_non_null(plan_find_problem(&p, "variables make more than 65536 bytes"));
    tn_problems_clear(&p);
}

/* Many values, each within its limit. */
static void test_variable_total(void **state)
{
    (void)state;
    char *text = tn_alloc(70000), *big = tn_alloc(8001);
    memset(big, 'x', 8000);
    size_t n = (size_t)snprintf(
        text, 70000, HEAD "vars: { a: %s, b: \"${a}${a}${a}${a}${a}${a}${a}\" }\n" WEB "    env:\n", big);
    for (int i = 0; i < 100; i++)
        n += (size_t)snprintf(text + n, 70000 - n, "      V%d: ${b}\n", i);
    struct tn_problems p = {0};
    assert_null(plan_load(text, &p));
    assert_non_null(plan_find_problem(&p, "or 4194304 in the plan"));
    tn_problems_clear(&p);
    free(text);
    free(big);
}

static void test_git(void **state)
{
    (void)state;
    static const char sha[] = "0123456789abcdef0123456789abcdef01234567";
    plan_write("turnout.yaml", HEAD WEB "    env: { A: \"${git.sha}\" }\n");
    const struct tn_plan_options o = {0};
    plan_write(".git/HEAD", "ref: refs/heads/main\n");
    plan_write(".git/packed-refs", "# pack-refs\n0123456789abcdef0123456789abcdef01234567 refs/heads/main\n");
    struct tn_plan *p = good(&o);
    assert_string_equal(env_of(p, "A"), sha);
    tn_plan_free(p);
    plan_write(".git/refs/heads/main", "ffffffffffffffffffffffffffffffffffffffff\n");
    p = good(&o);
    assert_string_equal(env_of(p, "A"), "ffffffffffffffffffffffffffffffffffffffff");
    tn_plan_free(p);
    setenv("GITHUB_SHA", sha, 1);
    p = good(&o);
    assert_string_equal(env_of(p, "A"), sha);
    tn_plan_free(p);
    unsetenv("GITHUB_SHA");
}

static void test_env_files(void **state)
{
    (void)state;
    plan_write("a.env", "# comment\nA=one\n\nexport B = \"two words\"\r\nC='x=y'\nD=${not}\n");
    plan_write("b.env", "A=three\n");
    plan_write("turnout.yaml", HEAD WEB "    env_files: [a.env, b.env]\n    env: { C: own }\n");
    const struct tn_plan_options o = {0};
    struct tn_plan *p;
    struct tn_problems problems = {0};
    assert_null(plan_load_with(&o, &problems)); /* "B " is no name */
    plan_expect("blank", &problems, 4, 8, "env_files: 'B ' is no name");
    assert_string_equal(problems.v[0].mark.file, "a.env");
    tn_problems_clear(&problems);
    plan_write("a.env", "# comment\nA=one\n\nexport B=\"two words\"\r\nC='x=y'\nD=${not}\n");
    p = good(&o);
    assert_string_equal(env_of(p, "A"), "three");
    assert_string_equal(env_of(p, "B"), "two words");
    assert_string_equal(env_of(p, "C"), "own");
    assert_string_equal(env_of(p, "D"), "${not}");
    tn_plan_free(p);
    plan_write("b.env", "A=1\nhello\n");
    refused("line", &o, 2, 1, "a line that is not KEY=VALUE");
    plan_write("turnout.yaml", HEAD WEB "    env_files: nowhere.env\n");
    refused("missing", &o, 9, 16, "env_files 'nowhere.env': No such file");
}

/* The plan's rollout is each service's default; what a strategy does not use is not inherited. */
static void test_rollout_inherited(void **state)
{
    (void)state;
    struct tn_plan *p =
        plan_load_good(HEAD "rollout: { max_surge: 50%, min_healthy_time: 3s, keep: 5 }\nservices:\n"
                            "  a: { image: i, clusters: [c] }\n"
                            "  b: { image: i, clusters: [c], rollout: { strategy: recreate, keep: 1 } }\n"
                            "  d: { image: i, clusters: [c], rollout: { max_surge: 2 } }\n");
    assert_true(p->services[0].rollout.max_surge.percent);
    assert_int_equal(p->services[0].rollout.min_healthy_time, 3000);
    assert_int_equal(p->services[0].rollout.keep, 5);
    assert_int_equal(p->services[1].rollout.strategy, TN_STRATEGY_RECREATE);
    assert_false(p->services[1].rollout.max_surge.set);
    assert_int_equal(p->services[1].rollout.min_healthy_time, 3000);
    assert_int_equal(p->services[1].rollout.keep, 1);
    assert_int_equal(p->services[2].rollout.max_surge.value, 2);
    assert_false(p->services[2].rollout.max_surge.percent);
    /* The merged plan holds what was inherited, and nothing that its strategy does not use. */
    const struct tn_plan_options o = {.document = p->merged};
    struct tn_plan *again = good(&o);
    assert_int_equal(again->services[0].rollout.keep, 5);
    tn_plan_free(again);
    tn_plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_overlays),
        cmocka_unit_test(test_merge_rules),
        cmocka_unit_test(test_marks_survive),
        cmocka_unit_test(test_environment_errors),
        cmocka_unit_test(test_unused_environment),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_include),
        cmocka_unit_test(test_fifo_is_not_waited_for),
        cmocka_unit_test(test_stdin),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_substitution),
        cmocka_unit_test(test_no_injection),
        cmocka_unit_test(test_bad_variables),
        cmocka_unit_test(test_variable_bomb),
        cmocka_unit_test(test_variable_total),
        cmocka_unit_test(test_git),
        cmocka_unit_test(test_env_files),
        cmocka_unit_test(test_rollout_inherited),
    };
    int failed = cmocka_run_group_tests_name("plan: merging", tests, plan_enter_folder, plan_leave_folder);
    return failed || plan_failures;
}
