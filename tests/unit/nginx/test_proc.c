/* What /proc says, and what the kernel's own dump says, of connections and processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <unistd.h>

#include "lib/balancer/nginx/diag.h"
#include "lib/balancer/nginx/proc.h"
#include "turnout/mem.h"

static void test_rows(void **state)
{
    (void)state;
    if (htonl(1) == 1)
        skip(); /* the samples are of a little-endian kernel */
    static const struct {
        const char *line, *local, *remote;
        unsigned state;
        unsigned long inode;
    } rows[] = {
        {"   3: 0100007F:AC7A 0100007F:4E20 01 00000000:00000000 00:00000000 00000000    33        0 4711 1 "
         "0 20 4 30",
         "127.0.0.1:44154", "127.0.0.1:20000", TN_TCP_ESTABLISHED, 4711},
        {"   0: 0100007F:46B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0 "
         "100 0 0",
         "127.0.0.1:18099", NULL, TN_TCP_LISTEN, 99},
        {"   1: 0000000000000000FFFF00000100007F:AC7A 0000000000000000FFFF00000200000A:0050 02 "
         "00000000:00000000 "
         "00:00000000 00000000 33 0 7 1\n",
         "127.0.0.1:44154", "10.0.0.2:80", TN_TCP_SYN_SENT, 7},
        {"   1: B80D0120000000000000000001000000:0050 B80D0120000000000000000002000000:01BB 06 "
         "00000000:00000000 "
         "00:00000000 00000000 0 0 0 1\n",
         "[2001:db8::1]:80", "[2001:db8::2]:443", 6, 0},
    };
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        struct tn_tcp_row row;
        char text[TN_ENDPOINT_TEXT];
        assert_true(tn_tcp_row_parse(rows[i].line, &row));
        assert_string_equal(tn_endpoint_format(&row.local, text), rows[i].local);
        if (rows[i].remote)
            assert_string_equal(tn_endpoint_format(&row.remote, text), rows[i].remote);
        assert_int_equal(row.state, rows[i].state);
        assert_int_equal(row.inode, rows[i].inode);
    }
    static const char *const bad[] = {
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
        "",
        "\n",
        "   3: 0100007F:AC7A 0100007F:4E20 01",
        "   3: 0100007F:AC7 0100007F:4E20 01 0:0 0:0 0 0 0 1 1",
        "   3: 01000:AC7A 0100007F:4E20 01 0:0 0:0 0 0 0 1 1",
        "   3: 0100007F:AC7A 0100007F:4E20 0X 0:0 0:0 0 0 0 1 1",
        "   3: 0100007F:AC7A 0100007F:4E20 01 0:0 0:0 0 0 0 1x 1"};
    for (size_t i = 0; i < TN_COUNT(bad); i++) {
        struct tn_tcp_row row;
        if (tn_tcp_row_parse(bad[i], &row))
            fail_msg("taken: %s", bad[i]);
    }
}

/* The pattern for grep is what a row of that peer holds. */
static void test_peer_text(void **state)
{
    (void)state;
    static const char *const peers[] = {"127.0.0.1:20000", "10.1.2.3:80", "[2001:db8::1]:443"};
    for (size_t i = 0; i < TN_COUNT(peers); i++)
        for (int mapped = 0; mapped < 2; mapped++) {
            struct tn_endpoint e;
            struct tn_tcp_row row;
            char peer[TN_TCP_PEER_TEXT], line[256];
            assert_true(tn_endpoint_parse(peers[i], &e));
            tn_tcp_peer_text(&e, mapped, peer);
            snprintf(line, sizeof(line), " 1: %s %s 01 0:0 0:0 0 0 0 5 1", peer, peer);
            assert_true(tn_tcp_row_parse(line, &row));
            assert_true(tn_endpoint_equal(&row.remote, &e));
        }
}

static void test_endpoints(void **state)
{
    (void)state;
    struct tn_endpoint a, b;
    assert_true(tn_endpoint_of("::ffff:10.0.0.1", 80, &a));
    assert_true(tn_endpoint_of("10.0.0.1", 80, &b));
    assert_true(tn_endpoint_equal(&a, &b));
    assert_true(tn_endpoint_of("10.0.0.1", 81, &b));
    assert_false(tn_endpoint_equal(&a, &b));
    assert_false(tn_endpoint_of("10.0.0", 80, &a));
    assert_false(tn_endpoint_of("fe80::1%eth0", 80, &a));
    assert_false(tn_endpoint_of(NULL, 80, &a));
    assert_false(tn_endpoint_of("10.0.0.1", 0, &a));
}

