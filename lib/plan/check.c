/* What the table cannot say, part one: the plan itself, secrets, gates, and the helpers of all checks. */
#include <stdlib.h>
#include <string.h>

#include "turnout/version.h"
#include "lib/plan/load.h"

/* One step down: a key of a map, or a number in a list. */
static const struct tn_node *step(const struct tn_node *n, const char *key)
{
    int64_t i = -1;
    if (n->kind == TN_NODE_LIST && tn_parse_int(key, &i) && i >= 0 && (size_t)i < n->n)
        return n->v[i];
    return tn_node_get(n, key);
}

const struct tn_node *tn_check_node_at(const struct tn_checker *c, const char *const *path)
{
    const struct tn_node *n = c->root;
    while (n && *path)
        n = step(n, *path++);
    return n;
}

struct tn_mark tn_check_place_at(const struct tn_checker *c, const char *const *path)
{
    struct tn_mark at = c->root->mark;
    for (const struct tn_node *n = c->root; n; n = *path ? step(n, *path++) : NULL)
        at = n->mark;
    return at;
}

void tn_check_unknown(struct tn_checker *c, struct tn_mark at, const char *where, const char *what,
                      const char *name, const char *const *names, size_t n)
{
    const char *hint = tn_hint_nearest(c->l->arena, name, names, n);
    if (!hint && n > 0 && n <= 10) {
        tn_autobuf list = TN_BUF_INIT(1024);
        for (size_t i = 0; i < n; i++)
            tn_buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
        hint = tn_arena_format(c->l->arena, "there is %s", list.data);
    }
    tn_problem_at(c->l, at, hint, "%s: unknown %s '%.60s'", where, what, name);
}

/* "0.2" is newer than "0.1.9"; false when `version` is none. */
static bool newer_than_us(const char *version, bool *newer)
{
    const char *ours = TN_RELEASE;
    const char *digits = version + (version[0] == 'v');
    if (!*digits || strspn(digits, "0123456789.") != strlen(digits))
        return false;
    *newer = false;
    while (*digits || *ours) {
        char *end;
        unsigned long a = strtoul(digits, &end, 10);
        digits = *end == '.' ? end + 1 : end;
        unsigned long b = strtoul(ours, &end, 10);
        ours = *end == '.' ? end + 1 : end;
        if (a != b) {
            *newer = a > b;
            return true;
        }
    }
    return true;
}

static void check_version(struct tn_checker *c)
{
    const struct tn_node *n = tn_node_get(c->root, "min_version");
    bool newer = false;
    if (!n || n->kind != TN_NODE_SCALAR)
        return;
    if (!newer_than_us(n->text, &newer))
        tn_problem_at(c->l, n->mark, NULL, "min_version: '%.40s' is no version", n->text);
    else if (newer)
        tn_problem_at(c->l, n->mark, "install a newer turnout",
                      "min_version: the plan wants turnout %s, this is %s", n->text, TN_RELEASE);
}

static void check_state(struct tn_checker *c)
{
    struct tn_plan *p = c->plan;
    if (!p->state)
        return;
    struct tn_mark at = tn_check_place(c, "state");
    if (strncmp(p->state, "postgres://", 11) == 0) {
        tn_problem_at(c->l, at, NULL, "state: 'postgres' is reserved: this build cannot run it yet");
        return;
    }
    if (strncmp(p->state, "sqlite:", 7) != 0 || !p->state[7]) {
        tn_problem_at(c->l, at, "state: sqlite:./state/shop.db", "state: '%.60s' is not sqlite:PATH",
                      p->state);
        return;
    }
    if (p->state[7] != '/')
        p->state = tn_arena_format(c->l->arena, "sqlite:%s/%s", p->dir, p->state + 7);
}

static bool is_reserved_scheme(const char *scheme)
{
    static const char *const schemes[] = {"vault",      "openbao", "awssecrets", "awsssm", "azurekeyvault",
                                          "gcpsecrets", "sops",    "op",         "k8s"};
    for (size_t i = 0; i < TN_COUNT(schemes); i++)
        if (strcmp(scheme, schemes[i]) == 0)
            return true;
    return false;
}

static void check_secret(struct tn_checker *c, const struct tn_secret *s)
{
    static const char *const known[] = {"env", "file", "exec"};
    const char *from = s->from ? s->from : "";
    struct tn_mark at = tn_check_place(c, "secrets", s->name, "from");
    const char *rest = strstr(from, "://");
    const char *scheme = rest ? tn_arena_strndup(c->l->arena, from, (size_t)(rest - from)) : NULL;
    if (!s->from)
        return; /* already said */
    if (!scheme) {
        tn_problem_at(c->l, at, "env://NAME, file://PATH or exec:///PROGRAM",
                      "secrets.%s: no reference, and a plan "
                      "never holds a secret itself",
                      s->name);
        return;
    }
    rest += 3;
    if (is_reserved_scheme(scheme))
        tn_problem_at(c->l, at, "exec:// can call its command line tool",
                      "secrets.%s: '%s' is reserved: this build cannot run it yet", s->name, scheme);
    else if (strcmp(scheme, "env") == 0 && !tn_check_text(TN_CHECK_ENV, rest))
        tn_problem_at(c->l, at, NULL, "secrets.%s: '%.60s' %s", s->name, rest,
                      tn_check_rules[TN_CHECK_ENV].says);
    else if (strcmp(scheme, "env") != 0 && strcmp(scheme, "file") != 0 && strcmp(scheme, "exec") != 0)
        tn_check_unknown(c, at, tn_arena_format(c->l->arena, "secrets.%s", s->name), "scheme", scheme, known,
                         TN_COUNT(known));
    else if (!*rest)
        tn_problem_at(c->l, at, NULL, "secrets.%s: nothing behind %s://", s->name, scheme);
    else if (strcmp(scheme, "exec") == 0 && rest[0] != '/' && rest[0] != '.')
        tn_problem_at(c->l, at, "exec:///usr/bin/pass show db, or exec://./bin/secret",
                      "secrets.%s: the program's path "
                      "must begin with / or ./",
                      s->name);
}

static void check_gate(struct tn_checker *c, const struct tn_gate *g)
{
    if (g->failure_limit >= g->count && g->count > 0 && g->failure_limit > 0)
        tn_warning_at(c->l, tn_check_place(c, "gates", g->name, "failure_limit"), NULL,
                      "gates.%s: failure_limit %d is not below count %d", g->name, g->failure_limit,
                      g->count);
}

void tn_check_plan(struct tn_checker *c)
{
    check_version(c);
    check_state(c);
    for (size_t i = 0; i < c->plan->n_secrets; i++)
        check_secret(c, &c->plan->secrets[i]);
    for (size_t i = 0; i < c->plan->n_gates; i++)
        check_gate(c, &c->plan->gates[i]);
    tn_check_clusters(c);
    tn_check_balancers(c);
    tn_check_services(c);
    tn_check_order(c);
}
