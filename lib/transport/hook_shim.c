#include "lib/transport/hook_shim.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/fs.h"
#include "turnout/mem.h"
#include "lib/transport/shim.h"
#include "lib/transport/shim_tail.h"

#define BEGIN_MS   10000
#define OUTPUT_MAX ((size_t)1 << 20)

static enum tn_hook_state state_of(const struct tn_shim_status *s)
{
    switch (s->state) {
    case TN_SHIM_RUNNING: return TN_HOOK_RUNNING;
    case TN_SHIM_ENDED: return s->lost ? TN_HOOK_LOST : TN_HOOK_ENDED;
    default: return TN_HOOK_ABSENT;
    }
}

int tn_hook_probe(const char *dir, enum tn_hook_state *out, struct tn_error **err)
{
    struct tn_shim_status s;
    int rc = tn_shim_read(dir, &s, err);
    if (rc == TN_OK)
        *out = state_of(&s);
    return rc;
}

static json_t *spec_of(const char *const *argv, const char *const *env, const char *cwd)
{
    json_t *words = json_array(), *vars = json_object();
    for (size_t i = 0; argv[i]; i++)
        json_array_append_new(words, json_string(argv[i]));
    for (size_t i = 0; env && env[i]; i++) {
        const char *eq = strchr(env[i], '=');
        if (!eq)
            continue;
        tn_autofree char *name = tn_strndup(env[i], (size_t)(eq - env[i]));
        json_object_set_new(vars, name, json_string(eq + 1));
    }
    json_t *spec = json_pack("{s:o, s:o, s:b}", "argv", words, "env", vars, "inherit_env", 1);
    if (cwd)
        json_object_set_new(spec, "cwd", json_string(cwd));
    return spec;
}

static int read_result(const char *dir, int64_t timeout_ms, struct tn_run_result *out, struct tn_error **err)
{
    struct tn_shim_status s;
    int rc = tn_shim_read(dir, &s, err);
    if (rc != TN_OK)
        return rc;
    if (state_of(&s) == TN_HOOK_LOST)
        return tn_error_set(err, TN_EUNKNOWN, "the outcome of '%s' is not known: %s", dir, s.error);
    if (s.error[0])
        return tn_error_set(err, TN_EFAIL, "%s", s.error);
    out->exit_code = s.exit_code;
    out->signal = s.signal;
    rc = tn_shim_tail(dir, 0, &out->out, err);
    if (rc == TN_OK && s.stopped)
        return tn_error_set(err, TN_ETIMEOUT, "not done after %lld ms: stopped", (long long)timeout_ms);
    return rc;
}

/* Absent → there and running; running or ended: nothing to do. */
static int begin(struct tn_cancel *c, const char *dir, const json_t *spec, struct tn_error **err)
{
    enum tn_hook_state state;
    int rc = tn_hook_probe(dir, &state, err);
    if (rc != TN_OK || state != TN_HOOK_ABSENT)
        return rc;
    if (!tn_fs_exists(dir)) {
        tn_autofree char *parent = tn_path_dir(dir);
        rc = tn_fs_mkdirs(parent, 0700, err);
        if (rc == TN_OK)
            rc = tn_shim_create(dir, spec, NULL, "no", err);
        if (rc != TN_OK)
            return rc;
    }
    return tn_shim_start(c, dir, BEGIN_MS, err);
}

int tn_hook_run_spec(struct tn_cancel *c, const char *dir, const json_t *spec, int64_t timeout_ms,
                     struct tn_run_result *out, struct tn_error **err)
{
    if (out->out.max == 0)
        out->out.max = OUTPUT_MAX;
    int64_t deadline = timeout_ms > 0 ? tn_mono_ms() + timeout_ms : INT64_MAX;
    int rc = begin(c, dir, spec, err);
    if (rc != TN_OK)
        return rc;
    rc = tn_shim_wait(c, dir, "the command to end", deadline, err);
    if (rc < 0)
        return rc;
    rc = rc == 0 ? tn_shim_stop(c, dir, err) : TN_OK;
    return rc == TN_OK ? read_result(dir, timeout_ms, out, err) : rc;
}

int tn_hook_run(struct tn_cancel *c, const char *dir, const char *const *argv, const char *const *env,
                const char *cwd, int64_t timeout_ms, struct tn_run_result *out, struct tn_error **err)
{
    json_t *spec = spec_of(argv, env, cwd);
    int rc = tn_hook_run_spec(c, dir, spec, timeout_ms, out, err);
    json_decref(spec);
    return rc;
}
