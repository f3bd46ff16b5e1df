/* Reads the owned file back, line by line. The hash decides whether to believe it; a line that we would
 * not have written is left out. */
#include "lib/balancer/nginx/owned.h"

#include <stdlib.h>
#include <string.h>

#include "lib/balancer/nginx/proc.h"
#include "turnout/mem.h"
#include "turnout/text.h"

#define MARK      "# turnout app="
#define MARK_END  ": written by turnout, do not edit"
#define ANSWER    "        return 200 \""
#define HASH_LEN  ((size_t)TN_SHA256_HEX - 1)
#define LINE_MAX_ 4096
#define WORDS_MAX 16

struct line {
    char text[LINE_MAX_];
    char *words[WORDS_MAX];
    size_t n;
};

static bool is_hash(const char *s)
{
    return strspn(s, "0123456789abcdef") >= HASH_LEN;
}

/* The next line of [*at, end) without its end, split at blanks. False at the end of the file. A line that
 * is too long or has too many words comes back empty. */
static bool next_line(const char **at, const char *end, struct line *l)
{
    l->n = 0;
    if (*at >= end)
        return false;
    const char *nl = memchr(*at, '\n', (size_t)(end - *at));
    const char *stop = nl ? nl : end;
    size_t len = (size_t)(stop - *at);
    if (len < sizeof(l->text)) {
        memcpy(l->text, *at, len);
        l->text[len] = '\0';
        char *save = NULL;
        for (char *w = strtok_r(l->text, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
            if (l->n == WORDS_MAX) {
                l->n = 0;
                break;
            }
            l->words[l->n++] = w;
        }
    }
    *at = nl ? nl + 1 : end;
    return true;
}

static bool word_is(const struct line *l, size_t i, const char *s)
{
    return i < l->n && strcmp(l->words[i], s) == 0;
}

/* The text after "key=" of a word, or NULL. */
static const char *value_of(const char *w, const char *key)
{
    size_t n = strlen(key);
    return strncmp(w, key, n) == 0 && w[n] == '=' ? w + n + 1 : NULL;
}

static bool small_int(const char *s, int64_t low, int64_t high, int64_t *out)
{
    return s && tn_parse_int(s, out) && *out >= low && *out <= high;
}

/* "# turnout app=A env=E sha256=H: written by turnout, do not edit" */
static void read_mark(const char *text, struct tn_nginx_owned *o)
{
    const char *nl = strchr(text, '\n');
    tn_autofree char *line = nl ? tn_strndup(text, (size_t)(nl - text)) : tn_strdup(text);
    if (!tn_starts_with(line, MARK) || !tn_ends_with(line, MARK_END))
        return;
    char *app = line + strlen(MARK), *env = strstr(app, " env=");
    char *hash = env ? strstr(env, " sha256=") : NULL;
    if (!env || !hash)
        return;
    *env = *hash = '\0';
    env += strlen(" env=");
    hash += strlen(" sha256=");
    if (!tn_nginx_name_ok(app) || (*env && !tn_nginx_name_ok(env)) || !is_hash(hash) ||
        strcmp(hash + HASH_LEN, MARK_END) != 0)
        return;
    o->marked = true;
    o->app = tn_strdup(app);
    o->environment = tn_strdup(env);
    memcpy(o->hash, hash, HASH_LEN);
}

static bool zero_at(char *text, const char *before, const char *hash)
{
    for (char *p = strstr(text, before); p; p = strstr(p + 1, before)) {
        char *h = p + strlen(before);
        if (strncmp(h, hash, HASH_LEN) == 0) {
            memset(h, '0', HASH_LEN);
            return true;
        }
    }
    return false;
}

static bool hash_matches(const char *text, size_t len, const char *hash)
{
    tn_autofree char *copy = tn_strndup(text, len);
    char found[TN_SHA256_HEX];
    if (strlen(copy) != len || !zero_at(copy, "sha256=", hash) || !zero_at(copy, ANSWER, hash))
        return false;
    tn_sha256_hex(copy, len, found);
    return strcmp(found, hash) == 0;
}

static void set_text(char **to, const char *value, bool ok)
{
    if (!ok)
        return;
    free(*to);
    *to = tn_strdup(value);
}

static void read_setting(struct tn_upstream *u, const char *w)
{
    const char *v;
    int64_t n;
    if ((v = value_of(w, "service")) != NULL)
        set_text(&u->service, v, tn_nginx_name_ok(v));
    else if ((v = value_of(w, "balance")) != NULL)
        set_text(&u->balance, v, tn_streq(v, "least_conn") || tn_streq(v, "roundrobin"));
    else if ((v = value_of(w, "probe")) != NULL)
        set_text(&u->probe_path, v, tn_nginx_path_ok(v));
    else if ((v = value_of(w, "expect")) != NULL)
        set_text(&u->probe_expect, v, *v && strspn(v, "0123456789,-") == strlen(v));
    else if (small_int(value_of(w, "keepalive"), 0, INT32_MAX, &n))
        u->keepalive = (int)n;
    else if (small_int(value_of(w, "max_fails"), -1, INT32_MAX, &n))
        u->max_fails = (int)n;
    else if (small_int(value_of(w, "slots"), 0, INT32_MAX, &n))
        u->slots = (int)n;
    else if (small_int(value_of(w, "fail_timeout"), -1, INT64_MAX / 2, &n))
        u->fail_timeout = n;
}

/* "server A:P weight=N … [backup]; # NAME weight W" */
static void read_server(struct tn_upstream *u, const struct line *l)
{
    struct tn_endpoint e;
    int64_t weight;
    if (l->n < 7 || !word_is(l, l->n - 4, "#") || !word_is(l, l->n - 2, "weight") ||
        !small_int(l->words[l->n - 1], 1, 256, &weight) || !tn_nginx_name_ok(l->words[l->n - 3]) ||
        !tn_endpoint_parse(l->words[1], &e))
        return;
    char text[TN_ENDPOINT_TEXT];
    tn_endpoint_format(&e, text);
    *strrchr(text, ':') = '\0';
    size_t brackets = text[0] == '[';
    TN_GROW(u->servers, u->n_servers, u->cap_servers);
    struct tn_server *s = &u->servers[u->n_servers++];
    *s = (struct tn_server){.instance = tn_strdup(l->words[l->n - 3]),
                            .address = tn_strndup(text + brackets, strlen(text) - 2 * brackets),
                            .port = e.port,
                            .weight = (int)weight,
                            .backup = word_is(l, l->n - 5, "backup;")};
}

static struct tn_upstream *read_upstream(struct tn_traffic *t, const struct line *l)
{
    if (l->n != 3 || !word_is(l, 0, "upstream") || !word_is(l, 2, "{") || !tn_nginx_name_ok(l->words[1]) ||
        tn_traffic_find(t, l->words[1]))
        return NULL;
    TN_GROW(t->v, t->n, t->cap);
    struct tn_upstream *u = &t->v[t->n++];
    *u = (struct tn_upstream){.name = tn_strdup(l->words[1]), .max_fails = -1, .fail_timeout = -1};
    return u;
}

static void read_in_upstream(struct tn_upstream *u, const struct line *l)
{
    if (word_is(l, 0, "#") && word_is(l, 1, "turnout")) {
        for (size_t i = 2; i < l->n; i++)
            read_setting(u, l->words[i]);
    } else if (word_is(l, 0, "server")) {
        read_server(u, l);
    }
}

static void read_listen(struct tn_nginx_owned *o, struct line *l)
{
    size_t n = l->n == 2 && word_is(l, 0, "listen") ? strlen(l->words[1]) : 0;
    if (n == 0 || o->generation || l->words[1][n - 1] != ';')
        return;
    l->words[1][n - 1] = '\0';
    if (tn_nginx_loopback_ok(l->words[1]))
        o->generation = tn_strdup(l->words[1]);
}

void tn_nginx_owned_read(const char *text, size_t len, const char *app, const char *environment,
                         struct tn_nginx_owned *out)
{
    *out = (struct tn_nginx_owned){0};
    read_mark(text, out);
    if (!out->marked)
        return;
    out->ours = tn_streq(out->app, app) && tn_streq(out->environment, environment);
    out->edited = out->ours && !hash_matches(text, len, out->hash);
    struct line l;
    struct tn_upstream *u = NULL;
    const char *at = text;
    while (next_line(&at, text + len, &l)) {
        if (word_is(&l, 0, "}"))
            u = NULL;
        else if (u)
            read_in_upstream(u, &l);
        else if (word_is(&l, 0, "upstream"))
            u = read_upstream(&out->traffic, &l);
        else
            read_listen(out, &l);
    }
}

void tn_nginx_owned_clear(struct tn_nginx_owned *o)
{
    free(o->app);
    free(o->environment);
    free(o->generation);
    tn_traffic_clear(&o->traffic);
    *o = (struct tn_nginx_owned){0};
}
