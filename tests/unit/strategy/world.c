#include "tests/unit/strategy/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tn_strategy_spec strategy_spec(void)
{
    return SPEC(.max_surge = 1);
}

static enum tn_busy busy_of(char c)
{
    switch (c) {
    case 'A': return TN_BUSY_ADMIT;
    case 'D': return TN_BUSY_DRAIN;
    case 'S': return TN_BUSY_STOP;
    case 'T': return TN_BUSY_SETTLE;
    case 'B': return TN_BUSY_START;
    default: return TN_IDLE;
    }
}

static void set_age(struct tn_instance_obs *o, int64_t age)
{
    if (o->state == TN_I_STARTING)
        o->started = NOW - age;
    else if (o->rotation == TN_OUT && o->was_serving)
        o->out_since = NOW - age;
    else
        o->ready_since = NOW - age;
}

static const char *read_option(struct tn_instance_obs *o, const char *p)
{
    char *end = (char *)(uintptr_t)p + 1;
    if (*p == '!')
        o->settled = false;
    else if (*p == 'd')
        o->drained = true;
    else if (*p == 'c')
        o->counted = true;
    else if (*p == 'w' || *p == 'x')
        o->was_serving = *p == 'w';
    else if (*p == '@')
        o->host = (uint32_t)strtoul(p + 1, &end, 10);
    else if (*p == '~')
        set_age(o, strtoll(p + 1, &end, 10));
    else if (busy_of(*p) != TN_IDLE)
        o->busy = busy_of(*p);
    else
        abort(); /* no such option */
    return end;
}

static const char *read_instance(struct tn_instance_obs *o, int index, const char *p)
{
    const char *const states = "usrf", *const rotations = "-+?";
    *o = (struct tn_instance_obs){
        .target = p[0] == 'N',
        .settled = true,
        .state = (enum tn_instance_state)(strchr(states, p[1]) - states),
        .rotation = (enum tn_rotation)(strchr(rotations, p[2]) - rotations),
        .started = NOW - 1000000 + index,
        .ready_since = NOW - 50000,
        .out_since = NOW - 1000,
    };
    o->was_serving = o->rotation == TN_IN || !o->target;
    if (o->state == TN_I_STARTING && o->rotation != TN_IN)
        o->started = NOW - 1000;
    for (p += 3; *p && *p != ' ';)
        p = read_option(o, p);
    return *p ? p + 1 : p;
}

void strategy_world_init(struct strategy_world *w, const struct tn_strategy_spec *spec, const char *instances)
{
    memset(w, 0, sizeof(*w));
    w->spec = *spec;
    w->memo =
        (struct tn_strategy_memo){.began = NOW - 1000, .last_progress = NOW - 1000, .progress = INT32_MAX};
    int n = 0;
    for (const char *p = instances; *p; n++)
        p = read_instance(&w->v[n], n, p);
    w->in = (struct tn_strategy_input){
        .spec = &w->spec,
        .v = w->v,
        .n = n,
        .n_hosts = 1,
        .host_down = w->host_down,
        .start_hosts = w->start_hosts,
        .gates = TN_GATES_PASS,
        .now = NOW,
    };
}

static void say(struct strategy_world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct strategy_world *w, const char *format, ...)
{
    size_t n = strlen(w->text);
    if (n && n + 1 < sizeof(w->text))
        w->text[n++] = ' ';
    va_list ap;
    va_start(ap, format);
    vsnprintf(w->text + n, sizeof(w->text) - n, format, ap);
    va_end(ap);
}

const char *strategy_decide(struct strategy_world *w)
{
    static const char *const waits[] = {"nothing", "moves", "ready", "min_healthy",
                                        "delay",   "drain", "gates", "unknown"};
    static const char *const failures[] = {"none", "instance", "deadline", "gate"};
    tn_strategy_next(&w->in, &w->memo, &w->d);
    w->text[0] = 0;
    for (int i = 0; i < w->d.n_moves; i++) {
        const struct tn_move *m = &w->d.moves[i];
        say(w, m->kind == TN_MOVE_START ? "%s@%d" : "%s%d", tn_move_name(m->kind),
            m->kind == TN_MOVE_START ? (int)m->host : m->instance);
    }
    if (w->d.verdict == TN_DONE)
        say(w, "done");
    if (w->d.verdict == TN_FAILED && w->d.culprit >= 0)
        say(w, "failed:%s%d", failures[w->d.failure], w->d.culprit);
    else if (w->d.verdict == TN_FAILED)
        say(w, "failed:%s", failures[w->d.failure]);
    if (w->d.wait != TN_WAIT_NOTHING && w->d.wait_until)
        say(w, "wait:%s=%lld", waits[w->d.wait], (long long)(w->d.wait_until - NOW));
    else if (w->d.wait != TN_WAIT_NOTHING)
        say(w, "wait:%s", waits[w->d.wait]);
    return w->text;
}
