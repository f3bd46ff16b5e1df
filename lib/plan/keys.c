/* What all tables share: look-ups, forms of texts, words for types and defaults. */
#include "lib/plan/keys.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#define ONE_LETTER "[A-Za-z0-9_.-]"

const struct tn_check_rule tn_check_rules[TN_CHECK_COUNT_] = {
    [TN_CHECK_NONE] = {NULL, NULL},
    [TN_CHECK_NAME] = {"^[a-z0-9][a-z0-9-]{0,39}$",
                       "is no name: small letters, digits and '-', at most 40, not beginning with '-'"},
    [TN_CHECK_TOKEN] = {"^" ONE_LETTER "+$", "may hold only letters, digits and . _ -"},
    [TN_CHECK_PATH] = {"^/[^\\s\"'\\\\{};]*$",
                       "is no URL path: it begins with '/' and holds no space or quote"},
    [TN_CHECK_STATUSES] = {"^[1-5][0-9][0-9](-[1-5][0-9][0-9])?(,[1-5][0-9][0-9](-[1-5][0-9][0-9])?)*$",
                           "is no list of HTTP statuses like 200, 200-299 or 200,204"},
    [TN_CHECK_ADDRESS] = {"^[^\\s\"']*:[0-9]+$", "is no address: host:port is wanted, like 127.0.0.1:8080"},
    [TN_CHECK_IP] = {"^[0-9a-fA-F.:]+$", "is no numeric address like 127.0.0.1 or ::1"},
    [TN_CHECK_HTTP_URL] = {"^https?://[^\\s\"']+$", "is no URL: http:// or https:// is wanted"},
    [TN_CHECK_WORD] = {"^[^\\s\"']+$", "may hold no space, quote or control character"},
    [TN_CHECK_ENV] =
        {"^[A-Za-z_][A-Za-z0-9_.-]*$",
         "is no name of an environment variable: letters, digits and _, not beginning with a digit"},
    [TN_CHECK_ABSOLUTE] = {"^/[^\\s\"']*$", "is no absolute path without spaces and quotes"},
};

static bool is_name(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return n > 0 && n <= 40 && s[n] == '\0' && s[0] != '-';
}

static bool is_token(const char *s, bool first_digit)
{
    if (!*s || (!first_digit && !isalpha((unsigned char)*s) && *s != '_'))
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("_.-", *s))
            return false;
    return true;
}

/* No space, control character or quote; nor any of `more`. */
static bool is_word(const char *s, const char *more)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || *s == 0x7f || *s == '"' || *s == '\'' || strchr(more, *s))
            return false;
    return true;
}

static bool status(const char **s)
{
    const char *p = *s;
    if (!(p[0] >= '1' && p[0] <= '5' && isdigit((unsigned char)p[1]) && isdigit((unsigned char)p[2])))
        return false;
    *s += 3;
    return true;
}

static bool is_statuses(const char *s)
{
    for (;; s++) {
        const char *from = s;
        if (!status(&s))
            return false;
        if (*s == '-') {
            const char *to = ++s;
            if (!status(&s) || strncmp(to, from, 3) < 0)
                return false;
        }
        if (*s != ',')
            return *s == '\0';
    }
}

static bool is_address(const char *s)
{
    const char *colon = strrchr(s, ':');
    int64_t port = 0;
    return colon && is_word(s, "/\\{};") && tn_parse_int(colon + 1, &port) && port >= 1 && port <= 65535;
}

static bool is_ip(const char *s)
{
    unsigned char buf[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, s, buf) == 1 || inet_pton(AF_INET6, s, buf) == 1;
}

static bool is_http_url(const char *s)
{
    size_t n = strncmp(s, "http://", 7) == 0 ? 7 : strncmp(s, "https://", 8) == 0 ? 8 : 0;
    return n > 0 && s[n] && s[n] != '/' && is_word(s, "");
}

