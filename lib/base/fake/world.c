#include "lib/base/fake/world.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/fs.h"
#include "turnout/mem.h"
#include "turnout/text.h"

enum { MAX_WORLD = 16 << 20, MAX_LOG = 4096 };

json_t *tn_fake_object(json_t *in, const char *name)
{
    json_t *o = json_object_get(in, name);
    if (!json_is_object(o)) {
        json_object_set_new(in, name, json_object());
        o = json_object_get(in, name);
    }
    return o;
}

static bool fits(const char *key, const struct tn_fake_keys *k)
{
    const char *words[] = {k->service, k->revision, k->version, k->instance};
    for (size_t i = 0; i < TN_COUNT(words); i++)
        if (words[i] && tn_glob(key, words[i]))
            return true;
    tn_autofree char *both = k->service && k->version ? tn_format("%s@%s", k->service, k->version) : NULL;
    return strcmp(key, "*") == 0 || (both && tn_glob(key, both));
}

json_t *tn_fake_pick(json_t *map, const struct tn_fake_keys *keys)
{
    const char *key;
    json_t *value;
    if (!json_is_object(map))
        return map;
    json_object_foreach(map, key, value)
    {
        if (fits(key, keys))
            return value;
    }
    return NULL;
}

void tn_fake_note(struct tn_fake_call *k, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tn_autofree char *text = tn_vformat(fmt, ap);
    va_end(ap);
    json_t *log = json_object_get(k->world, "log");
    if (!json_is_array(log)) {
        json_object_set_new(k->world, "log", json_array());
        log = json_object_get(k->world, "log");
    }
    if (json_array_size(log) < MAX_LOG)
        json_array_append_new(log, json_string(text));
}

/* ---- the file ---- */

static int load(struct tn_fake_call *k, struct tn_error **err)
{
    struct tn_error *why = NULL;
    tn_autofree char *lock = tn_format("%s.lock", k->path);
    k->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (k->lock < 0)
        return tn_error_errno(err, TN_EUNREACHABLE, errno, "fake world '%s'", k->path);
    while (flock(k->lock, LOCK_EX) < 0 && errno == EINTR) {
    }
    size_t len = 0;
    tn_autofree char *text = tn_fs_read(k->path, MAX_WORLD, &len, &why);
    if (!text && why->code != TN_ENOTFOUND)
        return tn_error_move(err, &why);
    tn_error_free(why);
    json_error_t where;
    k->world = text ? json_loadb(text, len, JSON_REJECT_DUPLICATES, &where) : json_object();
    if (!json_is_object(k->world))
        return tn_error_set(err, TN_EPROTO, "fake world '%s': %s", k->path,
                            k->world ? "no object" : where.text);
    k->script = tn_fake_object(k->world, "script");
    return TN_OK;
}

/* No fsync: the world outlives processes, not the machine. */
static int save(const struct tn_fake_call *k, struct tn_error **err)
{
    tn_autofree char *temp = tn_format("%s.new", k->path);
    if (json_dump_file(k->world, temp, JSON_INDENT(1)) < 0)
        return tn_error_errno(err, TN_EIO, errno, "fake world '%s'", temp);
    if (rename(temp, k->path) < 0)
        return tn_error_errno(err, TN_EIO, errno, "fake world '%s'", k->path);
    return TN_OK;
}

static void let_go(struct tn_fake_call *k)
{
    json_decref(k->world);
    k->world = k->script = NULL;
    if (k->lock >= 0)
        close(k->lock);
    k->lock = -1;
    tn_error_clear(&k->late);
}

/* ---- the script ---- */

static bool is_kill(const struct tn_fake_call *k, const json_t *at, const char *point)
{
    const char *slot = json_string_value(json_object_get(at, "effect"));
    const char *when = json_string_value(json_object_get(at, "point"));
    return tn_streq(slot, k->slot) && tn_streq(when, point) &&
           json_integer_value(json_object_get(at, "n")) == k->n;
}

