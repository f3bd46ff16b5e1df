/* Tags and pulls against a scripted engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "turnout/text.h"
#include "world.h"

/* ---- images ------------------------------------------------------------------------------------------- */

struct pull_case {
    const char *name;
    struct fake_row rows[5];
    enum tn_code code;
    int pulls;
    const char *message;
};

static const char good[] = "{\"status\":\"Pulling\"}\r\n{\"status\":\"Done\"}\r\n";
static const struct pull_case pulls[] = {
    {"present already", {{"GET /images/" IMAGE, 0, 200, "{}", false, 0}}, TN_OK, 0, NULL},
    {"pulled",
     {{"GET /images/" IMAGE, 1, 404, "{}", false, 0},
      {"POST /images/create?fromImage=r.example%2Fweb&tag=sha256%3A" ID, 0, 200, good, false, 0},
      {"GET /images/" IMAGE, 1, 200, "{}", false, 0}},
     TN_OK,
     1,
     NULL},
    {"error in the stream",
     {{"GET /images/" IMAGE, 0, 404, "{}", false, 0},
      {"POST /images/create", 0, 200, "{\"status\":\"a\"}\n{\"errorDetail\":{\"message\":\"no space left\"}}",
       false, 0}},
     TN_EFAIL,
     1,
     "no space left"},
    {"stream cut by the connection",
     {{"GET /images/" IMAGE, 0, 404, "{}", false, 0}, {"POST /images/create", 0, 200, good, true, 0}},
     TN_EUNKNOWN,
     1,
     "pull of image"},
    {"stream cut in an object",
     {{"GET /images/" IMAGE, 0, 404, "{}", false, 0},
      {"POST /images/create", 0, 200, "{\"status\":\"a\"}\n{\"sta", false, 0}},
     TN_EPROTO,
     1,
     "ended in the middle"},
    {"200, but not there",
     {{"GET /images/" IMAGE, 0, 404, "{\"message\":\"No such image\"}", false, 0},
      {"POST /images/create", 0, 200, good, false, 0}},
     TN_ENOTFOUND,
     1,
     "pulled, but engine"},
    {"5xx, then well",
     {{"GET /images/" IMAGE, 1, 404, "{}", false, 0},
      {"POST /images/create", 2, 503, "{\"message\":\"busy\"}", false, 0},
      {"POST /images/create", 0, 200, good, false, 0},
      {"GET /images/" IMAGE, 1, 200, "{}", false, 0}},
     TN_OK,
     3,
     NULL},
    {"5xx for good",
     {{"GET /images/" IMAGE, 0, 404, "{}", false, 0},
      {"POST /images/create", 0, 500, "{\"message\":\"busy\"}", false, 0}},
     TN_EFAIL,
     3,
     "busy"},
    {"rate limit",
     {{"GET /images/" IMAGE, 0, 404, "{}", false, 0},
      {"POST /images/create", 0, 500, "{\"message\":\"toomanyrequests: slow down\"}", false, 0}},
     TN_EFAIL,
     1,
     "too many requests"},
    {"not found",
     {{"GET /images/" IMAGE, 0, 404, "{}", false, 0},
      {"POST /images/create", 0, 404, "{\"message\":\"manifest unknown\"}", false, 0}},
     TN_ENOTFOUND,
     1,
     "manifest unknown"},
    {"login",
     {{"GET /images/" IMAGE, 0, 404, "{}", false, 0},
      {"POST /images/create", 0, 500, "{\"message\":\"unauthorized: authentication required\"}", false, 0}},
     TN_EAUTH,
     1,
     "wants a login"},
};

/* S26: HTTP 200 proves nothing. S27: a rate limit is not answered with more requests. */
static void S26_S27_a_pull_counts_when_the_engine_has_the_digest(void **state)
{
    (void)state;
    for (size_t i = 0; i < TN_COUNT(pulls); i++) {
        struct world w;
        world_open(&w, pulls[i].rows, NULL);
        int code = w.p->ops->prepare(w.p, NULL, &w.service, IMAGE, NULL, NULL, &w.err);
        if (code != (int)pulls[i].code)
            fail_msg("%s: %d %s", pulls[i].name, code, tn_error_message(w.err));
        if (pulls[i].message != NULL && strstr(w.err->message, pulls[i].message) == NULL)
            fail_msg("%s: %s", pulls[i].name, w.err->message);
        if (fake_engine_count(w.engine, "POST /images/create") != pulls[i].pulls)
            fail_msg("%s: %d pulls", pulls[i].name, fake_engine_count(w.engine, "POST /images/create"));
        world_close(&w);
    }
}

