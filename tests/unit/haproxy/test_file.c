/* The owned file and its slots: what is written, read back, kept and reused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lib/balancer/haproxy/haproxy.h"

static const struct tn_haproxy_identity own = {.app = "shop",
                                               .environment = "prod",
                                               .balancer = "edge",
                                               .probe_bind = "unix@/run/haproxy/t.sock mode 660"};

/* "web-1@127.0.0.1:8001*4 web-2@…" as the wanted servers of one upstream. */
static struct tn_traffic traffic(const char *servers, int slots)
{
    struct tn_traffic t = {0};
    TN_GROW(t.v, t.n, t.cap);
    struct tn_upstream *u = &t.v[t.n++];
    *u = (struct tn_upstream){.name = tn_strdup("shop_web"),
                              .service = tn_strdup("web"),
                              .probe_path = tn_strdup("/healthz"),
                              .slots = slots,
                              .keepalive = -1,
                              .max_fails = -1,
                              .fail_timeout = -1};
    char *copy = tn_strdup(servers), *save = NULL;
    for (char *w = strtok_r(copy, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
        char *at = strchr(w, '@'), *colon = strrchr(w, ':'), *star = strchr(w, '*');
        *at = *colon = *star = '\0';
        TN_GROW(u->servers, u->n_servers, u->cap_servers);
        u->servers[u->n_servers++] = (struct tn_server){.instance = tn_strdup(w),
                                                        .address = tn_strdup(at + 1),
                                                        .port = atoi(colon + 1),
                                                        .weight = atoi(star + 1)};
    }
    free(copy);
    return t;
}

/* One step: the slots of `old` for `servers`; `old` is replaced. Returns the slots as "i:web-1 l:web-2 -". */
static char *step(struct tn_haproxy_file *f, const char *servers, int slots,
                  const struct tn_haproxy_runtime *r, bool trim)
{
    struct tn_haproxy_file next = {0};
    struct tn_traffic t = traffic(servers, slots);
    tn_haproxy_assign(f, &t, r, trim, &next);
    tn_traffic_clear(&t);
    tn_haproxy_file_clear(f);
    *f = next;
    struct tn_buf out = TN_BUF_INIT(4096);
    for (size_t i = 0; i < f->v[0].n_slots; i++) {
        const struct tn_haproxy_slot *s = &f->v[0].slots[i];
        tn_buf_printf(&out, "%s%s%s", i > 0 ? " " : "",
                      s->use == TN_HAPROXY_FREE     ? "-"
                      : s->use == TN_HAPROXY_SERVES ? "i:"
                                                    : "l:",
                      s->instance != NULL ? s->instance : "");
    }
    return tn_buf_take(&out);
}

#define STEP(f, servers, slots, r, trim, expected)                                                           \
    do {                                                                                                     \
        char *got_ = step(f, servers, slots, r, trim);                                                       \
        assert_string_equal(got_, expected);                                                                 \
        free(got_);                                                                                          \
    } while (0)

static void server_is(struct tn_haproxy_runtime *r, const char *name, int port, unsigned admin,
                      int64_t running)
{
    TN_GROW(r->v, r->n, r->cap);
    r->v[r->n++] = (struct tn_haproxy_server){.backend = tn_strdup("shop_web"),
                                              .name = tn_strdup(name),
                                              .address = tn_strdup("127.0.0.1"),
                                              .port = port,
                                              .weight = 1,
                                              .admin = admin,
                                              .operational = 2,
                                              .running = running,
                                              .has_stat = true,
                                              .has_state = true};
}

static void test_slots(void **state)
{
    struct tn_haproxy_file f = {0};
    struct tn_haproxy_runtime r = {0};
    (void)state;
    STEP(&f, "a@127.0.0.1:1001*1 b@127.0.0.1:1002*1", 3, NULL, false, "i:a i:b -");
    STEP(&f, "a@127.0.0.1:1001*1 b@127.0.0.1:1002*1 c@127.0.0.1:1003*1", 3, NULL, false, "i:a i:b i:c");
    STEP(&f, "b@127.0.0.1:1002*1 c@127.0.0.1:1003*1", 3, NULL, false, "l:a i:b i:c");
    /* back again: the same slot */
    STEP(&f, "a@127.0.0.1:1001*1 b@127.0.0.1:1002*1 c@127.0.0.1:1003*1", 3, NULL, false, "i:a i:b i:c");
    STEP(&f, "b@127.0.0.1:1002*1 c@127.0.0.1:1003*1", 3, NULL, false, "l:a i:b i:c");
    /* a still has two requests to finish: its slot is not given away */
    server_is(&r, "s1", 1001, 1, 2);
    STEP(&f, "b@127.0.0.1:1002*1 c@127.0.0.1:1003*1 d@127.0.0.1:1004*1", 3, &r, false, "l:a i:b i:c i:d");
    r.v[0].running = 0;
    STEP(&f, "b@127.0.0.1:1002*1 c@127.0.0.1:1003*1 d@127.0.0.1:1004*1 e@127.0.0.1:1005*1", 3, &r, false,
         "i:e i:b i:c i:d");
    /* fewer are wanted: the slot at the end goes only when a reload comes anyway */
    STEP(&f, "b@127.0.0.1:1002*1 c@127.0.0.1:1003*1", 3, NULL, false, "l:e i:b i:c l:d");
    STEP(&f, "b@127.0.0.1:1002*1 c@127.0.0.1:1003*1", 3, NULL, true, "l:e i:b i:c");
    tn_haproxy_runtime_clear(&r);
    tn_haproxy_file_clear(&f);
}

static void test_slot_still_in_rotation_is_busy(void **state)
{
    struct tn_haproxy_file f = {0};
    struct tn_haproxy_runtime r = {0};
    (void)state;
    STEP(&f, "a@127.0.0.1:1001*1", 1, NULL, false, "i:a");
    server_is(&r, "s1", 1001, 0, 0); /* idle at this moment, but it would get the next request */
    STEP(&f, "b@127.0.0.1:1002*1", 1, &r, false, "l:a i:b");
    r.v[0].admin = 1;
    STEP(&f, "b@127.0.0.1:1002*1 c@127.0.0.1:1003*1", 1, &r, false, "i:c i:b");
    tn_haproxy_runtime_clear(&r);
    tn_haproxy_file_clear(&f);
}

static void test_address_change_is_another_slot(void **state)
{
    struct tn_haproxy_file f = {0};
    (void)state;
    STEP(&f, "a@127.0.0.1:1001*1", 2, NULL, false, "i:a -");
    STEP(&f, "a@127.0.0.1:1009*1", 2, NULL, false, "l:a i:a");
    tn_haproxy_file_clear(&f);
}

static void test_weights(void **state)
{
    struct tn_haproxy_file f = {0};
    (void)state;
    free(step(&f, "a@127.0.0.1:1001*77 b@127.0.0.1:1002*77", 2, NULL, false));
    assert_int_equal(tn_haproxy_divisor(&f.v[0]), 77);
    free(step(&f, "a@127.0.0.1:1001*30 b@127.0.0.1:1002*10", 2, NULL, false));
    assert_int_equal(tn_haproxy_divisor(&f.v[0]), 10);
    free(step(&f, "a@127.0.0.1:1001*3 b@127.0.0.1:1002*2", 2, NULL, false));
    assert_int_equal(tn_haproxy_divisor(&f.v[0]), 1);
    free(step(&f, "b@127.0.0.1:1002*2", 2, NULL, false)); /* who leaves has no share */
    assert_int_equal(tn_haproxy_divisor(&f.v[0]), 2);
    tn_haproxy_file_clear(&f);
}

static void test_golden(void **state)
{
    struct tn_haproxy_file f = {0};
    (void)state;
    free(step(&f, "a@127.0.0.1:1001*4 b@::1:1002*8", 3, NULL, false));
    f.v[0].upstream.probe_expect = tn_strdup("200,204");
    tn_autofree char *text = tn_haproxy_render(&own, &f);
    const char *body = strchr(text, '\n') + 1;
    tn_autofree char *expected =
        tn_format("frontend turnout-shop-prod-edge-%s\n"
                  "    mode http\n"
                  "    no log\n"
                  "    timeout client 10s\n"
                  "    bind unix@/run/haproxy/t.sock mode 660\n"
                  "    http-request set-var(txn.turnout_upstream) req.hdr(x-turnout-upstream)\n"
                  "    http-request set-var(txn.turnout_server) req.hdr(x-turnout-server)\n"
                  "    http-request del-header x-turnout-upstream\n"
                  "    http-request del-header x-turnout-server\n"
                  "    use_backend shop_web if { var(txn.turnout_upstream) -m str shop_web }\n"
                  "backend shop_web\n"
                  "    # turnout upstream slots=3 service=web probe=/healthz expect=200,204\n"
                  "    mode http\n"
                  "    balance roundrobin\n"
                  "    option redispatch\n"
                  "    retries 3\n"
                  "    option httpchk\n"
                  "    http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host localhost\n"
                  "    http-check expect status 200,204\n"
                  "    load-server-state-from-file none\n"
                  "    default-server check inter 500ms fastinter 100ms fall 2 rise 1\n"
                  "    use-server s1 if { var(txn.turnout_server) -m str s1 }\n"
                  "    use-server s2 if { var(txn.turnout_server) -m str s2 }\n"
                  "    use-server s3 if { var(txn.turnout_server) -m str s3 }\n"
                  "    server s1 127.0.0.1:1001 weight 1 # instance=a weight=4\n"
                  "    server s2 [::1]:1002 weight 2 # instance=b weight=8\n"
                  "    server s3 127.0.0.1:1 weight 1 disabled # free\n",
                  f.generation);
    assert_string_equal(body, expected);
    assert_int_equal(tn_haproxy_owner(&own, text, strlen(text)), TN_HAPROXY_OURS);
    tn_haproxy_file_clear(&f);
}

static void test_round_trip(void **state)
{
    struct tn_haproxy_file f = {0}, back = {0};
    (void)state;
    free(step(&f, "a@127.0.0.1:1001*4 b@::1:1002*8", 4, NULL, false));
    free(step(&f, "b@::1:1002*8 c@127.0.0.1:1003*8", 4, NULL, false));
    tn_autofree char *text = tn_haproxy_render(&own, &f);
    assert_int_equal(tn_haproxy_read(text, strlen(text), &back, NULL), TN_OK);
    tn_autofree char *again = tn_haproxy_render(&own, &back);
    assert_string_equal(again, text);
    assert_int_equal(back.v[0].slots[0].use, TN_HAPROXY_LEAVING);
    struct tn_traffic t = {0};
    tn_haproxy_to_traffic(&back, &t);
    assert_int_equal(t.n, 1);
    assert_int_equal(t.v[0].n_servers, 2);
    assert_string_equal(t.v[0].servers[0].instance, "b");
    assert_string_equal(t.v[0].servers[0].address, "::1");
    assert_int_equal(t.v[0].servers[0].weight, 8);
    assert_int_equal(t.v[0].slots, 4);
    assert_int_equal(t.v[0].max_fails, -1);
    tn_traffic_clear(&t);
    tn_haproxy_file_clear(&back);
    tn_haproxy_file_clear(&f);
}

static void generation_of(struct tn_haproxy_file *f, const char *servers, int slots,
                          char out[TN_HAPROXY_GENERATION + 1])
{
    free(step(f, servers, slots, NULL, false));
    free(tn_haproxy_render(&own, f));
    memcpy(out, f->generation, TN_HAPROXY_GENERATION + 1);
}

/* What the runtime API can change needs no reload, so it is no new structure; all else is. */
static void test_generation(void **state)
{
    struct tn_haproxy_file f = {0};
    char first[TN_HAPROXY_GENERATION + 1], now[TN_HAPROXY_GENERATION + 1];
    (void)state;
    generation_of(&f, "a@127.0.0.1:1001*4", 3, first);
    generation_of(&f, "b@127.0.0.1:1002*1 c@127.0.0.1:1003*8", 3, now);
    assert_string_equal(now, first);
    generation_of(&f, "b@127.0.0.1:1002*1", 4, now);
    assert_string_not_equal(now, first);
    memcpy(first, now, sizeof(first));
    f.v[0].upstream.balance = tn_strdup("least_conn");
    free(tn_haproxy_render(&own, &f));
    assert_string_not_equal(f.generation, first);
    tn_haproxy_file_clear(&f);
}

static void test_routes(void **state)
{
    struct tn_haproxy_identity managed = own;
    struct tn_haproxy_file f = {0};
    struct tn_traffic t = {0};
    const struct {
        const char *name, *host, *path;
    } rows[] = {{"all", NULL, NULL}, {"p", NULL, "/api/"}, {"h", "a.test", NULL}, {"hp", "a.test", "/v2"}};
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        TN_GROW(t.v, t.n, t.cap);
        t.v[t.n++] = (struct tn_upstream){.name = tn_strdup(rows[i].name),
                                          .host = tn_strdup(rows[i].host),
                                          .path = tn_strdup(rows[i].path)};
    }
    tn_haproxy_assign(&(struct tn_haproxy_file){0}, &t, NULL, false, &f);
    managed.listen = "127.0.0.1:8080";
    tn_autofree char *text = tn_haproxy_render(&managed, &f);
    assert_non_null(strstr(text, "frontend turnout\n"
                                 "    bind 127.0.0.1:8080\n"
                                 "    acl host_3 req.hdr(host),field(1,:) -i -m str a.test\n"
                                 "    acl path_3 path /v2\n"
                                 "    acl path_3 path_beg /v2/\n"
                                 "    use_backend hp if host_3 path_3\n"
                                 "    acl host_2 req.hdr(host),field(1,:) -i -m str a.test\n"
                                 "    use_backend h if host_2\n"
                                 "    acl path_1 path /api\n"
                                 "    acl path_1 path_beg /api/\n"
                                 "    use_backend p if path_1\n"
                                 "    default_backend all\n"));
    tn_traffic_clear(&t);
    tn_haproxy_file_clear(&f);
}

