#include "tests/unit/rollout/world_help.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "tests/unit/plan/plan_help.h"
#include "turnout/clock.h"
#include "turnout/fs.h"
#include "turnout/mem.h"

static char told[TN_EV_WORLD + 1][256];

int world_enter(void **state)
{
    memset(told, 0, sizeof(told));
    return plan_enter_folder(state);
}

int world_leave(void **state)
{
    return plan_leave_folder(state);
}

void world_write(const char *json)
{
    tn_autofree char *text = tn_strdup(json);
    for (char *p = text; *p; p++)
        if (*p == '\'')
            *p = '"';
    json_t *j = json_loads(text, 0, NULL);
    assert_non_null(j);
    json_decref(j);
    assert_int_equal(tn_fs_write_atomic("world.json", text, strlen(text), 0644, NULL), TN_OK);
}

json_t *world_read(void)
{
    json_t *j = json_load_file("world.json", 0, NULL);
    assert_non_null(j);
    return j;
}

/* Beats go on meanwhile: the file is changed under the lock of the fakes. */
void world_edit(void (*change)(json_t *world, void *arg), void *arg)
{
    tn_autoclose int lock = open("world.json.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    assert_true(lock >= 0);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    json_t *world = world_read();
    change(world, arg);
    tn_autofree char *text = json_dumps(world, 0);
    assert_int_equal(tn_fs_write_atomic("world.json", text, strlen(text), 0644, NULL), TN_OK);
    json_decref(world);
}

struct doc_edit {
    const char *prefix, *key;
    json_t *value;
};

static void edit_docs(json_t *world, void *arg)
{
    const struct doc_edit *e = arg;
    json_t *docs, *body;
    const char *host, *name;
    json_object_foreach(json_object_get(world, "docs"), host, docs)
    {
        json_object_foreach(docs, name, body)
        {
            if (strncmp(name, e->prefix, strlen(e->prefix)) == 0)
                json_object_set(body, e->key, e->value);
        }
    }
}

void world_edit_docs(const char *prefix, const char *key, json_t *value)
{
    struct doc_edit e = {prefix, key, value};
    world_edit(edit_docs, &e);
    json_decref(value);
}

struct tn_plan *world_plan(const char *text)
{
    return plan_load_good(text);
}

static void take_event(void *arg, const struct tn_event *e)
{
    (void)arg;
    snprintf(told[e->kind], sizeof(told[e->kind]), "%s", e->text ? e->text : "");
}

const char *world_told(enum tn_event_kind kind)
{
    return told[kind];
}

struct tn_session *world_session(const struct tn_plan *plan, const char *state_dir)
{
    struct tn_error *err = NULL;
    const struct tn_session_options o = {
        .plan = plan, .cancel = tn_cancel_new(), .state = state_dir, .actor = state_dir, .sink = take_event};
    struct tn_session *s = tn_session_open(&o, &err);
    if (!s)
        fail_msg("%s", tn_error_message(err));
    return s;
}

void world_session_end(struct tn_session *s)
{
    struct tn_cancel *c = s->cancel;
    tn_session_free(s);
    tn_cancel_free(c);
}

void pause_ms(int64_t ms)
{
    tn_wait_fd(NULL, "a while", -1, tn_mono_ms() + ms, NULL);
}