bool tn_check_text(enum tn_key_check check, const char *s)
{
    switch (check) {
    case TN_CHECK_NAME: return is_name(s);
    case TN_CHECK_TOKEN: return is_token(s, true);
    case TN_CHECK_ENV: return is_token(s, false);
    case TN_CHECK_PATH: return *s == '/' && is_word(s, "\\{};");
    case TN_CHECK_ABSOLUTE: return *s == '/' && is_word(s, "");
    case TN_CHECK_STATUSES: return is_statuses(s);
    case TN_CHECK_ADDRESS: return is_address(s);
    case TN_CHECK_IP: return is_ip(s);
    case TN_CHECK_HTTP_URL: return is_http_url(s);
    case TN_CHECK_WORD: return is_word(s, "");
    case TN_CHECK_NONE:
    case TN_CHECK_COUNT_:
    default: return true;
    }
}

const struct tn_key *tn_schema_find(const struct tn_schema *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->keys[i].name, name) == 0)
            return &s->keys[i];
    return NULL;
}

const char *tn_key_type_text(const struct tn_key *k)
{
    static const char *const texts[] = {
        [TN_KEY_STRING] = "text",
        [TN_KEY_TEXT] = "text",
        [TN_KEY_PATH] = "path",
        [TN_KEY_BOOL] = "true or false",
        [TN_KEY_INT] = "whole number",
        [TN_KEY_DURATION] = "duration",
        [TN_KEY_SIZE] = "size",
        [TN_KEY_CPU] = "CPUs",
        [TN_KEY_COUNT] = "count or percentage",
        [TN_KEY_RANGE] = "range",
        [TN_KEY_ENUM] = "word",
        [TN_KEY_WORD] = "word",
        [TN_KEY_STRINGS] = "list of texts",
        [TN_KEY_PAIRS] = "map of texts",
        [TN_KEY_COMMAND] = "command",
        [TN_KEY_OBJECT] = "map",
        [TN_KEY_LIST] = "list",
        [TN_KEY_NAMED] = "map by name",
        [TN_KEY_RAW] = "anything",
    };
    return k->flags & TN_RESERVED ? "reserved" : texts[k->type];
}

const char *tn_key_default_text(const struct tn_key *k)
{
    if (k->shown)
        return k->shown;
    return k->def && k->def[0] != '-' ? k->def : NULL;
}

const struct tn_name tn_cluster_kind_names[] = {
    {"docker", TN_CLUSTER_DOCKER}, {"process", TN_CLUSTER_PROCESS}, {"fake", TN_CLUSTER_FAKE}, {NULL, 0}};
const struct tn_name tn_balancer_kind_names[] = {
    {"haproxy", TN_BALANCER_HAPROXY}, {"nginx", TN_BALANCER_NGINX}, {"fake", TN_BALANCER_FAKE}, {NULL, 0}};
const struct tn_name tn_strategy_names[] = {
    {"rolling", TN_STRATEGY_ROLLING}, {"recreate", TN_STRATEGY_RECREATE},
    {"manual", TN_STRATEGY_MANUAL},   {"blue_green", TN_STRATEGY_BLUE_GREEN},
    {"canary", TN_STRATEGY_CANARY},   {NULL, 0}};
const struct tn_name tn_on_failure_names[] = {{"rollback", TN_ON_FAILURE_ROLLBACK},
                                              {"pause", TN_ON_FAILURE_PAUSE},
                                              {"stop", TN_ON_FAILURE_STOP},
                                              {NULL, 0}};

const char *tn_cluster_kind_name(enum tn_cluster_kind k)
{
    return tn_name_of(tn_cluster_kind_names, (int)k);
}

const char *tn_balancer_kind_name(enum tn_balancer_kind k)
{
    return tn_name_of(tn_balancer_kind_names, (int)k);
}

const char *tn_strategy_name(enum tn_strategy_kind k)
{
    return tn_name_of(tn_strategy_names, (int)k);
}
