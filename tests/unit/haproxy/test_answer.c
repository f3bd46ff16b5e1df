/* Answers of the runtime API, the commands that follow from them, and the kernel's table of connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lib/balancer/haproxy/haproxy.h"

/* Columns in another order than today's, one with a quoted separator. */
#define INFO "Name: HAProxy\nPid: 4711\nStopping: 0\n\n"
#define STAT_HEAD                                                                                            \
    "# pxname,svname,scur,qcur,last_chk,check_status,hrsp_2xx,hrsp_5xx,status,\n"                            \
    "edge,FRONTEND,9,,,,100,,OPEN,\n"                                                                        \
    "turnout-shop-edge-0123456789ab,FRONTEND,0,,,,,,OPEN,\n"                                                 \
    "other,s1,5,0,,L7OK,7,0,UP,\n"
#define STATE_HEAD                                                                                           \
    "\n1\n# be_id be_name srv_id srv_name srv_port srv_addr srv_op_state srv_admin_state srv_uweight\n"

static const char file_text[] = "backend shop_web\n"
                                "    server s1 127.0.0.1:8001 weight 1 # instance=a weight=1\n"
                                "    server s2 127.0.0.1:8002 weight 3 # instance=b weight=3\n"
                                "    server s3 127.0.0.1:8003 weight 1 disabled # leaving=c weight=1\n"
                                "    server s4 127.0.0.1:1 weight 1 disabled # free\n";

static struct tn_haproxy_file file(void)
{
    struct tn_haproxy_file f = {0};
    assert_int_equal(tn_haproxy_read(file_text, sizeof(file_text) - 1, &f, NULL), TN_OK);
    return f;
}

static struct tn_haproxy_runtime runtime(const struct tn_haproxy_file *f, const char *stat, const char *state)
{
    struct tn_haproxy_runtime r = {0};
    tn_autofree char *text = tn_format("%s%s%s%s%s\n", INFO, STAT_HEAD, stat, STATE_HEAD, state);
    assert_int_equal(tn_haproxy_answer(text, f, "turnout-shop-edge-0123456789ab", &r, NULL), TN_OK);
    return r;
}

#define SAME_STAT                                                                                            \
    "shop_web,s1,1,2,\"timeout, at last\",L7OK,10,3,UP,\n"                                                   \
    "shop_web,s2,0,0,,INI,0,0,UP 1/2,\n"                                                                     \
    "shop_web,s3,4,0,,,6,0,MAINT,\n"                                                                         \
    "shop_web,s4,0,0,,,0,0,MAINT,\n"                                                                         \
    "shop_web,BACKEND,5,0,,,16,3,UP,\n"
#define SAME_STATE                                                                                           \
    "4 shop_web 1 s1 8001 127.0.0.1 2 0 1\n"                                                                 \
    "4 shop_web 2 s2 8002 127.0.0.1 2 4 3\n"                                                                 \
    "4 shop_web 3 s3 8003 127.0.0.1 0 5 1\n"                                                                 \
    "4 shop_web 4 s4 1 127.0.0.1 0 5 1\n"                                                                    \
    "5 other 1 s1 9001 127.0.0.1 2 0 1\n"

static void test_answer(void **state)
{
    struct tn_haproxy_file f = file();
    struct tn_haproxy_runtime r = runtime(&f, SAME_STAT, SAME_STATE);
    (void)state;
    assert_int_equal(r.pid, 4711);
    assert_true(r.generation_loaded);
    assert_int_equal(r.n, 4);
    const struct tn_haproxy_server *s = tn_haproxy_server(&r, "shop_web", 0);
    assert_int_equal(s->running, 3);
    assert_int_equal(s->answered, 13);
    assert_string_equal(s->check, "L7OK");
    assert_string_equal(s->address, "127.0.0.1");
    assert_int_equal(s->port, 8001);
    assert_true(tn_haproxy_in_rotation(s) && tn_haproxy_checked(s));
    s = tn_haproxy_server(&r, "shop_web", 1);
    assert_true(tn_haproxy_in_rotation(s)); /* 4 = it was in maintenance by configuration, once */
    assert_false(tn_haproxy_checked(s));    /* UP, but only because nobody has looked yet */
    s = tn_haproxy_server(&r, "shop_web", 2);
    assert_false(tn_haproxy_in_rotation(s));
    assert_true(tn_haproxy_in_maint(s));
    assert_null(tn_haproxy_server(&r, "shop_web", 4));
    assert_null(tn_haproxy_server(&r, "other", 0));
    assert_true(tn_haproxy_has_slots(&f, &r));
    tn_haproxy_runtime_clear(&r);
    tn_haproxy_file_clear(&f);
}

