/* Verbs that look. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "turnout/buf.h"
#include "turnout/cancel.h"
#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"

enum { STATUS_BYTES = 1 << 20, WAIT_LOOK = 500 };

static const char *text_of(const json_t *j, const char *key)
{
    const char *t = json_string_value(json_object_get(j, key));
    return t ? t : "";
}

static long long int_of(const json_t *j, const char *key)
{
    return (long long)json_integer_value(json_object_get(j, key));
}

static bool good_state(const char *state)
{
    return strcmp(state, "serving") == 0 || strcmp(state, "running") == 0;
}

static void add_instance(struct tn_buf *b, const json_t *i, bool color)
{
    char age[32] = "";
    const char *state = text_of(i, "state");
    int64_t started = json_integer_value(json_object_get(i, "started_at"));
    if (started > 0)
        tn_format_age(tn_wall_ms() - started, age, sizeof(age));
    tn_autofree char *name = cli_clean(text_of(i, "name")), *host = cli_clean(text_of(i, "host")),
                     *detail = cli_clean(text_of(i, "detail"));
    bool good = good_state(state);
    tn_buf_printf(b, "  %s%s%s %-28s %-10s %-12s %-16s %8s  %s\n",
                  cli_paint(color, good ? CLI_GREEN : CLI_RED), cli_sign(good ? SIGN_OK : SIGN_WARNING),
                  cli_paint(color, "0"), name, host, text_of(i, "revision"), state, age, detail);
}

char *cli_status_text(const json_t *status, const struct cli_options *o, size_t width)
{
    (void)width;
    tn_autobuf b = TN_BUF_INIT(STATUS_BYTES);
    bool color = cli_color_on(o, STDOUT_FILENO);
    const json_t *lease = json_object_get(status, "lease"), *one;
    size_t i, k;
    json_array_foreach(json_object_get(status, "placements"), i, one)
    {
        const json_t *inst;
        tn_buf_printf(&b, "%s%s %s%s   %s   %lld of %lld serve%s\n", cli_paint(color, CLI_BOLD),
                      text_of(status, "app"), text_of(one, "service"), cli_paint(color, "0"),
                      text_of(one, "cluster"), int_of(one, "serving"), int_of(one, "wanted"),
                      json_is_true(json_object_get(one, "in_plan")) ? "" : "   (not in the plan any more)");
        json_array_foreach(json_object_get(one, "instances"), k, inst)
        {
            add_instance(&b, inst, color);
        }
        if (json_object_get(one, "error")) {
            tn_autofree char *e = cli_clean(text_of(one, "error"));
            tn_buf_printf(&b, "  %s %s\n", cli_sign(SIGN_WARNING), e);
        }
    }
    json_array_foreach(json_object_get(status, "unreachable"), i, one)
    {
        tn_autofree char *e = cli_clean(text_of(one, "error"));
        tn_buf_printf(&b, "%s cluster '%s', host '%s' does not answer: what runs there is unknown (%s)\n",
                      cli_sign(SIGN_WARNING), text_of(one, "cluster"), text_of(one, "host"), e);
    }
    if (json_is_true(json_object_get(lease, "held")))
        tn_buf_printf(&b, "%s rollout %s is running: %s since %s\n", cli_sign(SIGN_RUNNING),
                      text_of(lease, "rollout"), text_of(lease, "holder"), text_of(lease, "since"));
    else if (json_is_object(json_object_get(lease, "unfinished")))
        tn_buf_printf(
            &b, "%s rollout %s was left unfinished (%s).  Next: turnout resume   (or: turnout rollback)\n",
            cli_sign(SIGN_PAUSED), text_of(lease, "rollout"), text_of(lease, "state"));
    return tn_buf_take(&b);
}

/* Everything that comes from the target passes the filter; the signs and colours are ours. */
static json_t *clean_texts(json_t *j)
{
    const char *key;
    json_t *value;
    size_t i;
    if (json_is_string(j)) {
        tn_autofree char *clean = cli_clean(json_string_value(j));
        json_string_set(j, clean);
    }
    void *next;
    json_object_foreach_safe(j, next, key, value)
    {
        clean_texts(value);
    }
    json_array_foreach(j, i, value)
    {
        clean_texts(value);
    }
    return j;
}

