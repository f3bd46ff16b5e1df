#include "turnout/event.h"

#include "turnout/clock.h"
#include "turnout/mem.h"

static const char *const names[] = {
    "rollout", "lease", "resolve", "pull", "placement", "start", "ready", "admit",  "settle", "drain", "stop",
    "failed",  "gate",  "hook",    "wait", "warning",   "note",  "turn",  "placed", "done",   "world",
};

const char *tn_event_name(enum tn_event_kind k)
{
    return (size_t)k < TN_COUNT(names) ? names[k] : "?";
}

json_t *tn_event_json(const struct tn_event *e)
{
    char at[32];
    json_t *j = json_pack("{s:i,s:s,s:s,s:s*,s:s*,s:s*,s:s*,s:O*}", "v", TN_EVENT_SCHEMA, "at",
                          tn_format_time(e->at, at, sizeof(at)), "kind", tn_event_name(e->kind), "rollout",
                          e->rollout, "service", e->service, "cluster", e->cluster, "instance", e->instance,
                          "data", e->data);
    /* text may hold bytes that are no UTF-8 */
    json_t *text = e->text ? json_string(e->text) : NULL;
    if (text)
        json_object_set_new(j, "text", text);
    return j ? j : json_object();
}
