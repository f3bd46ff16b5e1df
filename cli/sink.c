/* Progress of a run on stderr: one plain line an event, JSON lines, or the live view. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"

enum { HEARTBEAT = 30000 };

struct cli_sink {
    enum cli_progress how;
    bool color;
    struct cli_view *view;
    int64_t last; /* monotonic ms of the last line */
};

static enum cli_progress progress_of(const struct cli_options *o)
{
    const char *term = getenv("TERM");
    if (o->progress != PROGRESS_AUTO)
        return (enum cli_progress)o->progress;
    return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0 ? PROGRESS_TTY : PROGRESS_PLAIN;
}

struct cli_sink *cli_sink_new(const struct cli_options *o, struct tn_cancel *cancel)
{
    (void)cancel;
    struct cli_sink *s = tn_alloc(sizeof(*s));
    s->how = progress_of(o);
    s->color = cli_color_on(o, STDERR_FILENO);
    s->last = tn_mono_ms();
    if (s->how == PROGRESS_TTY)
        s->view = cli_view_new(o);
    return s;
}

static const char *color_of(enum tn_event_kind k)
{
    switch (k) {
    case TN_EV_FAILED: return CLI_RED;
    case TN_EV_WARNING:
    case TN_EV_TURN: return CLI_YELLOW;
    case TN_EV_DONE: return CLI_BOLD;
    default: return "";
    }
}

static void plain(struct cli_sink *s, const struct tn_event *e)
{
    char clock[16];
    int64_t now = tn_mono_ms();
    if (e->kind == TN_EV_PULL || (e->kind == TN_EV_WORLD && now - s->last < HEARTBEAT))
        return;
    s->last = now;
    tn_autofree char *text = cli_clean(e->text);
    for (char *p = text; *p; p++)
        if (*p == '\n')
            *p = ' ';
    tn_autofree char *subject = e->service ? tn_format("%s ", e->service) : tn_strdup("");
    const char *kind = e->kind == TN_EV_WORLD ? "still" : tn_event_name(e->kind);
    fprintf(stderr, "%s %s %s%-9s %s%s%s\n", tn_format_clock(e->at, clock, sizeof(clock)),
            e->rollout ? e->rollout : "-", subject, kind, cli_paint(s->color, color_of(e->kind)), text,
            cli_paint(s->color && *color_of(e->kind), "0"));
    fflush(stderr);
}

static void json_line(const struct tn_event *e)
{
    json_t *j = tn_event_json(e);
    tn_autofree char *text = json_dumps(j, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(j);
    fprintf(stderr, "%s\n", text ? text : "{}");
    fflush(stderr);
}

void cli_sink_event(void *sink, const struct tn_event *e)
{
    struct cli_sink *s = sink;
    switch (s->how) {
    case PROGRESS_TTY: cli_view_event(s->view, e); return;
    case PROGRESS_JSON: json_line(e); return;
    case PROGRESS_PLAIN: plain(s, e); return;
    case PROGRESS_QUIET:
    case PROGRESS_AUTO: return;
    }
}

void cli_sink_end(struct cli_sink *s)
{
    if (s && s->view)
        cli_view_end(s->view);
}

void cli_sink_free(struct cli_sink *s)
{
    cli_sink_end(s);
    cli_view_free(s->view);
    free(s);
}
