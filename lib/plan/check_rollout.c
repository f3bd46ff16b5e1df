/* What the table cannot say, part four: rollouts, and the order of services. */
#include <string.h>

#include "lib/plan/load.h"

int tn_count_of(struct tn_count c, int of, bool up)
{
    if (!c.percent)
        return c.value;
    int64_t hundredths = (int64_t)c.value * of;
    return (int)((hundredths + (up ? 99 : 0)) / 100);
}

static struct tn_mark place(const struct tn_checker *c, const struct tn_service *s, const char *key)
{
    const struct tn_node *n = tn_check_node(c, "services", s->name, "rollout");
    if (!n)
        return s->mark;
    const struct tn_node *k = tn_node_get(n, key);
    return k ? k->mark : n->key_mark;
}

static void check_counts(struct tn_checker *c, struct tn_service *s)
{
    struct tn_rollout_options *r = &s->rollout;
    if (r->strategy != TN_STRATEGY_ROLLING) {
        r->max_unavailable = r->max_surge = (struct tn_count){0};
        r->delay = 0;
        return;
    }
    int unavailable = tn_count_of(r->max_unavailable, s->replicas, false);
    int surge = tn_count_of(r->max_surge, s->replicas, true);
    const char *key =
        tn_check_node(c, "services", s->name, "rollout", "max_unavailable") ? "max_unavailable" : "max_surge";
    if (surge == 0 && unavailable == 0 && s->replicas > 0)
        tn_problem_at(
            c->l, place(c, s, key), "let one of them be at least 1",
            "services.%s.rollout: max_surge and max_unavailable both come to 0 of %d: nothing could move",
            s->name, s->replicas);
    else if (surge == 0 && unavailable >= s->replicas && s->replicas > 0)
        tn_warning_at(c->l, place(c, s, key), "max_surge: 1 starts the new one first",
                      "services.%s: all %d may be out of service at once: this cannot keep it up", s->name,
                      s->replicas);
    for (size_t i = 0; i < s->n_ports && surge > 0; i++)
        if (s->ports[i].host > 0)
            tn_warning_at(
                c->l, place(c, s, "max_surge"), "max_surge: 0 and max_unavailable: 1, or no fixed host port",
                "services.%s: with host port %d a new instance cannot start beside the old one on its host",
                s->name, s->ports[i].host);
}

static void check_times(struct tn_checker *c, const struct tn_service *s)
{
    const struct tn_rollout_options *r = &s->rollout;
    char a[32], b[32];
    if (r->min_healthy_time >= r->healthy_deadline)
        tn_problem_at(c->l, place(c, s, "min_healthy_time"),
                      "min_healthy_time < healthy_deadline < progress_deadline",
                      "services.%s.rollout: min_healthy_time %s is not below healthy_deadline %s", s->name,
                      tn_format_duration(r->min_healthy_time, a, sizeof(a)),
                      tn_format_duration(r->healthy_deadline, b, sizeof(b)));
    if (r->healthy_deadline >= r->progress_deadline)
        tn_problem_at(c->l, place(c, s, "healthy_deadline"),
                      "min_healthy_time < healthy_deadline < progress_deadline",
                      "services.%s.rollout: healthy_deadline %s is not below progress_deadline %s", s->name,
                      tn_format_duration(r->healthy_deadline, a, sizeof(a)),
                      tn_format_duration(r->progress_deadline, b, sizeof(b)));
}

static void check_gates(struct tn_checker *c, const struct tn_service *s)
{
    const char **names = tn_arena_alloc(c->l->arena, (c->plan->n_gates + 1) * sizeof(char *));
    for (size_t i = 0; i < c->plan->n_gates; i++)
        names[i] = c->plan->gates[i].name;
    for (size_t i = 0; i < s->rollout.gates.n; i++) {
        if (tn_plan_gate(c->plan, s->rollout.gates.v[i]))
            continue;
        struct tn_mark at = tn_check_place(c, "services", s->name, "rollout", "gates",
                                           tn_arena_format(c->l->arena, "%zu", i));
        tn_check_unknown(c, at, tn_arena_format(c->l->arena, "services.%s.rollout.gates", s->name), "gate",
                         s->rollout.gates.v[i], names, c->plan->n_gates);
    }
}

