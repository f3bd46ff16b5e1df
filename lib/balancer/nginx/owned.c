/* Writes the owned file. Only checked values reach it, so no quoting is needed anywhere. */
#include "lib/balancer/nginx/owned.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "lib/balancer/nginx/proc.h"
#include "turnout/mem.h"
#include "turnout/text.h"

#define NAME_MAX_LEN     200
#define PATH_MAX_LEN     1000
#define SERVERS_MAX      4096
#define UPSTREAMS_MAX    512
#define WEIGHT_MAX       256
#define FAIL_TIMEOUT_MAX ((int64_t)365 * 24 * 3600 * 1000)
#define ZEROS            "0000000000000000000000000000000000000000000000000000000000000000"

static bool only(const char *s, const char *set, size_t max)
{
    size_t n = s ? strlen(s) : 0;
    return n > 0 && n <= max && strspn(s, set) == n;
}

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

bool tn_nginx_name_ok(const char *s)
{
    return only(s, ALNUM "_.-", NAME_MAX_LEN);
}

bool tn_nginx_path_ok(const char *s)
{
    return s && s[0] == '/' && only(s, ALNUM "/._~!&*+,=:@%?-", PATH_MAX_LEN);
}

bool tn_nginx_loopback_ok(const char *s)
{
    struct tn_endpoint e;
    if (!tn_endpoint_parse(s, &e))
        return false;
    static const uint8_t v6[16] = {[15] = 1};
    return e.family == AF_INET ? e.address[0] == 127 : memcmp(e.address, v6, sizeof(v6)) == 0;
}

static int gcd(int a, int b)
{
    while (b != 0) {
        int t = a % b;
        a = b;
        b = t;
    }
    return a;
}

/* nginx shares among the main servers and, apart from them, among the backups. */
static int common_weight(const struct tn_upstream *u, bool backup)
{
    int g = 0;
    for (size_t i = 0; i < u->n_servers; i++)
        if (u->servers[i].backup == backup)
            g = gcd(u->servers[i].weight, g);
    return g > 0 ? g : 1;
}

static bool is_least_conn(const struct tn_upstream *u)
{
    return tn_streq(u->balance, "least_conn");
}

static int check_server(const struct tn_upstream *u, const struct tn_server *s, struct tn_error **err)
{
    struct tn_endpoint e;
    if (!tn_nginx_name_ok(s->instance))
        return tn_error_set(err, TN_EPLAN, "upstream '%s': an instance has no usable name", u->name);
    if (!tn_endpoint_of(s->address, s->port, &e))
        return tn_error_set(err, TN_EPLAN, "instance '%s': '%s' port %d is no numeric address and port",
                            s->instance, s->address ? s->address : "", s->port);
    if (s->weight < 1 || s->weight > WEIGHT_MAX)
        return tn_error_set(err, TN_EPLAN, "instance '%s': weight %d is not in 1..%d", s->instance, s->weight,
                            WEIGHT_MAX);
    return TN_OK;
}

static int check_upstream(const struct tn_upstream *u, struct tn_error **err)
{
    if (!tn_nginx_name_ok(u->name))
        return tn_error_set(err, TN_EPLAN,
                            "upstream: its name may hold letters, digits, '_', '.' and '-' only");
    if (u->service && !tn_nginx_name_ok(u->service))
        return tn_error_set(err, TN_EPLAN, "upstream '%s': unusable name of a service", u->name);
    if (u->balance && !is_least_conn(u) && !tn_streq(u->balance, "roundrobin"))
        return tn_error_set(err, TN_EPLAN, "upstream '%s': nginx balances by roundrobin or least_conn only",
                            u->name);
    if (u->probe_path && !tn_nginx_path_ok(u->probe_path))
        return tn_error_set(err, TN_EPLAN,
                            "upstream '%s': the health path holds characters that cannot be asked "
                            "for through nginx",
                            u->name);
    if (u->probe_expect && !only(u->probe_expect, "0123456789,-", NAME_MAX_LEN))
        return tn_error_set(err, TN_EPLAN, "upstream '%s': unusable list of statuses", u->name);
    if (u->fail_timeout > FAIL_TIMEOUT_MAX)
        return tn_error_set(err, TN_EPLAN, "upstream '%s': fail_timeout is too long", u->name);
    if (u->n_servers > SERVERS_MAX)
        return tn_error_set(err, TN_ELIMIT, "upstream '%s': more than %d servers", u->name, SERVERS_MAX);
    for (size_t i = 0; i < u->n_servers; i++) {
        int rc = check_server(u, &u->servers[i], err);
        if (rc < 0)
            return rc;
    }
    return TN_OK;
}

static int check(const struct tn_traffic *t, struct tn_error **err)
{
    if (t->n > UPSTREAMS_MAX)
        return tn_error_set(err, TN_ELIMIT, "traffic: more than %d upstreams", UPSTREAMS_MAX);
    for (size_t i = 0; i < t->n; i++) {
        int rc = check_upstream(&t->v[i], err);
        if (rc < 0)
            return rc;
        for (size_t k = 0; k < i; k++)
            if (strcmp(t->v[i].name, t->v[k].name) == 0)
                return tn_error_set(err, TN_EPLAN, "upstream '%s': given twice", t->v[i].name);
    }
    return TN_OK;
}

/* nginx takes whole seconds here. */
static long long seconds(int64_t ms)
{
    return ((long long)ms + 999) / 1000;
}

