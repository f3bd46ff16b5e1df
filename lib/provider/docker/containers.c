#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/text.h"
#include "lib/provider/docker/docker.h"
#include "lib/provider/docker/request.h"

enum {
    START_TIMEOUT_MS = 120000,
    STOP_EXTRA_MS = 15000,
    REMOVE_TIMEOUT_MS = 60000,
    REMOVE_POLL_MS = 50,
    API_STOP_SIGNAL = 42, /* ?signal= of stop */
};

bool tn_docker_is_port_clash(const char *message)
{
    return strstr(message, "port is already allocated") != NULL ||
           strstr(message, "address already in use") != NULL;
}

/* ---- start ------------------------------------------------------------------------------------------ */

/* The name is taken: by this very effect (an earlier try), by something else of ours, or by a stranger. */
static int look_at_holder(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *name,
                          const char *effect, char **id, struct tn_error **err)
{
    json_t *owner = NULL;
    struct tn_inspect in;
    int code = tn_engine_inspect(d, host, c, name, &owner, &in, err);
    if (code != TN_OK)
        return code;
    const char *theirs = tn_docker_text(in.labels, TN_LABEL_EFFECT);
    const char *app = tn_docker_text(in.labels, TN_LABEL_APP);
    if (theirs != NULL && tn_streq(theirs, effect) && tn_streq(app, d->base.plan->name))
        *id = tn_strdup(in.id);
    else if (tn_streq(app, d->base.plan->name))
        code = tn_error_set(err, TN_EEXISTS, "container '%s': exists already, made by effect '%s'", name,
                            theirs != NULL ? theirs : "?");
    else
        code = tn_error_set(err, TN_ESTRANGER,
                            "container '%s': the name is taken by a container that is not ours (id %.12s)",
                            name, in.id);
    json_decref(owner);
    return code;
}

int tn_docker_create(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *name,
                     const char *effect, const json_t *body, char **id, bool *taken_over,
                     struct tn_error **err)
{
    tn_autofree char *escaped = tn_docker_escape(name);
    tn_autofree char *path = tn_format("/containers/create?name=%s", escaped);
    tn_autofree char *what = tn_format("container '%s'", name);
    struct tn_call call = {.method = "POST", .path = path, .json = body};
    struct tn_http_answer a;
    int code = tn_engine_call(d, host, c, &call, &a, err);
    *taken_over = false;
    if (code != TN_OK)
        return code;
    if (a.status == 409) {
        *taken_over = true;
        code = look_at_holder(d, host, c, name, effect, id, err);
    } else if (a.status >= 400) {
        code = tn_engine_refused(&a, what, err);
    } else {
        json_t *o = tn_docker_json(a.body.data, a.body.len, err);
        const char *text = tn_docker_text(o, "Id");
        *id = tn_strdup(text);
        if (text == NULL)
            code = tn_error_set(err, TN_EPROTO, "%s: created, but the engine gave no id", what);
        json_decref(o);
    }
    tn_http_answer_clear(&a);
    return code;
}

int tn_docker_start_id(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *name,
                       const char *id, struct tn_error **err)
{
    tn_autofree char *path = tn_format("/containers/%s/start", id);
    tn_autofree char *what = tn_format("container '%s'", name);
    struct tn_call call = {.method = "POST", .path = path, .timeout_ms = START_TIMEOUT_MS};
    struct tn_http_answer a;
    int code = tn_engine_call(d, host, c, &call, &a, err);
    if (code == TN_OK && a.status >= 400) {
        tn_autofree char *words = tn_docker_message(a.body.data, a.body.len);
        code = tn_docker_is_port_clash(words) ? tn_error_set(err, TN_EBUSY, "%s: %s", what, words)
                                              : tn_engine_refused(&a, what, err);
    }
    tn_http_answer_clear(&a);
    return code;
}

/* The engine said no, so nothing may be left; when it said nothing, what is there must be probed, not removed. */
static bool was_refused(int code)
{
    return code != TN_EUNKNOWN && code != TN_ETIMEOUT && code != TN_ECANCELLED && code != TN_EUNREACHABLE;
}

