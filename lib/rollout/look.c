/* The verbs that only look, or act on one instance by hand. */
#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/json.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/rollout/changes.h"
#include "lib/rollout/edge.h"
#include "lib/rollout/lease.h"
#include "lib/rollout/records.h"

static const char *state_word(const struct tn_instance *i, enum tn_tri rotation, bool has_balancer)
{
    if (i->state == TN_RUN_UNKNOWN)
        return "unknown";
    if (i->state == TN_RUN_EXITED)
        return "exited";
    if (i->state == TN_RUN_CREATED)
        return "created";
    if (i->health == TN_NATIVE_UNHEALTHY)
        return "unhealthy";
    if (!has_balancer)
        return "running";
    return rotation == TN_YES ? "serving" : rotation == TN_NO ? "out of rotation" : "rotation unknown";
}

static json_t *instance_json(const struct tn_site *site, const struct tn_instance *i, enum tn_tri rotation,
                             bool has_balancer)
{
    json_t *ports = json_object();
    for (size_t k = 0; k < i->n_ports; k++)
        json_object_set_new(ports, i->ports[k].name, json_integer(i->ports[k].host_port));
    json_t *j = json_pack("{s:s,s:s,s:I,s:i,s:o}", "host", site->provider->host_names[i->host], "state",
                          state_word(i, rotation, has_balancer), "started_at", (json_int_t)i->started_at,
                          "restarts", i->restarts, "ports", ports);
    const struct {
        const char *key, *text;
    } texts[] = {{"name", i->name},
                 {"revision", i->revision},
                 {"rollout", i->rollout},
                 {"detail", i->detail},
                 {"address", i->address}};
    for (size_t k = 0; k < TN_COUNT(texts); k++)
        if (texts[k].text)
            json_object_set_new(j, texts[k].key, tn_json_text(texts[k].text));
    return j;
}

static json_t *placement_json(struct tn_session *s, const char *service, size_t c,
                              const struct tn_observation *o)
{
    const struct tn_service *svc = tn_plan_service(s->plan, service);
    struct tn_exposures x;
    struct tn_edge_views views = {0};
    tn_exposures_init(&x, s, svc, service, s->plan->clusters[c].name);
    if (x.n)
        tn_exposures_observe(s, &x, &views);
    json_t *list = json_array();
    int serving = 0;
    for (size_t i = 0; i < o->n; i++) {
        if (!tn_streq(o->v[i].service, service))
            continue;
        enum tn_tri r = x.n ? tn_exposures_rotation(&x, &views, o->v[i].name, TN_NO) : TN_YES;
        serving += r == TN_YES && o->v[i].state == TN_RUN_RUNNING;
        json_array_append_new(list, instance_json(&s->sites[c], &o->v[i], r, x.n > 0));
    }
    json_t *j = json_pack("{s:s,s:s,s:i,s:i,s:b,s:o,s:s*}", "service", service, "cluster",
                          s->plan->clusters[c].name, "wanted", svc ? svc->replicas : 0, "serving", serving,
                          "in_plan", svc != NULL, "instances", list, "error", views.error);
    tn_edge_views_clear(&views);
    tn_exposures_clear(&x);
    return j;
}

static bool has_placement(const json_t *list, const char *service, const char *cluster)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        if (tn_streq(json_string_value(json_object_get(one, "service")), service) &&
            tn_streq(json_string_value(json_object_get(one, "cluster")), cluster))
            return true;
    }
    return false;
}

static void add_placements(struct tn_session *s, const struct tn_selection *sel,
                           const struct tn_observation *worlds, json_t *list)
{
    for (size_t i = 0; i < s->plan->n_services; i++) {
        const struct tn_service *svc = &s->plan->services[i];
        for (size_t k = 0; k < svc->clusters.n; k++) {
            size_t c = (size_t)(tn_session_site(s, svc->clusters.v[k]) - s->sites);
            if (tn_selected(sel, svc->name, svc->clusters.v[k]))
                json_array_append_new(list, placement_json(s, svc->name, c, &worlds[c]));
        }
    }
    for (size_t c = 0; c < s->plan->n_clusters; c++)
        for (size_t i = 0; i < worlds[c].n; i++)
            if (!has_placement(list, worlds[c].v[i].service, s->plan->clusters[c].name) &&
                tn_selected(sel, worlds[c].v[i].service, s->plan->clusters[c].name))
                json_array_append_new(list, placement_json(s, worlds[c].v[i].service, c, &worlds[c]));
}

