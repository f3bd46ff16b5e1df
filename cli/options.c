#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "turnout/mem.h"
#include "turnout/text.h"

enum { DEFAULT_LEASE_WAIT = 15 * 60 * 1000 };

const struct cli_verb *cli_find_verb(const char *name)
{
    for (const struct cli_verb *v = cli_verbs; v->name; v++)
        if (strcmp(v->name, name) == 0 || tn_streq(v->alias, name))
            return v;
    return NULL;
}

static void push(struct cli_list *l, const char *s)
{
    TN_GROW(l->v, l->n, l->cap);
    l->v[l->n++] = s;
}

void cli_options_clear(struct cli_options *o)
{
    struct cli_list *lists[] = {&o->files,    &o->sets,     &o->vars, &o->var_files,
                                &o->services, &o->clusters, &o->args};
    for (size_t i = 0; i < TN_COUNT(lists); i++)
        free(lists[i]->v);
}

/* Index of `value` in "a|b|c", or -1. */
static int choice_index(const char *choices, const char *value)
{
    size_t n = strlen(value);
    int i = 0;
    for (const char *p = choices; p; i++) {
        const char *end = strchr(p, '|');
        size_t len = end ? (size_t)(end - p) : strlen(p);
        if (len == n && strncmp(p, value, n) == 0)
            return i;
        p = end ? end + 1 : NULL;
    }
    return -1;
}

static int bad_value(const struct cli_flag *f, const char *said_by, const char *value)
{
    if (f->kind == FLAG_CHOICE)
        return cli_usage("%s takes one of %s, not '%s'", said_by, f->choices, value);
    return cli_usage("%s: '%s' is no %s", said_by, value,
                     f->kind == FLAG_DURATION ? "time (as in 30s, 5m)" : "whole number");
}

/* said_by: "--timeout" or "TURNOUT_TIMEOUT". */
static int set_value(struct cli_options *o, const struct cli_flag *f, const char *said_by, const char *value)
{
    char *at = (char *)o + f->offset;
    int64_t number = 0;
    int index;
    switch (f->kind) {
    case FLAG_BOOL: *(bool *)at = true; return 0;
    case FLAG_TEXT: *(const char **)(void *)at = value; return 0;
    case FLAG_LIST: push((struct cli_list *)(void *)at, value); return 0;
    case FLAG_DURATION:
    case FLAG_INT:
        if (!(f->kind == FLAG_INT ? tn_parse_int(value, &number) : tn_parse_duration(value, &number)))
            return bad_value(f, said_by, value);
        *(int64_t *)(void *)at = number;
        return 0;
    case FLAG_CHOICE:
        if ((index = choice_index(f->choices, value)) < 0)
            return bad_value(f, said_by, value);
        *(int *)(void *)at = index;
        return 0;
    }
    return 0;
}

static const struct cli_flag *find_long(const char *name, size_t n)
{
    for (const struct cli_flag *f = cli_flags; f->name; f++)
        if (strlen(f->name) == n && strncmp(f->name, name, n) == 0)
            return f;
    return NULL;
}

static const struct cli_flag *find_short(char letter)
{
    for (const struct cli_flag *f = cli_flags; f->name; f++)
        if (f->letter == letter)
            return f;
    return NULL;
}

static int unknown_flag(const char *word)
{
    const char *names[64];
    size_t n = 0;
    for (const struct cli_flag *f = cli_flags; f->name && n < TN_COUNT(names); f++)
        names[n++] = f->name;
    int near = word[0] == '-' && word[1] == '-' ? tn_nearest(word + 2, names, n) : -1;
    if (near >= 0)
        return cli_usage("unknown flag '%s'; did you mean --%s?", word, names[near]);
    return cli_usage("unknown flag '%s'", word);
}

/* The words of the command line, and where we are in them. */
struct words {
    int argc, i;
    char **argv;
    bool used[64]; /* by place in cli_flags */
};

static int take_flag(struct words *w, struct cli_options *o, const struct cli_flag *f, const char *value)
{
    w->used[f - cli_flags] = true;
    if (f->kind == FLAG_BOOL && value)
        return cli_usage("--%s takes no value", f->name);
    if (f->kind != FLAG_BOOL && !value && f->optional) {
        *(int64_t *)(void *)((char *)o + f->offset) = DEFAULT_LEASE_WAIT;
        return 0;
    }
    if (f->kind != FLAG_BOOL && !value) {
        if (w->i + 1 >= w->argc)
            return cli_usage("--%s needs a value: %s", f->name, f->argument);
        value = w->argv[++w->i];
    }
    tn_autofree char *flag = tn_format("--%s", f->name);
    return set_value(o, f, flag, value);
}

