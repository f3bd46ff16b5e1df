/* Verbs that change something. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "turnout/fs.h"
#include "turnout/mem.h"
#include "turnout/text.h"

enum { MAX_CHANGESET = 16 << 20 };

static int save_changes(const struct cli_context *c, const struct tn_changes *changes, const char *path)
{
    struct tn_error *err = NULL;
    json_t *j = tn_changes_json(c->session, changes);
    tn_autofree char *text = json_dumps(j, JSON_INDENT(1) | JSON_SORT_KEYS);
    json_decref(j);
    if (tn_fs_write_atomic(path, text, strlen(text), 0600, &err) < 0)
        return cli_fail(err);
    fprintf(stderr, "saved; exactly this: turnout deploy %s\n", path);
    return 0;
}

int cmd_diff(const struct cli_options *given)
{
    struct cli_options with = *given, *o = &with;
    struct cli_context c;
    struct tn_error *err = NULL;
    with.warnings = true;
    int rc = cli_open(&c, o, false);
    if (rc)
        return rc;
    struct tn_selection sel = cli_selection(o, true);
    struct tn_changes *changes = tn_session_diff(c.session, &sel, &err);
    if (!changes) {
        rc = cli_fail(err);
    } else {
        if (o->output == OUTPUT_JSON)
            cli_print_json(tn_changes_report(changes));
        else
            cli_print_diff(stdout, c.plan, changes, cli_color_on(o, STDOUT_FILENO));
        rc = o->out ? save_changes(&c, changes, o->out) : 0;
        if (rc == 0 && o->detailed_exitcode && changes->any)
            rc = TN_EXIT_CHANGES;
    }
    tn_changes_free(changes);
    cli_close(&c);
    return rc;
}

/* Asks unless --yes; what leaves or shrinks by more than half is said in so many words. */
static int may_go_on(const struct cli_options *o, const struct cli_context *c,
                     const struct tn_changes *changes)
{
    if (!changes->any || o->dry_run || o->yes)
        return 1;
    cli_print_diff(stderr, c->plan, changes, cli_color_on(o, STDERR_FILENO));
    for (size_t i = 0; i < changes->n; i++) {
        const struct tn_change *one = &changes->v[i];
        if (one->action == TN_CHANGE_REMOVE || (one->running > 0 && one->to_count * 2 < one->running))
            fprintf(stderr, "%s '%s' goes from %d instances to %d.\n", cli_sign(SIGN_WARNING), one->service,
                    one->running, one->to_count);
    }
    return cli_confirm(o, "Deploy this?");
}

static int deploy_changes(struct cli_context *c, const json_t *changeset)
{
    struct tn_error *err = NULL;
    struct tn_deploy_options d = cli_deploy_options(c->o, changeset == NULL);
    d.changeset = changeset;
    struct tn_changes *changes = tn_session_diff(c->session, &d.selection, &err);
    if (!changes)
        return cli_fail(err);
    int go = may_go_on(c->o, c, changes), rc = go < 0 ? TN_EXIT_USAGE : TN_EXIT_ERROR;
    if (go == 1) {
        struct tn_outcome out = {0};
        if (c->o->dry_run && c->o->output == OUTPUT_TEXT)
            cli_print_diff(stdout, c->plan, changes, cli_color_on(c->o, STDOUT_FILENO));
        if (!changes->any && c->o->progress != PROGRESS_QUIET)
            cli_print_notes(stderr, changes);
        rc = tn_session_deploy(c->session, changes, &d, &out, &err);
        cli_sink_end(c->sink);
        rc = cli_print_outcome(c->o, &out, rc, err);
    } else if (go == 0) {
        fprintf(stderr, "nothing was changed\n");
    }
    tn_changes_free(changes);
    return rc;
}

static int deploy_file(const struct cli_options *o, const char *path)
{
    struct tn_error *err = NULL;
    size_t len = 0;
    tn_autofree char *text = tn_fs_read(path, MAX_CHANGESET, &len, &err);
    if (!text)
        return cli_fail(err);
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    const char *kind = json_string_value(json_object_get(j, "kind")),
               *dir = json_string_value(json_object_get(j, "dir"));
    int rc;
    if (!tn_streq(kind, "changeset") || !dir) {
        rc = cli_usage("'%s' is no change set; make one with: turnout diff --out FILE", path);
    } else {
        struct cli_context c;
        struct cli_options with = *o;
        with.environment = json_string_value(json_object_get(j, "environment"));
        with.args = (struct cli_list){0};
        rc = cli_open_document(&c, &with, json_object_get(j, "plan"), dir);
        if (rc == 0) {
            rc = deploy_changes(&c, j);
            cli_close(&c);
        }
    }
    json_decref(j);
    return rc;
}