struct resolve_case {
    const char *name, *image, *pull;
    struct fake_row rows[3];
    const char *expected;
    enum tn_code code;
    bool note;
    int calls;
};

static const char descriptor[] = "{\"Descriptor\":{\"digest\":\"sha256:" ID "\"}}";
static const char local[] = "{\"Id\":\"sha256:" ID "\",\"RepoDigests\":[\"r.example/web@sha256:77\"]}";
static const char unpushed[] = "{\"Id\":\"sha256:" ID "\",\"RepoDigests\":[]}";
static const char down[] = "{\"message\":\"dial tcp: connection refused\"}";
static const struct resolve_case resolutions[] = {
    {"digest", IMAGE, "always", {{0}}, IMAGE, TN_OK, false, 0},
    {"id", "sha256:" ID, "missing", {{0}}, "sha256:" ID, TN_OK, false, 0},
    {"local",
     "r.example/web:1",
     "missing",
     {{"GET /images/r.example/web:1/json", 0, 200, local, false, 0}},
     "r.example/web@sha256:77",
     TN_OK,
     false,
     1},
    {"local, never pushed",
     "r.example/web:1",
     "missing",
     {{"GET /images/", 0, 200, unpushed, false, 0}},
     "sha256:" ID,
     TN_OK,
     true,
     1},
    {"always",
     "r.example/web:1",
     "always",
     {{"GET /distribution/r.example/web:1/json", 0, 200, descriptor, false, 0}},
     IMAGE,
     TN_OK,
     false,
     1},
    {"always, registry down",
     "r.example/web:1",
     "always",
     {{"GET /distribution/", 0, 500, down, false, 0}, {"GET /images/", 0, 200, local, false, 0}},
     "r.example/web@sha256:77",
     TN_OK,
     true,
     2},
    {"missing, not local",
     "r.example/web:1",
     "missing",
     {{"GET /images/", 0, 404, "{}", false, 0}, {"GET /distribution/", 0, 200, descriptor, false, 0}},
     IMAGE,
     TN_OK,
     false,
     2},
    {"nowhere",
     "r.example/web:1",
     "missing",
     {{"GET /images/", 0, 404, "{}", false, 0}, {"GET /distribution/", 0, 500, down, false, 0}},
     NULL,
     TN_ENOTFOUND,
     false,
     2},
    {"never",
     "r.example/web:1",
     "never",
     {{"GET /images/", 0, 404, "{}", false, 0}},
     NULL,
     TN_ENOTFOUND,
     false,
     1},
    {"login",
     "r.example/web:1",
     "always",
     {{"GET /distribution/", 0, 401, "{\"message\":\"unauthorized\"}", false, 0},
      {"GET /images/", 0, 200, local, false, 0}},
     NULL,
     TN_EAUTH,
     false,
     1},
    {"no digest in it",
     "r.example/web:1",
     "missing",
     {{"GET /images/", 0, 404, "{}", false, 0},
      {"GET /distribution/", 0, 200, "{\"Descriptor\":{\"digest\":\"x\"}}", false, 0}},
     NULL,
     TN_EPROTO,
     false,
     2},
    {"no reference", "Web", "missing", {{0}}, NULL, TN_EPLAN, false, 0},
};

static void tags_become_digests(void **state)
{
    (void)state;
    setenv("DOCKER_CONFIG", "/nonexistent", 1);
    for (size_t i = 0; i < TN_COUNT(resolutions); i++) {
        struct world w;
        world_open(&w, resolutions[i].rows, NULL);
        w.service.image = (char *)(uintptr_t)resolutions[i].image;
        w.service.pull = (char *)(uintptr_t)resolutions[i].pull;
        tn_autofree char *note = NULL;
        tn_autofree char *got = w.p->ops->resolve(w.p, NULL, &w.service, &note, &w.err);
        if (!tn_streq(got, resolutions[i].expected) || (note != NULL) != resolutions[i].note)
            fail_msg("%s: %s, note %s, %s", resolutions[i].name, got, note, tn_error_message(w.err));
        if (got == NULL)
            assert_int_equal(w.err->code, resolutions[i].code);
        int pings = fake_engine_count(w.engine, "GET /_ping");
        assert_int_equal(w.engine->n_log - pings, resolutions[i].calls);
        assert_int_equal(fake_engine_count(w.engine, "POST"), 0);
        world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(S26_S27_a_pull_counts_when_the_engine_has_the_digest),
        cmocka_unit_test(tags_become_digests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
