#include "lib/rollout/lease_private.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/fs.h"
#include "lib/base/hash.h"
#include "turnout/json.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/rollout/session.h"

static void lease_key(const struct tn_session *s, char out[13])
{
    tn_autofree char *id = tn_format("%s\n%s", s->plan->name, s->plan->environment);
    char hex[TN_SHA256_HEX];
    tn_sha256_hex(id, strlen(id), hex);
    memcpy(out, hex, 12);
    out[12] = 0;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct seat *)a)->id, ((const struct seat *)b)->id);
}

struct tn_lease *lease_new(struct tn_session *s)
{
    struct tn_lease *l = tn_alloc(sizeof(*l));
    l->s = s;
    l->ttl = s->plan->policy.lease_ttl;
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    lease_key(s, l->key);
    tn_random_hex(l->holder, 16);
    size_t cap = 0;
    for (size_t i = 0; i < s->plan->n_clusters; i++) {
        struct tn_site *site = &s->sites[i];
        for (size_t h = 0; h < site->provider->n_hosts; h++) {
            TN_GROW(l->seats, l->n, cap);
            l->seats[l->n++] = (struct seat){.site = site, .host = h, .id = site->provider->host_ids[h]};
        }
    }
    if (l->n)
        qsort(l->seats, l->n, sizeof(*l->seats), by_id);
    size_t kept = 0; /* two clusters on one engine share its seat */
    for (size_t i = 0; i < l->n; i++)
        if (kept == 0 || strcmp(l->seats[kept - 1].id, l->seats[i].id) != 0)
            l->seats[kept++] = l->seats[i];
    l->n = kept;
    return l;
}

void lease_free(struct tn_lease *l)
{
    close(l->wake);
    free(l->seats);
    free(l->rollout);
    free(l);
}

struct tn_provider *lease_provider_of(const struct seat *seat)
{
    return seat->site->provider;
}

static void read_doc(struct seat_view *v, const char *rest, json_t *body)
{
    int64_t epoch = 0, beat = 0;
    int used = 0;
    if (sscanf(rest, "%" SCNd64 "%n", &epoch, &used) != 1 || epoch < v->epoch)
        return;
    if (epoch > v->epoch) {
        v->epoch = epoch;
        v->claim = v->free = NULL;
        v->beat = 0;
        v->abort = v->turned = false;
    }
    rest += used;
    if (*rest == 0)
        v->claim = body;
    else if (strcmp(rest, "-free") == 0)
        v->free = body;
    else if (strcmp(rest, "-abort") == 0)
        v->abort = true;
    else if (strcmp(rest, "-turned") == 0)
        v->turned = true;
    else if (sscanf(rest, "-beat-%" SCNd64, &beat) == 1 && beat > v->beat)
        v->beat = beat;
}

int lease_look_at(const struct tn_lease *l, const struct seat *seat, struct seat_view *v,
                  struct tn_error **err)
{
    tn_autofree char *prefix = tn_format("lease-%s-", l->key);
    struct tn_provider *p = lease_provider_of(seat);
    int rc = p->ops->doc_list(p, l->s->cancel, seat->host, prefix, &v->docs, err);
    if (rc < 0)
        return tn_error_prefix(err, "lease on '%s'", p->host_names[seat->host]);
    for (size_t i = 0; i < v->docs.n; i++)
        read_doc(v, v->docs.v[i].name + strlen(prefix), v->docs.v[i].body);
    return TN_OK;
}

void lease_view_clear(struct seat_view *v)
{
    tn_docs_clear(&v->docs);
    memset(v, 0, sizeof(*v));
}

static char *this_boot(void)
{
    char *id = tn_fs_read("/proc/sys/kernel/random/boot_id", 64, NULL, NULL);
    char ns[64] = "";
    ssize_t n = readlink("/proc/self/ns/pid", ns, sizeof(ns) - 1);
    char *joined = tn_format("%.36s %.*s", id ? id : "?", n > 0 ? (int)n : 0, ns);
    free(id);
    return joined;
}

/* A pid that was given to another process since has another start time. */
static int64_t start_time_of(int64_t pid)
{
    tn_autofree char *path = tn_format("/proc/%" PRId64 "/stat", pid);
    tn_autofree char *stat = tn_fs_read(path, 4096, NULL, NULL);
    const char *p = stat ? strrchr(stat, ')') : NULL;
    long long start = 0;
    if (!p ||
        sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lld",
               &start) != 1)
        return -1;
    return start;
}

