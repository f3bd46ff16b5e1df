/* A one-off run. The container's name is its effect, so a second call for the same effect finds the first one's
 * container and reads its result: running a hook can be probed like everything else. The container goes only after
 * the result was read, or when its time is over.
 */
#include <stdlib.h>

#include "turnout/clock.h"
#include "turnout/text.h"
#include "lib/provider/docker/docker.h"
#include "lib/provider/docker/request.h"

enum { KILL_GRACE_S = 5 };

static int await_end(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id, const char *what,
                     int64_t timeout_ms, struct tn_error **err)
{
    tn_autofree char *path = tn_format("/containers/%s/wait?condition=not-running", id);
    struct tn_call call = {.method = "POST", .path = path, .timeout_ms = timeout_ms > 0 ? timeout_ms : -1};
    json_t *answer = NULL;
    int code = tn_engine_json(d, host, c, &call, what, &answer, err);
    json_decref(answer);
    return code;
}

static int read_result(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id,
                       struct tn_run_result *out, struct tn_error **err)
{
    json_t *owner = NULL;
    struct tn_inspect in;
    int code = tn_engine_inspect(d, host, c, id, &owner, &in, err);
    if (code != TN_OK)
        return code;
    code = tn_docker_collect_logs(d, host, c, id, in.tty, out, err);
    out->exit_code = in.exit_code;
    out->signal = tn_docker_signal_of(in.exit_code);
    json_decref(owner);
    return code;
}

static void kill_it(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id)
{
    tn_autofree char *path = tn_format("/containers/%s/stop?t=%d", id, KILL_GRACE_S);
    struct tn_call call = {.method = "POST", .path = path};
    tn_engine_json(d, host, c, &call, "stop", NULL, NULL);
    tn_docker_remove_id(d, host, c, id, true, NULL);
}

/* True for a container that was created and never ran. */
static bool never_ran(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id)
{
    json_t *owner = NULL;
    struct tn_inspect in;
    bool fresh =
        tn_engine_inspect(d, host, c, id, &owner, &in, NULL) == TN_OK && tn_streq(in.status, "created");
    json_decref(owner);
    return fresh;
}

static int launch(struct tn_docker *d, struct tn_cancel *c, const struct tn_start *s, const char *name,
                  const char *const *argv, char **id, struct tn_error **err)
{
    int code = tn_docker_ensure(d, s->host, c, s, err);
    if (code != TN_OK)
        return code;
    bool taken_over;
    json_t *body = tn_docker_task_body(s, argv);
    code = tn_docker_create(d, s->host, c, name, s->effect, body, id, &taken_over, err);
    json_decref(body);
    if (code != TN_OK || (taken_over && !never_ran(d, s->host, c, *id)))
        return code;
    code = tn_docker_join_further(d, s->host, c, *id, s->spec, true, err);
    if (code == TN_OK)
        code = tn_docker_start_id(d, s->host, c, name, *id, err);
    if (code == TN_EFAIL || code == TN_ENOTFOUND || code == TN_EAUTH)
        tn_docker_remove_id(d, s->host, c, *id, true, NULL);
    return code;
}

int tn_docker_task(struct tn_provider *p, struct tn_cancel *c, const struct tn_start *s,
                   const char *const *argv, int64_t timeout_ms, struct tn_run_result *out,
                   struct tn_error **err)
{
    struct tn_docker *d = tn_docker_of(p);
    tn_autofree char *name = tn_docker_task_name(s->app, s->effect);
    tn_autofree char *what = tn_format("container '%s'", name);
    tn_autofree char *id = NULL;
    int code = launch(d, c, s, name, argv, &id, err);
    if (code != TN_OK)
        return code;
    struct tn_error *why = NULL;
    code = await_end(d, s->host, c, id, what, timeout_ms, &why);
    if (code == TN_ETIMEOUT && timeout_ms > 0) {
        read_result(d, s->host, c, id, out, NULL);
        kill_it(d, s->host, c, id);
        tn_error_free(why);
        char text[32];
        return tn_error_set(err, TN_ETIMEOUT, "%s: did not end within %s", what,
                            tn_format_duration(timeout_ms, text, sizeof text));
    }
    if (code != TN_OK)
        return tn_error_move(err, &why);
    code = read_result(d, s->host, c, id, out, err);
    if (code == TN_OK)
        code = tn_docker_remove_id(d, s->host, c, id, false, err);
    return code;
}
