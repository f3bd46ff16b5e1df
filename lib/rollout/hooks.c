/* Hooks cannot be probed by nature, so we make them so: a local or host hook runs under the shim in a folder named by
 * its effect, a container hook is a container named by its effect. What an earlier run began is read, not run again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/fs.h"
#include "turnout/json.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/rollout/placement.h"
#include "lib/rollout/run.h"
#include "lib/transport/hook_shim.h"

enum { LINE_MAX_SHOWN = 400 };

struct hook_run {
    struct tn_session *s;
    const struct tn_goal *goal;
    const struct tn_hook *hook;
    const char *effect, *dir;
    struct tn_run_result result;
};

static const char *when_name(enum tn_hook_when when)
{
    static const char *const names[] = {"pre_deploy", "post_deploy", "on_failure"};
    return names[when];
}

static const struct tn_hook *hooks_of(const struct tn_service *svc, enum tn_hook_when when, size_t *n)
{
    const struct tn_hooks *h = &svc->hooks;
    *n = when == TN_HOOK_PRE ? h->n_pre_deploy : when == TN_HOOK_POST ? h->n_post_deploy : h->n_on_failure;
    return when == TN_HOOK_PRE ? h->pre_deploy : when == TN_HOOK_POST ? h->post_deploy : h->on_failure;
}

static char **hook_env(const struct hook_run *r)
{
    const struct tn_goal *g = r->goal;
    char **env = tn_alloc(10 * sizeof(*env));
    size_t n = 0;
    env[n++] = tn_format("TURNOUT_APP=%s", r->s->plan->name);
    env[n++] = tn_format("TURNOUT_ENVIRONMENT=%s", r->s->plan->environment);
    env[n++] = tn_format("TURNOUT_SERVICE=%s", g->service);
    env[n++] = tn_format("TURNOUT_CLUSTER=%s", g->cluster);
    env[n++] = tn_format("TURNOUT_REVISION=%s", g->revision);
    env[n++] = tn_format("TURNOUT_FROM_REVISION=%s", g->from_revision);
    env[n++] = tn_format("TURNOUT_ROLLOUT=%s", r->s->rollout);
    env[n++] = tn_format("TURNOUT_EFFECT=%s", r->effect);
    return env;
}

static void free_env(char **env)
{
    for (size_t i = 0; env[i]; i++)
        free(env[i]);
    free(env);
}

static int run_here(struct hook_run *r, struct tn_error **err)
{
    char **env = hook_env(r);
    int rc = tn_hook_run(r->s->cancel, r->dir, (const char *const *)r->hook->run.argv,
                         (const char *const *)env, r->s->plan->dir, r->hook->timeout, &r->result, err);
    free_env(env);
    return rc;
}

static int run_in_container(struct hook_run *r, struct tn_error **err)
{
    const struct tn_goal *g = r->goal;
    struct tn_provider *p = tn_session_site(r->s, g->cluster)->provider;
    if (!p->ops->task)
        return tn_error_set(err, TN_EUNSUPPORTED, "a %s cluster runs no container hooks", p->ops->name);
    struct tn_start st;
    tn_goal_start(r->s, g, &st);
    st.name = st.effect = r->effect;
    return p->ops->task(p, r->s->cancel, &st, (const char *const *)r->hook->run.argv, r->hook->timeout,
                        &r->result, err);
}

static char *last_words(const struct tn_run_result *r)
{
    const char *text = r->err_text.len ? r->err_text.data : r->out.data;
    size_t n = text ? strlen(text) : 0;
    while (n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    size_t from = n > LINE_MAX_SHOWN ? n - LINE_MAX_SHOWN : 0;
    return text ? tn_strndup(text + from, n - from) : tn_strdup("");
}

static int do_hook(void *arg, struct tn_error **err)
{
    struct hook_run *r = arg;
    int rc = r->hook->where == TN_HOOK_CONTAINER ? run_in_container(r, err) : run_here(r, err);
    if (rc < 0)
        return rc;
    if (r->result.exit_code == 0 && r->result.signal == 0)
        return TN_OK;
    tn_autofree char *words = last_words(&r->result);
    return r->result.signal ? tn_error_set(err, TN_EFAIL, "'%s' ended by signal %d: %s", r->hook->run.argv[0],
                                           r->result.signal, words)
                            : tn_error_set(err, TN_EFAIL, "'%s' exited with code %d: %s",
                                           r->hook->run.argv[0], r->result.exit_code, words);
}

/* Numbers of hooks are fixed (1000 × when + index), so that a resumed run finds what an earlier one began. */
static int64_t hook_number(enum tn_hook_when when, size_t i)
{
    return 1000000 + 1000 * (int64_t)when + (int64_t)i;
}

/* That a hook was begun stands in the target, too: another machine must not run it again unasked. */
static int claim_hook(struct hook_run *r, const char *name, bool *done, struct tn_error **err)
{
    struct tn_provider *p = tn_session_site(r->s, r->goal->cluster)->provider;
    tn_autofree char *ended = tn_format("%s-done", name);
    struct tn_docs docs = {0};
    json_t *body = json_pack("{s:s,s:o}", "effect", r->effect, "by", tn_json_text(r->s->actor)),
           *existing = NULL;
    int rc = p->ops->doc_create(p, r->s->cancel, 0, name, body, &existing, err);
    json_decref(body);
    json_decref(existing);
    if (rc != TN_EEXISTS)
        return rc;
    tn_error_clear(err);
    rc = p->ops->doc_list(p, r->s->cancel, 0, ended, &docs, err);
    *done = rc >= 0 && docs.n > 0;
    tn_docs_clear(&docs);
    enum tn_hook_state here = TN_HOOK_ABSENT;
    tn_hook_probe(r->dir, &here, NULL);
    if (rc >= 0 && !*done && here == TN_HOOK_ABSENT && r->hook->where != TN_HOOK_CONTAINER)
        rc = tn_error_set(err, TN_EUNKNOWN, "'%s' was begun on another machine", r->hook->run.argv[0]);
    return rc;
}