bool lease_holder_is_dead_here(const json_t *claim)
{
    tn_autofree char *boot = this_boot();
    const char *theirs = json_string_value(json_object_get(claim, "boot"));
    if (!theirs || strcmp(theirs, boot) != 0)
        return false;
    int64_t pid = json_integer_value(json_object_get(claim, "pid"));
    return start_time_of(pid) != json_integer_value(json_object_get(claim, "start_time"));
}

bool lease_holder_lives_here(const json_t *claim)
{
    tn_autofree char *boot = this_boot();
    const char *theirs = json_string_value(json_object_get(claim, "boot"));
    return theirs && strcmp(theirs, boot) == 0 && !lease_holder_is_dead_here(claim);
}

const char *lease_text_of(const json_t *j, const char *key)
{
    const char *t = json_string_value(json_object_get(j, key));
    return t ? t : "?";
}

int lease_held(const struct seat *seat, const json_t *claim, struct tn_error **err)
{
    tn_error_set(err, TN_EHELD,
                 "the lease is held by %s (process %" PRId64 ") since %s for rollout %s, on '%s'",
                 lease_text_of(claim, "holder_name"),
                 (int64_t)json_integer_value(json_object_get(claim, "pid")), lease_text_of(claim, "since"),
                 lease_text_of(claim, "rollout"), lease_provider_of(seat)->host_names[seat->host]);
    return tn_error_hint(
        err, "wait for it with --lease-wait=10m, or look: turnout lease; when its holder is dead, its "
             "lease expires by itself and the next deploy or resume takes over");
}

bool lease_is_free(const struct seat_view *v)
{
    return v->epoch == 0 || !v->claim || v->free || lease_holder_is_dead_here(v->claim);
}

/* True when nothing moved for the whole TTL. */
bool lease_watch_says_dead(const struct tn_lease *l, struct watch *w, const struct seat_view *v)
{
    int64_t now = tn_mono_ms();
    if (v->epoch != w->epoch || v->beat != w->beat) {
        w->alive = w->epoch >= 0;
        w->changed = now;
        w->epoch = v->epoch;
        w->beat = v->beat;
    }
    return now - w->changed >= l->ttl;
}

int tn_lease_pause(const struct tn_session *s, const char *what, int64_t ms, struct tn_error **err)
{
    int rc = tn_wait_fd(s->cancel, what, -1, tn_mono_ms() + ms, err);
    if (rc >= 0 && tn_cancel_level(s->cancel) >= 1)
        return tn_error_set(err, TN_ECANCELLED, "interrupted while waiting for %s", what);
    return rc;
}

/* Watches a claim: TN_OK = free or dead, TN_EHELD = its holder lives and the wait is over. */
static int wait_until_free(struct tn_lease *l, const struct seat *seat, int64_t give_up, struct seat_view *v,
                           struct tn_error **err)
{
    struct watch w = {.epoch = -1, .beat = -1, .changed = tn_mono_ms()};
    for (;;) {
        lease_view_clear(v);
        int rc = lease_look_at(l, seat, v, err);
        if (rc < 0 || lease_is_free(v) || lease_watch_says_dead(l, &w, v))
            return rc;
        int64_t now = tn_mono_ms();
        if (now >= give_up && (w.alive || lease_holder_lives_here(v->claim)))
            return lease_held(seat, v->claim, err);
        rc = tn_lease_pause(l->s, "the lease", l->ttl < 2000 ? l->ttl / 8 + 10 : 250, err);
        if (rc < 0)
            return rc;
    }
}

static json_t *claim_body(const struct tn_lease *l, const json_t *goal)
{
    char since[32];
    tn_autofree char *boot = this_boot();
    return json_pack("{s:s,s:o,s:I,s:I,s:s,s:s,s:s,s:I,s:O*}", "holder", l->holder, "holder_name",
                     tn_json_text(l->s->actor), "pid", (json_int_t)getpid(), "start_time",
                     (json_int_t)start_time_of(getpid()), "boot", boot, "since",
                     tn_format_time(tn_wall_ms(), since, sizeof(since)), "rollout", l->rollout, "ttl_ms",
                     (json_int_t)l->ttl, "goal", goal);
}

