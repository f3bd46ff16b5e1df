/* turnout/event.h - what a run tells while it runs. One event a change; text, JSON lines and views are made of these.
 *
 * Schema of the JSON lines: version 1; fields are only ever added (docs/events.md).
 */
#ifndef TURNOUT_EVENT_H
#define TURNOUT_EVENT_H

#include <stdint.h>
#include <jansson.h>

enum { TN_EVENT_SCHEMA = 1 };

enum tn_event_kind {
    TN_EV_ROLLOUT,   /* a rollout began */
    TN_EV_LEASE,     /* taken, taken over, lost */
    TN_EV_RESOLVE,   /* image → digest, secret changed */
    TN_EV_PULL,      /* progress of an image */
    TN_EV_PLACEMENT, /* a placement began; it has a strategy and sizes */
    TN_EV_START,
    TN_EV_READY,
    TN_EV_ADMIT,
    TN_EV_SETTLE,
    TN_EV_DRAIN,
    TN_EV_STOP,
    TN_EV_FAILED, /* an instance or gate failed; data.cause, data.log */
    TN_EV_GATE,
    TN_EV_HOOK,
    TN_EV_WAIT, /* waits for something by name, until a deadline */
    TN_EV_WARNING,
    TN_EV_NOTE,
    TN_EV_TURN,   /* the rollout turns round: rolling back */
    TN_EV_PLACED, /* a placement reached its end state */
    TN_EV_DONE,   /* the rollout ended; data.state, data.exit_code */
    TN_EV_WORLD,  /* snapshot for views: data.instances; not stored */
};
struct tn_event {
    int64_t at; /* wall ms */
    enum tn_event_kind kind;
    const char *rollout, *service, *cluster, *instance; /* NULL when it does not concern one */
    const char *text;                                   /* one line for people, unfiltered */
    const json_t *data;                                 /* may be NULL */
};
const char *tn_event_name(enum tn_event_kind k);
/* One JSON object (new reference), all remote text as it is. */
json_t *tn_event_json(const struct tn_event *e);

/* Called by one thread at a time, in order. Must not call back into the run. */
typedef void (*tn_event_sink)(void *arg, const struct tn_event *e);

#endif