void tn_check_rollout(struct tn_checker *c, struct tn_service *s)
{
    enum tn_strategy_kind k = s->rollout.strategy;
    if (k == TN_STRATEGY_BLUE_GREEN || k == TN_STRATEGY_CANARY) {
        tn_problem_at(c->l, place(c, s, "strategy"), "rolling, recreate and manual work",
                      "services.%s.rollout: strategy '%s' is reserved: this build cannot run it yet", s->name,
                      tn_strategy_name(k));
        return;
    }
    if (k == TN_STRATEGY_RECREATE)
        tn_warning_at(
            c->l, place(c, s, "strategy"), "rolling with max_surge: 1 can",
            "services.%s: recreate stops the old before the new starts: it cannot keep the service up",
            s->name);
    check_counts(c, s);
    check_times(c, s);
    check_gates(c, s);
}

/* ---- order ------------------------------------------------------------------------------------------ */

enum { NEW, OPEN, DONE };

struct order {
    struct tn_checker *c;
    unsigned char *state;
    size_t *stack; /* services that are open, outermost first */
    size_t n_stack, n_out;
};

static void report_cycle(struct order *o, size_t again)
{
    const struct tn_plan *p = o->c->plan;
    tn_autobuf text = TN_BUF_INIT(4096);
    size_t from = 0;
    while (from < o->n_stack && o->stack[from] != again)
        from++;
    for (size_t i = from; i < o->n_stack; i++)
        tn_buf_printf(&text, "%s → ", p->services[o->stack[i]].name);
    tn_buf_puts(&text, p->services[again].name);
    const struct tn_service *last = &p->services[o->stack[o->n_stack - 1]];
    tn_problem_at(o->c->l, tn_check_place(o->c, "services", last->name, "depends_on"), NULL,
                  "depends_on goes in a circle: %s", text.data);
}

/* Depth first with an explicit stack: a chain may be as long as there are services. */
static void visit(struct order *o, size_t root, size_t *next_dep)
{
    struct tn_plan *p = o->c->plan;
    o->stack[o->n_stack++] = root;
    o->state[root] = OPEN;
    while (o->n_stack > 0) {
        size_t i = o->stack[o->n_stack - 1];
        const struct tn_service *s = &p->services[i];
        if (next_dep[i] == s->depends_on.n) {
            o->state[i] = DONE;
            p->priv->ordered[o->n_out++] = &p->services[i];
            o->n_stack--;
            continue;
        }
        const struct tn_service *d = tn_plan_service(p, s->depends_on.v[next_dep[i]++]);
        size_t j = d ? (size_t)(d - p->services) : 0;
        if (!d || o->state[j] == DONE)
            continue;
        if (o->state[j] == OPEN) {
            report_cycle(o, j);
            continue;
        }
        o->state[j] = OPEN;
        o->stack[o->n_stack++] = j;
    }
}

void tn_check_order(struct tn_checker *c)
{
    size_t n = c->plan->n_services;
    struct tn_arena *a = c->l->arena;
    struct order o = {
        .c = c, .state = tn_arena_alloc(a, n + 1), .stack = tn_arena_alloc(a, (n + 1) * sizeof(size_t))};
    size_t *next_dep = tn_arena_alloc(a, (n + 1) * sizeof(size_t));
    c->plan->priv->ordered = tn_arena_alloc(a, (n + 1) * sizeof(struct tn_service *));
    for (size_t i = 0; i < n; i++)
        if (o.state[i] == NEW)
            visit(&o, i, next_dep);
}
