#include "lib/transport/shim_files.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "turnout/fs.h"
#include "lib/base/hash.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/transport/shim.h"

#define SPEC_MAX          ((size_t)4 << 20)
#define RECORD_MAX        ((size_t)64 << 10)
#define STDIO_MAX_DEFAULT ((int64_t)16 << 20)

static const char *const policies[] = {"no", "always", "on-failure", "unless-stopped"};
static const char *const basics[] = {"PATH", "HOME", "LANG", "TZ"};

static json_t *load(const char *dir, const char *name, size_t max, struct tn_error **err)
{
    tn_autofree char *path = tn_path_join(dir, name);
    size_t len = 0;
    char *text = tn_fs_read(path, max, &len, err);
    if (!text)
        return NULL;
    json_error_t why;
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    tn_wipe(text, len);
    free(text);
    if (!json_is_object(j)) {
        tn_error_set(err, TN_EPROTO, "'%s': not a JSON object", path);
        json_decref(j);
        return NULL;
    }
    return j;
}

/* NULL from load with the code that says why. */
static int load_failed(struct tn_error **err, struct tn_error *why)
{
    return tn_error_move(err, &why);
}

static int save(const char *dir, const char *name, const json_t *j, mode_t mode, struct tn_error **err)
{
    tn_autofree char *path = tn_path_join(dir, name);
    char *text = json_dumps(j, JSON_COMPACT);
    if (!text)
        return tn_error_set(err, TN_EIO, "'%s': cannot be written as JSON", path);
    size_t len = strlen(text);
    int rc = tn_fs_write_atomic(path, text, len, mode, err);
    tn_wipe(text, len);
    free(text);
    return rc;
}

static int64_t number(const json_t *j, const char *key, int64_t otherwise)
{
    const json_t *v = json_object_get(j, key);
    return json_is_integer(v) ? (int64_t)json_integer_value(v) : otherwise;
}

static void add_env(char ***env, size_t *n, size_t *cap, char *entry)
{
    size_t name = strcspn(entry, "=") + 1;
    for (size_t i = 0; i < *n; i++)
        if (strncmp((*env)[i], entry, name) == 0) {
            free((*env)[i]);
            (*env)[i] = entry;
            return;
        }
    if (*n + 1 >= *cap) {
        *cap = *cap ? *cap * 2 : 32;
        *env = tn_realloc_array(*env, *cap, sizeof(**env));
    }
    (*env)[(*n)++] = entry;
    (*env)[*n] = NULL;
}

static bool build_env(const char *dir, struct tn_shim_spec *s)
{
    size_t n = 0, cap = 0;
    for (size_t i = 0; i < TN_COUNT(basics); i++)
        if (getenv(basics[i]))
            add_env(&s->env, &n, &cap, tn_format("%s=%s", basics[i], getenv(basics[i])));
    for (char **e = environ; s->inherit_env && e && *e; e++)
        add_env(&s->env, &n, &cap, tn_strdup(*e));
    json_t *env = json_object_get(s->root, "env"), *value;
    const char *name;
    if (env && !json_is_object(env))
        return false;
    json_object_foreach(env, name, value)
    {
        if (!json_is_string(value) || !*name || strchr(name, '='))
            return false;
        add_env(&s->env, &n, &cap, tn_format("%s=%s", name, json_string_value(value)));
    }
    add_env(&s->env, &n, &cap, tn_format("TURNOUT_SHIM_DIR=%s", dir));
    return true;
}

static bool build_argv(struct tn_shim_spec *s)
{
    const json_t *argv = json_object_get(s->root, "argv");
    size_t n = json_array_size(argv);
    if (n == 0)
        return false;
    s->argv = tn_realloc_array(NULL, n + 1, sizeof(*s->argv));
    for (size_t i = 0; i <= n; i++)
        s->argv[i] = NULL;
    for (size_t i = 0; i < n; i++) {
        s->argv[i] = json_string_value(json_array_get(argv, i));
        if (!s->argv[i])
            return false;
    }
    return s->argv[0][0] != 0;
}

int tn_signal_number(const char *name)
{
    int64_t n;
    if (!name)
        return 0;
    if (tn_parse_int(name, &n))
        return n > 0 && n < NSIG ? (int)n : 0;
    if (tn_starts_with(name, "SIG"))
        name += 3;
    for (int i = 1; i < NSIG; i++)
        if (tn_streq(sigabbrev_np(i), name))
            return i;
    return 0;
}

int tn_shim_spec_read(const char *dir, struct tn_shim_spec *out, struct tn_error **err)
{
    struct tn_error *why = NULL;
    struct tn_shim_spec s = {.root = load(dir, "spec.json", SPEC_MAX, &why)};
    if (!s.root)
        return load_failed(err, why);
    const json_t *cwd = json_object_get(s.root, "cwd"), *sig = json_object_get(s.root, "signal");
    s.cwd = json_string_value(cwd);
    s.signal = sig ? tn_signal_number(json_string_value(sig)) : SIGTERM;
    s.grace_ms = number(s.root, "grace_ms", 10000);
    s.stdio_max = number(s.root, "stdio_max", STDIO_MAX_DEFAULT);
    s.inherit_env = json_is_true(json_object_get(s.root, "inherit_env"));
    const char *off = !build_argv(&s)                                ? "argv"
                      : !build_env(dir, &s)                          ? "env"
                      : cwd && !s.cwd                                ? "cwd"
                      : s.signal == 0                                ? "signal"
                      : s.grace_ms < 0 || s.grace_ms > 86400000      ? "grace_ms"
                      : s.stdio_max < 1 || s.stdio_max > (1LL << 40) ? "stdio_max"
                                                                     : NULL;
    if (off) {
        tn_shim_spec_clear(&s);
        return tn_error_set(err, TN_EPROTO, "'%s/spec.json': '%s' is missing or wrong", dir, off);
    }
    *out = s;
    return TN_OK;
}

