/* YAML text → tree, over libyaml's events.
 *
 * libyaml is not asked to type anything and never sees more than 1 MiB. Its own messages are kept, with the two cases
 * that people meet most (tabs, a bare ${…} inside { }) told in plain words. Merge keys (<<) are refused: they are no
 * part of YAML 1.2, and overlays do the same with a known order.
 */
#include <string.h>
#include <yaml.h>

#include "lib/plan/node.h"

struct anchor {
    const char *name;
    struct tn_node *node; /* NULL while it is being read */
};

struct reader {
    struct tn_loader *l;
    yaml_parser_t yaml;
    const char *file;
    bool on_command_line;
    struct anchor *anchors;
    size_t n_anchors, cap_anchors;
};

static struct tn_mark mark_of(const struct reader *r, const yaml_mark_t *m)
{
    if (r->on_command_line)
        return (struct tn_mark){.file = r->file};
    return (struct tn_mark){.file = r->file, .line = (int)m->line + 1, .column = (int)m->column + 1};
}

/* ---- before libyaml: bytes -------------------------------------------------------------------------- */

/* What YAML lets stand in a text: no control characters but tab and line breaks, no surrogates, no marks of byte
 * order. */
static bool is_printable(unsigned c)
{
    if (c < 0x20)
        return c == '\t' || c == '\n' || c == '\r';
    if (c >= 0x7f && c < 0xa0)
        return c == 0x85;
    return c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff) && c != 0xfeff && c != 0xfffe && c != 0xffff;
}

/* Length of the UTF-8 character at s that YAML allows, 0 when it is none. */
static size_t allowed_character(const unsigned char *s, size_t left)
{
    static const struct {
        size_t len;
        unsigned mask, lead, min;
    } forms[] = {{1, 0x80, 0x00, 0}, {2, 0xe0, 0xc0, 0x80}, {3, 0xf0, 0xe0, 0x800}, {4, 0xf8, 0xf0, 0x10000}};
    for (size_t f = 0; f < TN_COUNT(forms); f++) {
        if ((s[0] & forms[f].mask) != forms[f].lead)
            continue;
        if (left < forms[f].len)
            return 0;
        unsigned c = s[0] & ~forms[f].mask;
        for (size_t i = 1; i < forms[f].len; i++) {
            if ((s[i] & 0xc0) != 0x80)
                return 0;
            c = c << 6 | (s[i] & 0x3f);
        }
        return c >= forms[f].min && is_printable(c) ? forms[f].len : 0;
    }
    return 0;
}

static bool check_bytes(const struct reader *r, const char *text, size_t len)
{
    int line = 1, column = 1;
    for (size_t i = 0; i < len;) {
        size_t n = allowed_character((const unsigned char *)text + i, len - i);
        if (n == 0) {
            struct tn_mark at = {.file = r->file};
            if (!r->on_command_line)
                at = (struct tn_mark){.file = r->file, .line = line, .column = column};
            unsigned char c = (unsigned char)text[i];
            tn_problem_at(r->l, at, "save the file as UTF-8",
                          c < 0x80 ? "control character 0x%02x" : "byte 0x%02x is not UTF-8", c);
            return false;
        }
        column++;
        if (text[i] == '\n') {
            line++;
            column = 1;
        }
        i += n;
    }
    return true;
}

/* ---- libyaml's own complaints ----------------------------------------------------------------------- */

/* The line that a mark is in, as pointers into the source. */
static const char *line_at(const char *text, size_t len, size_t line, size_t *out_len)
{
    const char *p = text, *end = text + len;
    while (line > 0 && p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        if (!nl)
            break;
        p = nl + 1;
        line--;
    }
    const char *nl = memchr(p, '\n', (size_t)(end - p));
    *out_len = (size_t)((nl ? nl : end) - p);
    return p;
}

static struct tn_node *syntax_problem(struct reader *r, const char *text, size_t len)
{
    const yaml_parser_t *y = &r->yaml;
    size_t n = 0;
    const char *line = line_at(text, len, y->problem_mark.line, &n);
    size_t indent = strspn(line, " \t") < n ? strspn(line, " \t") : n;
    struct tn_mark at = mark_of(r, &y->problem_mark);
    const char *problem = y->problem ? y->problem : "cannot be read";
    if (memchr(line, '\t', indent)) {
        tn_problem_at(r->l, at, "indent with spaces", "a tab indents this line: YAML allows only spaces");
        return NULL;
    }
    const char *hint = NULL;
    if (n > 1 && memmem(line, n, "${", 2))
        hint = "inside { } and [ ], put quotes around a value that holds ${…}";
    if (y->context)
        tn_problem_at(r->l, at, hint, "not valid YAML: %s %s", problem, y->context);
    else
        tn_problem_at(r->l, at, hint, "not valid YAML: %s", problem);
    return NULL;
}

/* ---- events → nodes --------------------------------------------------------------------------------- */

static struct tn_node *read_node(struct reader *r, const yaml_event_t *e, int depth);

static bool next_event(struct reader *r, yaml_event_t *e)
{
    return yaml_parser_parse(&r->yaml, e) == 1;
}