static void mark_done(struct hook_run *r, const char *name)
{
    struct tn_provider *p = tn_session_site(r->s, r->goal->cluster)->provider;
    tn_autofree char *ended = tn_format("%s-done", name);
    json_t *body = json_object(), *existing = NULL;
    p->ops->doc_create(p, r->s->cancel, 0, ended, body, &existing, NULL);
    json_decref(existing);
    json_decref(body);
}

static int carry_out(struct hook_run *r, enum tn_hook_when when, size_t i, const char *name,
                     struct tn_error **err)
{
    struct tn_where w = {.service = r->goal->service, .cluster = r->goal->cluster};
    tn_session_tell(r->s, TN_EV_HOOK, &w, NULL, "%s runs '%s'", when_name(when), r->hook->run.argv[0]);
    tn_autofree char *placement = tn_format("%s#%s", r->goal->placement, when_name(when));
    struct tn_effect e = {r->s, placement, when_name(when), r->hook->run.argv[0], hook_number(when, i), NULL};
    int rc = tn_effect_run(&e, do_hook, r, err);
    if (rc >= 0) {
        mark_done(r, name);
        tn_session_tell(r->s, TN_EV_HOOK, &w, NULL, "%s done", when_name(when));
    }
    return rc;
}

/* --hook skip is about the one whose end is not known, and about no other. */
static int decide_unknown(struct hook_run *r, const char *name, const char *resume, int rc,
                          struct tn_error **err)
{
    if (rc != TN_EUNKNOWN)
        return rc;
    if (tn_streq(resume, "skip")) {
        tn_error_clear(err);
        mark_done(r, name);
        return TN_OK;
    }
    tn_error_hint(err,
                  "it is not known whether it was done; decide: turnout resume --hook rerun, or --hook skip");
    return rc;
}

static int run_one(struct hook_run *r, enum tn_hook_when when, size_t i, const char *resume,
                   struct tn_error **err)
{
    bool done = false, again = tn_streq(resume, "rerun") || r->hook->rerun_safe;
    tn_autofree char *name = tn_format("hook-%s-%s.%s.%s-%zu", r->s->rollout, r->goal->service,
                                       r->goal->cluster, when_name(when), i);
    int rc = claim_hook(r, name, &done, err);
    if (rc == TN_EUNKNOWN && again) {
        tn_error_clear(err);
        rc = TN_OK;
    }
    enum tn_hook_state state = TN_HOOK_ABSENT;
    tn_hook_probe(r->dir, &state, NULL);
    if (again && state == TN_HOOK_LOST)
        tn_fs_remove_tree(r->dir, NULL);
    if (rc >= 0 && !done)
        rc = carry_out(r, when, i, name, err);
    rc = decide_unknown(r, name, resume, rc, err);
    return rc < 0 ? tn_error_prefix(err, "%s hook of '%s'", when_name(when), r->goal->service) : rc;
}

void tn_forget_hooks(struct tn_session *s)
{
    tn_autofree char *state_dir = tn_path_dir(tn_store_path(s->store));
    tn_autofree char *dir = tn_format("%s/hooks/%s", state_dir, s->rollout);
    tn_fs_remove_tree(dir, NULL);
    tn_autofree char *prefix = tn_format("hook-%s-", s->rollout);
    for (size_t i = 0; i < s->plan->n_clusters; i++) {
        struct tn_provider *p = s->sites[i].provider;
        struct tn_docs docs = {0};
        if (p->ops->doc_list(p, s->cancel, 0, prefix, &docs, NULL) >= 0)
            for (size_t k = 0; k < docs.n; k++)
                p->ops->doc_remove(p, s->cancel, 0, docs.v[k].name, NULL);
        tn_docs_clear(&docs);
    }
}

int tn_run_hooks(struct tn_session *s, const struct tn_goal *g, enum tn_hook_when when, const char *resume,
                 struct tn_error **err)
{
    size_t n = 0;
    const struct tn_hook *hooks = hooks_of(g->plan_service, when, &n);
    bool first_cluster =
        g->plan_service->clusters.n == 0 || strcmp(g->plan_service->clusters.v[0], g->cluster) == 0;
    tn_autofree char *state_dir = tn_path_dir(tn_store_path(s->store));
    int rc = TN_OK;
    for (size_t i = 0; i < n && rc >= 0; i++) {
        if (hooks[i].once && !first_cluster)
            continue;
        tn_autofree char *effect = tn_format("%s/%s/%s-%zu", s->rollout, g->placement, when_name(when), i);
        tn_autofree char *dir =
            tn_format("%s/hooks/%s/%s-%s-%zu", state_dir, s->rollout, g->placement, when_name(when), i);
        struct hook_run r = {.s = s, .goal = g, .hook = &hooks[i], .effect = effect, .dir = dir};
        rc = run_one(&r, when, i, resume, err);
        tn_run_result_clear(&r.result);
    }
    return rc;
}
