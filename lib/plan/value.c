/* One value: text → the member's type, as the key's row says. */
#include <ctype.h>
#include <string.h>

#include "turnout/fs.h"
#include "lib/plan/bind.h"

static void *member(void *out, size_t at)
{
    return (char *)out + at;
}

static void path_text(struct tn_buf *b, const struct tn_key_path *path)
{
    if (!path)
        return;
    path_text(b, path->up);
    if (b->len > 0 && path->name[0] != '[')
        tn_buf_putc(b, '.');
    tn_buf_puts(b, path->name);
}

const char *tn_key_path_text(struct tn_binder *b, const struct tn_key_path *path)
{
    tn_autobuf text = TN_BUF_INIT(4096);
    path_text(&text, path);
    return tn_arena_strdup(b->l->arena, text.data ? text.data : "the plan");
}

const char *tn_hint_nearest(struct tn_arena *a, const char *word, const char *const *names, size_t n)
{
    int i = tn_nearest(word, names, n);
    return i < 0 ? NULL : tn_arena_format(a, "did you mean '%s'?", names[i]);
}

/* At most this much of somebody's text in a message. */
#define SHOWN 60

static bool wrong(struct tn_binder *b, const struct tn_node *n, const struct tn_key_path *path,
                  const char *hint, const char *says)
{
    size_t len = strlen(n->text);
    tn_problem_at(b->l, n->mark, hint, "%s: '%.*s%s' %s", tn_key_path_text(b, path), SHOWN, n->text,
                  len > SHOWN ? "…" : "", says);
    return false;
}

static bool want(struct tn_binder *b, const struct tn_node *n, const struct tn_key_path *path,
                 const char *what)
{
    tn_problem_at(b->l, n->mark, NULL, "%s: %s is wanted, not %s", tn_key_path_text(b, path), what,
                  tn_node_kind_text(n));
    return false;
}

bool tn_bind_check(struct tn_binder *b, enum tn_key_check check, const char *text, struct tn_mark at,
                   const struct tn_key_path *path)
{
    if (tn_check_text(check, text))
        return true;
    const struct tn_node n = {.kind = TN_NODE_SCALAR, .text = text, .mark = at};
    return wrong(b, &n, path, NULL, tn_check_rules[check].says);
}

static bool has_control(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < ' ' || *s == 0x7f)
            return true;
    return false;
}

/* A scalar's text, checked; NULL when a problem was added. */
static const char *text_of(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                           const struct tn_key_path *path)
{
    if (n->broken)
        return NULL;
    if (n->kind != TN_NODE_SCALAR || tn_node_is_null(n)) {
        want(b, n, path, "a text");
        return NULL;
    }
    if (k->type != TN_KEY_TEXT && k->type != TN_KEY_PAIRS && k->type != TN_KEY_COMMAND &&
        has_control(n->text)) {
        tn_problem_at(b->l, n->mark, NULL, "%s: holds a line break or control character",
                      tn_key_path_text(b, path));
        return NULL;
    }
    return n->text;
}

static bool store_text(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                       const struct tn_key_path *path, char **out)
{
    const char *text = text_of(b, k, n, path);
    if (!text || !tn_bind_check(b, k->check, text, n->mark, path))
        return false;
    if (k->type == TN_KEY_PATH && !*text)
        return want(b, n, path, "a path");
    if (k->type == TN_KEY_PATH && b->dir && text[0] != '/') {
        while (strncmp(text, "./", 2) == 0)
            text += 2;
        *out = strcmp(text, ".") == 0 || !*text ? tn_arena_strdup(b->l->arena, b->dir)
                                                : tn_arena_format(b->l->arena, "%s/%s", b->dir, text);
        return true;
    }
    *out = tn_arena_strdup(b->l->arena, text);
    return true;
}

static bool store_int(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                      const struct tn_key_path *path, int *out)
{
    int64_t v = 0;
    if (n->kind != TN_NODE_SCALAR)
        return want(b, n, path, "a whole number");
    if (!tn_parse_int(n->text, &v))
        return wrong(b, n, path, NULL, "is not a whole number");
    int64_t max = k->min == 0 && k->max == 0 ? INT32_MAX : k->max;
    if (v < k->min || v > max)
        return wrong(b, n, path, NULL,
                     tn_arena_format(b->l->arena,
                                     k->min == max ? "must be %lld" : "is not within %lld and %lld",
                                     (long long)k->min, (long long)max));
    *out = (int)v;
    return true;
}

