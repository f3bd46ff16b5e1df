/* lease_private.h - the documents of a lease, read; shared by who takes one and who only looks. */
#ifndef TN_ROLLOUT_LEASE_PRIVATE_H
#define TN_ROLLOUT_LEASE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib/rollout/lease.h"
#include "lib/rollout/session.h"

/* One engine that holds the lease. */
struct seat {
    struct tn_site *site;
    size_t host;
    const char *id;
    int64_t epoch; /* ours, 0 = not taken */
    int64_t beat;
};
struct tn_lease {
    struct tn_session *s;
    struct seat *seats;
    size_t n;
    char key[13];
    char holder[17];
    char *rollout;
    int64_t ttl;
    pthread_t thread;
    bool beating;
    int wake; /* eventfd: the lease ends */
    atomic_bool lost, abort_asked;
    atomic_llong verified; /* monotonic ms of the last look that showed it to be ours */
};

/* What the documents of one engine say. */
struct seat_view {
    int64_t epoch; /* highest claim, 0 = none */
    int64_t beat;
    json_t *claim, *free; /* borrowed from docs */
    bool abort, turned;
    struct tn_docs docs;
};

/* What was seen of a claim while it was watched. */
struct watch {
    int64_t epoch, beat, changed;
    bool alive;
};

struct tn_lease *lease_new(struct tn_session *s);
void lease_free(struct tn_lease *l);
struct tn_provider *lease_provider_of(const struct seat *seat);
int lease_look_at(const struct tn_lease *l, const struct seat *seat, struct seat_view *v,
                  struct tn_error **err);
void lease_view_clear(struct seat_view *v);
bool lease_holder_is_dead_here(const json_t *claim);
bool lease_holder_lives_here(const json_t *claim);
const char *lease_text_of(const json_t *j, const char *key);
int lease_held(const struct seat *seat, const json_t *claim, struct tn_error **err);
bool lease_is_free(const struct seat_view *v);
bool lease_watch_says_dead(const struct tn_lease *l, struct watch *w, const struct seat_view *v);
json_t *lease_left_unfinished(const struct seat_view *v);

#endif
