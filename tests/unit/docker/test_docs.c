/* Documents, one-off runs and ports against a scripted engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "world.h"

/* ---- documents and tasks ------------------------------------------------------------------------------ */

#define THEIRS                                                                                               \
    "{\"Name\":\"turnout-lease\",\"Labels\":{\"turnout.doc\":\"lease\",\"turnout.doc.body\":\"{"             \
    "\\\"holder\\\":"                                                                                        \
    "\\\"x\\\"}\",\"turnout.doc.nonce\":\"other\"}}"

static void a_document_that_exists_is_handed_out(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {{"POST /volumes/create", 1, 201, THEIRS, false, 0},
                                           {"POST /volumes/create", 1, 201, "{\"Name\":\"v\",\"Labels\":{}}",
                                            false, 0},
                                           {"POST /volumes/create", 1, 0, NULL, false, 0},
                                           {"GET /volumes/turnout-lease", 1, 200, THEIRS, false, 0},
                                           {"POST /volumes/create", 1, 0, NULL, false, 0},
                                           {"GET /volumes/turnout-lease", 1, 404, "{}", false, 0},
                                           {0}};
    struct world w;
    world_open(&w, rows, NULL);
    json_t *body = json_pack("{s:s}", "holder", "me"), *existing = NULL;
    assert_int_equal(w.p->ops->doc_create(w.p, NULL, 0, "lease", body, &existing, &w.err), TN_EEXISTS);
    assert_string_equal(json_string_value(json_object_get(existing, "holder")), "x");
    json_decref(existing);
    assert_int_equal(w.p->ops->doc_create(w.p, NULL, 0, "lease", body, NULL, &w.err), TN_ESTRANGER);
    /* No answer: looked up. Somebody else has it; then: nobody has it, so what became of ours is unknown. */
    assert_int_equal(w.p->ops->doc_create(w.p, NULL, 0, "lease", body, NULL, &w.err), TN_EEXISTS);
    assert_int_equal(w.p->ops->doc_create(w.p, NULL, 0, "lease", body, NULL, &w.err), TN_EUNKNOWN);
    json_decref(body);
    world_close(&w);
}

static void a_task_that_ran_is_read_not_repeated(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {
        {"POST /containers/create?name=shop-hook-r1-web-1", 0, 409, "{}", false, 0},
        {"GET /containers/shop-hook-r1-web-1/json", 0, 200,
         INSPECTED("{\"Status\":\"exited\",\"Running\":false,\"ExitCode\":3}", OURS), false, 0},
        {"GET /containers/" ID "/json", 0, 200,
         INSPECTED("{\"Status\":\"exited\",\"Running\":false,\"ExitCode\":3}", OURS), false, 0},
        {"POST /containers/" ID "/wait", 0, 200, "{\"StatusCode\":3}", false, 0},
        {"GET /containers/" ID "/logs", 0, 200, "", false, 0},
        {"DELETE /containers/" ID, 0, 204, NULL, false, 0},
        {0},
    };
    struct world w;
    world_open(&w, rows, NULL);
    const char *argv[] = {"migrate", NULL};
    struct tn_run_result r = {0};
    assert_int_equal(w.p->ops->task(w.p, NULL, &w.start, argv, 1000, &r, &w.err), TN_OK);
    assert_int_equal(r.exit_code, 3);
    assert_int_equal(fake_engine_count(w.engine, "POST /containers/" ID "/start"), 0);
    assert_int_equal(fake_engine_count(w.engine, "DELETE"), 1);
    tn_buf_clear(&r.out);
    tn_buf_clear(&r.err_text);
    world_close(&w);
}

static void a_port_that_somebody_holds_is_taken(void **state)
{
    (void)state;
    static const struct fake_row rows[] = {{0}};
    struct world w;
    world_open(&w, rows, NULL);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    assert_true(w.p->ops->port_taken(w.p, 0, ntohs(a.sin_port)));
    close(fd);
    assert_false(w.p->ops->port_taken(w.p, 0, ntohs(a.sin_port)));
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_that_exists_is_handed_out),
        cmocka_unit_test(a_task_that_ran_is_read_not_repeated),
        cmocka_unit_test(a_port_that_somebody_holds_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
