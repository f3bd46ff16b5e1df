#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/provider/fake/fake.h"

enum { FOLLOW_LOOK = 50 };

static struct tn_fake_keys keys_in_world(const struct tn_fake_call *k, const char *name)
{
    return tn_fake_keys_in(json_object_get(json_object_get(k->world, "instances"), name), name);
}

/* ---- logs ---- */

static const char *last_lines(const char *text, int tail)
{
    const char *p = text + strlen(text);
    if (p > text && p[-1] == '\n')
        p--;
    for (int lines = 0; p > text; p--)
        if (p[-1] == '\n' && ++lines >= tail)
            break;
    return p;
}

static char *log_of(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                    struct tn_error **err)
{
    struct tn_fake_keys keys = {.service = i->service, .revision = i->revision, .instance = i->name};
    struct tn_fake_call k;
    int rc = tn_fake_enter(&k, tn_fake_file(p), "logs", &keys, c, err);
    if (rc < 0)
        return NULL;
    keys = keys_in_world(&k, i->name);
    const char *text = json_string_value(tn_fake_pick(json_object_get(k.script, "logs"), &keys));
    char *copy = tn_strdup(text ? text : "");
    tn_fake_leave(&k, TN_OK, NULL);
    return copy;
}

static bool still_there(struct tn_provider *p, struct tn_cancel *c, const char *name)
{
    struct tn_fake_call k;
    if (tn_fake_enter(&k, tn_fake_file(p), "follow", NULL, c, NULL) < 0)
        return false;
    bool there = json_object_get(json_object_get(k.world, "instances"), name) != NULL;
    return tn_fake_leave(&k, TN_OK, NULL) == TN_OK && there;
}

int tn_fake_logs(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i, int tail,
                 bool follow, bool (*on_data)(void *arg, const char *data, size_t n), void *arg,
                 struct tn_error **err)
{
    tn_autofree char *text = log_of(p, c, i, err);
    if (!text)
        return err && *err ? (int)(*err)->code : TN_EFAIL;
    const char *from = tail > 0 ? last_lines(text, tail) : text + strlen(text);
    if (*from && on_data && !on_data(arg, from, strlen(from)))
        return TN_OK;
    while (follow && still_there(p, c, i->name) && tn_cancel_level(c) == 0)
        if (tn_wait_fd(c, "more output", -1, tn_mono_ms() + FOLLOW_LOOK, NULL) < 0)
            break;
    return TN_OK;
}

/* ---- exec, task ---- */

static void fill_result(const json_t *scripted, const char *const *argv, struct tn_run_result *out)
{
    const char *text = json_string_value(json_object_get(scripted, "out"));
    const char *error = json_string_value(json_object_get(scripted, "err"));
    if (out->out.max == 0)
        out->out.max = 1 << 20;
    if (out->err_text.max == 0)
        out->err_text.max = 1 << 20;
    out->exit_code = (int)json_integer_value(json_object_get(scripted, "code"));
    for (size_t i = 0; !scripted && argv[i]; i++)
        tn_buf_printf(&out->out, "%s%s", i ? " " : "", argv[i]);
    tn_buf_puts(&out->out, scripted ? (text ? text : "") : "\n");
    tn_buf_puts(&out->err_text, error ? error : "");
}

int tn_fake_exec(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                 const char *const *argv, int64_t timeout_ms, struct tn_run_result *out,
                 struct tn_error **err)
{
    (void)timeout_ms;
    struct tn_fake_keys keys = {.service = i->service, .revision = i->revision, .instance = argv[0]};
    struct tn_fake_call k;
    int rc = tn_fake_enter(&k, tn_fake_file(p), "exec", &keys, c, err);
    if (rc < 0)
        return rc;
    keys = keys_in_world(&k, i->name);
    keys.instance = argv[0];
    fill_result(tn_fake_pick(json_object_get(k.script, "exec"), &keys), argv, out);
    tn_fake_note(&k, "exec %s %s", i->name, argv[0]);
    return tn_fake_leave(&k, TN_OK, err);
}

int tn_fake_task(struct tn_provider *p, struct tn_cancel *c, const struct tn_start *s,
                 const char *const *argv, int64_t timeout_ms, struct tn_run_result *out,
                 struct tn_error **err)
{
    (void)timeout_ms;
    struct tn_fake_keys keys = tn_fake_keys_of(s);
    keys.instance = argv[0];
    struct tn_fake_call k;
    int rc = tn_fake_enter(&k, tn_fake_file(p), "task", &keys, c, err);
    if (rc < 0)
        return rc;
    json_t *tasks = tn_fake_object(k.world, "tasks"), *done = json_object_get(tasks, s->effect);
    if (!done) {
        json_t *scripted = tn_fake_pick(json_object_get(k.script, "task"), &keys);
        done = scripted ? json_deep_copy(scripted) : json_object();
        json_object_set_new(tasks, s->effect, done);
        tn_fake_note(&k, "task %s %s", s->effect, argv[0]);
    }
    fill_result(done, argv, out);
    return tn_fake_leave(&k, TN_OK, err);
}