static void put_server(struct tn_buf *out, const struct tn_upstream *u, const struct tn_server *s)
{
    struct tn_endpoint e;
    char text[TN_ENDPOINT_TEXT];
    tn_endpoint_of(s->address, s->port, &e);
    tn_buf_printf(out, "    server %s weight=%d", tn_endpoint_format(&e, text),
                  s->weight / common_weight(u, s->backup));
    if (u->max_fails >= 0)
        tn_buf_printf(out, " max_fails=%d", u->max_fails);
    if (u->fail_timeout >= 0)
        tn_buf_printf(out, " fail_timeout=%llds", seconds(u->fail_timeout));
    tn_buf_printf(out, "%s; # %s weight %d\n", s->backup ? " backup" : "", s->instance, s->weight);
}

static void put_settings(struct tn_buf *out, const struct tn_upstream *u)
{
    tn_buf_puts(out, "    # turnout");
    if (u->service)
        tn_buf_printf(out, " service=%s", u->service);
    if (u->balance)
        tn_buf_printf(out, " balance=%s", u->balance);
    tn_buf_printf(out, " keepalive=%d max_fails=%d fail_timeout=%lld slots=%d", u->keepalive, u->max_fails,
                  (long long)u->fail_timeout, u->slots);
    if (u->probe_path)
        tn_buf_printf(out, " probe=%s", u->probe_path);
    if (u->probe_expect)
        tn_buf_printf(out, " expect=%s", u->probe_expect);
    tn_buf_putc(out, '\n');
}

static void put_upstream(struct tn_buf *out, const struct tn_upstream *u)
{
    size_t mains = 0;
    for (size_t i = 0; i < u->n_servers; i++)
        mains += !u->servers[i].backup;
    tn_buf_printf(out, "upstream %s {\n", u->name);
    put_settings(out, u);
    /* One memory for all workers: exact shares, and a failure seen by one is known to all. */
    tn_buf_printf(out, "    zone turnout_%s %zuk;\n", u->name, 64 * (1 + u->n_servers / 48));
    if (is_least_conn(u))
        tn_buf_puts(out, "    least_conn;\n");
    for (size_t i = 0; i < u->n_servers; i++)
        put_server(out, u, &u->servers[i]);
    /* nginx refuses an upstream without a main server. */
    if (mains == 0)
        tn_buf_puts(out, "    server 127.0.0.1:1 down;\n");
    if (u->keepalive > 0)
        tn_buf_printf(out, "    keepalive %d;\n", u->keepalive);
    tn_buf_puts(out, "}\n");
}

/* Each line that is not obvious takes back what the user may have set for all of http{}. */
static void put_location(struct tn_buf *out, const char *name)
{
    tn_buf_printf(out, "    location ^~ /u/%s/ {\n", name);
    tn_buf_printf(out, "        proxy_pass http://%s/;\n", name);
    tn_buf_puts(out,
                "        proxy_http_version 1.1;\n"
                "        proxy_set_header Host localhost;\n"
                "        proxy_set_header Connection close;\n"
                "        proxy_connect_timeout 2s;\n"
                "        proxy_read_timeout 5s;\n"
                "        proxy_next_upstream off;\n"
                "        proxy_intercept_errors off;\n"
                "        proxy_cache off;\n"
                "        proxy_hide_header X-Turnout-Upstream;\n"
                "        add_header X-Turnout-Upstream \"$upstream_addr;$upstream_header_time\" always;\n"
                "    }\n");
}

static void put_generation(struct tn_buf *out, const char *generation, const struct tn_traffic *t)
{
    tn_buf_printf(out, "server {\n    listen %s;\n", generation);
    tn_buf_printf(out, "    allow %s;\n", generation[0] == '[' ? "::1" : "127.0.0.0/8");
    tn_buf_puts(out, "    deny all;\n"
                     "    auth_basic off;\n"
                     "    access_log off;\n"
                     "    keepalive_timeout 0;\n"
                     "    default_type text/plain;\n"
                     "    location = /generation {\n"
                     "        return 200 \"" ZEROS "\\n\";\n"
                     "    }\n");
    for (size_t i = 0; i < t->n; i++)
        put_location(out, t->v[i].name);
    tn_buf_puts(out, "}\n");
}

int tn_nginx_render(const char *app, const char *environment, const char *generation,
                    const struct tn_traffic *want, struct tn_buf *out, char hash[TN_SHA256_HEX],
                    struct tn_error **err)
{
    if (!tn_nginx_name_ok(app) || (environment[0] != '\0' && !tn_nginx_name_ok(environment)))
        return tn_error_set(err, TN_EPLAN, "plan: its name or environment cannot stand in a file of nginx");
    if (!tn_nginx_loopback_ok(generation))
        return tn_error_set(err, TN_EPLAN, "generation '%s': must be a loopback address and port",
                            generation);
    int rc = check(want, err);
    if (rc < 0)
        return rc;
    tn_buf_printf(out, "# turnout app=%s env=%s sha256=" ZEROS ": written by turnout, do not edit\n", app,
                  environment);
    for (size_t i = 0; i < want->n; i++)
        put_upstream(out, &want->v[i]);
    put_generation(out, generation, want);
    if (out->overflow || out->len > TN_NGINX_FILE_MAX)
        return tn_error_set(err, TN_ELIMIT, "file of upstreams: longer than %zu bytes", TN_NGINX_FILE_MAX);
    tn_sha256_hex(out->data, out->len, hash);
    /* Names cannot be 64 zeros between these neighbours, so both places are found. */
    char *mark = strstr(out->data, "sha256=" ZEROS ":");
    char *answer = strstr(out->data, "return 200 \"" ZEROS);
    memcpy(mark + strlen("sha256="), hash, TN_SHA256_HEX - 1);
    memcpy(answer + strlen("return 200 \""), hash, TN_SHA256_HEX - 1);
    return TN_OK;
}
