/* Looking at a lease, and taking it away. */
#include "lib/rollout/lease_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/json.h"
#include "turnout/mem.h"

/* The seat's own answer: watches a stranger's claim until it beats or the TTL is over. */
static int seat_is_alive(struct tn_lease *l, const struct seat *seat, struct tn_error **err)
{
    struct watch w = {.epoch = -1, .beat = -1, .changed = tn_mono_ms()};
    for (;;) {
        struct seat_view v = {0};
        int rc = lease_look_at(l, seat, &v, err);
        bool dead = rc >= 0 && (lease_is_free(&v) || lease_watch_says_dead(l, &w, &v));
        bool lives = rc >= 0 && !dead && (w.alive || lease_holder_lives_here(v.claim));
        lease_view_clear(&v);
        if (rc < 0 || dead || lives)
            return rc < 0 ? rc : lives;
        rc = tn_lease_pause(l->s, "a sign of life of the lease's holder", 100, err);
        if (rc < 0)
            return rc;
    }
}

int tn_lease_is_alive(struct tn_session *s, struct tn_error **err)
{
    struct tn_lease *l = lease_new(s);
    int rc = 0;
    for (size_t i = 0; i < l->n && rc == 0; i++)
        rc = seat_is_alive(l, &l->seats[i], err);
    lease_free(l);
    return rc;
}

static json_t *seat_words(const struct seat *seat, const struct seat_view *v)
{
    bool is_held = v->claim && !v->free && !lease_holder_is_dead_here(v->claim);
    json_t *goal = lease_left_unfinished(v);
    json_t *out =
        json_pack("{s:b,s:I,s:s*,s:s*,s:s,s:s,s:I,s:s,s:o*}", "held", is_held, "epoch", (json_int_t)v->epoch,
                  "holder", json_string_value(json_object_get(v->claim, "holder_name")), "since",
                  json_string_value(json_object_get(v->claim, "since")), "rollout",
                  lease_text_of(goal      ? goal
                                : v->free ? v->free
                                          : v->claim,
                                "rollout"),
                  "state",
                  v->free   ? lease_text_of(v->free, "state")
                  : is_held ? "running"
                            : "dead",
                  "pid", json_integer_value(json_object_get(v->claim, "pid")), "on",
                  lease_provider_of(seat)->host_names[seat->host], "unfinished", goal);
    return out ? out : json_object();
}

/* Of several engines the one that tells most: an unfinished goal before none. */
json_t *tn_lease_look(struct tn_session *s, struct tn_error **err)
{
    struct tn_lease *l = lease_new(s);
    json_t *out = NULL;
    int rc = TN_OK;
    for (size_t i = 0; i < l->n && rc >= 0; i++) {
        struct seat_view v = {0};
        rc = lease_look_at(l, &l->seats[i], &v, err);
        json_t *words = rc >= 0 && v.epoch ? seat_words(&l->seats[i], &v) : NULL;
        if (words &&
            (!out || (json_object_get(words, "unfinished") && !json_object_get(out, "unfinished")))) {
            json_decref(out);
            out = json_incref(words);
        }
        json_decref(words);
        lease_view_clear(&v);
    }
    lease_free(l);
    if (rc < 0) {
        json_decref(out);
        return NULL;
    }
    return out ? out : json_pack("{s:b,s:i}", "held", 0, "epoch", 0);
}

/* Does `what` on every engine whose lease is held. */
static int for_each_held(struct tn_session *s, const char *rollout, const char *suffix, struct tn_error **err)
{
    struct tn_lease *l = lease_new(s);
    int rc = TN_OK, n = 0;
    for (size_t i = 0; i < l->n && rc >= 0; i++) {
        struct seat *seat = &l->seats[i];
        struct tn_provider *p = lease_provider_of(seat);
        struct seat_view v = {0};
        rc = lease_look_at(l, seat, &v, err);
        if (rc >= 0 && v.claim && !v.free) {
            if (rollout && strcmp(lease_text_of(v.claim, "rollout"), rollout) != 0) {
                rc = lease_held(seat, v.claim, err);
                tn_error_prefix(err, "not released: '%s' is not its rollout", rollout);
            } else {
                tn_autofree char *name = tn_format("lease-%s-%08" PRId64 "-%s", l->key, v.epoch, suffix);
                json_t *body =
                    json_pack("{s:s,s:o,s:O*,s:s}", "state", "broken", "by", tn_json_text(s->actor),
                              "unfinished", json_object_get(v.claim, "goal"), "rollout",
                              lease_text_of(v.claim, "rollout"));
                json_t *existing = NULL;
                rc = p->ops->doc_create(p, s->cancel, seat->host, name, body, &existing, err);
                json_decref(existing);
                json_decref(body);
                if (rc == TN_EEXISTS) {
                    tn_error_clear(err);
                    rc = TN_OK;
                }
                n++;
            }
        }
        lease_view_clear(&v);
    }
    lease_free(l);
    if (rc >= 0 && n == 0)
        return tn_error_set(err, TN_ENOTFOUND, "nobody holds the lease");
    return rc;
}

int tn_lease_ask_abort(struct tn_session *s, struct tn_error **err)
{
    return for_each_held(s, NULL, "abort", err);
}

int tn_lease_break(struct tn_session *s, const char *rollout, struct tn_error **err)
{
    return for_each_held(s, rollout, "free", err);
}