/* A signal that does not end the process comes with the lock free, as from outside. */
static void kill_if_asked(const struct tn_fake_call *k, const char *point)
{
    json_t *at = json_object_get(k->script, "kill_at"), *one;
    size_t i;
    if (is_kill(k, at, point)) {
        const json_t *number = json_object_get(at, "signal");
        kill(getpid(), number ? (int)json_integer_value(number) : SIGKILL);
    }
    json_array_foreach(at, i, one)
    {
        const json_t *number = json_object_get(one, "signal");
        if (is_kill(k, one, point))
            kill(getpid(), number ? (int)json_integer_value(number) : SIGKILL);
    }
}

static void count(struct tn_fake_call *k)
{
    json_t *counters = tn_fake_object(k->world, "counters");
    k->n = json_integer_value(json_object_get(counters, k->slot)) + 1;
    json_object_set_new(counters, k->slot, json_integer(k->n));
}

static int wait_scripted(struct tn_fake_call *k, struct tn_cancel *c, struct tn_error **err)
{
    json_t *slot = json_object_get(k->script, k->slot);
    json_int_t ms = json_integer_value(tn_fake_pick(json_object_get(slot, "latency_ms"), &k->keys));
    if (ms <= 0)
        return TN_OK;
    let_go(k); /* the world goes on meanwhile */
    int rc = tn_wait_fd(c, "the fake engine", -1, tn_mono_ms() + ms, err);
    return rc < 0 ? rc : load(k, err);
}

static enum tn_code code_of(const char *name)
{
    for (int code = TN_EFAIL; name && code >= TN_EIO; code--)
        if (strcmp(tn_code_name((enum tn_code)code), name) == 0)
            return (enum tn_code)code;
    return TN_EFAIL;
}

static bool is_fault(const json_t *j)
{
    return json_is_string(j) || json_is_string(json_object_get(j, "message"));
}

static int fail_scripted(struct tn_fake_call *k, struct tn_error **err)
{
    json_t *map = json_object_get(json_object_get(k->script, k->slot), "fail");
    json_t *fault = is_fault(map) ? map : tn_fake_pick(map, &k->keys);
    json_t *times = json_object_get(fault, "times");
    if (!is_fault(fault) || (times && json_integer_value(times) <= 0))
        return TN_OK;
    if (times)
        json_integer_set(times, json_integer_value(times) - 1);
    const char *message =
        json_string_value(json_is_string(fault) ? fault : json_object_get(fault, "message"));
    const char *hint = json_string_value(json_object_get(fault, "hint"));
    enum tn_code code = code_of(json_string_value(json_object_get(fault, "code")));
    bool late = json_is_true(json_object_get(fault, "done"));
    struct tn_error **to = late ? &k->late : err;
    tn_error_set(to, code, "%s", message);
    if (hint)
        tn_error_hint(to, "%s", hint);
    return late ? TN_OK : (int)code;
}

int tn_fake_enter(struct tn_fake_call *k, const char *path, const char *slot, const struct tn_fake_keys *keys,
                  struct tn_cancel *c, struct tn_error **err)
{
    *k = (struct tn_fake_call){.path = path, .slot = slot, .lock = -1};
    if (keys)
        k->keys = *keys;
    int rc = load(k, err);
    if (rc == TN_OK) {
        count(k);
        rc = save(k, err);
    }
    if (rc == TN_OK) {
        kill_if_asked(k, "before");
        rc = wait_scripted(k, c, err);
    }
    if (rc == TN_OK && (rc = fail_scripted(k, err)) != TN_OK)
        save(k, NULL);
    if (rc != TN_OK)
        let_go(k);
    return rc;
}

/* In the same write as the effect: nobody sees the one without the other. */
static void change_script(const struct tn_fake_call *k)
{
    json_t *slot = json_object_get(k->script, k->slot), *then = json_incref(json_object_get(slot, "then"));
    if (then) {
        json_object_del(slot, "then");
        json_object_update(k->script, then);
    }
    json_decref(then);
}

int tn_fake_leave(struct tn_fake_call *k, int rc, struct tn_error **err)
{
    if (rc >= 0)
        change_script(k);
    int saved = save(k, rc < 0 ? NULL : err);
    rc = rc < 0 ? rc : saved < 0 ? saved : rc;
    if (rc >= 0)
        kill_if_asked(k, "after");
    if (rc >= 0 && k->late)
        rc = tn_error_move(err, &k->late);
    let_go(k);
    return rc;
}
