/* How a run ended, in this order: what failed and why, the evidence, what was done about it, the state now, what to type
 * next. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "turnout/mem.h"

static void print_evidence(const char *log)
{
    tn_autofree char *clean = cli_clean(log);
    fputs("  its last output:\n", stderr);
    for (char *line = clean, *end; line && *line; line = end) {
        end = strchr(line, '\n');
        if (end)
            *end++ = 0;
        fprintf(stderr, "    | %s\n", line);
    }
}

static void print_line(const char *label, const char *text, bool color, const char *paint)
{
    tn_autofree char *clean = cli_clean(text);
    if (text)
        fprintf(stderr, "%s%s%s%s\n", cli_paint(color, paint), label, clean, cli_paint(color, "0"));
}

int cli_print_outcome(const struct cli_options *o, struct tn_outcome *out, int rc, struct tn_error *err)
{
    if (rc < 0) {
        tn_outcome_clear(out);
        return cli_fail(err);
    }
    tn_error_free(err);
    bool color = cli_color_on(o, STDERR_FILENO);
    print_line("error: ", out->cause, color, CLI_RED);
    if (out->evidence && *out->evidence)
        print_evidence(out->evidence);
    print_line("  did:   ", out->action, color, "");
    if (o->output == OUTPUT_JSON) {
        if (out->report)
            cli_print_json(json_incref(out->report));
    } else if (out->now && out->cause) {
        print_line("  state: ", out->now, color, "");
    } else if (out->now) {
        tn_autofree char *now = cli_clean(out->now);
        printf("%s%s%s\n", out->rollout ? out->rollout : "", out->rollout ? ": " : "", now);
    }
    print_line("  next:  ", out->next, color, "");
    bool terminated = out->exit_code == TN_EXIT_INT && cli_signal_seen() == SIGTERM;
    rc = terminated ? TN_EXIT_TERM : (int)out->exit_code;
    tn_outcome_clear(out);
    return rc;
}