static int show_status(struct cli_context *c)
{
    struct tn_error *err = NULL;
    struct tn_selection sel = cli_selection(c->o, true);
    json_t *status = tn_session_status(c->session, &sel, &err);
    if (!status)
        return cli_fail(err);
    if (c->o->output == OUTPUT_JSON)
        return cli_print_json(status);
    tn_autofree char *text = cli_status_text(clean_texts(status), c->o, cli_width(STDOUT_FILENO));
    json_decref(status);
    if (c->o->watch && isatty(STDOUT_FILENO))
        fputs("\033[H\033[J", stdout);
    fputs(*text ? text : "nothing runs\n", stdout);
    fflush(stdout);
    return 0;
}

int cmd_status(const struct cli_options *o)
{
    struct cli_context c;
    int rc = cli_open(&c, o, false);
    if (rc)
        return rc;
    rc = cli_check_services(o, c.plan);
    int64_t every = o->interval > 0 ? o->interval : 1000;
    for (bool more = true; more && rc == 0;) {
        rc = show_status(&c);
        more = rc == 0 && o->watch && tn_cancel_level(c.cancel) == 0 &&
               tn_wait_fd(c.cancel, "the next look", -1, tn_mono_ms() + every, NULL) == 0 &&
               tn_cancel_level(c.cancel) == 0;
    }
    cli_close(&c);
    return rc;
}

static bool all_serve(const json_t *status)
{
    size_t i, k;
    const json_t *one, *inst, *lease = json_object_get(status, "lease");
    if (json_is_true(json_object_get(lease, "held")) ||
        json_is_object(json_object_get(lease, "unfinished")) ||
        json_array_size(json_object_get(status, "unreachable")) > 0)
        return false;
    json_array_foreach(json_object_get(status, "placements"), i, one)
    {
        if (int_of(one, "serving") != int_of(one, "wanted"))
            return false;
        json_array_foreach(json_object_get(one, "instances"), k, inst)
        {
            if (!good_state(text_of(inst, "state")))
                return false;
        }
    }
    return true;
}

int cmd_wait(const struct cli_options *o)
{
    struct cli_context c;
    int rc = cli_open(&c, o, false);
    if (rc)
        return rc;
    struct tn_selection sel = cli_selection(o, true);
    json_t *status = NULL;
    rc = cli_check_services(o, c.plan);
    for (bool done = false; !done && rc == 0;) {
        struct tn_error *err = NULL;
        json_decref(status);
        status = tn_session_status(c.session, &sel, &err);
        if (!status) {
            rc = cli_fail(err);
            break;
        }
        done = all_serve(status);
        if (!done && tn_wait_fd(c.cancel, "all instances to serve", -1, tn_mono_ms() + WAIT_LOOK, &err) < 0)
            rc = cli_fail(err);
        else if (!done && tn_cancel_level(c.cancel) > 0)
            rc = TN_EXIT_INT;
    }
    if (rc == 0 && o->output == OUTPUT_JSON)
        cli_print_json(json_incref(status));
    else if (rc == 0)
        puts("all serve");
    json_decref(status);
    cli_close(&c);
    return rc;
}

/* ---- logs, exec ---- */

static void print_log(void *arg, const char *instance, const char *text, size_t n)
{
    (void)arg;
    tn_autofree char *name = cli_clean(instance);
    printf("%s | ", name);
    cli_put(stdout, text, n);
    putchar('\n');
    fflush(stdout);
}

int cmd_logs(const struct cli_options *o)
{
    struct cli_context c;
    struct tn_error *err = NULL;
    int rc = cli_open(&c, o, false);
    if (rc)
        return rc;
    struct tn_selection sel = cli_selection(o, true);
    rc = cli_check_services(o, c.plan);
    if (rc == 0 &&
        tn_session_logs(c.session, &sel, o->instance, (int)o->tail, o->follow, print_log, NULL, &err) < 0)
        rc = cli_fail(err);
    cli_close(&c);
    return rc;
}

int cmd_exec(const struct cli_options *o)
{
    if (o->args.n < 2)
        return cli_usage("exec takes a service and a command: turnout exec web -- ls /");
    struct cli_context c;
    struct tn_error *err = NULL;
    int rc = cli_open(&c, o, false);
    if (rc)
        return rc;
    const char **argv = tn_alloc((o->args.n + 1) * sizeof(*argv));
    for (size_t i = 1; i < o->args.n; i++)
        argv[i - 1] = o->args.v[i];
    struct tn_selection sel = {.services = o->args.v, .n_services = 1};
    tn_autofree char *out = NULL, *errors = NULL;
    rc = tn_session_exec(c.session, &sel, o->instance, argv, &out, &errors, &err);
    if (rc < 0) {
        rc = cli_fail(err);
    } else {
        cli_put(stdout, out, strlen(out));
        cli_put(stderr, errors, strlen(errors));
    }
    free(argv);
    cli_close(&c);
    return rc;
}