void tn_shim_spec_clear(struct tn_shim_spec *s)
{
    for (char **e = s->env; e && *e; e++) {
        tn_wipe(*e, strlen(*e));
        free(*e);
    }
    free(s->env);
    free(s->argv);
    json_decref(s->root);
    memset(s, 0, sizeof(*s));
}

int tn_shim_run_read(const char *dir, struct tn_shim_run *out, struct tn_error **err)
{
    struct tn_error *why = NULL;
    json_t *j = load(dir, "run.json", RECORD_MAX, &why);
    if (!j)
        return load_failed(err, why);
    *out = (struct tn_shim_run){
        .shim_pid = number(j, "shim_pid", 0),
        .pid = number(j, "pid", 0),
        .started_at = number(j, "started_at", 0),
        .restarts = (int)number(j, "restarts", 0),
    };
    const char *boot = json_string_value(json_object_get(j, "boot_id"));
    snprintf(out->boot_id, sizeof(out->boot_id), "%s", boot ? boot : "");
    json_decref(j);
    return TN_OK;
}

int tn_shim_run_write(const char *dir, const struct tn_shim_run *run, struct tn_error **err)
{
    json_t *j = json_pack("{s:I, s:I, s:I, s:s, s:i}", "shim_pid", (json_int_t)run->shim_pid, "pid",
                          (json_int_t)run->pid, "started_at", (json_int_t)run->started_at, "boot_id",
                          run->boot_id, "restarts", run->restarts);
    int rc = save(dir, "run.json", j, 0600, err);
    json_decref(j);
    return rc;
}

int tn_shim_end_read(const char *dir, struct tn_shim_end *out, struct tn_error **err)
{
    struct tn_error *why = NULL;
    json_t *j = load(dir, "status.json", RECORD_MAX, &why);
    if (!j)
        return load_failed(err, why);
    *out = (struct tn_shim_end){
        .exit_code = (int)number(j, "exit_code", -1),
        .signal = (int)number(j, "signal", 0),
        .run = (int)number(j, "run", 0),
        .ended_at = number(j, "ended_at", 0),
        .stopped = json_is_true(json_object_get(j, "stopped")),
    };
    const char *text = json_string_value(json_object_get(j, "error"));
    snprintf(out->error, sizeof(out->error), "%s", text ? text : "");
    json_decref(j);
    return TN_OK;
}

int tn_shim_end_write(const char *dir, const struct tn_shim_end *end, struct tn_error **err)
{
    json_t *j = json_pack("{s:i, s:i, s:I, s:b, s:i}", "exit_code", end->exit_code, "signal", end->signal,
                          "ended_at", (json_int_t)end->ended_at, "stopped", end->stopped, "run", end->run);
    json_t *text = json_string(end->error); /* NULL for a path that is not UTF-8 */
    json_object_set_new(j, "error", text ? text : json_string("the program cannot be run"));
    int rc = save(dir, "status.json", j, 0600, err);
    json_decref(j);
    return rc;
}

const char *tn_shim_policy_read(const char *dir)
{
    tn_autofree char *path = tn_path_join(dir, "policy");
    tn_autofree char *text = tn_fs_read(path, 64, NULL, NULL);
    if (text)
        text[strcspn(text, " \r\n")] = 0;
    for (size_t i = 0; text && i < TN_COUNT(policies); i++)
        if (strcmp(text, policies[i]) == 0)
            return policies[i];
    return "no";
}

void tn_boot_id(char out[64])
{
    tn_autofree char *text = tn_fs_read("/proc/sys/kernel/random/boot_id", 63, NULL, NULL);
    snprintf(out, 64, "%s", text ? text : "");
    out[strcspn(out, "\n")] = 0;
}

static int fill(const char *dir, const json_t *spec, const json_t *meta, const char *policy,
                struct tn_error **err)
{
    int rc = save(dir, "spec.json", spec, 0600, err);
    if (rc == TN_OK && meta)
        rc = save(dir, "meta.json", meta, 0600, err);
    tn_autofree char *path = tn_path_join(dir, "policy");
    return rc == TN_OK ? tn_fs_write_atomic(path, policy, strlen(policy), 0600, err) : rc;
}

int tn_shim_create(const char *dir, const json_t *spec, const json_t *meta, const char *policy,
                   struct tn_error **err)
{
    char random[17];
    tn_random_hex(random, 16);
    tn_autofree char *parent = tn_path_dir(dir);
    tn_autofree char *temp = tn_format("%s/.new-%s", parent, random);
    if (mkdir(temp, 0700) < 0)
        return tn_error_errno(err, TN_EIO, errno, "creating folder '%s'", temp);
    int rc = fill(temp, spec, meta, policy, err);
    if (rc == TN_OK && renameat2(AT_FDCWD, temp, AT_FDCWD, dir, RENAME_NOREPLACE) < 0)
        rc = tn_error_errno(err, errno == EEXIST ? TN_EEXISTS : TN_EIO, errno, "creating folder '%s'", dir);
    if (rc != TN_OK)
        (void)tn_fs_remove_tree(temp, NULL);
    return rc;
}
