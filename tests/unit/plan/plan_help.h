/* Helpers of the plan's tests: plans as texts in a fresh folder, problems looked up by place. */
#ifndef TEST_PLAN_HELP_H
#define TEST_PLAN_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "turnout/plan.h"

/* Three lines that every plan needs; what a test adds begins on line 4. */
#define HEAD "turnout: 1\nname: shop\nclusters: { c: { docker: {} }, p: { process: { dir: ./run } } }\n"
/* A service that is fine: lines 4 to 8. */
#define WEB                                                                                                  \
    "services:\n"                                                                                            \
    "  web:\n"                                                                                               \
    "    image: shop/web:1\n"                                                                                \
    "    clusters: [c]\n"                                                                                    \
    "    ports: [{ name: http, container: 8080 }]\n"

int plan_enter_folder(void **state); /* group setup: a fresh folder is the working folder */
int plan_leave_folder(void **state); /* removes it */
void plan_write(const char *path, const char *text);

/* Loads turnout.yaml with this text. NULL when it has errors; *problems is filled either way. */
struct tn_plan *plan_load(const char *text, struct tn_problems *problems);
struct tn_plan *plan_load_with(const struct tn_plan_options *o, struct tn_problems *problems);
/* Fails the test with all problems unless the plan loads. */
struct tn_plan *plan_load_good(const char *text);
/* "line:col message" of an error or warning whose message holds `part`; NULL when there is none. */
const struct tn_problem *plan_find_problem(const struct tn_problems *p, const char *part);
/* Exactly one error or warning with `part` at line:col (line 0 = no line). */
extern int plan_failures;
void plan_expect(const char *name, const struct tn_problems *p, int line, int column, const char *part);

#endif
