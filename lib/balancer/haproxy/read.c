/* read.c - the owned file: whose it is, and reading it back. */
#include "lib/balancer/haproxy/haproxy.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/text.h"

#define META "    # turnout upstream "

enum tn_haproxy_owner tn_haproxy_owner(const struct tn_haproxy_identity *id, const char *text, size_t len)
{
    char hash[TN_SHA256_HEX];
    static const char tail[] = ": written by turnout, do not edit\n";
    if (text == NULL || strspn(text, " \t\r\n") == len) {
        return TN_HAPROXY_EMPTY;
    }
    tn_autofree char *head = tn_format("# turnout app=%s env=%s balancer=%s sha256=", id->app,
                                       id->environment != NULL ? id->environment : "", id->balancer);
    size_t n = strlen(head);
    if (len < n || memcmp(text, head, n) != 0) {
        return TN_HAPROXY_STRANGER;
    }
    size_t digits = TN_SHA256_HEX - 1, start = n + digits + sizeof(tail) - 1;
    if (len < start || memcmp(text + n + digits, tail, sizeof(tail) - 1) != 0) {
        return TN_HAPROXY_EDITED;
    }
    tn_sha256_hex(text + start, len - start, hash);
    return memcmp(hash, text + n, digits) == 0 ? TN_HAPROXY_OURS : TN_HAPROXY_EDITED;
}

/* The next word of a line; words are separated by blanks. NULL at the end. Cuts the line. */
static char *next_word(char **line)
{
    char *start = *line + strspn(*line, " ");
    if (*start == '\0') {
        return NULL;
    }
    size_t n = strcspn(start, " ");
    *line = start + n;
    if (**line != '\0') {
        *(*line)++ = '\0';
    }
    return start;
}

static const char *value_of(const char *word, const char *key)
{
    size_t n = strlen(key);
    return strncmp(word, key, n) == 0 && word[n] == '=' ? word + n + 1 : NULL;
}

static bool number_of(const char *text, int64_t low, int64_t high, int *out)
{
    int64_t v;
    if (text == NULL || !tn_parse_int(text, &v) || v < low || v > high) {
        return false;
    }
    *out = (int)v;
    return true;
}

static void set_text(char **field, const char *value)
{
    free(*field);
    *field = tn_strdup(value);
}

static bool read_meta(struct tn_upstream *u, char *line)
{
    struct {
        const char *key;
        char **field;
    } texts[] = {{"service", &u->service}, {"host", &u->host},        {"path", &u->path},
                 {"balance", &u->balance}, {"probe", &u->probe_path}, {"expect", &u->probe_expect}};
    for (char *word; (word = next_word(&line)) != NULL;) {
        const char *value = value_of(word, "slots");
        if (value != NULL && !number_of(value, 0, TN_HAPROXY_SLOTS_MAX, &u->slots)) {
            return false;
        }
        for (size_t i = 0; i < TN_COUNT(texts); i++) {
            value = value_of(word, texts[i].key);
            if (value != NULL) {
                set_text(texts[i].field, value);
            }
        }
    }
    return true;
}

/* "127.0.0.1:8080" or "[::1]:8080". */
static bool read_address(struct tn_haproxy_slot *s, const char *word)
{
    char host[64];
    if (!tn_haproxy_listen(word, host, &s->port) || host[0] == '*') {
        return false;
    }
    set_text(&s->address, host);
    return true;
}

static bool read_comment(struct tn_haproxy_slot *s, char *line)
{
    for (char *word; (word = next_word(&line)) != NULL;) {
        const char *value;
        if ((value = value_of(word, "instance")) != NULL) {
            s->use = TN_HAPROXY_SERVES;
            set_text(&s->instance, value);
        } else if ((value = value_of(word, "leaving")) != NULL) {
            s->use = TN_HAPROXY_LEAVING;
            set_text(&s->instance, value);
        } else if ((value = value_of(word, "weight")) != NULL && !number_of(value, 1, 256, &s->weight)) {
            return false;
        }
    }
    return true;
}

/* What follows "    server ". */
static bool read_slot(struct tn_haproxy_backend *b, char *line)
{
    TN_GROW(b->slots, b->n_slots, b->cap_slots);
    struct tn_haproxy_slot *s = &b->slots[b->n_slots++];
    *s = (struct tn_haproxy_slot){.weight = 1};
    char *comment = strchr(line, '#');
    if (comment == NULL) {
        return false;
    }
    *comment++ = '\0';
    char *name = next_word(&line), *address = next_word(&line);
    tn_autofree char *expected = tn_format("s%zu", b->n_slots);
    if (!tn_streq(name, expected) || address == NULL || !read_address(s, address)) {
        return false;
    }
    bool disabled = false;
    for (char *word; (word = next_word(&line)) != NULL;) {
        s->backup = s->backup || tn_streq(word, "backup");
        disabled = disabled || tn_streq(word, "disabled");
    }
    if (!read_comment(s, comment) || disabled != (s->use != TN_HAPROXY_SERVES) ||
        (s->use != TN_HAPROXY_FREE && !tn_haproxy_is_name(s->instance))) {
        return false;
    }
    if (s->use == TN_HAPROXY_FREE) {
        set_text(&s->address, NULL);
        s->port = 0;
    }
    return true;
}

