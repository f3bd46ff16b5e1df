#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "turnout/mem.h"
#include "turnout/text.h"

enum { ROWS_SHOWN = 14 };

static const char *action_color(enum tn_change_action a)
{
    return a == TN_CHANGE_CREATE   ? CLI_GREEN
           : a == TN_CHANGE_REMOVE ? CLI_RED
           : a == TN_CHANGE_NONE   ? CLI_DIM
                                   : CLI_YELLOW;
}

static void print_fields(FILE *f, const struct tn_change *c, bool color)
{
    for (size_t i = 0; i < c->n_fields; i++) {
        tn_autofree char *from = cli_clean(c->fields[i].from), *to = cli_clean(c->fields[i].to);
        tn_autofree char *field = cli_clean(c->fields[i].field);
        const char *arrow = cli_utf8() ? "→" : "->";
        if (!c->fields[i].from)
            fprintf(f, "  %s+ %-12s %s%s\n", cli_paint(color, CLI_GREEN), field, to, cli_paint(color, "0"));
        else if (!c->fields[i].to)
            fprintf(f, "  %s- %-12s %s%s\n", cli_paint(color, CLI_RED), field, from, cli_paint(color, "0"));
        else
            fprintf(f, "  %s~ %-12s %s %s %s%s\n", cli_paint(color, CLI_YELLOW), field, from, arrow, to,
                    cli_paint(color, "0"));
    }
}

static void print_row(FILE *f, const char *label, const struct tn_timeline_row *r)
{
    fprintf(f, "  %-10s%3d %3d  %7d  %9.0f %%  %s\n", label, r->old_count, r->new_count, r->serving,
            r->new_traffic_permille / 10.0, r->text);
}

static void print_timeline(FILE *f, const struct tn_change *c)
{
    char expected[32];
    if (c->n_timeline == 0)
        return;
    fprintf(f, "timeline    old new  serving  traffic new\n");
    for (size_t i = 0; i < c->n_timeline; i++) {
        bool last = i + 1 == c->n_timeline;
        if (c->n_timeline > ROWS_SHOWN && i == ROWS_SHOWN / 2)
            fprintf(f, "  …         and so on, %zu more steps\n", c->n_timeline - ROWS_SHOWN);
        if (c->n_timeline > ROWS_SHOWN && i >= ROWS_SHOWN / 2 && i < c->n_timeline - ROWS_SHOWN / 2)
            continue;
        print_row(f, i == 0 ? "start" : last ? "end" : "", &c->timeline[i]);
    }
    fprintf(f, "  expected %s when all goes well", tn_format_age(c->expected_ms, expected, sizeof(expected)));
    if (c->action == TN_CHANGE_REMOVE)
        fprintf(f, "\n");
    else
        fprintf(f, ", never fewer than %d serve\n", c->least_serving < 0 ? 0 : c->least_serving);
}

static void print_notes(FILE *f, const struct tn_change *c)
{
    for (size_t i = 0; i < c->n_notes; i++) {
        tn_autofree char *note = cli_clean(c->notes[i]);
        fprintf(f, "  note      %s\n", note);
    }
}

static void print_change(FILE *f, const struct tn_plan *plan, const struct tn_change *c, bool color)
{
    fprintf(f, "%s%s%s%s%s   %s%s%s   %s %s   %d instance%s   %s   %s%s%s\n", cli_paint(color, CLI_BOLD),
            plan->name, plan->environment[0] ? " (" : "", plan->environment, plan->environment[0] ? ")" : "",
            c->service, cli_paint(color, "0"), "", c->cluster_kind, c->cluster, c->to_count,
            c->to_count == 1 ? "" : "s", c->strategy, cli_paint(color, action_color(c->action)),
            tn_change_action_name(c->action), cli_paint(color, "0"));
    print_notes(f, c);
    if (c->action == TN_CHANGE_NONE)
        return;
    const char *arrow = cli_utf8() ? "→" : "->";
    if (!tn_streq(c->from_revision, c->to_revision)) {
        tn_autofree char *from = cli_clean(c->from_revision ? c->from_revision : "nothing");
        fprintf(f, "  revision  %s %s %s\n", from, arrow, c->to_revision ? c->to_revision : "nothing");
    }
    if (c->running != c->to_count)
        fprintf(f, "  instances %d %s %d\n", c->running, arrow, c->to_count);
    print_fields(f, c, color);
    if (c->action == TN_CHANGE_MANUAL)
        fprintf(f, "  the strategy is manual: deploy leaves it alone\n");
    else if (c->action == TN_CHANGE_TRAFFIC)
        fprintf(f, "  only the balancer is written anew; no instance is touched\n");
    print_timeline(f, c);
}

void cli_print_notes(FILE *f, const struct tn_changes *c)
{
    for (size_t i = 0; i < c->n; i++)
        print_notes(f, &c->v[i]);
}

void cli_print_diff(FILE *f, const struct tn_plan *plan, const struct tn_changes *c, bool color)
{
    for (size_t i = 0; i < c->n; i++)
        print_change(f, plan, &c->v[i], color);
    if (!c->any)
        fprintf(f, "Nothing to do: everything is as the plan wants it.\n");
    else
        fprintf(f, "%d service%s to update, %d to create, %d to remove.     turnout deploy\n", c->update,
                c->update == 1 ? "" : "s", c->create, c->remove);
}