json_t *tn_session_status(struct tn_session *s, const struct tn_selection *sel, struct tn_error **err)
{
    struct tn_observation *worlds = tn_alloc((s->plan->n_clusters + 1) * sizeof(*worlds));
    json_t *out = NULL, *hosts = json_array();
    int rc = TN_OK;
    for (size_t c = 0; c < s->plan->n_clusters && rc >= 0; c++) {
        rc = tn_site_observe(s, &s->sites[c], &worlds[c], err);
        for (size_t h = 0; rc >= 0 && h < worlds[c].n_hosts; h++)
            if (!worlds[c].hosts[h].answered)
                json_array_append_new(hosts, json_pack("{s:s,s:s,s:s?}", "cluster", s->plan->clusters[c].name,
                                                       "host", s->sites[c].provider->host_names[h], "error",
                                                       worlds[c].hosts[h].error));
    }
    if (rc >= 0) {
        struct tn_error *quiet = NULL;
        json_t *lease = tn_lease_look(s, &quiet), *list = json_array();
        tn_error_free(quiet);
        add_placements(s, sel, worlds, list);
        out = json_pack("{s:i,s:s,s:s,s:o,s:O,s:o?}", "v", 1, "app", s->plan->name, "environment",
                        s->plan->environment, "placements", list, "unreachable", hosts, "lease", lease);
    }
    json_decref(hosts);
    tn_worlds_clear(s, worlds);
    return out;
}

json_t *tn_session_lease(struct tn_session *s, struct tn_error **err)
{
    return tn_lease_look(s, err);
}

int tn_session_lease_release(struct tn_session *s, const char *id, struct tn_error **err)
{
    return tn_lease_break(s, id, err);
}

/* ---- prune ---- */

static int prune_records(struct tn_session *s, const struct tn_service *svc, const char *cluster,
                         bool dry_run, json_t *gone, struct tn_error **err)
{
    struct tn_kepts kept = {0};
    int rc = tn_records_list(s, svc->name, cluster, &kept, err);
    int keep = svc->rollout.keep < 1 ? 1 : svc->rollout.keep;
    for (size_t i = (size_t)keep; rc >= 0 && i < kept.n; i++)
        json_array_append_new(gone, json_pack("{s:s,s:s,s:s,s:s}", "kind", "record", "service", svc->name,
                                              "cluster", cluster, "revision", kept.v[i].revision));
    if (rc >= 0 && !dry_run && kept.n > (size_t)keep)
        rc = tn_records_add(s, svc->name, cluster, kept.v[0].revision, kept.v[0].spec, kept.v[0].replicas,
                            keep, err);
    tn_kepts_clear(&kept);
    return rc;
}

/* Created and never started, or ended, and of no running rollout: what an interrupted run may have left. */
static int prune_instances(struct tn_session *s, bool dry_run, json_t *gone, struct tn_error **err)
{
    struct tn_observation *worlds = tn_alloc((s->plan->n_clusters + 1) * sizeof(*worlds));
    int rc = tn_observe_all(s, worlds, err);
    for (size_t c = 0; rc >= 0 && c < s->plan->n_clusters; c++) {
        struct tn_provider *p = s->sites[c].provider;
        for (size_t i = 0; rc >= 0 && i < worlds[c].n; i++) {
            const struct tn_instance *inst = &worlds[c].v[i];
            if (inst->state != TN_RUN_EXITED && inst->state != TN_RUN_CREATED)
                continue;
            json_array_append_new(gone,
                                  json_pack("{s:s,s:s,s:s,s:s}", "kind", "instance", "service", inst->service,
                                            "cluster", s->plan->clusters[c].name, "name", inst->name));
            if (!dry_run)
                rc = p->ops->stop(p, s->cancel, inst, "SIGTERM", 1000, err);
        }
    }
    tn_worlds_clear(s, worlds);
    return rc;
}

json_t *tn_session_prune(struct tn_session *s, bool dry_run, struct tn_error **err)
{
    json_t *look = tn_lease_look(s, err), *gone = json_array(), *prior = NULL;
    if (!look)
        return NULL;
    bool busy =
        json_is_true(json_object_get(look, "held")) || json_is_object(json_object_get(look, "unfinished"));
    json_decref(look);
    int rc = TN_OK;
    if (busy) {
        rc = tn_error_set(err, TN_EHELD, "a rollout is running or unfinished: nothing is pruned");
        tn_error_hint(err, "turnout status");
    }
    json_t *goal = json_null();
    if (rc >= 0 && !dry_run) {
        s->lease = tn_lease_take(s, "prune", goal, 0, &prior, err);
        rc = s->lease ? TN_OK : TN_EHELD;
    }
    if (rc >= 0)
        rc = prune_instances(s, dry_run, gone, err);
    for (size_t i = 0; rc >= 0 && i < s->plan->n_services; i++)
        for (size_t k = 0; rc >= 0 && k < s->plan->services[i].clusters.n; k++)
            rc = prune_records(s, &s->plan->services[i], s->plan->services[i].clusters.v[k], dry_run, gone,
                               err);
    if (s->lease)
        tn_lease_end(TN_TAKE(s->lease), "done", NULL);
    json_decref(prior);
    json_t *out = rc >= 0 ? json_pack("{s:i,s:b,s:O}", "v", 1, "dry_run", dry_run, "removed", gone) : NULL;
    json_decref(gone);
    return out;
}

