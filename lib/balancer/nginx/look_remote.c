/* A look where nginx lives but we do not: one run of a shell there. All that varies goes in as arguments,
 * never as text of the script. In a container there is one nginx, so every worker counts. */
#include "lib/balancer/nginx/nginx.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"

#define PATTERNS_PER_SERVER 2
#define SERVERS_MAX         1000
/* USER_HZ has been 100 on every architecture but one that is gone. */
#define TICKS 100
/* btime and `stat` may be a second off each other. */
#define MTIME_SLACK_MS 2000

/* $1 = the owned file, then patterns of grep. P = a process, B = time of boot, M = time of the file, C = a
 * connection, E = the end was reached. */
static const char script[] = "f=$1; shift\n"
                             "for p in /proc/[0-9]*; do\n"
                             "  t=$(tr '\\000' ' ' <\"$p/cmdline\") 2>/dev/null || continue\n"
                             "  case $t in 'nginx: '*) echo \"P $(cat \"$p/stat\" 2>/dev/null)|$t\";; esac\n"
                             "done\n"
                             "sed -n 's/^btime /B /p' /proc/stat\n"
                             "m=$(TZ=UTC0 stat -c %y \"$f\" 2>/dev/null) && echo \"M $m\"\n"
                             "if [ $# -gt 0 ]; then\n"
                             "  grep -h \"$@\" /proc/net/tcp /proc/net/tcp6 2>/dev/null | sed 's/^/C /'\n"
                             "fi\n"
                             "[ -r /proc/net/tcp ] && echo E\n";

/* "2026-11-24 20:46:58.123456789 +0000" */
static int64_t time_of_file(const char *s)
{
    tn_autofree char *t = tn_strdup(s);
    if (strlen(t) < 19)
        return -1;
    t[10] = 'T';
    t[19] = '\0';
    tn_autofree char *utc = tn_format("%sZ", t);
    return tn_parse_time(utc);
}

struct report {
    struct tn_nginx_process *v;
    size_t n, cap;
    int64_t btime_ms, mtime_ms;
    bool whole;
};

static void read_process(struct report *r, const char *line)
{
    const char *title = strchr(line, '|');
    struct tn_nginx_process p;
    if (!title || !tn_process_stat_parse(line, TICKS, &p))
        return;
    p.role = tn_nginx_role_of(title + 1);
    TN_GROW(r->v, r->n, r->cap);
    r->v[r->n++] = p;
}

static void read_line(struct tn_nginx *n, struct report *r, const char *line)
{
    int64_t seconds;
    struct tn_tcp_row row;
    if (strcmp(line, "E") == 0)
        r->whole = true;
    else if (tn_starts_with(line, "P "))
        read_process(r, line + 2);
    else if (tn_starts_with(line, "C ") && tn_tcp_row_parse(line + 2, &row))
        tn_nginx_count(n, &row);
    else if (tn_starts_with(line, "M "))
        r->mtime_ms = time_of_file(line + 2);
    else if (tn_starts_with(line, "B ") && tn_parse_int(line + 2, &seconds) && seconds < INT64_MAX / 1000)
        r->btime_ms = seconds * 1000;
}

/* Arguments: sh -c script turnout FILE (-e PATTERN)… */
static const char **arguments(const struct tn_nginx *n, struct tn_arena *a)
{
    size_t k = 0, max = n->n_left < SERVERS_MAX ? n->n_left : SERVERS_MAX;
    const char **argv = tn_arena_alloc(a, (8 + max * PATTERNS_PER_SERVER * 2) * sizeof(*argv));
    argv[k++] = "sh";
    argv[k++] = "-c";
    argv[k++] = script;
    argv[k++] = "turnout";
    argv[k++] = n->base.config->file;
    for (size_t i = 0; i < max; i++) {
        char peer[TN_TCP_PEER_TEXT];
        for (int mapped = 0; mapped < 2; mapped++) {
            tn_tcp_peer_text(&n->left[i].at, mapped, peer);
            argv[k++] = "-e";
            argv[k++] = tn_arena_format(a, " %s 0[12] ", peer);
        }
    }
    return argv;
}

static void conclude(const struct tn_nginx *n, const struct report *r, struct tn_nginx_sight *out)
{
    bool by_file = n->written_ms < 0;
    int64_t since = by_file ? r->mtime_ms - r->btime_ms - MTIME_SLACK_MS : n->written_ms;
    out->processes = r->whole && (!by_file || (r->mtime_ms > 0 && r->btime_ms > 0));
    out->counted = r->whole && n->n_left > 0 && n->n_left <= SERVERS_MAX;
    for (size_t i = 0; i < r->n; i++) {
        if (r->v[i].role == TN_NGINX_MASTER)
            out->master = true;
        if (r->v[i].role == TN_NGINX_WORKER && r->v[i].start_ms < since)
            out->old = true;
    }
}

void tn_nginx_sight_remote(struct tn_nginx *n, struct tn_cancel *c, struct tn_nginx_sight *out)
{
    tn_auto(arena) struct tn_arena *a = tn_arena_new();
    struct tn_run_result run = {0};
    struct report r = {.btime_ms = -1, .mtime_ms = -1};
    int rc = tn_nginx_run(n, c, arguments(n, a), &run, NULL);
    if (rc == TN_OK && !run.out.overflow && run.out.data) {
        char *save = NULL;
        for (char *l = strtok_r(run.out.data, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
            read_line(n, &r, l);
        conclude(n, &r, out);
    }
    tn_run_result_clear(&run);
    free(r.v);
}