static void remove_old(struct tn_lease *l, const struct seat *seat, const struct seat_view *v, int64_t below)
{
    struct tn_provider *p = lease_provider_of(seat);
    tn_autofree char *prefix = tn_format("lease-%s-", l->key);
    for (size_t i = 0; i < v->docs.n; i++)
        if (strtoll(v->docs.v[i].name + strlen(prefix), NULL, 10) < below)
            p->ops->doc_remove(p, l->s->cancel, seat->host, v->docs.v[i].name, NULL);
}

/* The unfinished goal that a claim or its end tells of. */
json_t *lease_left_unfinished(const struct seat_view *v)
{
    json_t *goal = json_object_get(v->free ? v->free : v->claim, v->free ? "unfinished" : "goal");
    if (!json_is_object(goal))
        return NULL;
    json_t *copy = json_copy(goal), *id = json_object_get(v->free ? v->free : v->claim, "rollout");
    if (id && !json_object_get(copy, "rollout"))
        json_object_set(copy, "rollout", id); /* whose goal it is, whoever hands it on */
    if (v->turned)
        json_object_set_new(copy, "turned", json_true());
    return copy;
}

static int take_seat(struct tn_lease *l, struct seat *seat, const json_t *goal, int64_t give_up,
                     json_t **prior, struct tn_error **err)
{
    struct tn_provider *p = lease_provider_of(seat);
    for (;;) {
        struct seat_view v = {0};
        int rc = wait_until_free(l, seat, give_up, &v, err);
        if (rc < 0) {
            lease_view_clear(&v);
            return rc;
        }
        tn_autofree char *name = tn_format("lease-%s-%08" PRId64, l->key, v.epoch + 1);
        json_t *body = claim_body(l, goal), *existing = NULL;
        rc = p->ops->doc_create(p, l->s->cancel, seat->host, name, body, &existing, err);
        json_decref(body);
        json_decref(existing);
        if (rc >= 0) {
            seat->epoch = v.epoch + 1;
            if (!*prior)
                *prior = lease_left_unfinished(&v);
            if (v.claim && !v.free)
                tn_session_tell(l->s, TN_EV_LEASE, NULL, NULL,
                                "taken over from %s, whose run of %s ended without a word",
                                lease_text_of(v.claim, "holder_name"), lease_text_of(v.claim, "rollout"));
            remove_old(l, seat, &v, seat->epoch);
        }
        lease_view_clear(&v);
        if (rc != TN_EEXISTS)
            return rc < 0 ? tn_error_prefix(err, "lease on '%s'", p->host_names[seat->host]) : rc;
        tn_error_clear(err); /* somebody was first: look again */
    }
}

/* Nothing is left to be told of: everything of ours goes, the claim last; with it the lease is free. */
static void forget_seat(struct tn_lease *l, struct seat *seat)
{
    struct tn_provider *p = lease_provider_of(seat);
    struct seat_view v = {0};
    tn_autofree char *claim = tn_format("lease-%s-%08" PRId64, l->key, seat->epoch);
    if (lease_look_at(l, seat, &v, NULL) >= 0 && v.epoch == seat->epoch)
        for (size_t i = 0; i < v.docs.n; i++)
            if (strcmp(v.docs.v[i].name, claim) != 0)
                p->ops->doc_remove(p, l->s->cancel, seat->host, v.docs.v[i].name, NULL);
    if (v.epoch == seat->epoch)
        p->ops->doc_remove(p, l->s->cancel, seat->host, claim, NULL);
    lease_view_clear(&v);
    seat->epoch = 0;
}

static void release_seats(struct tn_lease *l, const char *state, const json_t *unfinished)
{
    for (size_t i = 0; i < l->n; i++) {
        struct seat *seat = &l->seats[i];
        struct tn_provider *p = lease_provider_of(seat);
        if (!seat->epoch)
            continue;
        if (!state) {
            forget_seat(l, seat);
            continue;
        }
        tn_autofree char *name = tn_format("lease-%s-%08" PRId64 "-free", l->key, seat->epoch);
        json_t *body =
            json_pack("{s:s,s:s*,s:O?}", "state", state, "rollout", l->rollout, "unfinished", unfinished);
        json_t *existing = NULL;
        p->ops->doc_create(p, l->s->cancel, seat->host, name, body, &existing, NULL);
        json_decref(body);
        json_decref(existing);
        tn_autofree char *beat =
            tn_format("lease-%s-%08" PRId64 "-beat-%" PRId64, l->key, seat->epoch, seat->beat);
        if (seat->beat)
            p->ops->doc_remove(p, l->s->cancel, seat->host, beat, NULL);
        seat->epoch = 0;
    }
}