/* ---- doctor ---- */

/* Puts the name in front of each line of a part, and remembers a bad one. */
struct checkup {
    const char *what, *name;
    void (*report)(void *arg, bool ok, const char *text);
    void *arg;
    bool bad;
};

static void note_check(void *arg, bool ok, const char *text)
{
    struct checkup *c = arg;
    tn_autofree char *line = tn_format("%s '%s': %s", c->what, c->name, text);
    c->bad = c->bad || !ok;
    c->report(c->arg, ok, line);
}

static void check_site(struct tn_session *s, struct tn_site *site, struct checkup *c)
{
    struct tn_provider *p = site->provider;
    struct tn_observation o = {0};
    struct tn_error *e = NULL;
    int rc = p->ops->doctor ? p->ops->doctor(p, s->cancel, note_check, c, &e) : TN_OK;
    if (rc >= 0)
        rc = tn_site_observe(s, site, &o, &e);
    for (size_t h = 0; rc >= 0 && h < o.n_hosts; h++)
        if (!o.hosts[h].answered)
            rc = tn_error_set(&e, TN_EUNREACHABLE, "host '%s' does not answer: %s", p->host_names[h],
                              o.hosts[h].error);
    note_check(c, rc >= 0, rc < 0 ? tn_error_message(e) : "answers");
    tn_error_free(e);
    tn_observation_clear(&o);
}

static void check_edge(struct tn_session *s, struct tn_edge *edge, struct checkup *c)
{
    struct tn_error *e = NULL;
    int rc = tn_edge_open(s, edge, &e);
    if (rc >= 0 && edge->driver->ops->doctor)
        rc = edge->driver->ops->doctor(edge->driver, s->cancel, note_check, c, &e);
    if (rc < 0)
        note_check(c, false, tn_error_message(e));
    tn_error_free(e);
}

int tn_session_doctor(struct tn_session *s, void (*report)(void *arg, bool ok, const char *text), void *arg,
                      struct tn_error **err)
{
    struct checkup c = {.report = report, .arg = arg};
    for (size_t i = 0; i < s->plan->n_clusters; i++) {
        c.what = "cluster";
        c.name = s->plan->clusters[i].name;
        check_site(s, &s->sites[i], &c);
    }
    for (size_t i = 0; i < s->plan->n_balancers; i++) {
        c.what = "balancer";
        c.name = s->plan->balancers[i].name;
        check_edge(s, &s->edges[i], &c);
    }
    return c.bad ? tn_error_set(err, TN_EFAIL, "something is not right, see above") : TN_OK;
}

/* ---- logs, exec ---- */

struct log_job {
    struct tn_session *s;
    struct tn_site *site;
    const struct tn_instance *i;
    int tail;
    bool follow;
    void (*line)(void *arg, const char *instance, const char *text, size_t n);
    void *arg;
    pthread_mutex_t *lock;
    struct tn_buf part;
    int rc;
    struct tn_error *err;
};

/* Whole lines only, so that instances do not mix within one. */
static bool take_log(void *arg, const char *data, size_t n)
{
    struct log_job *j = arg;
    for (size_t i = 0; i < n; i++) {
        if (data[i] != '\n' && j->part.len < j->part.max) {
            tn_buf_putc(&j->part, data[i]);
            continue;
        }
        pthread_mutex_lock(j->lock);
        j->line(j->arg, j->i->name, j->part.data ? j->part.data : "", j->part.len);
        pthread_mutex_unlock(j->lock);
        tn_buf_clear(&j->part);
        if (data[i] != '\n')
            tn_buf_putc(&j->part, data[i]);
    }
    return true;
}

static void *follow_one(void *arg)
{
    struct log_job *j = arg;
    struct tn_provider *p = j->site->provider;
    j->rc = p->ops->logs(p, j->s->cancel, j->i, j->tail, j->follow, take_log, j, &j->err);
    if (j->part.len)
        take_log(j, "\n", 1);
    return NULL;
}

