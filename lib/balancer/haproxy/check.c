/* check.c - is a value fit for a configuration line? */
#include "lib/balancer/haproxy/haproxy.h"

#include <arpa/inet.h>
#include <string.h>

#include "turnout/text.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

bool tn_haproxy_is_name(const char *s)
{
    size_t n = s != NULL ? strlen(s) : 0;
    return n > 0 && n <= 128 && strspn(s, LETTERS "_.-") == n;
}

bool tn_haproxy_is_path(const char *s, bool query)
{
    size_t n = s != NULL ? strlen(s) : 0;
    const char *allowed = query ? LETTERS "/._~%-+,:@!*()=&?" : LETTERS "/._~%-+,:@!*()=&";
    return n > 0 && n <= 1024 && s[0] == '/' && strspn(s, allowed) == n;
}

/* One "200" or "200-299" at *s; moves *s behind it. */
static bool status_range(const char **s, int *low, int *high)
{
    int v[2] = {0, 0}, n = 0;
    for (;;) {
        if (strspn(*s, "0123456789") != 3) {
            return false;
        }
        v[n++] = ((*s)[0] - '0') * 100 + ((*s)[1] - '0') * 10 + ((*s)[2] - '0');
        *s += 3;
        if (n == 2 || **s != '-') {
            break;
        }
        (*s)++;
    }
    *low = v[0];
    *high = n == 2 ? v[1] : v[0];
    return *low >= 100 && *high <= 599 && *low <= *high;
}

bool tn_haproxy_is_expect(const char *s)
{
    int low, high;
    if (strlen(s) > 128) {
        return false;
    }
    while (status_range(&s, &low, &high)) {
        if (*s == '\0') {
            return true;
        }
        if (*s++ != ',') {
            return false;
        }
    }
    return false;
}

bool tn_haproxy_expects(const char *expect, int status)
{
    int low, high;
    while (status_range(&expect, &low, &high)) {
        if (status >= low && status <= high) {
            return true;
        }
        if (*expect++ != ',') {
            return false;
        }
    }
    return false;
}

bool tn_haproxy_address(const char *s, char out[64])
{
    unsigned char raw[16];
    if (s == NULL) {
        return false;
    }
    if (inet_pton(AF_INET, s, raw) == 1) {
        return inet_ntop(AF_INET, raw, out, 64) != NULL;
    }
    return inet_pton(AF_INET6, s, raw) == 1 && inet_ntop(AF_INET6, raw, out, 64) != NULL;
}

bool tn_haproxy_listen(const char *s, char host[64], int *port)
{
    const char *colon = s != NULL ? strrchr(s, ':') : NULL;
    int64_t number;
    if (colon == NULL || (size_t)(colon - s) >= 64 || !tn_parse_int(colon + 1, &number) || number < 1 ||
        number > 65535) {
        return false;
    }
    *port = (int)number;
    size_t n = (size_t)(colon - s);
    if (n > 2 && s[0] == '[' && s[n - 1] == ']') {
        s++;
        n -= 2;
    } else if (memchr(s, ':', n) != NULL) {
        return false;
    }
    tn_autofree char *name = tn_strndup(s, n);
    if (n == 0 || tn_streq(name, "*")) {
        memcpy(host, "*", 2);
        return true;
    }
    return tn_haproxy_address(tn_streq(name, "localhost") ? "127.0.0.1" : name, host);
}

const char *tn_haproxy_balance(const char *plan_word)
{
    if (plan_word == NULL || tn_streq(plan_word, "roundrobin") || tn_streq(plan_word, "round_robin")) {
        return "roundrobin";
    }
    if (tn_streq(plan_word, "least_conn") || tn_streq(plan_word, "leastconn")) {
        return "leastconn";
    }
    return NULL;
}

