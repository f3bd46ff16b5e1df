/* Reading: what YAML is refused, where, and what scalars stay. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/buf.h"
#include "tests/unit/plan/plan_help.h"

static const struct {
    const char *name, *text;
    int line, column;
    const char *part;
} bad[] = {
    {"duplicate key", "turnout: 1\nname: a\nname: b\n", 3, 1,
     "duplicate key 'name': it is already on line 2"},
    {"duplicate in flow", "x-a: { b: 1, c: 2, b: 3 }\n", 1, 20, "duplicate key 'b'"},
    {"tab", "turnout: 1\nservices:\n\tweb: {}\n", 3, 1, "a tab indents this line"},
    {"bad utf-8", "turnout: 1\nname: a\xff\n", 2, 8, "byte 0xff is not UTF-8"},
    {"cut utf-8", "name: \xc3", 1, 7, "byte 0xc3 is not UTF-8"},
    {"overlong utf-8", "name: \xc0\xaf\n", 1, 7, "byte 0xc0 is not UTF-8"},
    {"surrogate", "name: \xed\xa0\x80\n", 1, 7, "byte 0xed is not UTF-8"},
    {"control character", "name: \x01\n", 1, 7, "control character 0x01"},
    {"NUL in text", "name: \"a\\0b\"\n", 1, 7, "a text holds a NUL character"},
    {"unknown tag", "name: !!python/object:os.system x\n", 1, 7,
     "unknown tag 'tag:yaml.org,2002:python/object:os.system'"},
    {"private tag", "name: !secret x\n", 1, 7, "unknown tag '!secret'"},
    {"merge key", "x-a: &a { b: 1 }\nrollout:\n  <<: *a\n", 3, 3, "merge keys (<<) are not read"},
    {"second document", "turnout: 1\n---\nname: b\n", 2, 1, "a second document"},
    {"empty", "", 1, 1, "nothing in it"},
    {"only a comment", "# hello\n", 1, 1, "nothing in it"},
    {"a list", "- a\n- b\n", 1, 1, "a plan is a map of keys, not a list"},
    {"a text", "hello\n", 1, 1, "a plan is a map of keys, not text"},
    {"complex key", "? [a, b]\n: c\n", 1, 3, "a key must be a word, not a list"},
    {"unclosed flow", "name: [a, b\nturnout: 1\n", 2, 8, "not valid YAML"},
    {"bare variable in flow", "x: { a: ${b} }\n", 1, 10, "not valid YAML"},
    {"alias without anchor", "name: *nobody\n", 1, 7, "alias '*nobody' has no anchor"},
    {"alias in itself", "x-a: &a [ *a ]\n", 1, 11, "alias '*a' stands inside its own anchor"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct tn_problems p = {0};
        assert_null(plan_load(bad[i].text, &p));
        plan_expect(bad[i].name, &p, bad[i].line, bad[i].column, bad[i].part);
        tn_problems_clear(&p);
    }
    assert_int_equal(plan_failures, 0);
}

static void test_hints(void **state)
{
    (void)state;
    struct tn_problems p = {0};
    assert_null(plan_load("x: { a: ${b} }\n", &p));
    assert_non_null(strstr(p.v[0].hint, "put quotes around"));
    tn_problems_clear(&p);
}

/* `no`, `08`, `1.10` are text where text is wanted. */
static void test_texts_stay(void **state)
{
    (void)state;
    struct tn_plan *p = plan_load_good(
        HEAD WEB "    env: { A: no, B: 08, C: 1.10, D: 0x1f, E: true, F: 12:30:45, G: 1e3, H: on }\n");
    static const char *const want[] = {"no", "08", "1.10", "0x1f", "true", "12:30:45", "1e3", "on"};
    for (size_t i = 0; i < 8; i++)
        assert_string_equal(p->services[0].env.v[i].value, want[i]);
    tn_plan_free(p);
}

static void test_json(void **state)
{
    (void)state;
    struct tn_plan *p =
        plan_load_good("{\n\t\"turnout\": 1, \"name\": \"shop\",\n\t\"clusters\": {\"c\":{\"docker\":{}}},\n"
                       "\t\"services\": {\"web\": {\"image\":\"a\\/b\", \"clusters\":[\"c\"], "
                       "\"replicas\": 2}}\n}\n");
    assert_string_equal(p->services[0].image, "a/b");
    assert_int_equal(p->services[0].replicas, 2);
    tn_plan_free(p);
}

static void test_byte_order_mark(void **state)
{
    (void)state;
    struct tn_plan *p = plan_load_good("\xef\xbb\xbf" HEAD WEB);
    assert_string_equal(p->name, "shop");
    tn_plan_free(p);
}

static void test_alias_is_a_copy(void **state)
{
    (void)state;
    struct tn_plan *p = plan_load_good(HEAD "x-env: &e { A: one }\nservices:\n"
                                            "  a: { image: i, clusters: [c], env: *e }\n"
                                            "  b: { image: i, clusters: [c], env: *e }\n");
    assert_string_equal(p->services[1].env.v[0].value, "one");
    tn_plan_free(p);
}

static void test_alias_bomb(void **state)
{
    (void)state;
    static const char bomb[] = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
                               "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
                               "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
                               "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
                               "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
    struct tn_problems p = {0};
    assert_null(plan_load(bomb, &p));
    const struct tn_problem *found = plan_find_problem(&p, "make more than 20000 values");
    assert_non_null(found);
    assert_int_equal(found->mark.line, 5);
    tn_problems_clear(&p);
}