static bool tag_is_core(const char *tag)
{
    static const char *const core[] = {"str", "int", "float", "bool", "null", "map", "seq"};
    static const char prefix[] = "tag:yaml.org,2002:";
    if (strncmp(tag, prefix, sizeof(prefix) - 1) != 0)
        return false;
    for (size_t i = 0; i < TN_COUNT(core); i++)
        if (strcmp(tag + sizeof(prefix) - 1, core[i]) == 0)
            return true;
    return false;
}

static bool check_tag(struct reader *r, const yaml_char_t *tag, const yaml_event_t *e)
{
    if (!tag || strcmp((const char *)tag, "!") == 0 || tag_is_core((const char *)tag))
        return true;
    tn_problem_at(r->l, mark_of(r, &e->start_mark), "remove the tag", "unknown tag '%s'", (const char *)tag);
    return false;
}

/* Returns the slot + 1 of a new anchor, 0 when there is none to remember. */
static size_t add_anchor(struct reader *r, const yaml_char_t *name)
{
    if (!name)
        return 0;
    TN_GROW(r->anchors, r->n_anchors, r->cap_anchors);
    r->anchors[r->n_anchors] = (struct anchor){.name = tn_arena_strdup(r->l->arena, (const char *)name)};
    return ++r->n_anchors;
}

static int depth_of(const struct tn_node *n)
{
    int deepest = 0;
    for (size_t i = 0; i < n->n; i++) {
        int d = depth_of(n->v[i]);
        deepest = d > deepest ? d : deepest;
    }
    return deepest + 1;
}

static struct tn_node *too_deep(struct reader *r, struct tn_mark at)
{
    tn_problem_at(r->l, at, NULL, "nested deeper than %d levels", TN_PLAN_MAX_DEPTH);
    return NULL;
}

static struct tn_node *read_alias(struct reader *r, const yaml_event_t *e, int depth)
{
    const char *name = (const char *)e->data.alias.anchor;
    struct tn_mark at = mark_of(r, &e->start_mark);
    for (size_t i = r->n_anchors; i-- > 0;) {
        if (strcmp(r->anchors[i].name, name) != 0)
            continue;
        if (!r->anchors[i].node) {
            tn_problem_at(r->l, at, NULL, "alias '*%s' stands inside its own anchor", name);
            return NULL;
        }
        struct tn_node *c = tn_node_copy(r->l, r->anchors[i].node, at);
        return c && depth + depth_of(c) > TN_PLAN_MAX_DEPTH ? too_deep(r, at) : c;
    }
    tn_problem_at(r->l, at, NULL, "alias '*%s' has no anchor '&%s' before it", name, name);
    return NULL;
}

static struct tn_node *read_scalar(struct reader *r, const yaml_event_t *e)
{
    const char *text = (const char *)e->data.scalar.value;
    struct tn_mark at = mark_of(r, &e->start_mark);
    if (strlen(text) != e->data.scalar.length) {
        tn_problem_at(r->l, at, NULL, "a text holds a NUL character");
        return NULL;
    }
    const char *tag = (const char *)e->data.scalar.tag;
    bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (tag)
        plain = strcmp(tag, "!") != 0 && strcmp(tag, "tag:yaml.org,2002:str") != 0;
    return tn_node_scalar(r->l, at, text, plain);
}

static bool accept_key(struct reader *r, const struct tn_node *map, const struct tn_node *key)
{
    if (key->kind != TN_NODE_SCALAR) {
        tn_problem_at(r->l, key->mark, NULL, "a key must be a word, not %s", tn_node_kind_text(key));
        return false;
    }
    if (strcmp(key->text, "<<") == 0 && key->plain) {
        tn_problem_at(r->l, key->mark, "write the keys out, or use `include` or `environments` to share them",
                      "merge keys (<<) are not read");
        return false;
    }
    const struct tn_node *first = tn_node_get(map, key->text);
    if (first) {
        tn_problem_at(r->l, key->mark, NULL, "duplicate key '%s': it is already on line %d", key->text,
                      first->key_mark.line);
        return true; /* read on: there may be more to say about the rest */
    }
    if (map->n >= TN_PLAN_MAX_KEYS) {
        tn_problem_at(r->l, key->mark, NULL, "a map with more than %d keys", TN_PLAN_MAX_KEYS);
        return false;
    }
    return true;
}

static struct tn_node *read_child(struct reader *r, int depth, yaml_event_type_t end, bool *done)
{
    yaml_event_t e;
    if (!next_event(r, &e)) {
        *done = false;
        return NULL;
    }
    *done = e.type == end;
    struct tn_node *n = *done ? NULL : read_node(r, &e, depth + 1);
    yaml_event_delete(&e);
    return n;
}

static bool read_pair(struct reader *r, struct tn_node *map, int depth, bool *done)
{
    struct tn_node *key = read_child(r, depth, YAML_MAPPING_END_EVENT, done);
    if (*done || !key || !accept_key(r, map, key))
        return *done;
    bool ended;
    struct tn_node *value = read_child(r, depth, YAML_NO_EVENT, &ended);
    if (!value)
        return false;
    if (!tn_node_get(map, key->text)) {
        value->key = key->text;
        value->key_mark = key->mark;
        tn_node_push(r->l, map, value);
    }
    return true;
}

