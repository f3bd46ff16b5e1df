/* The live view: a tree that is drawn again, at most ten times a second, below the lines that stay (warnings and
 * failures). It is cut at the terminal's width and height. Everything from elsewhere passes the filter. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/ioctl.h>

#include "cli/cli.h"
#include "turnout/buf.h"
#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"

enum { FRAME_MS = 100, MAX_BRANCHES = 64, FRAME_BYTES = 64 * 1024, ENOUGH_LOG = 3 };

/* One placement on the screen. */
struct branch {
    char *name, *note, *strategy, *pull;
    json_t *world; /* data of the last TN_EV_WORLD */
    bool done, failed, back;
};
struct cli_view {
    pthread_mutex_t lock;
    pthread_cond_t tick;
    pthread_t thread;
    bool running, color, dirty, ended;
    int64_t began;
    char *title;
    struct branch v[MAX_BRANCHES];
    size_t n;
    size_t drawn; /* lines of the last frame */
};

static struct branch *branch_of(struct cli_view *v, const struct tn_event *e)
{
    if (!e->service)
        return NULL;
    tn_autofree char *name = e->cluster ? tn_format("%s@%s", e->service, e->cluster) : tn_strdup(e->service);
    for (size_t i = 0; i < v->n; i++)
        if (strcmp(v->v[i].name, name) == 0)
            return &v->v[i];
    if (v->n == MAX_BRANCHES)
        return NULL;
    struct branch *b = &v->v[v->n++];
    *b = (struct branch){.name = TN_TAKE(name)};
    return b;
}

/* ---- drawing ---- */

/* Cuts a line at the width; escape sequences of our own take no room. */
static void put_line(struct tn_buf *out, const char *line, size_t width)
{
    size_t column = 0;
    for (const char *p = line; *p;) {
        if (*p == '\033') {
            const char *end = strchr(p, 'm');
            size_t n = end ? (size_t)(end - p) + 1 : strlen(p);
            tn_buf_add(out, p, n);
            p += n;
            continue;
        }
        size_t n = 1;
        while ((p[n] & 0xc0) == 0x80)
            n++;
        tn_autofree char *one = tn_strndup(p, n);
        size_t w = tn_columns(one);
        if (column + w <= width)
            tn_buf_add(out, p, n);
        column += w;
        p += n;
    }
}

static enum cli_sign sign_of(const char *state)
{
    static const struct {
        const char *state;
        enum cli_sign sign;
    } table[] = {
        {"serving", SIGN_OK},       {"running", SIGN_OK},       {"ready", SIGN_RUNNING},
        {"checking", SIGN_RUNNING}, {"created", SIGN_WAITING},  {"exited", SIGN_FAILED},
        {"failed", SIGN_FAILED},    {"unhealthy", SIGN_FAILED}, {"unknown", SIGN_WARNING},
        {"draining", SIGN_WAITING}, {"stopping", SIGN_WAITING},
    };
    for (size_t i = 0; i < TN_COUNT(table); i++)
        if (strcmp(table[i].state, state) == 0)
            return table[i].sign;
    return SIGN_WARNING;
}

static const char *color_of(enum cli_sign s)
{
    static const char *const colors[] = {CLI_GREEN, CLI_YELLOW, CLI_DIM,   CLI_YELLOW,
                                         CLI_RED,   CLI_YELLOW, CLI_YELLOW};
    return colors[s];
}

static const char *text_of(const json_t *j, const char *key)
{
    const char *t = json_string_value(json_object_get(j, key));
    return t ? t : "";
}

static void draw_instance(struct tn_buf *out, const json_t *i, bool last, bool color, size_t width)
{
    enum cli_sign sign = sign_of(text_of(i, "state"));
    char age[32] = "";
    int64_t started = json_integer_value(json_object_get(i, "started_at"));
    if (started > 0)
        tn_format_age(tn_wall_ms() - started, age, sizeof(age));
    tn_autofree char *name = cli_clean(text_of(i, "name")), *host = cli_clean(text_of(i, "host"));
    tn_autofree char *probe = cli_clean(text_of(i, "probe"));
    bool calm = sign == SIGN_OK;
    const char *branch = cli_utf8() ? (last ? "└─" : "├─") : (last ? "`-" : "|-");
    tn_autofree char *line =
        tn_format(" %s %s%s%s %s %-8s %-22s %-8s %7s  %s", branch, cli_paint(color, color_of(sign)),
                  cli_sign(sign), cli_paint(color, "0"),
                  json_is_true(json_object_get(i, "new")) ? "new" : "old", host, name, text_of(i, "state"),
                  age, calm ? "" : probe);
    put_line(out, line, width);
    tn_buf_putc(out, '\n');
}