static void test_stat(void **state)
{
    (void)state;
    struct tn_nginx_process p;
    assert_true(tn_process_stat_parse(
        "4711 (ng) in (x) S 12 4711 4711 0 -1 4194624 1 0 0 0 1 2 0 0 20 0 1 0 123456 99", 100, &p));
    assert_int_equal(p.pid, 4711);
    assert_int_equal(p.parent, 12);
    assert_int_equal(p.start_ms, 1234560);
    static const char *const bad[] = {"",          "x",
                                      "12 (nginx", "12 (nginx) S 1 2 3",
                                      "0 (a) S 1", "12 (a) S 1 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 abc"};
    for (size_t i = 0; i < TN_COUNT(bad); i++)
        assert_false(tn_process_stat_parse(bad[i], 100, &p));
}

static void test_titles(void **state)
{
    (void)state;
    static const struct {
        const char *title;
        enum tn_nginx_role role;
    } cases[] = {{"nginx: master process nginx -g daemon off;", TN_NGINX_MASTER},
                 {"nginx: worker process", TN_NGINX_WORKER},
                 {"nginx: worker process is shutting down", TN_NGINX_LEAVING},
                 {"nginx: cache manager process", TN_NGINX_OTHER},
                 {"vim nginx: worker process", TN_NGINX_OTHER},
                 {"", TN_NGINX_OTHER}};
    for (size_t i = 0; i < TN_COUNT(cases); i++)
        assert_int_equal(tn_nginx_role_of(cases[i].title), cases[i].role);
}

static void test_mounts(void **state)
{
    (void)state;
    static const char text[] = "21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
                               "99 21 8:1 /x/shop.conf /etc/nginx/conf.d/shop.conf rw - ext4 /dev/sda1 rw\n"
                               "98 21 8:1 /y /mnt/a\\040b rw - ext4 /dev/sda1 rw\n";
    assert_true(tn_mountinfo_has(text, "/etc/nginx/conf.d/shop.conf"));
    assert_true(tn_mountinfo_has(text, "/mnt/a b"));
    assert_false(tn_mountinfo_has(text, "/etc/nginx/conf.d"));
    assert_false(tn_mountinfo_has(text, "/etc/nginx/conf.d/shop.conf2"));
    assert_false(tn_mountinfo_has(text, "/x/shop.conf"));
    assert_false(tn_mountinfo_has("", "/"));
    assert_false(tn_mountinfo_has("1 2\n\n3", "/"));
}

struct wanted {
    struct tn_endpoint at;
    int listening, connected;
};

static void look(void *arg, const struct tn_tcp_row *row)
{
    struct wanted *w = arg;
    w->listening += row->state == TN_TCP_LISTEN && tn_endpoint_equal(&row->local, &w->at) && row->inode != 0;
    w->connected += row->state == TN_TCP_ESTABLISHED && tn_endpoint_equal(&row->remote, &w->at);
}

static void test_dump(void **state)
{
    (void)state;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
        client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(server, 4), 0);
    assert_int_equal(getsockname(server, (struct sockaddr *)&sa, &len), 0);
    struct wanted w = {0};
    assert_true(tn_endpoint_of("127.0.0.1", ntohs(sa.sin_port), &w.at));
    bool possible = tn_tcp_dump(1U << TN_TCP_LISTEN | 1U << TN_TCP_ESTABLISHED, look, &w);
    if (possible) {
        assert_int_equal(w.listening, 1);
        assert_int_equal(w.connected, 0);
        assert_int_equal(connect(client, (struct sockaddr *)&sa, sizeof(sa)), 0);
        assert_true(tn_tcp_dump(1U << TN_TCP_ESTABLISHED, look, &w));
        assert_int_equal(w.listening, 1);
        assert_int_equal(w.connected, 1);
    }
    close(client);
    close(server);
    if (!possible)
        skip(); /* a kernel without sock_diag */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows), cmocka_unit_test(test_peer_text), cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_stat), cmocka_unit_test(test_titles),    cmocka_unit_test(test_mounts),
        cmocka_unit_test(test_dump),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