static int parse_long(struct words *w, struct cli_options *o)
{
    const char *word = w->argv[w->i], *eq = strchr(word, '=');
    const struct cli_flag *f = find_long(word + 2, eq ? (size_t)(eq - word - 2) : strlen(word + 2));
    return f ? take_flag(w, o, f, eq ? eq + 1 : NULL) : unknown_flag(word);
}

static int parse_short(struct words *w, struct cli_options *o)
{
    for (const char *p = w->argv[w->i] + 1; *p; p++) {
        const struct cli_flag *f = find_short(*p);
        if (!f)
            return unknown_flag(w->argv[w->i]);
        const char *value = f->kind != FLAG_BOOL && p[1] ? p + 1 : NULL;
        int rc = take_flag(w, o, f, value);
        if (rc || value || f->kind != FLAG_BOOL)
            return rc;
    }
    return 0;
}

/* Every long flag that is not a list has TURNOUT_<FLAG>; the command line wins. */
static int from_environment(struct cli_options *o)
{
    for (const struct cli_flag *f = cli_flags; f->name; f++) {
        if (f->kind == FLAG_LIST || strcmp(f->name, "help") == 0 || strcmp(f->name, "state") == 0)
            continue;
        tn_autofree char *name = tn_format("TURNOUT_%s", f->name);
        for (char *p = name + strlen("TURNOUT_"); *p; p++)
            *p = *p == '-' ? '_' : (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
        const char *value = getenv(name);
        if (!value || !*value ||
            (f->kind == FLAG_BOOL && (strcmp(value, "0") == 0 || strcmp(value, "false") == 0)))
            continue;
        int rc = set_value(o, f, name, value);
        if (rc)
            return rc;
    }
    return 0;
}

static int unknown_verb(const char *word)
{
    const char *names[64];
    size_t n = 0;
    for (const struct cli_verb *v = cli_verbs; v->name && n < TN_COUNT(names); v++)
        names[n++] = v->name;
    int near = tn_nearest(word, names, n);
    if (near >= 0)
        return cli_usage("unknown verb '%s'; did you mean '%s'?", word, names[near]);
    return cli_usage("unknown verb '%s'; see: turnout help", word);
}

static int check_flags(const struct words *w, const struct cli_verb *v)
{
    for (size_t i = 0; cli_flags[i].name; i++)
        if (w->used[i] && !(cli_flags[i].groups & (v->flags | FLAGS_COMMON)))
            return cli_usage("--%s does not go with '%s'; see: turnout help %s", cli_flags[i].name, v->name,
                             v->name);
    return 0;
}

static int check_words(const struct words *w, const struct cli_options *o, const struct cli_verb *v)
{
    int rc = check_flags(w, v);
    if (rc == 0 && v->run && v->arguments[0] == 0 && o->args.n > 0)
        rc = cli_usage("'%s' takes no argument, and there is '%s'; see: turnout help %s", v->name,
                       o->args.v[0], v->name);
    return rc;
}

static int parse_word(struct words *w, struct cli_options *o, const struct cli_verb **verb)
{
    const char *word = w->argv[w->i];
    if (word[0] == '-' && word[1] == '-')
        return parse_long(w, o);
    if (word[0] == '-' && word[1])
        return parse_short(w, o);
    if (*verb) {
        push(&o->args, word);
        return 0;
    }
    *verb = cli_find_verb(word);
    return *verb ? 0 : unknown_verb(word);
}

int cli_parse(int argc, char **argv, struct cli_options *o, const struct cli_verb **verb)
{
    struct words w = {.argc = argc, .argv = argv};
    *o = (struct cli_options){.timeout = -1, .lease_wait = -1, .interval = -1, .tail = 100, .limit = 20};
    *verb = NULL;
    int rc = from_environment(o);
    for (w.i = 1; w.i < argc && rc == 0; w.i++) {
        if (strcmp(argv[w.i], "--") == 0) {
            while (++w.i < argc)
                push(&o->args, argv[w.i]);
            break;
        }
        if (strcmp(argv[w.i], "--version") == 0) {
            *verb = cli_find_verb("version");
            continue;
        }
        rc = parse_word(&w, o, verb);
    }
    if (rc == 0 && *verb && !o->help)
        rc = check_words(&w, o, *verb);
    if (o->no_color)
        o->color = COLOR_NEVER;
    if (o->quiet)
        o->progress = PROGRESS_QUIET;
    return rc;
}