/* One beat on one engine; false when the lease is not ours there any more. */
static bool beat_once(struct tn_lease *l, struct seat *seat, bool *answered)
{
    struct tn_provider *p = lease_provider_of(seat);
    struct seat_view v = {0};
    bool ours = true;
    *answered = lease_look_at(l, seat, &v, NULL) >= 0;
    if (*answered) {
        ours = v.epoch == seat->epoch && v.claim && !v.free &&
               strcmp(lease_text_of(v.claim, "holder"), l->holder) == 0;
        if (v.abort)
            l->abort_asked = true;
    }
    if (*answered && ours) {
        json_t *body = json_object(), *existing = NULL;
        tn_autofree char *next =
            tn_format("lease-%s-%08" PRId64 "-beat-%" PRId64, l->key, seat->epoch, seat->beat + 1);
        tn_autofree char *old =
            tn_format("lease-%s-%08" PRId64 "-beat-%" PRId64, l->key, seat->epoch, seat->beat);
        if (p->ops->doc_create(p, l->s->cancel, seat->host, next, body, &existing, NULL) >= 0) {
            if (seat->beat)
                p->ops->doc_remove(p, l->s->cancel, seat->host, old, NULL);
            seat->beat++;
        }
        json_decref(existing);
        json_decref(body);
    }
    lease_view_clear(&v);
    return ours;
}

static void *beat_thread(void *arg)
{
    struct tn_lease *l = arg;
    int64_t every = l->ttl / 4 < 20 ? 20 : l->ttl / 4;
    struct tn_cancel *never =
        tn_cancel_new(); /* a run that was told to stop still works, and needs its beats */
    while (tn_wait_fd(never, "the next beat of the lease", l->wake, tn_mono_ms() + every, NULL) == 0) {
        bool all = true;
        int64_t began = tn_mono_ms();
        for (size_t i = 0; i < l->n; i++) {
            bool answered;
            if (!beat_once(l, &l->seats[i], &answered))
                l->lost = true;
            all = all && answered;
        }
        if (all && !l->lost)
            l->verified = began;
    }
    tn_cancel_free(never);
    return NULL;
}

struct tn_lease *tn_lease_take(struct tn_session *s, const char *rollout, const json_t *goal, int64_t wait_ms,
                               json_t **prior, struct tn_error **err)
{
    struct tn_lease *l = lease_new(s);
    l->rollout = tn_strdup(rollout);
    int64_t give_up = tn_mono_ms() + wait_ms;
    *prior = NULL;
    for (size_t i = 0; i < l->n; i++) {
        if (take_seat(l, &l->seats[i], goal, give_up, prior, err) >= 0)
            continue;
        release_seats(l, "not taken", *prior);
        json_decref(*prior);
        *prior = NULL;
        lease_free(l);
        return NULL;
    }
    l->verified = tn_mono_ms();
    l->beating = pthread_create(&l->thread, NULL, beat_thread, l) == 0;
    return l;
}

void tn_lease_end(struct tn_lease *l, const char *state, const json_t *unfinished)
{
    ssize_t n = write(l->wake, &(uint64_t){1}, sizeof(uint64_t));
    (void)n;
    if (l->beating)
        pthread_join(l->thread, NULL);
    if (!l->lost)
        release_seats(l, state, unfinished);
    lease_free(l);
}

int tn_lease_check(struct tn_lease *l, struct tn_error **err)
{
    if (!l->lost && tn_mono_ms() - l->verified < l->ttl)
        return TN_OK;
    tn_error_set(err, TN_ELOST, "the lease of rollout %s is not ours any more: %s", l->rollout,
                 l->lost ? "another run took it over" : "its engine did not answer for the whole TTL");
    return tn_error_hint(err, "nothing more was changed; look: turnout status; finish: turnout resume");
}

void tn_lease_turn(struct tn_lease *l)
{
    for (size_t i = 0; i < l->n; i++) {
        struct tn_provider *p = lease_provider_of(&l->seats[i]);
        tn_autofree char *name = tn_format("lease-%s-%08" PRId64 "-turned", l->key, l->seats[i].epoch);
        json_t *body = json_object(), *existing = NULL;
        p->ops->doc_create(p, l->s->cancel, l->seats[i].host, name, body, &existing, NULL);
        json_decref(existing);
        json_decref(body);
    }
}

bool tn_lease_abort_asked(struct tn_lease *l)
{
    return l && l->abort_asked;
}