static struct tn_node *read_collection(struct reader *r, const yaml_event_t *e, int depth)
{
    bool is_map = e->type == YAML_MAPPING_START_EVENT;
    struct tn_node *n = tn_node_new(r->l, is_map ? TN_NODE_MAP : TN_NODE_LIST, mark_of(r, &e->start_mark));
    if (depth > TN_PLAN_MAX_DEPTH)
        return too_deep(r, n->mark);
    for (bool done = false;;) {
        if (is_map) {
            if (!read_pair(r, n, depth, &done))
                return NULL;
        } else {
            struct tn_node *item = read_child(r, depth, YAML_SEQUENCE_END_EVENT, &done);
            if (!done && !item)
                return NULL;
            if (item)
                tn_node_push(r->l, n, item);
        }
        if (done)
            return n;
    }
}

static struct tn_node *read_node(struct reader *r, const yaml_event_t *e, int depth)
{
    if (r->l->n_nodes >= TN_PLAN_MAX_NODES) {
        tn_problem_at(r->l, mark_of(r, &e->start_mark), NULL, "more than %d values in one plan",
                      TN_PLAN_MAX_NODES);
        return NULL;
    }
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (e->type) {
    case YAML_ALIAS_EVENT: return read_alias(r, e, depth);
    case YAML_SCALAR_EVENT:
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
        break;
    default: return NULL;
    }
    if (!check_tag(r, tag, e))
        return NULL;
    size_t slot = add_anchor(r, anchor);
    struct tn_node *n = e->type == YAML_SCALAR_EVENT ? read_scalar(r, e) : read_collection(r, e, depth);
    if (slot > 0)
        r->anchors[slot - 1].node = n;
    return n;
}

/* Reads events up to the first document's end; a second document is a problem. */
static struct tn_node *read_stream(struct reader *r)
{
    struct tn_node *root = NULL;
    int documents = 0;
    for (bool done = false; !done;) {
        yaml_event_t e;
        if (!next_event(r, &e))
            return NULL;
        bool bad = false;
        if (e.type == YAML_DOCUMENT_START_EVENT && ++documents > 1) {
            tn_problem_at(r->l, mark_of(r, &e.start_mark), "put it into a file of its own",
                          "a second document: a plan is one document");
            bad = true;
        } else if (e.type == YAML_STREAM_END_EVENT) {
            done = true;
        } else if (e.type != YAML_STREAM_START_EVENT && e.type != YAML_DOCUMENT_START_EVENT &&
                   e.type != YAML_DOCUMENT_END_EVENT) {
            root = read_node(r, &e, 1);
            bad = !root;
        }
        yaml_event_delete(&e);
        if (bad)
            return NULL;
    }
    struct tn_mark top = {.file = r->file, .line = r->on_command_line ? 0 : 1, .column = 1};
    if (!root)
        tn_problem_at(r->l, top, NULL, "nothing in it");
    return root;
}

static struct tn_node *parse(struct reader *r, const char *text, size_t len)
{
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    if (!check_bytes(r, text, len))
        return NULL;
    if (!yaml_parser_initialize(&r->yaml)) {
        tn_problem_at(r->l, (struct tn_mark){.file = r->file}, NULL, "no memory to read it");
        return NULL;
    }
    yaml_parser_set_encoding(&r->yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->yaml, (const unsigned char *)text, len);
    struct tn_node *root = read_stream(r);
    if (!root && r->yaml.error != YAML_NO_ERROR)
        syntax_problem(r, text, len);
    yaml_parser_delete(&r->yaml);
    tn_cleanup_free(&r->anchors);
    return root;
}

struct tn_node *tn_node_parse(struct tn_loader *l, const char *name, const char *text, size_t len)
{
    TN_GROW(l->sources, l->n_sources, l->cap_sources);
    l->sources[l->n_sources++] = (struct tn_source){name, tn_arena_strndup(l->arena, text, len), len};
    if (len > TN_PLAN_MAX_FILE) {
        tn_problem_at(l, (struct tn_mark){.file = name}, NULL, "larger than %zu bytes", TN_PLAN_MAX_FILE);
        return NULL;
    }
    struct reader r = {.l = l, .file = name};
    return parse(&r, text, len);
}

struct tn_node *tn_node_parse_value(struct tn_loader *l, const char *name, const char *text)
{
    struct reader r = {.l = l, .file = name, .on_command_line = true};
    size_t len = strlen(text);
    if (strspn(text, " \t") == len)
        return tn_node_scalar(l, (struct tn_mark){.file = name}, "", false);
    if (len > TN_PLAN_MAX_FILE) {
        tn_problem_at(l, (struct tn_mark){.file = name}, NULL, "larger than %zu bytes", TN_PLAN_MAX_FILE);
        return NULL;
    }
    return parse(&r, text, len);
}