/* ---- looking back ---- */

/* The plan's application when there is a plan; all of them otherwise. */
static void which_app(const struct cli_options *o, struct tn_plan **plan)
{
    *plan = NULL;
    if (o->files.n > 0 || access("turnout.yaml", R_OK) == 0) {
        struct tn_plan_options po = cli_plan_options(o);
        struct tn_problems problems = {0};
        *plan = tn_plan_load(&po, &problems, NULL); /* without its variables it is not needed */
        tn_problems_clear(&problems);
    }
}

static char *state_of(const struct cli_options *o, const struct tn_plan *plan)
{
    const char *env = getenv("TURNOUT_STATE");
    return tn_strdup(o->state ? o->state : env && *env ? env : plan ? plan->state : NULL);
}

static void print_history_row(const json_t *r)
{
    size_t i;
    const json_t *p;
    printf("%-10s %.19s  %-9s %-12s %s\n", text_of(r, "id"), text_of(r, "began"), text_of(r, "action"),
           text_of(r, "state"), text_of(r, "actor"));
    json_array_foreach(json_object_get(r, "placements"), i, p)
    {
        const char *from = text_of(p, "from_revision"), *to = text_of(p, "revision");
        bool back = strcmp(text_of(r, "action"), "rollback") == 0;
        printf("           %s@%s  %s %s %s\n", text_of(p, "service"), text_of(p, "cluster"),
               *from ? from : "nothing", back ? "<-" : "->", *to ? to : "nothing");
    }
}

static int verify_history(const char *state)
{
    struct tn_error *err = NULL;
    int64_t n = 0;
    if (tn_history_verify(state, &n, &err) < 0)
        return cli_fail(err);
    printf("journal is whole: %lld records\n", (long long)n);
    return 0;
}

int cmd_history(const struct cli_options *o)
{
    struct tn_plan *plan = NULL;
    struct tn_error *err = NULL;
    which_app(o, &plan);
    tn_autofree char *state = state_of(o, plan);
    int rc = 0;
    json_t *rows = o->verify ? NULL
                             : tn_history(state, plan ? plan->name : NULL, plan ? plan->environment : NULL,
                                          (int)o->limit, &err);
    if (o->verify) {
        rc = verify_history(state);
    } else if (!rows) {
        rc = cli_fail(err);
    } else if (o->output == OUTPUT_JSON) {
        cli_print_json(json_incref(rows));
    } else {
        size_t i;
        json_t *r;
        json_array_foreach(rows, i, r)
        {
            print_history_row(r);
        }
    }
    json_decref(rows);
    tn_plan_free(plan);
    return rc;
}

static void print_effect(const json_t *e)
{
    tn_autofree char *detail = json_object_get(e, "detail")
                                   ? json_dumps(json_object_get(e, "detail"), JSON_COMPACT | JSON_ENCODE_ANY)
                                   : NULL;
    tn_autofree char *clean = cli_clean(detail);
    if (strcmp(text_of(e, "phase"), "memo") != 0)
        printf("  %.23s  %-22s %4lld  %-8s %-8s %s %s\n", text_of(e, "at"), text_of(e, "placement"),
               int_of(e, "number"), text_of(e, "phase"), text_of(e, "move"), text_of(e, "instance"),
               detail && strcmp(detail, "null") != 0 ? clean : "");
}

int cmd_show(const struct cli_options *o)
{
    if (o->args.n != 1)
        return cli_usage("show takes one rollout; see: turnout history");
    struct tn_plan *plan = NULL;
    struct tn_error *err = NULL;
    which_app(o, &plan);
    tn_autofree char *state = state_of(o, plan);
    json_t *r = tn_history_show(state, o->args.v[0], &err);
    tn_plan_free(plan);
    if (!r)
        return cli_fail(err);
    if (o->output == OUTPUT_JSON)
        return cli_print_json(r);
    size_t i;
    json_t *e;
    print_history_row(r);
    tn_autofree char *cause = cli_clean(text_of(json_object_get(r, "result"), "cause"));
    if (*cause)
        printf("  cause: %s\n", cause);
    json_array_foreach(json_object_get(r, "effects"), i, e)
    {
        print_effect(e);
    }
    json_decref(r);
    return 0;
}