/* "min_healthy_time, 0.7s left"; NULL when it nothing. */
static char *what_it_waits_for(const struct branch *b)
{
    const char *wait = text_of(b->world, "wait");
    char left[32];
    if (b->done || !*wait || strcmp(wait, "nothing") == 0)
        return NULL;
    int64_t until = json_integer_value(json_object_get(b->world, "wait_until"));
    return until ? tn_format("%s, %s left", wait, tn_format_age(until - tn_wall_ms(), left, sizeof(left)))
                 : tn_strdup(wait);
}

static void draw_branch(struct tn_buf *out, const struct branch *b, bool color, size_t width)
{
    json_int_t n_new = json_integer_value(json_object_get(b->world, "new")),
               wanted = json_integer_value(json_object_get(b->world, "replicas"));
    json_int_t traffic = json_integer_value(json_object_get(b->world, "traffic_new_permille"));
    enum cli_sign sign = b->done ? SIGN_OK : b->failed ? SIGN_FAILED : b->back ? SIGN_BACK : SIGN_RUNNING;
    tn_autofree char *name = cli_clean(b->name), *note = cli_clean(b->note), *pull = cli_clean(b->pull);
    tn_autofree char *waits = what_it_waits_for(b);
    tn_autofree char *line =
        b->world
            ? tn_format("%s%s%s %s%s%s %s %lld/%lld, %lld serve, new %lld %%  %s%s",
                        cli_paint(color, color_of(sign)), cli_sign(sign), cli_paint(color, "0"),
                        cli_paint(color, CLI_BOLD), name, cli_paint(color, "0"),
                        b->strategy ? b->strategy : "", (long long)n_new, (long long)wanted,
                        (long long)json_integer_value(json_object_get(b->world, "serving")),
                        (long long)(traffic / 10), waits ? cli_sign(SIGN_WAITING) : "", waits ? waits : note)
            : tn_format("%s %s  %s", cli_sign(SIGN_WAITING), name, *pull ? pull : note);
    put_line(out, line, width);
    tn_buf_putc(out, '\n');
    const json_t *list = json_object_get(b->world, "instances");
    for (size_t i = 0; i < json_array_size(list); i++)
        draw_instance(out, json_array_get(list, i), i + 1 == json_array_size(list), color, width);
}

static size_t count_lines(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += *s == '\n';
    return n;
}

/* Keeps the first `rows` lines and says how many more there are. */
static void cut_rows(struct tn_buf *b, size_t rows)
{
    size_t lines = b->data ? count_lines(b->data) : 0;
    if (!b->data || lines <= rows || rows < 2)
        return;
    char *p = b->data;
    for (size_t i = 0; i + 1 < rows; i++)
        p = strchr(p, '\n') + 1;
    *p = 0;
    b->len = (size_t)(p - b->data);
    tn_buf_printf(b, "  … %zu more lines\n", lines - rows + 1);
}

static void erase(struct cli_view *v)
{
    if (v->drawn)
        fprintf(stderr, "\033[%zuA\r\033[J", v->drawn);
    v->drawn = 0;
}

static void draw(struct cli_view *v)
{
    struct winsize w = {.ws_row = 24};
    ioctl(STDERR_FILENO, TIOCGWINSZ, &w);
    size_t width = cli_width(STDERR_FILENO) - 1;
    char elapsed[32];
    tn_autobuf out = TN_BUF_INIT(FRAME_BYTES);
    tn_autofree char *title = cli_clean(v->title);
    tn_autofree char *head =
        tn_format("%s%s%s   %s elapsed   ^C stops at a safe point", cli_paint(v->color, CLI_BOLD), title,
                  cli_paint(v->color, "0"), tn_format_age(tn_mono_ms() - v->began, elapsed, sizeof(elapsed)));
    put_line(&out, head, width);
    tn_buf_putc(&out, '\n');
    for (size_t i = 0; i < v->n; i++)
        draw_branch(&out, &v->v[i], v->color, width);
    cut_rows(&out, w.ws_row > 4 ? w.ws_row - 1u : 23u);
    erase(v);
    fputs(out.data, stderr);
    fflush(stderr);
    v->drawn = count_lines(out.data);
    v->dirty = false;
}