static void test_in_rotation(void **state)
{
    const struct {
        int operational;
        unsigned admin;
        int weight;
        bool in;
    } rows[] = {{2, 0, 1, true},  {1, 0, 1, true},   {2, 4, 1, true},  {0, 0, 1, false},
                {3, 0, 1, false}, {2, 1, 1, false},  {2, 2, 1, false}, {2, 0x20, 1, false},
                {2, 8, 1, false}, {2, 16, 1, false}, {2, 0, 0, false}};
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        struct tn_haproxy_server s = {
            .operational = rows[i].operational, .admin = rows[i].admin, .weight = rows[i].weight};
        assert_int_equal(tn_haproxy_in_rotation(&s), rows[i].in);
    }
}

static void test_checked(void **state)
{
    const struct {
        const char *status, *check;
        bool checked;
    } rows[] = {{"UP", "L7OK", true},     {"UP", "* L7OK", true},
                {"UP", "L4OK", true},     {"UP", "INI", false},
                {"UP", "", false},        {"UP 1/2", "L7OK", false}, /* somebody else's check */
                {"UP 1/2", "INI", false}, {"UP 1/2", "* L7OK", false},
                {"UP", "L4CON", false},   {"DOWN", "L7OK", false},
                {"no check", "", false}};
    struct tn_haproxy_file f = file();
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        tn_autofree char *stat = tn_format("shop_web,s1,0,0,,%s,0,0,%s,\n", rows[i].check, rows[i].status);
        struct tn_haproxy_runtime r = runtime(&f, stat, "4 shop_web 1 s1 8001 127.0.0.1 2 0 1\n");
        assert_int_equal(tn_haproxy_checked(tn_haproxy_server(&r, "shop_web", 0)), rows[i].checked);
        tn_haproxy_runtime_clear(&r);
    }
    tn_haproxy_file_clear(&f);
}

static void test_not_an_answer(void **state)
{
    const char *rows[] = {"",
                          "Permission denied\n",
                          INFO,
                          INFO STAT_HEAD,
                          STAT_HEAD STATE_HEAD,
                          "Pid: x\n" STAT_HEAD STATE_HEAD,
                          "Unknown command. Please enter one of …\n"};
    struct tn_haproxy_file f = file();
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        struct tn_haproxy_runtime r = {0};
        assert_int_equal(tn_haproxy_answer(rows[i], &f, NULL, &r, NULL), TN_EPROTO);
        assert_int_equal(r.n, 0);
    }
    tn_haproxy_file_clear(&f);
}

static void commands_are(const char *server_state, enum tn_haproxy_phase phase, size_t count,
                         const char *expected)
{
    struct tn_haproxy_file f = file();
    struct tn_haproxy_runtime r = runtime(&f, SAME_STAT, server_state);
    tn_autobuf out = TN_BUF_INIT(4096);
    assert_int_equal(tn_haproxy_commands(&f, &r, phase, 20, &out), count);
    assert_string_equal(out.data != NULL ? out.data : "", expected);
    tn_haproxy_runtime_clear(&r);
    tn_haproxy_file_clear(&f);
}