static void test_owner(void **state)
{
    struct tn_haproxy_file f = {0};
    struct tn_haproxy_identity other = own;
    (void)state;
    free(step(&f, "a@127.0.0.1:1001*4", 3, NULL, false));
    tn_autofree char *text = tn_haproxy_render(&own, &f);
    size_t n = strlen(text);
    assert_int_equal(tn_haproxy_owner(&own, NULL, 0), TN_HAPROXY_EMPTY);
    assert_int_equal(tn_haproxy_owner(&own, "\n \n", 3), TN_HAPROXY_EMPTY);
    assert_int_equal(tn_haproxy_owner(&own, "\0", 1), TN_HAPROXY_STRANGER);
    assert_int_equal(tn_haproxy_owner(&own, "backend x\n", 10), TN_HAPROXY_STRANGER);
    assert_int_equal(tn_haproxy_owner(&own, text, n - 1), TN_HAPROXY_EDITED);
    assert_int_equal(tn_haproxy_owner(&own, text, 60), TN_HAPROXY_EDITED);
    text[n - 2] = 'x';
    assert_int_equal(tn_haproxy_owner(&own, text, n), TN_HAPROXY_EDITED);
    other.environment = "";
    assert_int_equal(tn_haproxy_owner(&other, text, n), TN_HAPROXY_STRANGER);
    other = own;
    other.app = "sho";
    assert_int_equal(tn_haproxy_owner(&other, text, n), TN_HAPROXY_STRANGER);
    tn_haproxy_file_clear(&f);
}