/* A line that stays, above the tree. */
static void say(struct cli_view *v, enum cli_sign sign, const struct tn_event *e)
{
    tn_autofree char *text = cli_clean(e->text);
    erase(v);
    fprintf(stderr, "%s%s%s %s%s%s\n", cli_paint(v->color, color_of(sign)), cli_sign(sign),
            cli_paint(v->color, "0"), e->service ? e->service : "", e->service ? ": " : "", text);
    v->dirty = true;
}

static void *ticker(void *arg)
{
    struct cli_view *v = arg;
    pthread_mutex_lock(&v->lock);
    while (v->running) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        t.tv_nsec += FRAME_MS * 1000000L;
        t.tv_sec += t.tv_nsec / 1000000000L;
        t.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&v->tick, &v->lock, &t);
        if (v->running && v->title)
            draw(v);
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

struct cli_view *cli_view_new(const struct cli_options *o)
{
    struct cli_view *v = tn_alloc(sizeof(*v));
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->tick, &attr);
    pthread_condattr_destroy(&attr);
    v->color = cli_color_on(o, STDERR_FILENO);
    v->began = tn_mono_ms();
    v->running = true;
    if (pthread_create(&v->thread, NULL, ticker, v) != 0)
        v->running = false;
    return v;
}

static void set_text(char **to, const char *text)
{
    free(*to);
    *to = tn_strdup(text);
}

static void take_branch(struct branch *b, const struct tn_event *e)
{
    if (e->kind == TN_EV_WORLD) {
        json_decref(b->world);
        b->world = json_incref((json_t *)(uintptr_t)e->data);
        return;
    }
    if (e->kind == TN_EV_PLACEMENT) {
        set_text(&b->strategy, text_of(e->data, "strategy"));
        b->back = e->text && strncmp(e->text, "back", 4) == 0;
        b->done = b->failed = false;
    }
    b->done = b->done || e->kind == TN_EV_PLACED;
    b->failed = (b->failed || e->kind == TN_EV_FAILED) && !b->done;
    set_text(e->kind == TN_EV_PULL ? &b->pull : &b->note, e->text);
}

void cli_view_event(struct cli_view *v, const struct tn_event *e)
{
    pthread_mutex_lock(&v->lock);
    struct branch *b = branch_of(v, e);
    if (b)
        take_branch(b, e);
    if (e->kind == TN_EV_ROLLOUT) {
        free(v->title);
        v->title = tn_format("%s  %s", e->text, e->rollout ? e->rollout : "");
    }
    if (e->kind == TN_EV_FAILED)
        say(v, SIGN_FAILED, e);
    else if (e->kind == TN_EV_WARNING || e->kind == TN_EV_LEASE)
        say(v, SIGN_WARNING, e);
    else if (e->kind == TN_EV_TURN)
        say(v, SIGN_BACK, e);
    v->dirty = true;
    pthread_mutex_unlock(&v->lock);
}

void cli_view_end(struct cli_view *v)
{
    pthread_mutex_lock(&v->lock);
    bool was = v->running;
    v->running = false;
    if (was && v->title)
        draw(v);
    pthread_cond_signal(&v->tick);
    pthread_mutex_unlock(&v->lock);
    if (was)
        pthread_join(v->thread, NULL);
}

void cli_view_free(struct cli_view *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->n; i++) {
        free(v->v[i].name);
        free(v->v[i].note);
        free(v->v[i].strategy);
        free(v->v[i].pull);
        json_decref(v->v[i].world);
    }
    pthread_cond_destroy(&v->tick);
    pthread_mutex_destroy(&v->lock);
    free(v->title);
    free(v);
}