static bool read_backend(struct tn_haproxy_file *f, const char *name)
{
    if (!tn_haproxy_is_name(name) || tn_haproxy_find(f, name) != NULL) {
        return false;
    }
    TN_GROW(f->v, f->n, f->cap);
    f->v[f->n++] = (struct tn_haproxy_backend){
        .upstream = {.name = tn_strdup(name), .keepalive = -1, .max_fails = -1, .fail_timeout = -1}};
    return true;
}

static void read_generation(struct tn_haproxy_file *f, const char *frontend)
{
    const char *dash = strrchr(frontend, '-');
    if (dash != NULL && strlen(dash + 1) == TN_HAPROXY_GENERATION &&
        strspn(dash + 1, "0123456789abcdef") == TN_HAPROXY_GENERATION) {
        memcpy(f->generation, dash + 1, TN_HAPROXY_GENERATION);
    }
}

static bool read_line(struct tn_haproxy_file *f, char *line)
{
    struct tn_haproxy_backend *b = f->n > 0 ? &f->v[f->n - 1] : NULL;
    if (tn_starts_with(line, "backend ")) {
        return read_backend(f, line + strlen("backend "));
    }
    if (tn_starts_with(line, "frontend turnout-")) {
        read_generation(f, line);
        return true;
    }
    if (tn_starts_with(line, META)) {
        return b != NULL && read_meta(&b->upstream, line + strlen(META));
    }
    if (tn_starts_with(line, "    server ")) {
        return b != NULL && read_slot(b, line + strlen("    server "));
    }
    return true;
}

/* What was read is going to be written again: the same checks as for a plan's values. */
static int check(const struct tn_haproxy_file *f, struct tn_error **err)
{
    struct tn_traffic traffic = {0};
    for (size_t i = 0; i < f->n; i++) {
        if (f->v[i].n_slots > TN_HAPROXY_SLOTS_MAX) {
            return tn_error_set(err, TN_ELIMIT, "backend '%s' has more than %d slots", f->v[i].upstream.name,
                                TN_HAPROXY_SLOTS_MAX);
        }
    }
    tn_haproxy_to_traffic(f, &traffic);
    int code = tn_haproxy_check(&traffic, err);
    tn_traffic_clear(&traffic);
    return code;
}

int tn_haproxy_read(const char *text, size_t len, struct tn_haproxy_file *out, struct tn_error **err)
{
    if (memchr(text, '\0', len) != NULL) {
        return tn_error_set(err, TN_EPROTO, "a NUL byte");
    }
    tn_autofree char *copy = tn_strndup(text, len);
    size_t number = 0;
    for (char *line = copy, *next; line != NULL && *line != '\0'; line = next) {
        char *end = strchr(line, '\n');
        next = end != NULL ? end + 1 : NULL;
        if (end != NULL) {
            *end = '\0';
        }
        number++;
        if (!read_line(out, line) || out->n > TN_HAPROXY_BACKENDS_MAX) {
            tn_haproxy_file_clear(out);
            return tn_error_set(err, TN_EPROTO, "line %zu is not as turnout writes it", number);
        }
    }
    int code = check(out, err);
    if (code < 0) {
        tn_haproxy_file_clear(out);
    }
    return code;
}

void tn_haproxy_to_traffic(const struct tn_haproxy_file *f, struct tn_traffic *out)
{
    for (size_t i = 0; i < f->n; i++) {
        const struct tn_haproxy_backend *b = &f->v[i];
        struct tn_upstream one = b->upstream;
        struct tn_traffic wrapped = {.v = &one, .n = 1};
        tn_traffic_copy(out, &wrapped);
        struct tn_upstream *u = &out->v[out->n - 1];
        for (size_t k = 0; k < b->n_slots; k++) {
            const struct tn_haproxy_slot *s = &b->slots[k];
            if (s->use == TN_HAPROXY_SERVES) {
                TN_GROW(u->servers, u->n_servers, u->cap_servers);
                u->servers[u->n_servers++] = (struct tn_server){.instance = tn_strdup(s->instance),
                                                                .address = tn_strdup(s->address),
                                                                .port = s->port,
                                                                .weight = s->weight,
                                                                .backup = s->backup};
            }
        }
    }
}
