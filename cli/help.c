#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "turnout/mem.h"
#include "turnout/text.h"

static const struct {
    int code;
    const char *meaning;
} exit_codes[] = {
    {TN_EXIT_OK, "done, or nothing to do"},
    {TN_EXIT_ERROR, "error, nothing changed"},
    {TN_EXIT_CHANGES, "changes present (only with --detailed-exitcode)"},
    {TN_EXIT_ROLLED_BACK, "failed and rolled back: the old version serves"},
    {TN_EXIT_AUTH, "authentication or rights"},
    {TN_EXIT_MIXED, "failed and mixed: someone must look"},
    {TN_EXIT_TIMEOUT, "timed out, or a hook's outcome is not known: resumable"},
    {TN_EXIT_HELD, "lease held by another, or lost"},
    {TN_EXIT_PAUSED, "waiting for approval, or paused"},
    {TN_EXIT_STALE, "the change set is stale"},
    {TN_EXIT_USAGE, "wrong usage"},
    {TN_EXIT_PLAN, "the plan is invalid"},
    {TN_EXIT_INT, "interrupted (SIGINT), state saved, resumable"},
    {TN_EXIT_TERM, "terminated (SIGTERM), state saved, resumable"},
};

static void print_flag(FILE *f, const struct cli_flag *flag)
{
    tn_autofree char *word =
        tn_format("%s--%s%s%s%s%s", flag->letter ? "" : "    ", flag->name, flag->optional ? "[" : "",
                  flag->argument ? (flag->optional ? "=" : " ") : "", flag->argument ? flag->argument : "",
                  flag->optional ? "]" : "");
    if (flag->letter)
        fprintf(f, "  -%c, %-24s %s", flag->letter, word, flag->doc);
    else
        fprintf(f, "  %-28s %s", word, flag->doc);
    if (flag->choices)
        fprintf(f, ": %s", flag->choices);
    fputc('\n', f);
}

void cli_help(FILE *f)
{
    const char *group = "";
    fputs("turnout moves running services from one version to the next without losing a request.\n\n"
          "usage: turnout VERB [FLAGS] [ARGUMENTS]\n",
          f);
    for (const struct cli_verb *v = cli_verbs; v->name; v++) {
        if (!v->run)
            continue;
        if (strcmp(group, v->group) != 0)
            fprintf(f, "\n%s\n", group = v->group);
        fprintf(f, "  %-12s %s%s%s%s\n", v->name, v->summary, v->alias ? " (also: " : "",
                v->alias ? v->alias : "", v->alias ? ")" : "");
    }
    fputs("\nA verb's flags: turnout help VERB. Exit codes: turnout help exit-codes. Keys of the plan: "
          "turnout explain.\n",
          f);
}

void cli_help_verb(FILE *f, const struct cli_verb *v)
{
    fprintf(f, "usage: turnout %s [FLAGS]%s%s\n\n%s\n\n", v->name, v->arguments[0] ? " " : "", v->arguments,
            v->summary);
    if (!v->run) {
        fputs("This verb is reserved: this build cannot do it yet.\n", f);
        return;
    }
    if (v->alias)
        fprintf(f, "also: turnout %s\n\n", v->alias);
    for (const struct cli_flag *flag = cli_flags; flag->name; flag++)
        if (flag->groups & (v->flags | FLAGS_COMMON))
            print_flag(f, flag);
}

int cli_help_topic(const char *topic)
{
    if (strcmp(topic, "exit-codes") == 0) {
        for (size_t i = 0; i < TN_COUNT(exit_codes); i++)
            printf("%4d  %s\n", exit_codes[i].code, exit_codes[i].meaning);
        return 0;
    }
    const struct cli_verb *v = cli_find_verb(topic);
    if (!v)
        return cli_usage("there is no help on '%s'; see: turnout help", topic);
    cli_help_verb(stdout, v);
    return 0;
}

int cmd_help(const struct cli_options *o)
{
    if (o->args.n > 0)
        return cli_help_topic(o->args.v[0]);
    cli_help(stdout);
    return 0;
}
