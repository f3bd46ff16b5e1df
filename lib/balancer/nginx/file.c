/* The owned file where nginx lives, and the choice of the generation's address. */
#include "lib/balancer/nginx/nginx.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "turnout/mem.h"
#include "turnout/text.h"

/* Below the range of outgoing connections and of published ports, so that nobody takes it by chance. */
#define GENERATION_FIRST 18000
#define GENERATION_SPAN  1000
#define FILE_MODE        0644

int tn_nginx_file_read(struct tn_nginx *n, struct tn_nginx_file *out, struct tn_error **err)
{
    struct tn_host *h = n->base.host;
    struct tn_error *why = NULL;
    *out = (struct tn_nginx_file){0};
    char *text = h->ops->read(h, n->base.config->file, TN_NGINX_FILE_MAX, &out->len, &why);
    if (!text) {
        bool absent = why && why->code == TN_ENOTFOUND;
        if (absent) {
            tn_error_free(why);
            return TN_OK;
        }
        tn_error_move(err, &why);
        return tn_error_prefix(err, "balancer '%s'", n->base.config->name);
    }
    if (strspn(text, " \t\r\n") == out->len) { /* an empty file says nothing: as good as none */
        free(text);
        out->len = 0;
        return TN_OK;
    }
    struct stat st;
    if (h->local && stat(n->base.config->file, &st) == 0)
        out->mtime = st.st_mtim;
    out->text = text;
    tn_nginx_owned_read(text, out->len, n->base.app, n->base.environment, &out->owned);
    return TN_OK;
}

void tn_nginx_file_clear(struct tn_nginx_file *f)
{
    free(f->text);
    tn_nginx_owned_clear(&f->owned);
    *f = (struct tn_nginx_file){0};
}

/* Time since boot of nginx's host, to the kernel's tick, so that it compares with start times of
 * processes. */
static int64_t since_boot(struct tn_nginx *n, struct tn_cancel *c)
{
    if (n->base.host->local) {
        struct timespec t;
        clock_gettime(CLOCK_BOOTTIME, &t);
        return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 10000000 * 10;
    }
    static const char *const argv[] = {"cat", "/proc/uptime", NULL};
    struct tn_run_result r = {0};
    int64_t ms = -1;
    if (tn_nginx_run(n, c, argv, &r, NULL) == TN_OK && r.exit_code == 0 && r.out.data) {
        double s = strtod(r.out.data, NULL);
        ms = s > 0 && s < 1e12 ? (int64_t)(s * 100 + 0.5) * 10 : -1;
    }
    tn_run_result_clear(&r);
    return ms;
}

int tn_nginx_file_write(struct tn_nginx *n, struct tn_cancel *c, const char *text, size_t len,
                        struct tn_error **err)
{
    struct tn_host *h = n->base.host;
    const char *path = n->base.config->file;
    int64_t now = since_boot(n, c);
    int rc = text ? h->ops->write(h, path, text, len, FILE_MODE, err) : h->ops->remove(h, path, err);
    if (rc < 0)
        return tn_error_prefix(err, "balancer '%s'", n->base.config->name);
    n->written_ms = now;
    return TN_OK;
}

int tn_nginx_file_put_back(struct tn_nginx *n, struct tn_cancel *c, const struct tn_nginx_file *old,
                           bool reload, struct tn_error **err)
{
    int64_t before = n->written_ms;
    int rc = tn_nginx_file_write(n, c, old->text, old->len, err);
    if (rc < 0 || reload)
        return rc;
    n->written_ms = before;
    if (n->base.host->local && old->text) {
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, old->mtime};
        /* A wrong time only makes a later drain wait for its cap. */
        (void)!utimensat(AT_FDCWD, n->base.config->file, times, 0);
    }
    return TN_OK;
}