static void test_depth(void **state)
{
    (void)state;
    struct tn_buf b = TN_BUF_INIT(4096);
    tn_buf_puts(&b, "x-a: ");
    for (int i = 0; i < 64; i++)
        tn_buf_putc(&b, '[');
    for (int i = 0; i < 64; i++)
        tn_buf_putc(&b, ']');
    tn_buf_putc(&b, '\n');
    struct tn_problems p = {0};
    assert_null(plan_load(b.data, &p));
    plan_expect("64 lists in a map", &p, 1, 69, "nested deeper than 64 levels");
    tn_problems_clear(&p);
    tn_buf_clear(&b);
}

/* Depth by aliases counts too. */
static void test_depth_by_alias(void **state)
{
    (void)state;
    struct tn_buf b = TN_BUF_INIT(65536);
    tn_buf_puts(&b, "a0: &a0 [x]\n");
    for (int i = 1; i < 70; i++)
        tn_buf_printf(&b, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    struct tn_problems p = {0};
    assert_null(plan_load(b.data, &p));
    assert_non_null(plan_find_problem(&p, "nested deeper than 64 levels"));
    tn_problems_clear(&p);
    tn_buf_clear(&b);
}

static void test_size(void **state)
{
    (void)state;
    char *text = malloc((1 << 20) + 10);
    memset(text, '#', (1 << 20) + 9);
    text[(1 << 20) + 9] = '\0';
    struct tn_problems p = {0};
    assert_null(plan_load(text, &p));
    assert_non_null(plan_find_problem(&p, "larger than 1048576 bytes"));
    tn_problems_clear(&p);
    free(text);
}

static void test_many_keys(void **state)
{
    (void)state;
    struct tn_buf b = TN_BUF_INIT(1 << 20);
    tn_buf_puts(&b, "x-a:\n");
    for (int i = 0; i < 2001; i++)
        tn_buf_printf(&b, "  k%d: v\n", i);
    struct tn_problems p = {0};
    assert_null(plan_load(b.data, &p));
    plan_expect("2001 keys", &p, 2002, 3, "a map with more than 2000 keys");
    tn_problems_clear(&p);
    tn_buf_clear(&b);
}

/* All of a file's problems come at once, in its order. */
static void test_all_at_once(void **state)
{
    (void)state;
    struct tn_problems p = {0};
    assert_null(plan_load("turnout: 2\nname: Shop\nclusters: { c: { docker: {} } }\nservces: {}\nservices:\n"
                          "  web: { image: i, clusters: [d], replicas: many }\n",
                          &p));
    assert_int_equal(p.n, 5);
    for (size_t i = 1; i < p.n; i++)
        assert_true(p.v[i].mark.line > p.v[i - 1].mark.line || p.v[i].mark.column > p.v[i - 1].mark.column);
    tn_problems_clear(&p);
}

static void test_format(void **state)
{
    (void)state;
    struct tn_problems p = {0};
    assert_null(plan_load(HEAD "services:\n  web: { image: i, clusters: [c], replcas: 3 }\n", &p));
    char *text = tn_problems_format(&p);
    assert_string_equal(text, "turnout.yaml:5:35: unknown key 'replcas' in services.web\n"
                              "  5 |   web: { image: i, clusters: [c], replcas: 3 }\n"
                              "    |                                   ^\n"
                              "  did you mean 'replicas'?\n");
    free(text);
    tn_problems_clear(&p);
}

/* A terminal never sees a plan's control characters; the caret counts characters, not bytes. */
static void test_format_is_filtered(void **state)
{
    (void)state;
    struct tn_problems p = {0};
    assert_null(plan_load(
        "turnout: 1\nname: \"\xc3\xa4\\e[31m\"\nclusters: {}\nservices: {}\n\xc3\xa4\xc3\xb6: 1\n", &p));
    char *text = tn_problems_format(&p);
    assert_null(strchr(text, '\033'));
    assert_non_null(strstr(text, "turnout.yaml:5:1: unknown key"));
    free(text);
    tn_problems_clear(&p);
}

static void test_missing_file(void **state)
{
    (void)state;
    const char *const files[] = {"nowhere.yaml"};
    const struct tn_plan_options o = {.files = files, .n_files = 1};
    struct tn_problems p = {0};
    assert_null(plan_load_with(&o, &p));
    assert_non_null(plan_find_problem(&p, "No such file"));
    assert_string_equal(p.v[0].mark.file, "nowhere.yaml");
    tn_problems_clear(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),         cmocka_unit_test(test_hints),
        cmocka_unit_test(test_texts_stay),      cmocka_unit_test(test_json),
        cmocka_unit_test(test_byte_order_mark), cmocka_unit_test(test_alias_is_a_copy),
        cmocka_unit_test(test_alias_bomb),      cmocka_unit_test(test_depth),
        cmocka_unit_test(test_depth_by_alias),  cmocka_unit_test(test_size),
        cmocka_unit_test(test_many_keys),       cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_format),          cmocka_unit_test(test_format_is_filtered),
        cmocka_unit_test(test_missing_file),
    };
    int failed = cmocka_run_group_tests_name("plan: reading", tests, plan_enter_folder, plan_leave_folder);
    return failed || plan_failures;
}