static bool store_quantity(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                           const struct tn_key_path *path, int64_t *out)
{
    static const struct {
        enum tn_key_type type;
        bool (*parse)(const char *s, int64_t *out);
        const char *what, *says, *hint;
    } kinds[] = {
        {TN_KEY_DURATION, tn_parse_duration, "a duration", "is no duration",
         "durations carry a unit: 500ms, 30s, 5m, 1h30m"},
        {TN_KEY_SIZE, tn_parse_size, "a size", "is no size", "sizes look like 512Mi, 1Gi or 1048576"},
        {TN_KEY_CPU, tn_parse_cpu, "a number of CPUs", "is no number of CPUs",
         "CPUs look like 0.5, 2 or 500m"},
    };
    size_t i = k->type == TN_KEY_DURATION ? 0 : k->type == TN_KEY_SIZE ? 1 : 2;
    if (n->kind != TN_NODE_SCALAR)
        return want(b, n, path, kinds[i].what);
    if (k->type == TN_KEY_SIZE && k->min < 0 && strcmp(n->text, "-1") == 0) {
        *out = -1;
        return true;
    }
    int64_t v = 0;
    if (!kinds[i].parse(n->text, &v) || v < 0)
        return wrong(b, n, path, kinds[i].hint, kinds[i].says);
    if (k->type == TN_KEY_DURATION && v > INT64_C(366) * 86400000)
        return wrong(b, n, path, NULL, "is longer than a year");
    if (k->type == TN_KEY_DURATION && v < k->min)
        return wrong(b, n, path, tn_arena_format(b->l->arena, "at least %lldms", (long long)k->min),
                     "is too short");
    *out = v;
    return true;
}

static bool store_count(struct tn_binder *b, const struct tn_node *n, const struct tn_key_path *path,
                        struct tn_count *out)
{
    if (n->kind != TN_NODE_SCALAR)
        return want(b, n, path, "a count or percentage");
    size_t len = strlen(n->text);
    bool percent = len > 1 && n->text[len - 1] == '%';
    tn_autofree char *digits = tn_strndup(n->text, percent ? len - 1 : len);
    int64_t v = 0;
    if (!isdigit((unsigned char)digits[0]) || !tn_parse_int(digits, &v) || v < 0 ||
        v > (percent ? 100 : 1000))
        return wrong(b, n, path, "2 or 25%", "is no count or percentage");
    *out = (struct tn_count){.value = (int)v, .percent = percent, .set = true};
    return true;
}

static bool store_range(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                        const struct tn_key_path *path, int *first, int *last)
{
    if (n->kind != TN_NODE_SCALAR)
        return want(b, n, path, "a range");
    const char *dash = strchr(n->text, '-');
    tn_autofree char *low = tn_strndup(n->text, dash ? (size_t)(dash - n->text) : 0);
    int64_t from = 0, to = 0;
    if (!dash || !tn_parse_int(low, &from) || !tn_parse_int(dash + 1, &to) || from < k->min || to > k->max ||
        from > to)
        return wrong(b, n, path, "20000-29999", "is no range of ports");
    *first = (int)from;
    *last = (int)to;
    return true;
}

static bool store_word(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                       const struct tn_key_path *path, int *out_value, const char **out_word)
{
    const char *text = text_of(b, k, n, path);
    if (!text)
        return false;
    const char *names[32];
    size_t count = 0;
    tn_autobuf list = TN_BUF_INIT(1024);
    for (const struct tn_name *t = k->names; t->name && count < TN_COUNT(names); t++) {
        if (strcmp(t->name, text) == 0) {
            *out_value = t->value;
            *out_word = t->name;
            return true;
        }
        tn_buf_printf(&list, "%s%s", count ? ", " : "", t->name);
        names[count++] = t->name;
    }
    return wrong(b, n, path, tn_hint_nearest(b->l->arena, text, names, count),
                 tn_arena_format(b->l->arena, count == 1 ? "is not %s" : "is none of %s", list.data));
}

static bool store_bool(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                       const struct tn_key_path *path, bool *out)
{
    if (k->names) {
        int value = 0;
        const char *word;
        if (!store_word(b, k, n, path, &value, &word))
            return false;
        *out = value != 0;
        return true;
    }
    if (n->kind != TN_NODE_SCALAR)
        return want(b, n, path, "true or false");
    bool yes = strcmp(n->text, "true") == 0;
    if (!yes && strcmp(n->text, "false") != 0)
        return wrong(b, n, path, NULL, "is neither true nor false");
    if (!yes && k->flags & TN_KIND)
        return wrong(b, n, path, NULL, "can only be true");
    *out = yes;
    return true;
}

