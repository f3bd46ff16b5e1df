#include "lib/rollout/changeset.h"

#include <string.h>

#include "turnout/mem.h"
#include "turnout/text.h"

static json_t *preconditions(const struct tn_session *s, const struct tn_changes *c)
{
    json_t *list = json_array();
    (void)s;
    for (size_t i = 0; i < c->n; i++) {
        const struct tn_change *o = &c->v[i];
        json_array_append_new(list, json_pack("{s:s,s:s,s:s?,s:i,s:s?,s:i,s:i,s:s}", "service", o->service,
                                              "cluster", o->cluster, "from_revision", o->from_revision,
                                              "from_count", o->from_count, "to_revision", o->to_revision,
                                              "to_count", o->to_count, "running", o->running, "action",
                                              tn_change_action_name(o->action)));
    }
    return list;
}

json_t *tn_changes_json(const struct tn_session *s, const struct tn_changes *c)
{
    return json_pack("{s:i,s:s,s:s,s:s,s:s,s:O,s:o,s:o}", "turnout", 1, "kind", "changeset", "app",
                     s->plan->name, "environment", s->plan->environment, "dir", s->plan->dir, "plan",
                     s->plan->merged, "preconditions", preconditions(s, c), "goals", tn_goals_json(c->goals));
}

static int moved(struct tn_error **err, const json_t *was, const char *what, const char *from, const char *to)
{
    tn_error_set(err, TN_ESTALE, "the change set is stale: %s of '%s' on '%s' was %s, is %s", what,
                 json_string_value(json_object_get(was, "service")),
                 json_string_value(json_object_get(was, "cluster")), from ? from : "nothing",
                 to ? to : "nothing");
    return tn_error_hint(err, "look at the new one: turnout diff --out FILE");
}

static int check_one(const json_t *was, const json_t *is, struct tn_error **err)
{
    static const char *const texts[] = {"from_revision", "to_revision", "action"};
    static const char *const numbers[] = {"from_count", "to_count", "running"};
    for (size_t i = 0; i < TN_COUNT(texts); i++) {
        const char *a = json_string_value(json_object_get(was, texts[i])),
                   *b = json_string_value(json_object_get(is, texts[i]));
        if (!tn_streq(a, b))
            return moved(err, was, texts[i], a, b);
    }
    for (size_t i = 0; i < TN_COUNT(numbers); i++) {
        json_int_t a = json_integer_value(json_object_get(was, numbers[i]));
        json_int_t b = json_integer_value(json_object_get(is, numbers[i]));
        tn_autofree char *from = tn_format("%lld", (long long)a), *to = tn_format("%lld", (long long)b);
        if (a != b)
            return moved(err, was, numbers[i], from, to);
    }
    return TN_OK;
}

int tn_changeset_check(struct tn_session *s, const json_t *changeset, const struct tn_changes *now,
                       struct tn_error **err)
{
    json_t *was = json_object_get(changeset, "preconditions"), *is = preconditions(s, now);
    int rc = TN_OK;
    if (!json_is_array(was))
        rc = tn_error_set(err, TN_EUSAGE, "the file is no change set of turnout");
    else if (json_array_size(was) != json_array_size(is))
        rc = tn_error_set(err, TN_ESTALE,
                          "the change set is stale: it concerns %zu placements, now there are %zu",
                          json_array_size(was), json_array_size(is));
    for (size_t i = 0; rc >= 0 && i < json_array_size(was); i++)
        rc = check_one(json_array_get(was, i), json_array_get(is, i), err);
    json_decref(is);
    return rc;
}

json_t *tn_changes_report(const struct tn_changes *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->n; i++) {
        const struct tn_change *o = &c->v[i];
        json_t *fields = json_array(), *timeline = json_array(), *notes = json_array();
        for (size_t k = 0; k < o->n_fields; k++)
            json_array_append_new(fields, json_pack("{s:s,s:s?,s:s?}", "field", o->fields[k].field, "from",
                                                    o->fields[k].from, "to", o->fields[k].to));
        for (size_t k = 0; k < o->n_timeline; k++)
            json_array_append_new(
                timeline, json_pack("{s:i,s:i,s:i,s:f,s:s,s:I}", "old", o->timeline[k].old_count, "new",
                                    o->timeline[k].new_count, "serving", o->timeline[k].serving,
                                    "traffic_new", o->timeline[k].new_traffic_permille / 10.0, "text",
                                    o->timeline[k].text, "at_ms", (json_int_t)o->timeline[k].at_ms));
        for (size_t k = 0; k < o->n_notes; k++)
            json_array_append_new(notes, json_string(o->notes[k]));
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:s,s:s?,s:s?,s:i,s:i,s:i,s:s,s:s,s:s,s:o,s:o,s:o,s:I,s:i}", "service",
                            o->service, "cluster", o->cluster, "action", tn_change_action_name(o->action),
                            "from_revision", o->from_revision, "to_revision", o->to_revision, "from_count",
                            o->from_count, "to_count", o->to_count, "running", o->running, "strategy",
                            o->strategy, "engine", o->engine, "kind", o->cluster_kind, "fields", fields,
                            "timeline", timeline, "notes", notes, "expected_ms", (json_int_t)o->expected_ms,
                            "least_serving", o->least_serving));
    }
    return json_pack("{s:i,s:o,s:b,s:i,s:i,s:i}", "v", 1, "changes", list, "any", c->any, "create", c->create,
                     "update", c->update, "remove", c->remove);
}
