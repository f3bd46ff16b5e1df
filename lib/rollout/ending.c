/* How a run ended: exit code, state, and the sentences that people read. */
#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/rollout/run.h"

void tn_outcome_clear(struct tn_outcome *o)
{
    char *texts[] = {o->rollout, o->state, o->cause, o->evidence, o->action, o->now, o->next};
    for (size_t i = 0; i < TN_COUNT(texts); i++)
        free(texts[i]);
    json_decref(o->report);
    memset(o, 0, sizeof(*o));
}

int tn_exit_of(const struct tn_error *err)
{
    static const struct {
        enum tn_code code;
        enum tn_exit exit;
    } table[] = {
        {TN_EUSAGE, TN_EXIT_USAGE}, {TN_EPLAN, TN_EXIT_PLAN},     {TN_EAUTH, TN_EXIT_AUTH},
        {TN_EHELD, TN_EXIT_HELD},   {TN_ESTALE, TN_EXIT_STALE},   {TN_ETIMEOUT, TN_EXIT_TIMEOUT},
        {TN_ELOST, TN_EXIT_HELD},   {TN_ECANCELLED, TN_EXIT_INT},
    };
    for (size_t i = 0; err && i < TN_COUNT(table); i++)
        if (table[i].code == err->code)
            return (int)table[i].exit;
    return TN_EXIT_ERROR;
}

bool tn_state_is_final(const char *state)
{
    static const char *const final[] = {"done", "rolled_back", "failed", "superseded"};
    for (size_t i = 0; i < TN_COUNT(final); i++)
        if (tn_streq(state, final[i]))
            return true;
    return false;
}

int tn_outcome_nothing(struct tn_outcome *out, const char *now)
{
    out->exit_code = TN_EXIT_OK;
    out->state = tn_strdup("done");
    out->now = tn_strdup(now);
    out->report =
        json_pack("{s:i,s:s,s:i,s:b,s:s}", "v", 1, "state", "done", "exit_code", 0, "changed", 0, "now", now);
    return TN_EXIT_OK;
}

static bool had_nothing_before(const struct tn_goals *g)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->v[i].from_spec)
            return false;
    return true;
}

static void say(struct tn_outcome *o, enum tn_exit code, const char *state, char *action, char *now,
                char *next)
{
    o->exit_code = (int)code;
    o->state = tn_strdup(state);
    o->action = action;
    o->now = now;
    o->next = next;
}

static char *what_serves(const struct tn_goals *g, bool old)
{
    tn_autobuf b = TN_BUF_INIT(8192);
    for (size_t i = 0; i < g->n; i++) {
        const struct tn_goal *o = &g->v[i];
        const char *revision = old ? o->from_revision : o->revision;
        int n = old ? o->from_count : o->replicas;
        tn_buf_puts(&b, b.len ? ", " : "");
        if (revision[0])
            tn_buf_printf(&b, "%s %s serves, %d of %d", o->service, revision, n, n);
        else
            tn_buf_printf(&b, "%s is gone", o->service);
    }
    return b.len ? tn_buf_take(&b) : tn_strdup("nothing runs");
}

static void stopped(const struct tn_ran *r, struct tn_outcome *o)
{
    static const char resume[] = "turnout resume";
    if (r->stop == TN_ECANCELLED)
        say(o, TN_EXIT_INT, "interrupted", NULL,
            tn_strdup("stopped at a safe point; it can be finished or undone"),
            tn_strdup("turnout resume   (or: turnout rollback)"));
    else if (r->stop == TN_ETIMEOUT)
        say(o, TN_EXIT_TIMEOUT, "timeout", NULL, tn_strdup("stopped before it was finished"),
            tn_strdup(resume));
    else if (r->stop == TN_ELOST)
        say(o, TN_EXIT_HELD, "lost", tn_strdup("nothing more was changed after the lease was lost"),
            tn_strdup("another run may be at work"), tn_strdup("turnout status"));
    else if (!r->changed)
        say(o, r->stop == TN_EAUTH ? TN_EXIT_AUTH : TN_EXIT_ERROR, "failed", NULL,
            tn_strdup("nothing was changed"), NULL);
    else
        say(o, r->stop == TN_EAUTH ? TN_EXIT_AUTH : TN_EXIT_MIXED, "mixed", tn_strdup("stopped where it was"),
            tn_strdup("some instances are new, some old"),
            tn_strdup("turnout resume   (or: turnout rollback)"));
}

static void went_back(const struct tn_goals *g, const struct tn_ran *ahead, const struct tn_ran *back,
                      struct tn_outcome *o)
{
    bool asked = tn_streq(ahead->cause, "asked for");
    if (!back->done) {
        if (back->stop == TN_ECANCELLED || back->stop == TN_ETIMEOUT || back->stop == TN_ELOST) {
            stopped(back, o);
            return;
        }
        say(o, TN_EXIT_MIXED, "mixed",
            tn_format("the rollback failed, too: %s", back->cause ? back->cause : "?"),
            tn_strdup("some instances are new, some old; someone must look"),
            tn_strdup("turnout status   (then: turnout resume)"));
    } else if (asked) {
        say(o, TN_EXIT_OK, "rolled_back", NULL, what_serves(g, true), NULL);
    } else if (had_nothing_before(g)) {
        say(o, TN_EXIT_ERROR, "failed", tn_strdup("the first deployment was taken away again"),
            tn_strdup("nothing runs, as before"), tn_strdup("turnout diff"));
    } else {
        say(o, TN_EXIT_ROLLED_BACK, "rolled_back", tn_strdup("rolled back"), what_serves(g, true),
            tn_strdup("turnout diff"));
    }
}

/* What was promised not to happen is said when it does. */
static char *with_downtime(char *now, int64_t downtime)
{
    char text[32];
    tn_autofree char *before = now;
    return downtime > 0 ? tn_format("%s; downtime %s", before, tn_format_age(downtime, text, sizeof(text)))
                        : TN_TAKE(before);
}

void tn_outcome_from(struct tn_session *s, const struct tn_goals *goals, const struct tn_ran *ahead,
                     const struct tn_ran *back, struct tn_outcome *out)
{
    if (!ahead->done) {
        out->cause = ahead->who && ahead->cause ? tn_format("%s: %s", ahead->who, ahead->cause)
                                                : tn_strdup(ahead->cause);
        out->evidence = tn_strdup(ahead->evidence);
    }
    if (ahead->done)
        say(out, TN_EXIT_OK, "done", NULL, with_downtime(what_serves(goals, false), ahead->downtime), NULL);
    else if (back)
        went_back(goals, ahead, back, out);
    else if (ahead->failed && ahead->on_failure == TN_ON_FAILURE_PAUSE)
        say(out, TN_EXIT_PAUSED, "paused", tn_strdup("paused, as on_failure asks"),
            tn_strdup("the old revision still serves beside what is new"),
            tn_format("turnout resume %s   (or: turnout rollback)", s->rollout));
    else if (ahead->failed)
        say(out, ahead->changed ? TN_EXIT_MIXED : TN_EXIT_ERROR, ahead->changed ? "mixed" : "failed",
            tn_strdup("stopped, as on_failure asks"),
            tn_strdup(ahead->changed ? "some instances are new, some old" : "nothing was changed"),
            tn_strdup("turnout resume   (or: turnout rollback)"));
    else
        stopped(ahead, out);
    if (tn_streq(ahead->cause, "asked for")) {
        free(out->cause);
        out->cause = NULL;
    }
}