static void print_event(void *arg, int64_t sequence, const char *line)
{
    (void)arg;
    (void)sequence;
    puts(line);
}

int cmd_events(const struct cli_options *o)
{
    struct tn_plan *plan = NULL;
    struct tn_error *err = NULL;
    which_app(o, &plan);
    tn_autofree char *state = state_of(o, plan);
    tn_autofree char *id = NULL;
    if (o->args.n) {
        id = tn_strdup(o->args.v[0]);
    } else {
        json_t *rows = tn_history(state, plan ? plan->name : NULL, plan ? plan->environment : NULL, 1, &err);
        id = rows && json_array_size(rows) ? tn_strdup(text_of(json_array_get(rows, 0), "id")) : NULL;
        json_decref(rows);
    }
    tn_plan_free(plan);
    if (!id)
        return err ? cli_fail(err) : cli_usage("there is no rollout yet");
    return tn_history_events(state, id, 0, print_event, NULL, &err) < 0 ? cli_fail(err) : 0;
}

/* ---- upkeep ---- */

static void print_lease(const json_t *j)
{
    if (json_is_true(json_object_get(j, "held")))
        printf("held by %s since %s for rollout %s (process %lld, on '%s')\n", text_of(j, "holder"),
               text_of(j, "since"), text_of(j, "rollout"), int_of(j, "pid"), text_of(j, "on"));
    else if (json_is_object(json_object_get(j, "unfinished")))
        printf("free; rollout %s was left unfinished (%s).  Next: turnout resume   (or: turnout rollback)\n",
               text_of(j, "rollout"), text_of(j, "state"));
    else
        puts("free");
}

int cmd_lease(const struct cli_options *o)
{
    bool release = o->args.n > 0 && strcmp(o->args.v[0], "release") == 0;
    if (o->args.n > 0 && !release && strcmp(o->args.v[0], "status") != 0)
        return cli_usage("lease takes status or release, not '%s'", o->args.v[0]);
    if (release && o->args.n != 2)
        return cli_usage("lease release takes the holder's rollout; see: turnout lease");
    struct cli_context c;
    struct tn_error *err = NULL;
    int rc = cli_open(&c, o, false);
    if (rc)
        return rc;
    if (release) {
        int go = cli_confirm(o, "Its holder may still be at work. Take the lease away from it?");
        rc = go < 0                                                        ? TN_EXIT_USAGE
             : go == 0                                                     ? TN_EXIT_ERROR
             : tn_session_lease_release(c.session, o->args.v[1], &err) < 0 ? cli_fail(err)
                                                                           : 0;
        if (rc == 0)
            puts("released");
    } else {
        json_t *j = tn_session_lease(c.session, &err);
        if (!j)
            rc = cli_fail(err);
        else if (o->output == OUTPUT_JSON)
            cli_print_json(json_incref(j));
        else
            print_lease(clean_texts(j));
        json_decref(j);
    }
    cli_close(&c);
    return rc;
}

int cmd_prune(const struct cli_options *o)
{
    struct cli_context c;
    struct tn_error *err = NULL;
    int rc = cli_open(&c, o, false);
    if (rc)
        return rc;
    int go = o->dry_run ? 1 : cli_confirm(o, "Remove what is not kept?");
    json_t *j = go == 1 ? tn_session_prune(c.session, o->dry_run, &err) : NULL;
    if (go != 1) {
        rc = go < 0 ? TN_EXIT_USAGE : TN_EXIT_ERROR;
    } else if (!j) {
        rc = cli_fail(err);
    } else if (o->output == OUTPUT_JSON) {
        cli_print_json(json_incref(j));
    } else {
        size_t i;
        json_t *one;
        json_array_foreach(json_object_get(j, "removed"), i, one)
        {
            printf("%s %s %s\n", text_of(one, "kind"), text_of(one, "service"),
                   *text_of(one, "name") ? text_of(one, "name") : text_of(one, "revision"));
        }
        printf("%zu %s\n", json_array_size(json_object_get(j, "removed")),
               o->dry_run ? "would be removed" : "removed");
    }
    json_decref(j);
    cli_close(&c);
    return rc;
}