int tn_docker_start(struct tn_provider *p, struct tn_cancel *c, const struct tn_start *s,
                    struct tn_error **err)
{
    struct tn_docker *d = tn_docker_of(p);
    int code = tn_docker_ensure(d, s->host, c, s, err);
    if (code != TN_OK)
        return code;
    json_t *body = tn_docker_container_body(s, tn_docker_is_exposed(d, s->spec->name));
    tn_autofree char *id = NULL;
    bool taken_over;
    code = tn_docker_create(d, s->host, c, s->name, s->effect, body, &id, &taken_over, err);
    json_decref(body);
    if (code != TN_OK)
        return code;
    tn_docker_know_policy(d, id, "no");
    code = tn_docker_join_further(d, s->host, c, id, s->spec, false, err);
    if (code == TN_OK)
        code = tn_docker_start_id(d, s->host, c, s->name, id, err);
    if (code == TN_EUNREACHABLE) /* never sent, but there is something now */
        return tn_error_set(err, TN_EUNKNOWN, "container '%s' was created, and may not run: %s", s->name,
                            tn_error_message(err ? *err : NULL));
    if (code == TN_OK || !was_refused(code))
        return code;
    struct tn_error *also = NULL;
    if (tn_docker_remove_id(d, s->host, c, id, true, &also) != TN_OK)
        tn_error_hint(err, "%s is left behind: %s", s->name, tn_error_message(also));
    tn_error_free(also);
    tn_docker_forget_policy(d, id);
    return code;
}

/* ---- restart policy ---------------------------------------------------------------------------------- */

static int update_policy(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id,
                         const char *name, const char *policy, struct tn_error **err)
{
    tn_autofree char *path = tn_format("/containers/%s/update", id);
    tn_autofree char *what = tn_format("restart policy of container '%s'", name);
    json_t *body = json_pack("{s:{s:s}}", "RestartPolicy", "Name", policy);
    struct tn_call call = {.method = "POST", .path = path, .json = body};
    int code = tn_engine_json(d, host, c, &call, what, NULL, err);
    json_decref(body);
    if (code == TN_OK)
        tn_docker_know_policy(d, id, policy);
    return code;
}

/* The spec that the instance was made from: as observed, else from its label. NULL when it has none that reads. */
static int spec_of(struct tn_docker *d, struct tn_cancel *c, const struct tn_instance *i, json_t **out,
                   struct tn_error **err)
{
    json_t *owner = NULL;
    struct tn_inspect in = {0};
    int code = i->spec != NULL ? TN_OK : tn_engine_inspect(d, i->host, c, i->id, &owner, &in, err);
    const char *text = i->spec != NULL ? i->spec : tn_docker_text(in.labels, TN_LABEL_SPEC);
    *out = code == TN_OK && text != NULL ? json_loads(text, 0, NULL) : NULL;
    json_decref(owner);
    return code;
}

static bool has_aliases(const struct tn_service *s)
{
    for (size_t k = 0; k < s->n_networks; k++)
        if (s->networks[k].aliases.n > 0)
            return true;
    return false;
}

/* Aliases come with the policy: both say that the instance is confirmed. */
static int join_aliases(struct tn_docker *d, struct tn_cancel *c, const struct tn_instance *i,
                        struct tn_error **err)
{
    json_t *spec = NULL;
    int code = spec_of(d, c, i, &spec, err);
    if (code != TN_OK || json_object_size(json_object_get(spec, "networks")) == 0) {
        json_decref(spec);
        return code;
    }
    struct tn_error *why = NULL;
    struct tn_service *service = tn_service_from_spec(i->service, spec, &why);
    json_decref(spec);
    if (service == NULL) {
        tn_error_prefix(&why, "container '%s'", i->name);
        return tn_error_move(err, &why);
    }
    code = has_aliases(service) ? tn_docker_join_aliases(d, i, c, service, err) : TN_OK;
    tn_service_free_spec(service);
    return code;
}

int tn_docker_set_restart(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                          const char *policy, struct tn_error **err)
{
    struct tn_docker *d = tn_docker_of(p);
    if (strcmp(policy, "no") != 0) {
        int code = join_aliases(d, c, i, err);
        if (code != TN_OK)
            return code;
    }
    if (tn_streq(i->restart_policy, policy))
        return TN_OK;
    return update_policy(d, i->host, c, i->id, i->name, policy, err);
}

/* ---- stop -------------------------------------------------------------------------------------------- */

static bool is_absent(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id)
{
    json_t *owner = NULL;
    struct tn_inspect in;
    int code = tn_engine_inspect(d, host, c, id, &owner, &in, NULL);
    json_decref(owner);
    return code == TN_ENOTFOUND;
}

