#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/provider/docker/image_ref.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void references_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *domain, *path, *tag, *digest, *name;
    } cases[] = {
        {"busybox", "docker.io", "library/busybox", "latest", NULL, "busybox:latest"},
        {"busybox:1.36", "docker.io", "library/busybox", "1.36", NULL, "busybox:1.36"},
        {"shop/web:v1", "docker.io", "shop/web", "v1", NULL, "shop/web:v1"},
        {"docker.io/shop/web:v1", "docker.io", "shop/web", "v1", NULL, "shop/web:v1"},
        {"docker.io/library/busybox", "docker.io", "library/busybox", "latest", NULL, "busybox:latest"},
        {"docker.io/library/a/b", "docker.io", "library/a/b", "latest", NULL, "library/a/b:latest"},
        {"index.docker.io/busybox", "docker.io", "library/busybox", "latest", NULL, "busybox:latest"},
        {"docker.io/a.b/c", "docker.io", "a.b/c", "latest", NULL, "docker.io/a.b/c:latest"},
        {"localhost/web", "localhost", "web", "latest", NULL, "localhost/web:latest"},
        {"localhost:5000/web:1", "localhost:5000", "web", "1", NULL, "localhost:5000/web:1"},
        {"127.0.0.1:5000/a/b:1", "127.0.0.1:5000", "a/b", "1", NULL, "127.0.0.1:5000/a/b:1"},
        {"[::1]:5000/a:1", "[::1]:5000", "a", "1", NULL, "[::1]:5000/a:1"},
        {"registry.example/shop/web", "registry.example", "shop/web", "latest", NULL,
         "registry.example/shop/web:latest"},
        {"Registry/web", "Registry", "web", "latest", NULL, "Registry/web:latest"},
        {"a__b/c.d-e---f:T_.-1", "docker.io", "a__b/c.d-e---f", "T_.-1", NULL, "a__b/c.d-e---f:T_.-1"},
        {"web@sha256:" HEX64, "docker.io", "library/web", NULL, "sha256:" HEX64, "web@sha256:" HEX64},
        {"r.io/web:1@sha256:" HEX64, "r.io", "web", "1", "sha256:" HEX64, "r.io/web@sha256:" HEX64},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        struct tn_image_ref r;
        struct tn_error *err = NULL;
        int code = tn_image_ref_parse(cases[i].text, &r, &err);
        if (code != TN_OK)
            fail_msg("%s: %s", cases[i].text, tn_error_message(err));
        tn_autofree char *name = tn_image_ref_name(&r);
        if (!tn_streq(r.domain, cases[i].domain) || !tn_streq(r.path, cases[i].path) ||
            !tn_streq(r.tag, cases[i].tag) || !tn_streq(r.digest, cases[i].digest) ||
            !tn_streq(name, cases[i].name))
            fail_msg("%s: %s | %s | %s | %s | %s", cases[i].text, r.domain, r.path, r.tag, r.digest, name);
        tn_image_ref_clear(&r);
    }
}

static void what_is_no_reference_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "Web",
        "web:",
        "web:-1",
        "web:.1",
        "web@",
        "web@sha256:abc",
        ("web@md5:" HEX64),
        "/web",
        "web/",
        "a//b",
        "-a",
        "a-",
        "a___b",
        "a..b",
        "a b",
        "a\nb",
        "web:1:2",
        "r.io:99999/web",
        "r.io:/web",
        "r.io:0/a",
        "-r.io/web",
        "r..io/web",
        "[::1/web",
        "[]:5000/a",
        "a/B",
        "web?x=1",
        "web#1",
        "web%20",
        "../etc/passwd",
        ("web@sha256:" HEX64 "0"),
        "r.io/web:1@",
        "\xc3\xa4pfel",
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        struct tn_image_ref r = {0};
        struct tn_error *err = NULL;
        if (tn_image_ref_parse(cases[i], &r, &err) != TN_EPLAN)
            fail_msg("taken: %s", cases[i]);
        assert_null(r.domain);
        tn_error_free(err);
    }
    char long_name[300];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    struct tn_image_ref r;
    assert_int_equal(tn_image_ref_parse(long_name, &r, NULL), TN_EPLAN);
}

static void image_ids_are_known(void **state)
{
    (void)state;
    assert_true(tn_image_is_id("sha256:" HEX64));
    assert_false(tn_image_is_id("sha256:" HEX64 "0"));
    assert_false(tn_image_is_id("sha256:0123"));
    assert_false(tn_image_is_id(HEX64));
    assert_false(tn_image_is_id("web:1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_are_taken_apart),
        cmocka_unit_test(what_is_no_reference_is_refused),
        cmocka_unit_test(image_ids_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