static int run_logs(struct log_job *jobs, size_t n, bool follow, struct tn_error **err)
{
    pthread_t *threads = tn_alloc((n + 1) * sizeof(*threads));
    int rc = TN_OK;
    for (size_t i = 0; i < n; i++)
        if (!follow || pthread_create(&threads[i], NULL, follow_one, &jobs[i]) != 0)
            follow_one(&jobs[i]);
    for (size_t i = 0; i < n; i++) {
        if (threads[i])
            pthread_join(threads[i], NULL);
        if (rc >= 0 && jobs[i].rc < 0 && jobs[i].rc != TN_ECANCELLED)
            rc = tn_error_move(err, &jobs[i].err);
        tn_error_free(jobs[i].err);
        tn_buf_clear(&jobs[i].part);
    }
    free(threads);
    return rc;
}

int tn_session_logs(struct tn_session *s, const struct tn_selection *sel, const char *instance, int tail,
                    bool follow, void (*line)(void *arg, const char *instance, const char *text, size_t n),
                    void *arg, struct tn_error **err)
{
    struct tn_observation *worlds = tn_alloc((s->plan->n_clusters + 1) * sizeof(*worlds));
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct log_job *jobs = NULL;
    size_t n = 0, cap = 0;
    int rc = TN_OK;
    for (size_t c = 0; c < s->plan->n_clusters && rc >= 0; c++) {
        rc = tn_site_observe(s, &s->sites[c], &worlds[c], err);
        for (size_t i = 0; rc >= 0 && i < worlds[c].n; i++) {
            const struct tn_instance *inst = &worlds[c].v[i];
            if (!tn_selected(sel, inst->service, s->plan->clusters[c].name) ||
                (instance && strcmp(inst->name, instance) != 0))
                continue;
            TN_GROW(jobs, n, cap);
            jobs[n++] = (struct log_job){.s = s,
                                         .site = &s->sites[c],
                                         .i = inst,
                                         .tail = tail,
                                         .follow = follow,
                                         .line = line,
                                         .arg = arg,
                                         .lock = &lock,
                                         .part = TN_BUF_INIT(64 * 1024)};
        }
    }
    if (rc >= 0 && n == 0)
        rc = tn_error_set(err, TN_ENOTFOUND, "no instance of that name or service runs");
    if (rc >= 0)
        rc = run_logs(jobs, n, follow, err);
    free(jobs);
    tn_worlds_clear(s, worlds);
    return rc;
}

/* Of the running instances that fit, the one that was started last. */
static void find_newest(struct tn_session *s, size_t c, const struct tn_observation *o,
                        const struct tn_selection *sel, const char *instance, const struct tn_instance **best,
                        struct tn_site **site)
{
    for (size_t i = 0; i < o->n; i++) {
        const struct tn_instance *inst = &o->v[i];
        bool fits = inst->state == TN_RUN_RUNNING &&
                    tn_selected(sel, inst->service, s->plan->clusters[c].name) &&
                    (!instance || strcmp(inst->name, instance) == 0);
        if (fits && (!*best || inst->started_at > (*best)->started_at)) {
            *best = inst;
            *site = &s->sites[c];
        }
    }
}

int tn_session_exec(struct tn_session *s, const struct tn_selection *sel, const char *instance,
                    const char *const *argv, char **out_text, char **err_text, struct tn_error **err)
{
    enum { EXEC_LIMIT = 24 * 3600 * 1000 };
    struct tn_observation *worlds = tn_alloc((s->plan->n_clusters + 1) * sizeof(*worlds));
    const struct tn_instance *best = NULL;
    struct tn_site *site = NULL;
    int rc = TN_OK;
    for (size_t c = 0; c < s->plan->n_clusters && rc >= 0; c++) {
        rc = tn_site_observe(s, &s->sites[c], &worlds[c], err);
        if (rc >= 0)
            find_newest(s, c, &worlds[c], sel, instance, &best, &site);
    }
    struct tn_run_result r = {0};
    if (rc >= 0 && best && site)
        rc = site->provider->ops->exec(site->provider, s->cancel, best, argv, EXEC_LIMIT, &r, err);
    else if (rc >= 0)
        rc = tn_error_set(err, TN_ENOTFOUND, "no running instance of that name or service");
    if (rc >= 0) {
        *out_text = tn_buf_take(&r.out);
        *err_text = tn_buf_take(&r.err_text);
        rc = r.exit_code >= 0 ? r.exit_code : 128 + r.signal;
    }
    tn_run_result_clear(&r);
    tn_worlds_clear(s, worlds);
    return rc;
}