int cmd_deploy(const struct cli_options *o)
{
    if (o->args.n == 1 && (strchr(o->args.v[0], '/') || strchr(o->args.v[0], '.')) &&
        access(o->args.v[0], F_OK) == 0)
        return deploy_file(o, o->args.v[0]);
    struct cli_context c;
    int rc = cli_open(&c, o, !o->dry_run);
    if (rc)
        return rc;
    rc = cli_check_services(o, c.plan);
    if (rc == 0)
        rc = deploy_changes(&c, NULL);
    cli_close(&c);
    return rc;
}

/* The verbs that need no diff: ask, call, print. */
static int act(const struct cli_options *o, const char *question, bool args_are_services,
               int (*call)(struct tn_session *, const struct cli_options *, const struct tn_deploy_options *,
                           struct tn_outcome *, struct tn_error **))
{
    struct cli_context c;
    int rc = cli_open(&c, o, !o->dry_run);
    if (rc)
        return rc;
    if (args_are_services && (rc = cli_check_services(o, c.plan)) != 0) {
        cli_close(&c);
        return rc;
    }
    int go = o->dry_run ? 1 : cli_confirm(o, question);
    if (go != 1) {
        cli_close(&c);
        return go < 0 ? TN_EXIT_USAGE : TN_EXIT_ERROR;
    }
    struct tn_outcome out = {0};
    struct tn_error *err = NULL;
    struct tn_deploy_options d = cli_deploy_options(o, args_are_services);
    rc = call(c.session, o, &d, &out, &err);
    cli_sink_end(c.sink);
    rc = cli_print_outcome(o, &out, rc, err);
    cli_close(&c);
    return rc;
}

static int call_rollback(struct tn_session *s, const struct cli_options *o, const struct tn_deploy_options *d,
                         struct tn_outcome *out, struct tn_error **err)
{
    return tn_session_rollback(s, o->to ? o->to : o->args.n ? o->args.v[0] : NULL, d, out, err);
}

static int call_resume(struct tn_session *s, const struct cli_options *o, const struct tn_deploy_options *d,
                       struct tn_outcome *out, struct tn_error **err)
{
    return tn_session_resume(s, o->args.n ? o->args.v[0] : NULL, o->hook, d, out, err);
}

static int call_restart(struct tn_session *s, const struct cli_options *o, const struct tn_deploy_options *d,
                        struct tn_outcome *out, struct tn_error **err)
{
    (void)o;
    return tn_session_restart(s, d, out, err);
}

static int call_destroy(struct tn_session *s, const struct cli_options *o, const struct tn_deploy_options *d,
                        struct tn_outcome *out, struct tn_error **err)
{
    (void)o;
    return tn_session_destroy(s, d, out, err);
}

static int call_abort(struct tn_session *s, const struct cli_options *o, const struct tn_deploy_options *d,
                      struct tn_outcome *out, struct tn_error **err)
{
    (void)o;
    return tn_session_abort(s, d, out, err);
}

int cmd_rollback(const struct cli_options *o)
{
    return act(o, "Go back to the revision before?", false, call_rollback);
}

int cmd_resume(const struct cli_options *o)
{
    if (o->hook && strcmp(o->hook, "rerun") != 0 && strcmp(o->hook, "skip") != 0)
        return cli_usage("--hook takes rerun or skip, not '%s'", o->hook);
    return act(o, "Finish the rollout that was left?", false, call_resume);
}

int cmd_restart(const struct cli_options *o)
{
    return act(o, "Replace all instances by new ones of the same revision?", true, call_restart);
}

int cmd_abort(const struct cli_options *o)
{
    return act(o, "Give up the running rollout and go back?", false, call_abort);
}

/* Severe: the name must be given, typed or with --confirm; --yes alone is enough only without a terminal. */
static int confirm_destroy(const struct cli_options *o, const struct tn_plan *plan)
{
    if (o->dry_run || (o->confirm && strcmp(o->confirm, plan->name) == 0))
        return 1;
    if (o->confirm)
        return cli_usage("--confirm '%s': the application's name is '%s'", o->confirm, plan->name), -1;
    if (o->yes)
        return 1;
    if (o->no_input || !isatty(STDIN_FILENO))
        return cli_usage("destroy needs --confirm %s (or --yes)", plan->name), -1;
    char line[256];
    fprintf(stderr, "This drains, stops and removes everything of '%s'%s%s. Type its name: ", plan->name,
            plan->environment[0] ? " in " : "", plan->environment);
    fflush(stderr);
    if (!fgets(line, sizeof(line), stdin))
        return 0;
    line[strcspn(line, "\r\n")] = 0;
    return strcmp(line, plan->name) == 0;
}

int cmd_destroy(const struct cli_options *o)
{
    struct tn_plan *plan = NULL;
    int rc = cli_load_plan(o, NULL, NULL, &plan);
    if (rc)
        return rc;
    int go = confirm_destroy(o, plan);
    tn_plan_free(plan);
    if (go != 1)
        return go < 0 ? TN_EXIT_USAGE : TN_EXIT_ERROR;
    struct cli_options sure = *o;
    sure.yes = true;
    return act(&sure, "Destroy?", false, call_destroy);
}