static void test_commands(void **state)
{
    (void)state;
    commands_are(SAME_STATE, TN_HAPROXY_ADMIT, 0, "");
    commands_are(SAME_STATE, TN_HAPROXY_TAKE_OUT, 0, "");
#define REST "4 shop_web 3 s3 8003 127.0.0.1 0 5 1\n4 shop_web 4 s4 1 127.0.0.1 0 5 1\n"
    /* another address: through maintenance */
    commands_are("4 shop_web 1 s1 1 127.0.0.1 0 5 1\n4 shop_web 2 s2 8002 127.0.0.1 2 0 3\n" REST,
                 TN_HAPROXY_ADMIT, 1,
                 "set server shop_web/s1 state maint; set server shop_web/s1 addr 127.0.0.1 port 8001; "
                 "set server shop_web/s1 state ready");
    /* only the weight */
    commands_are("4 shop_web 1 s1 8001 127.0.0.1 2 0 1\n4 shop_web 2 s2 8002 127.0.0.1 2 0 1\n" REST,
                 TN_HAPROXY_ADMIT, 1, "set server shop_web/s2 weight 3");
    /* somebody drained one by hand */
    commands_are("4 shop_web 1 s1 8001 127.0.0.1 2 8 1\n4 shop_web 2 s2 8002 127.0.0.1 2 0 3\n" REST,
                 TN_HAPROXY_ADMIT, 1, "set server shop_web/s1 state ready");
    commands_are("4 shop_web 1 s1 8001 127.0.0.1 2 0 1\n4 shop_web 2 s2 8002 127.0.0.1 2 0 3\n"
                 "4 shop_web 3 s3 8003 127.0.0.1 2 0 1\n4 shop_web 4 s4 1 127.0.0.1 0 5 1\n",
                 TN_HAPROXY_TAKE_OUT, 1, "set server shop_web/s3 state maint");
}

static void test_commands_in_portions(void **state)
{
    struct tn_haproxy_file f = file();
    struct tn_haproxy_runtime r = runtime(
        &f, SAME_STAT, "4 shop_web 1 s1 8001 127.0.0.1 2 1 1\n4 shop_web 2 s2 8002 127.0.0.1 2 1 3\n");
    tn_autobuf out = TN_BUF_INIT(4096);
    (void)state;
    assert_int_equal(tn_haproxy_commands(&f, &r, TN_HAPROXY_ADMIT, 1, &out), 2);
    assert_string_equal(out.data, "set server shop_web/s1 state ready");
    assert_int_equal(tn_haproxy_commands(&f, &r, TN_HAPROXY_ADMIT, 0, NULL), 2);
    assert_false(tn_haproxy_has_slots(&f, &r));
    tn_haproxy_runtime_clear(&r);
    tn_haproxy_file_clear(&f);
}

static void test_established(void **state)
{
    static const char v4[] =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
        "   0: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n"
        "   1: 0100007F:9C40 0100007F:1F41 01 00000000:00000000 00:00000000 00000000     0\n"
        "   2: 0100007F:1F41 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0\n"
        "   3: 0100007F:9C42 0100007F:1F41 06 00000000:00000000 00:00000000 00000000     0\n"
        "   4: 0100007F:9C44 0100007F:1F41 01 00000000:00000000 00:00000000 00000000     0\n"
        "   5: 0100007F:9C46 0200007F:1F41 01 00000000";
    static const char v6[] =
        "   0: 00000000000000000000000001000000:9C40 00000000000000000000000001000000:1F41 01 0\n";
    (void)state;
    assert_int_equal(tn_haproxy_established(v4, "127.0.0.1", 8001), 2);
    assert_int_equal(tn_haproxy_established(v4, "127.0.0.2", 8001), 1);
    assert_int_equal(tn_haproxy_established(v4, "127.0.0.1", 8002), 0);
    assert_int_equal(tn_haproxy_established(v6, "::1", 8001), 1);
    assert_int_equal(tn_haproxy_established("", "127.0.0.1", 8001), 0);
    assert_int_equal(tn_haproxy_established(v4, "name", 8001), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer),        cmocka_unit_test(test_in_rotation),
        cmocka_unit_test(test_not_an_answer), cmocka_unit_test(test_checked),
        cmocka_unit_test(test_commands),      cmocka_unit_test(test_commands_in_portions),
        cmocka_unit_test(test_established),
    };
    return cmocka_run_group_tests_name("haproxy_answer", tests, NULL, NULL);
}