int tn_nginx_file_check_mount(struct tn_nginx *n, struct tn_cancel *c, struct tn_error **err)
{
    if (n->base.host->local || n->mount_checked)
        return TN_OK;
    static const char *const argv[] = {"cat", "/proc/self/mountinfo", NULL};
    struct tn_run_result r = {0};
    int rc = tn_nginx_run(n, c, argv, &r, err);
    const char *file = n->base.config->file;
    if (rc == TN_OK && r.exit_code == 0 && r.out.data && tn_mountinfo_has(r.out.data, file)) {
        const char *slash = strrchr(file, '/');
        int dir = slash && slash != file ? (int)(slash - file) : 1;
        rc = tn_error_set(err, TN_EFAIL,
                          "balancer '%s': file '%s' is itself mounted into %s: a new file in its "
                          "place would not be seen there",
                          n->base.config->name, file, n->base.host->name);
        tn_error_hint(err, "mount its folder instead: `-v /your/folder:%.*s`", dir, file);
    }
    n->mount_checked = rc == TN_OK;
    tn_run_result_clear(&r);
    return rc;
}

static void mark_listeners(const char *text, bool taken[GENERATION_SPAN])
{
    struct tn_tcp_row row;
    while (text && *text) {
        if (tn_tcp_row_parse(text, &row) && row.state == TN_TCP_LISTEN &&
            row.local.port >= GENERATION_FIRST && row.local.port < GENERATION_FIRST + GENERATION_SPAN)
            taken[row.local.port - GENERATION_FIRST] = true;
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
}

/* The same port on every machine and at every time for the same plan, unless somebody has it. */
static int first_choice(const struct tn_nginx *n)
{
    char hex[TN_SHA256_HEX], word[9] = "";
    tn_autofree char *id = tn_format("%s/%s/%s", n->base.app, n->base.environment, n->base.config->name);
    tn_sha256_hex(id, strlen(id), hex);
    memcpy(word, hex, 8);
    return (int)(strtoul(word, NULL, 16) % GENERATION_SPAN);
}

int tn_nginx_pick_generation(struct tn_nginx *n, struct tn_cancel *c, const struct tn_nginx_file *old,
                             char out[TN_ENDPOINT_TEXT], struct tn_error **err)
{
    const char *given = n->base.config->generation ? n->base.config->generation : old->owned.generation;
    struct tn_endpoint e = {.family = AF_INET, .address = {127, 0, 0, 1}};
    if (given) {
        if (!tn_nginx_loopback_ok(given) || !tn_endpoint_parse(given, &e))
            return tn_error_set(err, TN_EPLAN,
                                "balancer '%s': generation '%s' must be a loopback address and port",
                                n->base.config->name, given);
        tn_endpoint_format(&e, out);
        return TN_OK;
    }
    static const char *const argv[] = {"cat", "/proc/net/tcp", "/proc/net/tcp6", NULL};
    bool taken[GENERATION_SPAN] = {false};
    struct tn_run_result r = {.out = TN_BUF_INIT((size_t)16 << 20)};
    /* Without IPv6 `cat` complains about tcp6 and has still given tcp. */
    int rc = tn_nginx_run(n, c, argv, &r, err);
    if (rc == TN_OK)
        mark_listeners(r.out.data, taken);
    tn_run_result_clear(&r);
    if (rc < 0)
        return tn_error_prefix(err, "balancer '%s'", n->base.config->name);
    int first = first_choice(n), i = 0;
    while (i < GENERATION_SPAN && taken[(first + i) % GENERATION_SPAN])
        i++;
    if (i == GENERATION_SPAN)
        return tn_error_set(err, TN_EBUSY, "balancer '%s': no free loopback port in %d-%d for the generation",
                            n->base.config->name, GENERATION_FIRST, GENERATION_FIRST + GENERATION_SPAN - 1);
    e.port = GENERATION_FIRST + (first + i) % GENERATION_SPAN;
    tn_endpoint_format(&e, out);
    return TN_OK;
}