static bool store_strings(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                          const struct tn_key_path *path, struct tn_strings *out)
{
    const struct tn_node *one[] = {n};
    const struct tn_node *const *items = n->kind == TN_NODE_LIST ? (const struct tn_node *const *)n->v : one;
    size_t count = n->kind == TN_NODE_LIST ? n->n : 1;
    if (n->kind == TN_NODE_MAP)
        return want(b, n, path, "a list");
    struct tn_strings s = {.v = tn_arena_alloc(b->l->arena, (count + 1) * sizeof(char *))};
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        const struct tn_key_path item = {path, tn_arena_format(b->l->arena, "[%zu]", i)};
        const char *text = text_of(b, k, items[i], n->kind == TN_NODE_LIST ? &item : path);
        if (!text || !tn_bind_check(b, k->check, text, items[i]->mark, &item))
            ok = false;
        else
            s.v[s.n++] = tn_arena_strdup(b->l->arena, text);
    }
    *out = s;
    return ok;
}

static bool store_pairs(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                        const struct tn_key_path *path, struct tn_pairs *out)
{
    if (n->kind != TN_NODE_MAP)
        return want(b, n, path, "a map");
    struct tn_pairs p = {.v = tn_arena_alloc(b->l->arena, (n->n + 1) * sizeof(struct tn_pair))};
    bool ok = true;
    for (size_t i = 0; i < n->n; i++) {
        const struct tn_node *item = n->v[i];
        const struct tn_key_path at = {path, item->key};
        if (b->partial && tn_node_is_null(item))
            continue;
        const char *text = text_of(b, k, item, &at);
        if (!*item->key || has_control(item->key)) {
            tn_problem_at(b->l, item->key_mark, NULL, "%s: an empty or unprintable key",
                          tn_key_path_text(b, path));
            text = NULL;
        }
        if (!text || !tn_bind_check(b, k->check, item->key, item->key_mark, path))
            ok = false;
        else
            p.v[p.n++] =
                (struct tn_pair){tn_arena_strdup(b->l->arena, item->key), tn_arena_strdup(b->l->arena, text)};
    }
    *out = p;
    return ok;
}

static bool store_command(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                          const struct tn_key_path *path, struct tn_command *out)
{
    if (n->kind == TN_NODE_MAP)
        return want(b, n, path, "a command (a list, or a text for /bin/sh)");
    if (n->kind == TN_NODE_SCALAR) {
        const char *text = text_of(b, k, n, path);
        if (!text || !*text)
            return text ? want(b, n, path, "a command") : false;
        char **argv = tn_arena_alloc(b->l->arena, 4 * sizeof(char *));
        argv[0] = tn_arena_strdup(b->l->arena, "/bin/sh");
        argv[1] = tn_arena_strdup(b->l->arena, "-c");
        argv[2] = tn_arena_strdup(b->l->arena, text);
        *out = (struct tn_command){argv, 3};
        return true;
    }
    struct tn_strings s = {0};
    if (!store_strings(b, k, n, path, &s))
        return false;
    if (s.n == 0 || !*s.v[0])
        return want(b, n, path, "a program in front");
    *out = (struct tn_command){s.v, s.n};
    return true;
}

bool tn_bind_value(struct tn_binder *b, const struct tn_key *k, const struct tn_node *n,
                   const struct tn_key_path *path, void *out)
{
    void *at = member(out, k->at);
    switch (k->type) {
    case TN_KEY_BOOL: return store_bool(b, k, n, path, at);
    case TN_KEY_INT: return store_int(b, k, n, path, at);
    case TN_KEY_DURATION:
    case TN_KEY_SIZE:
    case TN_KEY_CPU: return store_quantity(b, k, n, path, at);
    case TN_KEY_COUNT: return store_count(b, n, path, at);
    case TN_KEY_RANGE: return store_range(b, k, n, path, at, member(out, k->at_n));
    case TN_KEY_ENUM: {
        const char *word;
        return store_word(b, k, n, path, at, &word);
    }
    case TN_KEY_WORD: {
        int value;
        const char *word = NULL;
        if (!store_word(b, k, n, path, &value, &word))
            return false;
        *(char **)at = tn_arena_strdup(b->l->arena, word);
        return true;
    }
    case TN_KEY_STRINGS: return store_strings(b, k, n, path, at);
    case TN_KEY_PAIRS: return store_pairs(b, k, n, path, at);
    case TN_KEY_COMMAND: return store_command(b, k, n, path, at);
    case TN_KEY_STRING:
    case TN_KEY_TEXT:
    case TN_KEY_PATH:
    default: return store_text(b, k, n, path, at);
    }
}
