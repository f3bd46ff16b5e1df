/* world.h - the JSON file behind the fake back-ends: one world that several processes see and that outlives kill -9.
 *
 * Every call of a slot is tn_fake_enter … tn_fake_leave: the file is read under a lock beside it, and replaced
 * atomically at the end. The file is also the script:
 *
 *   "counters": {SLOT: calls so far}
 *   "script": {
 *     SLOT: {"latency_ms": N or {KEY: N}, "fail": FAULT or {KEY: FAULT}, "then": {…}},
 *     "kill_at": {"effect": SLOT, "point": "before"|"after", "n": N, "signal": S} or a list of such
 *   }
 *
 * A KEY is a glob over service, revision, version (the instance's env VERSION), service@version, or the instance.
 * A FAULT is a message, or {"message", "hint", "code" (as tn_code_name; failed), "times" (counts down), "done": true
 * (the effect happens and its answer is lost)}. "then" goes into the script, once, with the first call that had its
 * effect. kill_at sends the process itself S (9) at its N-th call of that slot.
 */
#ifndef TN_BASE_FAKE_WORLD_H
#define TN_BASE_FAKE_WORLD_H

#include <jansson.h>
#include <stdbool.h>

#include "turnout/cancel.h"
#include "turnout/error.h"

/* What a call is about; NULL = nothing. */
struct tn_fake_keys {
    const char *service, *revision, *version, *instance;
};
struct tn_fake_call {
    const char *path, *slot;
    struct tn_fake_keys keys;
    json_t *world, *script; /* script: of the whole world, never NULL; borrowed from world */
    int lock;
    json_int_t n;
    struct tn_error *late; /* the answer that is lost */
};

/* Counts the call, waits the scripted time, fails as scripted: then nothing is held. An absent file is an empty world. */
int tn_fake_enter(struct tn_fake_call *k, const char *path, const char *slot, const struct tn_fake_keys *keys,
                  struct tn_cancel *c, struct tn_error **err);
/* Writes the world and ends the call with `rc`, or with the answer that is lost. */
int tn_fake_leave(struct tn_fake_call *k, int rc, struct tn_error **err);
/* The value of the first KEY that fits; what is no object fits all. NULL = none. Borrowed. */
json_t *tn_fake_pick(json_t *map, const struct tn_fake_keys *keys);
/* The object `name` in `in`, made when it is missing. Borrowed. */
json_t *tn_fake_object(json_t *in, const char *name);
/* One more line in "log": what was changed, in order. */
void tn_fake_note(struct tn_fake_call *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
