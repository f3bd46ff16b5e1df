#include "lib/balancer/nginx/proc.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"
#include "turnout/text.h"

static const uint8_t mapped_prefix[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
#define MAPPED_LEN sizeof(mapped_prefix)

static void unmap(struct tn_endpoint *e)
{
    if (e->family != AF_INET6 || memcmp(e->address, mapped_prefix, MAPPED_LEN) != 0)
        return;
    e->family = AF_INET;
    memmove(e->address, e->address + MAPPED_LEN, 4);
    memset(e->address + 4, 0, sizeof(e->address) - 4);
}

bool tn_endpoint_of(const char *address, int port, struct tn_endpoint *out)
{
    struct tn_endpoint e = {.family = AF_INET, .port = port};
    if (!address || port < 1 || port > 65535)
        return false;
    if (inet_pton(AF_INET, address, e.address) != 1) {
        e.family = AF_INET6;
        if (inet_pton(AF_INET6, address, e.address) != 1)
            return false;
    }
    unmap(&e);
    *out = e;
    return true;
}

bool tn_endpoint_parse(const char *s, struct tn_endpoint *out)
{
    char address[INET6_ADDRSTRLEN];
    int64_t port;
    const char *colon = s ? strrchr(s, ':') : NULL;
    if (!colon || !tn_parse_int(colon + 1, &port) || port < 1 || port > 65535)
        return false;
    size_t n = (size_t)(colon - s);
    bool brackets = n >= 2 && s[0] == '[' && s[n - 1] == ']';
    if (brackets) {
        s++;
        n -= 2;
    }
    if (n == 0 || n >= sizeof(address))
        return false;
    memcpy(address, s, n);
    address[n] = '\0';
    return (strchr(address, ':') != NULL) == brackets && tn_endpoint_of(address, (int)port, out);
}

const char *tn_endpoint_format(const struct tn_endpoint *e, char buf[TN_ENDPOINT_TEXT])
{
    char address[INET6_ADDRSTRLEN] = "";
    inet_ntop(e->family, e->address, address, sizeof(address));
    snprintf(buf, TN_ENDPOINT_TEXT, e->family == AF_INET6 ? "[%s]:%d" : "%s:%d", address, e->port);
    return buf;
}

bool tn_endpoint_equal(const struct tn_endpoint *a, const struct tn_endpoint *b)
{
    return a->family == b->family && a->port == b->port &&
           memcmp(a->address, b->address, a->family == AF_INET ? 4 : 16) == 0;
}

/* The kernel prints each 32-bit word of the address as a number of its own byte order. */
static bool hex_endpoint(const char *s, size_t n, struct tn_endpoint *out)
{
    size_t digits = strspn(s, "0123456789ABCDEFabcdef");
    if (n != digits + 5 || s[digits] != ':' || (digits != 8 && digits != 32) ||
        strspn(s + digits + 1, "0123456789ABCDEFabcdef") < 4)
        return false;
    struct tn_endpoint e = {.family = digits == 8 ? AF_INET : AF_INET6};
    for (size_t i = 0; i < digits / 8; i++) {
        char word[9] = "";
        memcpy(word, s + 8 * i, 8);
        uint32_t v = (uint32_t)strtoul(word, NULL, 16);
        memcpy(e.address + 4 * i, &v, sizeof(v));
    }
    char port[5] = "";
    memcpy(port, s + digits + 1, 4);
    e.port = (int)strtoul(port, NULL, 16);
    unmap(&e);
    *out = e;
    return true;
}

/* The next word of *at; its length, 0 at the end of the line. */
static size_t word(const char **at, const char **out)
{
    *at += strspn(*at, " \t");
    *out = *at;
    size_t n = strcspn(*at, " \t\n");
    *at += n;
    return n;
}

bool tn_tcp_row_parse(const char *line, struct tn_tcp_row *out)
{
    struct tn_tcp_row row = {0};
    const char *w[10];
    size_t n[10];
    /* sl local rem st tx:rx tr:when retrnsmt uid timeout inode */
    for (size_t i = 0; i < TN_COUNT(w); i++) {
        n[i] = word(&line, &w[i]);
        if (n[i] == 0)
            return false;
    }
    if (!hex_endpoint(w[1], n[1], &row.local) || !hex_endpoint(w[2], n[2], &row.remote) || n[3] != 2)
        return false;
    char *end;
    row.state = (unsigned)strtoul(w[3], &end, 16);
    if (end != w[3] + 2)
        return false;
    row.inode = strtoull(w[9], &end, 10);
    if (end != w[9] + n[9])
        return false;
    *out = row;
    return true;
}

void tn_tcp_peer_text(const struct tn_endpoint *e, bool mapped, char buf[TN_TCP_PEER_TEXT])
{
    uint8_t raw[16] = {0};
    size_t n = 4;
    if (e->family == AF_INET6 || mapped)
        n = 16;
    if (e->family == AF_INET && mapped) {
        memcpy(raw, mapped_prefix, MAPPED_LEN);
        memcpy(raw + MAPPED_LEN, e->address, 4);
    } else {
        memcpy(raw, e->address, n);
    }
    size_t at = 0;
    for (size_t i = 0; i < n; i += 4) {
        uint32_t v;
        memcpy(&v, raw + i, sizeof(v));
        at += (size_t)snprintf(buf + at, TN_TCP_PEER_TEXT - at, "%08" PRIX32, v);
    }
    snprintf(buf + at, TN_TCP_PEER_TEXT - at, ":%04X", (unsigned)e->port);
}

bool tn_process_stat_parse(const char *stat, long ticks, struct tn_nginx_process *out)
{
    char *end;
    struct tn_nginx_process p = {.pid = strtoll(stat, &end, 10)};
    /* The name in parentheses may hold anything, parentheses too. */
    const char *at = strrchr(stat, ')');
    if (end == stat || p.pid <= 0 || !at || ticks <= 0)
        return false;
    at++;
    const char *w;
    for (int field = 3; field <= 22; field++) {
        if (word(&at, &w) == 0)
            return false;
        if (field == 4)
            p.parent = strtoll(w, NULL, 10);
    }
    uint64_t start = strtoull(w, &end, 10);
    if (end != at || start > (uint64_t)INT64_MAX / 1000)
        return false;
    p.start_ms = (int64_t)(start * 1000 / (uint64_t)ticks);
    *out = p;
    return true;
}

enum tn_nginx_role tn_nginx_role_of(const char *title)
{
    if (tn_starts_with(title, "nginx: master process"))
        return TN_NGINX_MASTER;
    if (tn_starts_with(title, "nginx: worker process is shutting down"))
        return TN_NGINX_LEAVING;
    return tn_starts_with(title, "nginx: worker process") ? TN_NGINX_WORKER : TN_NGINX_OTHER;
}

/* Space, tab, newline and backslash are written as \ooo there. */
static bool escaped_equal(const char *s, size_t n, const char *path)
{
    size_t i = 0;
    for (; i < n && *path; path++) {
        char c = s[i++];
        if (c == '\\' && n - i >= 3 && strspn(s + i, "01234567") >= 3) {
            c = (char)(((s[i] - '0') << 6) | ((s[i + 1] - '0') << 3) | (s[i + 2] - '0'));
            i += 3;
        }
        if (c != *path)
            return false;
    }
    return i == n && *path == '\0';
}

bool tn_mountinfo_has(const char *text, const char *path)
{
    while (*text) {
        const char *at = text, *w = text;
        size_t n = 0;
        for (int field = 1; field <= 5; field++)
            n = word(&at, &w);
        if (n > 0 && escaped_equal(w, n, path))
            return true;
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    return false;
}
