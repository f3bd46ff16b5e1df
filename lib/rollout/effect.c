#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/json.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/rollout/placement.h"

char *tn_effect_id(const char *rollout, const char *placement, int64_t number)
{
    return tn_format("%s/%s/%" PRId64, rollout, placement, number);
}

static struct tn_record record(const struct tn_effect *e, const char *phase, json_t *detail)
{
    return (struct tn_record){
        .rollout = e->s->rollout,
        .placement = (char *)(uintptr_t)e->placement,
        .number = e->number,
        .phase = (char *)(uintptr_t)phase,
        .move = (char *)(uintptr_t)e->move,
        .instance = (char *)(uintptr_t)e->instance,
        .detail = detail,
        .at = tn_wall_ms(),
    };
}

int tn_effect_run(const struct tn_effect *e, int (*do_it)(void *arg, struct tn_error **err), void *arg,
                  struct tn_error **err)
{
    int rc = tn_lease_check(e->s->lease, err);
    if (rc < 0)
        return rc;
    struct tn_record intent = record(e, "intent", e->detail);
    rc = tn_store_append(e->s->store, &intent, err);
    if (rc < 0)
        return rc; /* no effect without a durable intent */
    struct tn_error *local = NULL;
    /* again: writing may have taken long, or we were stopped meanwhile */
    rc = tn_lease_check(e->s->lease, &local);
    if (rc >= 0)
        rc = do_it(arg, &local);
    json_t *detail = rc < 0 ? json_pack("{s:s,s:o}", "error", tn_code_name((enum tn_code)rc), "message",
                                        tn_json_text(tn_error_message(local)))
                            : NULL;
    struct tn_record outcome = record(e, "outcome", detail);
    tn_store_append_later(e->s->store, &outcome); /* it can be probed: it rides on the next commit */
    json_decref(detail);
    if (rc < 0)
        return tn_error_move(err, &local);
    tn_error_free(local);
    return rc;
}

/* START happened when an instance with its effect id exists; STOP when the instance is gone; traffic and policies are
 * read from the world anyway. */
static bool happened(const struct tn_placement *p, const struct tn_record *r)
{
    tn_autofree char *id = tn_effect_id(r->rollout, r->placement, r->number);
    for (size_t i = 0; i < p->world.n; i++) {
        if (strcmp(r->move, "start") == 0 && tn_streq(p->world.v[i].effect, id))
            return true;
        if (strcmp(r->move, "stop") == 0 && tn_streq(p->world.v[i].name, r->instance))
            return false;
    }
    return strcmp(r->move, "start") != 0;
}

const struct tn_record *tn_effect_outcome(const struct tn_records *all, const struct tn_record *intent)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].number == intent->number && strcmp(all->v[i].phase, "outcome") == 0 &&
            strcmp(all->v[i].placement, intent->placement) == 0)
            return &all->v[i];
    return NULL;
}

int tn_effect_probe_all(struct tn_placement *p, struct tn_error **err)
{
    struct tn_records all = {0};
    int rc = tn_store_journal(p->s->store, p->s->rollout, &all, err);
    for (size_t i = 0; rc >= 0 && i < all.n; i++) {
        const struct tn_record *r = &all.v[i];
        if (strcmp(r->placement, p->goal->placement) != 0 || strcmp(r->phase, "intent") != 0 ||
            tn_effect_outcome(&all, r))
            continue;
        json_t *detail = json_pack("{s:s,s:b}", "probed", "by observation", "happened", happened(p, r));
        struct tn_effect e = {p->s, r->placement, r->move, r->instance, r->number, NULL};
        struct tn_record outcome = record(&e, "outcome", detail);
        tn_store_append_later(p->s->store, &outcome);
        json_decref(detail);
    }
    tn_records_clear(&all);
    return rc;
}