static void test_bad_files(void **state)
{
    const char *rows[] = {
        "backend a b\n",
        "backend a\nbackend a\n",
        "    server s1 127.0.0.1:1 weight 1 # instance=a\n",
        "backend a\n    server s2 127.0.0.1:1 weight 1 # instance=a\n",
        "backend a\n    server s1 localhost.test:1 weight 1 # instance=a\n",
        "backend a\n    server s1 127.0.0.1:0 weight 1 # instance=a\n",
        "backend a\n    server s1 127.0.0.1:1 weight 1\n",
        "backend a\n    server s1 127.0.0.1:1 weight 1 # instance=\n",
        "backend a\n    server s1 127.0.0.1:1 weight 1 # instance=a weight=999\n",
        "backend a\n    server s1 127.0.0.1:1 weight 1 # leaving=a\n",
        "backend a\n    server s1 127.0.0.1:1 weight 1 disabled # instance=a\n",
        "backend a\n    server s1 127.0.0.1:1 # instance=a\n    server s2 127.0.0.1:2 # instance=a\n",
        "backend a\n    # turnout upstream slots=x\n",
        "backend a\n    # turnout upstream slots=1 probe=nopath\n",
        "    # turnout upstream slots=1\n",
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        struct tn_haproxy_file f = {0};
        assert_true(tn_haproxy_read(rows[i], strlen(rows[i]), &f, NULL) < 0);
        assert_int_equal(f.n, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_slot_still_in_rotation_is_busy),
        cmocka_unit_test(test_address_change_is_another_slot),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_generation),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_owner),
        cmocka_unit_test(test_bad_files),
    };
    return cmocka_run_group_tests_name("haproxy_file", tests, NULL, NULL);
}