int tn_docker_remove_id(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id, bool force,
                        struct tn_error **err)
{
    tn_autofree char *path = tn_format("/containers/%s?v=1&force=%d", id, force);
    tn_autofree char *what = tn_format("removal of container '%s'", id);
    struct tn_call call = {.method = "DELETE", .path = path};
    struct tn_http_answer a;
    int code = tn_engine_call(d, host, c, &call, &a, err);
    if (code != TN_OK)
        return code;
    tn_autofree char *words = a.status >= 400 ? tn_docker_message(a.body.data, a.body.len) : NULL;
    bool under_way = a.status == 409 && strstr(words, "already in progress") != NULL;
    if (a.status >= 400 && a.status != 404 && !under_way)
        code = tn_engine_refused(&a, what, err);
    tn_http_answer_clear(&a);
    int64_t deadline = tn_mono_ms() + REMOVE_TIMEOUT_MS;
    while (code == TN_OK && under_way && !is_absent(d, host, c, id)) {
        if (tn_mono_ms() > deadline)
            code = tn_error_set(err, TN_ETIMEOUT, "%s: still in progress after %d s", what,
                                REMOVE_TIMEOUT_MS / 1000);
        else
            code = tn_engine_pause(c, what, REMOVE_POLL_MS, err);
    }
    return code;
}

static int stop_id(struct tn_docker *d, const struct tn_instance *i, struct tn_cancel *c, const char *signal,
                   int64_t grace_ms, struct tn_error **err)
{
    int api = tn_engine_api(d, i->host, c, err);
    if (api < 0)
        return api;
    tn_autofree char *escaped = signal != NULL ? tn_docker_escape(signal) : NULL;
    /* Older engines take the signal from the container, which was made with it. */
    tn_autofree char *by =
        escaped != NULL && api >= API_STOP_SIGNAL ? tn_format("&signal=%s", escaped) : NULL;
    tn_autofree char *path = tn_format("/containers/%s/stop?t=%lld%s", i->id,
                                       (long long)(grace_ms + 999) / 1000, by != NULL ? by : "");
    tn_autofree char *what = tn_format("stop of container '%s'", i->name);
    struct tn_call call = {.method = "POST", .path = path, .timeout_ms = grace_ms + STOP_EXTRA_MS};
    int code = tn_engine_json(d, i->host, c, &call, what, NULL, err);
    return code == TN_ENOTFOUND ? TN_OK : code;
}

/* The application and the environment are the plan's; another environment's container is a stranger's. */
static int check_is_ours(struct tn_docker *d, const struct tn_instance *i, const struct tn_inspect *in,
                         struct tn_error **err)
{
    const struct tn_plan *plan = d->base.plan;
    const char *app = tn_docker_text(in->labels, TN_LABEL_APP);
    const char *environment = tn_docker_text(in->labels, TN_LABEL_ENV);
    const char *mine = plan->environment != NULL ? plan->environment : "";
    if (tn_streq(app, plan->name) && tn_streq(environment != NULL ? environment : "", mine))
        return TN_OK;
    return tn_error_set(err, TN_ESTRANGER,
                        "container '%s' (id %.12s): does not carry our labels, not removed", i->name, in->id);
}

int tn_docker_stop(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                   const char *signal, int64_t grace_ms, struct tn_error **err)
{
    struct tn_docker *d = tn_docker_of(p);
    json_t *owner = NULL;
    struct tn_inspect in;
    struct tn_error *why = NULL;
    int code = tn_engine_inspect(d, i->host, c, i->id, &owner, &in, &why);
    if (code == TN_ENOTFOUND) {
        tn_error_free(why);
        return TN_OK;
    }
    if (code != TN_OK)
        return tn_error_move(err, &why);
    code = check_is_ours(d, i, &in, err);
    bool restarts =
        in.restart_policy != NULL && *in.restart_policy != '\0' && strcmp(in.restart_policy, "no") != 0;
    bool alive = in.running || tn_streq(in.status, "restarting") || tn_streq(in.status, "paused");
    json_decref(owner);
    /* An engine that restarts in the middle must not bring it back. */
    if (code == TN_OK && restarts)
        code = update_policy(d, i->host, c, i->id, i->name, "no", err);
    if (code == TN_OK && alive)
        code = stop_id(d, i, c, signal, grace_ms, err);
    if (code == TN_OK)
        code = tn_docker_remove_id(d, i->host, c, i->id, false, err);
    if (code == TN_OK)
        tn_docker_forget_policy(d, i->id);
    return code;
}