static int check_servers(const struct tn_upstream *u, struct tn_error **err)
{
    char canonical[64];
    for (size_t i = 0; i < u->n_servers; i++) {
        const struct tn_server *s = &u->servers[i];
        if (!tn_haproxy_is_name(s->instance)) {
            return tn_error_set(err, TN_EPLAN,
                                "upstream '%s': the name of an instance is not fit for haproxy", u->name);
        }
        if (!tn_haproxy_address(s->address, canonical)) {
            return tn_error_set(err, TN_EPLAN,
                                "upstream '%s': the address of '%s' is not a numeric IP address", u->name,
                                s->instance);
        }
        if (s->port < 1 || s->port > 65535 || s->weight < 1 || s->weight > 256) {
            return tn_error_set(err, TN_EPLAN, "upstream '%s': '%s' has port %d and weight %d", u->name,
                                s->instance, s->port, s->weight);
        }
        for (size_t k = 0; k < i; k++) {
            if (tn_streq(u->servers[k].instance, s->instance)) {
                return tn_error_set(err, TN_EPLAN, "upstream '%s': '%s' is in it twice", u->name,
                                    s->instance);
            }
        }
    }
    return TN_OK;
}

static int check_upstream(const struct tn_upstream *u, struct tn_error **err)
{
    if (!tn_haproxy_is_name(u->name) || (u->service != NULL && !tn_haproxy_is_name(u->service))) {
        return tn_error_set(err, TN_EPLAN, "the name of an upstream or its service is not fit for haproxy");
    }
    if (tn_haproxy_balance(u->balance) == NULL) {
        return tn_error_set(err, TN_EPLAN,
                            "upstream '%s': haproxy has no balance of that name: roundrobin or least_conn",
                            u->name);
    }
    if ((u->host != NULL && !tn_haproxy_is_name(u->host)) ||
        (u->path != NULL && !tn_haproxy_is_path(u->path, false))) {
        return tn_error_set(err, TN_EPLAN,
                            "upstream '%s': host or path holds characters that haproxy cannot take", u->name);
    }
    if (u->probe_path != NULL && !tn_haproxy_is_path(u->probe_path, true)) {
        return tn_error_set(err, TN_EPLAN,
                            "upstream '%s': the health path holds characters that haproxy cannot take",
                            u->name);
    }
    if (u->probe_expect != NULL && !tn_haproxy_is_expect(u->probe_expect)) {
        return tn_error_set(err, TN_EPLAN, "upstream '%s': expect is not a list of statuses", u->name);
    }
    if (u->slots > TN_HAPROXY_SLOTS_MAX / 2 || u->n_servers > TN_HAPROXY_SLOTS_MAX / 2) {
        return tn_error_set(err, TN_ELIMIT, "upstream '%s': more than %d servers", u->name,
                            TN_HAPROXY_SLOTS_MAX / 2);
    }
    return check_servers(u, err);
}

int tn_haproxy_check(const struct tn_traffic *want, struct tn_error **err)
{
    if (want->n > TN_HAPROXY_BACKENDS_MAX) {
        return tn_error_set(err, TN_ELIMIT, "more than %d upstreams", TN_HAPROXY_BACKENDS_MAX);
    }
    for (size_t i = 0; i < want->n; i++) {
        int code = check_upstream(&want->v[i], err);
        if (code < 0) {
            return code;
        }
        for (size_t k = 0; k < i; k++) {
            if (tn_streq(want->v[k].name, want->v[i].name)) {
                return tn_error_set(err, TN_EPLAN, "upstream '%s' is there twice", want->v[i].name);
            }
        }
    }
    return TN_OK;
}

int tn_haproxy_check_routes(const struct tn_traffic *want, bool managed, struct tn_error **err)
{
    for (size_t i = 0; i < want->n; i++) {
        const struct tn_upstream *u = &want->v[i];
        if (!managed && (u->host != NULL || u->path != NULL)) {
            return tn_error_set(err, TN_EPLAN, "upstream '%s': host and path need a managed haproxy",
                                u->name);
        }
        for (size_t k = 0; managed && k < i; k++) {
            const struct tn_upstream *other = &want->v[k];
            if (!u->unrouted && !other->unrouted && tn_streq(other->host, u->host) &&
                tn_streq(other->path, u->path)) {
                return tn_error_set(err, TN_EPLAN, "upstreams '%s' and '%s' have the same route", other->name,
                                    u->name);
            }
        }
    }
    return TN_OK;
}
