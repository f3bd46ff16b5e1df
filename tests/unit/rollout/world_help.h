/* world_help.h - a plan on the fake cluster in a fresh folder, and sessions for it. */
#ifndef TN_TEST_WORLD_HELP_H
#define TN_TEST_WORLD_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/rollout/session.h"

/* Two services behind one balancer on one fake cluster; %s = the rollout's keys. */
#define SHOP(rollout)                                                                                        \
    "turnout: 1\n"                                                                                           \
    "name: shop\n"                                                                                           \
    "clusters: { c: { fake: { file: world.json } } }\n"                                                      \
    "balancers: { edge: { fake: { file: edge.json } } }\n"                                                   \
    "policy: { lease_ttl: 600ms }\n"                                                                         \
    "services:\n"                                                                                            \
    "  db:\n"                                                                                                \
    "    command: [./db]\n"                                                                                  \
    "    rollout: { strategy: rolling, max_surge: 1 }\n"                                                     \
    "    clusters: [c]\n"                                                                                    \
    "  web:\n"                                                                                               \
    "    command: [./server]\n"                                                                              \
    "    clusters: [c]\n"                                                                                    \
    "    replicas: 3\n"                                                                                      \
    "    depends_on: [db]\n"                                                                                 \
    "    ports: [{ name: http }]\n"                                                                          \
    "    expose: [{ balancer: edge, upstream: shop_web, port: http, drain: 4s }]\n"                          \
    "rollout: { " rollout " }\n"

int world_enter(void **state); /* a fresh folder is the working folder, the world is empty */
int world_leave(void **state);
/* Replaces the world's file; JSON with single quotes. */
void world_write(const char *json);
json_t *world_read(void);
void world_edit(void (*change)(json_t *world, void *arg), void *arg);
/* Replaces every `key` of the documents whose names begin with `prefix`. */
void world_edit_docs(const char *prefix, const char *key, json_t *value);
struct tn_plan *world_plan(const char *text);
/* A session of its own: token, http and store. `state` = its folder. */
struct tn_session *world_session(const struct tn_plan *plan, const char *state_dir);
void world_session_end(struct tn_session *s);
/* Text of the last event of a kind that the sessions told; "" when there was none. */
const char *world_told(enum tn_event_kind kind);
void pause_ms(int64_t ms);

#endif
