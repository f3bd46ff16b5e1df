#include "turnout/event.h"

#include "turnout/clock.h"
#include "turnout/json.h"
#include "turnout/mem.h"

static const char *const names[] = {
    "rollout", "lease", "resolve", "pull", "placement", "start", "ready", "admit",  "settle", "drain", "stop",
    "failed",  "gate",  "hook",    "wait", "warning",   "note",  "turn",  "placed", "done",   "world",
};

const char *tn_event_name(enum tn_event_kind k)
{
    return (size_t)k < TN_COUNT(names) ? names[k] : "?";
}

static void set_text(json_t *j, const char *key, const char *text)
{
    if (text)
        json_object_set_new(j, key, tn_json_text(text));
}

json_t *tn_event_json(const struct tn_event *e)
{
    char at[32];
    json_t *j = json_object();
    json_object_set_new(j, "v", json_integer(TN_EVENT_SCHEMA));
    set_text(j, "at", tn_format_time(e->at, at, sizeof(at)));
    set_text(j, "kind", tn_event_name(e->kind));
    set_text(j, "rollout", e->rollout);
    set_text(j, "service", e->service);
    set_text(j, "cluster", e->cluster);
    set_text(j, "instance", e->instance);
    if (e->data)
        json_object_set(j, "data", (json_t *)(uintptr_t)e->data);
    set_text(j, "text", e->text);
    return j;
}
