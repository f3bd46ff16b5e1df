#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "turnout/clock.h"
#include "turnout/mem.h"

static struct tn_cancel *signal_cancel; /* what a signal raises */
static atomic_int signal_level, signal_number;
static bool signal_leaves; /* a verb that only looks has no safe point to reach */

static void on_signal(int number)
{
    static const char first[] = "\nturnout: stopping at the next safe point; press again to leave at once\n";
    int level = atomic_fetch_add(&signal_level, 1) + 1;
    atomic_store(&signal_number, number);
    if (level > 2)
        _exit(
            128 +
            number); /* something does not end by itself (a terminal that takes nothing); the journal is on disk */
    if (signal_leaves)
        level = 2;
    if (level == 1) {
        ssize_t n = write(STDERR_FILENO, first, sizeof(first) - 1);
        (void)n;
    }
    tn_cancel_raise(signal_cancel, level);
}

int cli_signal_seen(void)
{
    return atomic_load(&signal_number);
}

static void catch_signals(struct tn_cancel *c)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    signal_cancel = c;
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    for (size_t i = 0; i < TN_COUNT(numbers); i++)
        sigaction(numbers[i], &a, NULL);
}

/* Warnings are for those who look at the plan, not for every verb that reads it. */
static void tell_problems(const struct tn_problems *p, bool warnings)
{
    bool any = false;
    for (size_t i = 0; i < p->n; i++)
        any = any || !p->v[i].warning;
    if (p->n == 0 || (!any && !warnings))
        return;
    tn_autofree char *text = tn_problems_format(p), *clean = cli_clean(text);
    fputs(clean, stderr);
    if (*clean && clean[strlen(clean) - 1] != '\n')
        fputc('\n', stderr);
}

struct tn_plan_options cli_plan_options(const struct cli_options *o)
{
    return (struct tn_plan_options){
        .files = o->files.v,
        .n_files = o->files.n,
        .sets = o->sets.v,
        .n_sets = o->sets.n,
        .vars = o->vars.v,
        .n_vars = o->vars.n,
        .var_files = o->var_files.v,
        .n_var_files = o->var_files.n,
        .environment = o->environment,
    };
}

int cli_load_plan(const struct cli_options *o, const json_t *document, const char *dir, struct tn_plan **out)
{
    struct tn_plan_options po = cli_plan_options(o);
    po.document = document;
    po.document_dir = dir;
    struct tn_problems problems = {0};
    struct tn_error *err = NULL;
    *out = tn_plan_load(&po, &problems, &err);
    tell_problems(&problems, o->warnings);
    tn_problems_clear(&problems);
    return *out ? 0 : cli_fail(err);
}

static int open_session(struct cli_context *c, bool changing)
{
    struct tn_error *err = NULL;
    const char *no_exec = getenv("TURNOUT_NO_EXEC");
    if (c->o->no_exec)
        setenv("TURNOUT_NO_EXEC", "1", 1); /* whoever would start a program asks this, wherever it is */
    c->cancel = tn_cancel_new();
    signal_leaves = !changing;
    catch_signals(c->cancel);
    if (c->o->timeout >= 0)
        tn_cancel_set_deadline(c->cancel, tn_mono_ms() + c->o->timeout);
    c->sink = changing ? cli_sink_new(c->o, c->cancel) : NULL;
    struct tn_session_options so = {
        .plan = c->plan,
        .cancel = c->cancel,
        .state = c->o->state,
        .actor = c->o->actor,
        .read_only = !changing,
        .no_exec = c->o->no_exec || (no_exec && *no_exec && strcmp(no_exec, "0") != 0),
        .force = c->o->force,
        .sink = c->sink ? cli_sink_event : NULL,
        .sink_arg = c->sink,
    };
    c->session = tn_session_open(&so, &err);
    if (c->session)
        return 0;
    int rc = cli_fail(err);
    cli_close(c);
    return rc;
}

int cli_open(struct cli_context *c, const struct cli_options *o, bool changing)
{
    *c = (struct cli_context){.o = o};
    int rc = cli_load_plan(o, NULL, NULL, &c->plan);
    return rc ? rc : open_session(c, changing);
}

int cli_open_document(struct cli_context *c, const struct cli_options *o, const json_t *document,
                      const char *dir)
{
    *c = (struct cli_context){.o = o};
    int rc = cli_load_plan(o, document, dir, &c->plan);
    return rc ? rc : open_session(c, true);
}

void cli_close(struct cli_context *c)
{
    tn_session_free(c->session);
    if (c->sink)
        cli_sink_free(c->sink);
    tn_plan_free(c->plan);
    /* The token stays: a signal may still come. It lives as long as the process. */
}

struct tn_selection cli_selection(const struct cli_options *o, bool args_are_services)
{
    bool args = args_are_services && o->args.n > 0;
    return (struct tn_selection){
        .services = args ? o->args.v : o->services.v,
        .n_services = args ? o->args.n : o->services.n,
        .clusters = o->clusters.v,
        .n_clusters = o->clusters.n,
    };
}

int cli_check_services(const struct cli_options *o, const struct tn_plan *plan)
{
    const struct cli_list *lists[] = {&o->args, &o->services};
    for (size_t l = 0; l < TN_COUNT(lists); l++)
        for (size_t i = 0; i < lists[l]->n; i++)
            if (!strpbrk(lists[l]->v[i], "*?[") && !tn_plan_service(plan, lists[l]->v[i]))
                return cli_usage("the plan has no service '%s'", lists[l]->v[i]);
    return 0;
}

struct tn_deploy_options cli_deploy_options(const struct cli_options *o, bool args_are_services)
{
    return (struct tn_deploy_options){
        .selection = cli_selection(o, args_are_services),
        .dry_run = o->dry_run,
        .lease_wait = o->lease_wait,
    };
}
