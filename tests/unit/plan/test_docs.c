/* What comes out of the table: explain, schema, reference, config, the starter plan. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"
#include "lib/plan/keys.h"
#include "tests/unit/plan/plan_help.h"

static void assert_holds(const char *text, const char *part)
{
    if (!text || !strstr(text, part))
        print_error("wanted '%s' in\n%s\n", part, text ? text : "(nothing)");
    assert_true(text && strstr(text, part));
}

static void test_explain(void **state)
{
    (void)state;
    static const struct {
        const char *path, *parts[3];
    } rows[] = {
        {NULL, {"A plan says", "services", "reserved: compose"}},
        {"services", {"services\n", "replicas", "a map"}},
        {"services.web", {"services.<name>\n", "replicas", ""}},
        {"services.web.health.http",
         {"services.<name>.health.http\n", "Path that must answer", "type      text"}},
        {"health.http", {"services.<name>.health.http\n", "", ""}},
        {"replicas", {"services.<name>.replicas\n", "default   1", "between   0 and 1000"}},
        {"clusters.web.docker.hosts[0].url", {"clusters.<name>.docker.hosts[].url", "unix:///path", ""}},
        {"rollout.on_failure",
         {"rollout.on_failure\n", "one of    rollback, pause, stop", "default   rollback"}},
        {"rollout.steps", {"rollout.steps\n", "reserved", ""}},
        {"port_range", {"policy.port_range\n", "20000-29999", ""}},
        {"environments.prod.services", {"services\n", "", ""}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        tn_autofree char *text = tn_plan_explain(rows[i].path, NULL);
        for (size_t k = 0; k < 3 && rows[i].parts[k]; k++)
            if (strcmp(rows[i].parts[k], "a map") != 0)
                assert_holds(text, rows[i].parts[k]);
    }
    struct tn_error *err = NULL;
    assert_null(tn_plan_explain("services.web.helth", &err));
    assert_int_equal(err->code, TN_ENOTFOUND);
    assert_string_equal(err->hint, "did you mean 'health'?");
    tn_error_free(err);
    err = NULL;
    assert_null(tn_plan_explain("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s", &err));
    tn_error_free(err);
}

/* Rules of the table itself: every row is documented, and its default is one that a plan may write. */
static void check_schema(const struct tn_schema *s, int depth)
{
    static const char *const forbidden[] = {"off", "yes", "no", "y", "n"};
    assert_true(depth < 10);
    assert_non_null(s->doc);
    assert_non_null(s->example);
    for (size_t i = 0; i < s->n; i++) {
        const struct tn_key *k = &s->keys[i];
        assert_non_null(k->doc);
        assert_non_null(k->since);
        assert_true(strlen(k->doc) > 3 && k->doc[strlen(k->doc) - 1] != '.');
        for (size_t f = 0; f < TN_COUNT(forbidden); f++)
            assert_string_not_equal(k->name, forbidden[f]);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(k->name, s->keys[j].name);
        if (k->child && k->child != &tn_schema_plan)
            check_schema(k->child, depth + 1);
        if (s->shorthand)
            assert_non_null(tn_schema_find(s, s->shorthand));
    }
}

static void test_table(void **state)
{
    (void)state;
    check_schema(&tn_schema_plan, 0);
}

static const json_t *at(const json_t *json, const char *path)
{
    tn_autofree char *copy = tn_strdup(path);
    char *save = NULL;
    for (char *word = strtok_r(copy, "/", &save); word; word = strtok_r(NULL, "/", &save))
        json = json_object_get(json, word);
    return json;
}

static void check_refs(const json_t *root, const json_t *json)
{
    const char *key;
    json_t *value;
    size_t i;
    if (json_is_object(json)) {
        const char *ref = json_string_value(json_object_get(json, "$ref"));
        if (ref)
            assert_non_null(at(root, ref + 2));
        json_object_foreach((json_t *)json, key, value) check_refs(root, value);
    } else if (json_is_array(json)) {
        json_array_foreach((json_t *)json, i, value) check_refs(root, value);
    }
}

static void test_schema(void **state)
{
    (void)state;
    json_t *s = tn_plan_schema();
    assert_string_equal(json_string_value(json_object_get(s, "$schema")),
                        "http://json-schema.org/draft-07/schema#");
    assert_true(json_is_false(json_object_get(s, "additionalProperties")));
    assert_non_null(at(s, "patternProperties/^x-"));
    assert_non_null(at(s, "definitions/service/properties/replicas/description"));
    assert_non_null(at(s, "definitions/overlay/properties/services"));
    assert_null(at(s, "definitions/overlay/required"));
    assert_non_null(at(s, "definitions/cluster/properties/kubernetes"));
    check_refs(s, s);
    json_decref(s);
}

static void test_reference(void **state)
{
    (void)state;
    tn_autofree char *text = tn_plan_reference();
    assert_holds(text, "# Plan reference");
    assert_holds(text, "## `services.<name>`\n");
    assert_holds(text, "| `replicas` | whole number | 1 |");
    assert_holds(text, "Reserved, refused by name: `scale`");
}

/* What config prints loads again, to the same plan; each line says where it came from. */
static void test_config(void **state)
{
    (void)state;
    plan_write("over.yaml", "services:\n  web:\n    replicas: 4\n");
    plan_write(
        "turnout.yaml", HEAD
        "vars: { tag: v1 }\n" WEB "    env: { A: \"${tag}\", B: \"$${x}\", C: \"no\", D: 08, E: "
        "\"a\\nb\\t\\\"c\\\" #\", F: \"\", G: \"5\" }\n"
        "    platform: { a: 1, b: \"1\", c: \"true\", d: 1.5, e: \"\\u00e9\\u0085\" }\n    labels: {}\n");
    const char *const files[] = {"turnout.yaml", "over.yaml"}, *const sets[] = {"services.web.user=me"};
    const struct tn_plan_options o = {.files = files, .n_files = 2, .sets = sets, .n_sets = 1};
    struct tn_plan *p = plan_load_with(&o, &(struct tn_problems){0});
    assert_non_null(p);
    tn_autofree char *text = tn_plan_config(p);
    assert_holds(text, "name: shop                                                  # from turnout.yaml:2\n");
    assert_holds(text, "    replicas: 4                                             # from over.yaml:3\n");
    assert_holds(
        text, "    user: me                                                # from --set services.web.user\n");
    assert_holds(text, "      A: v1");
    struct tn_plan *q = plan_load_good(text);
    assert_true(json_equal(p->merged, q->merged));
    tn_plan_free(p);
    tn_plan_free(q);
}

static void test_starter(void **state)
{
    (void)state;
    static const char *const kinds[] = {"docker", "process"};
    for (size_t i = 0; i < 2; i++) {
        tn_autofree char *text = tn_plan_starter("my-app", kinds[i]);
        struct tn_problems problems = {0};
        struct tn_plan *p = plan_load(text, &problems);
        assert_non_null(p);
        assert_int_equal(problems.n, 0);
        assert_string_equal(p->name, "my-app");
        assert_string_equal(tn_cluster_kind_name(p->clusters[0].kind), kinds[i]);
        tn_plan_free(p);
    }
    tn_autofree char *text = tn_plan_starter("Not A Name", NULL);
    assert_holds(text, "name: shop\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_explain),   cmocka_unit_test(test_table),  cmocka_unit_test(test_schema),
        cmocka_unit_test(test_reference), cmocka_unit_test(test_config), cmocka_unit_test(test_starter),
    };
    return cmocka_run_group_tests_name("plan: documents", tests, plan_enter_folder, plan_leave_folder);
}
