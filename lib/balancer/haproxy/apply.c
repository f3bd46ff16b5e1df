/* apply.c - makes file and runtime equal to what is wanted.
 *
 *   1 the file is read; the next one is worked out from it (slots are kept) and from what runs (who is still busy)
 *   2 written, tested; put back byte for byte when the test fails
 *   3 when the loaded structure is another one: one reload, until the runtime shows the new structure in a new process
 *   4 the runtime is brought to the file: admissions, which must then be confirmed, before anybody is taken out
 *   5 both are read back
 *
 * Each step begins by looking, so that a run that was killed anywhere in between is finished by the next one. File and
 * runtime always say the same in the end: a reload by somebody else does not turn traffic back.
 */
#include "lib/balancer/haproxy/apply.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/text.h"
#include "lib/transport/shim.h"

enum { PROGRAM_MS = 30000, SLOTS_A_LINE = 20 };

static void apply_clear(struct tn_haproxy_run *a)
{
    free(a->before);
    free(a->text);
    tn_haproxy_file_clear(&a->old);
    tn_haproxy_file_clear(&a->next);
    tn_haproxy_runtime_clear(&a->runtime);
}

/* ---- 1 */

static int read_before(struct tn_haproxy_run *a, bool force)
{
    enum tn_haproxy_owner owner = TN_HAPROXY_EMPTY;
    int code = tn_haproxy_load(a->h, &a->before, &a->before_len, &owner, &a->old, a->err);
    if (code < 0) {
        return code;
    }
    if (owner == TN_HAPROXY_STRANGER) {
        tn_error_set(a->err, TN_ESTRANGER,
                     "file '%s' was not written by turnout for this application and balancer", a->h->file);
        return tn_error_hint(a->err, "name another file in balancers.%s.file, or move this one away",
                             a->h->id.balancer);
    }
    if (owner == TN_HAPROXY_EDITED && !force) {
        tn_error_set(a->err, TN_ESTALE, "file '%s' was edited by hand since turnout wrote it", a->h->file);
        return tn_error_hint(a->err,
                             "keep what you need elsewhere, then deploy with --force to write it anew");
    }
    return TN_OK;
}

static void work_out(struct tn_haproxy_run *a, bool trim)
{
    tn_haproxy_file_clear(&a->next);
    free(a->text);
    tn_haproxy_assign(&a->old, a->want, a->running ? &a->runtime : NULL, trim, &a->next);
    a->text = tn_haproxy_render(&a->h->id, &a->next);
}

static bool same_bytes(const struct tn_haproxy_run *a)
{
    return a->before != NULL && strlen(a->text) == a->before_len &&
           memcmp(a->text, a->before, a->before_len) == 0;
}

/* A user's file without backends has no frontend that could prove it. */
static bool is_loaded(const struct tn_haproxy_run *a)
{
    if (a->next.n == 0 && a->h->managed_dir == NULL) {
        return same_bytes(a) || a->reloaded;
    }
    return a->running && a->runtime.generation_loaded && tn_haproxy_has_slots(&a->next, &a->runtime);
}

static int plan(struct tn_haproxy_run *a)
{
    a->running = a->h->managed_dir == NULL || tn_haproxy_runs(a->h);
    if (a->running) {
        int code = tn_haproxy_ask(a->h, a->c, &a->old, &a->runtime, a->err);
        if (code < 0) {
            return code;
        }
    }
    for (int trim = 0; trim < 2; trim++) {
        work_out(a, trim == 1);
        int code = a->running ? tn_haproxy_look(a, &a->next) : TN_OK;
        if (code < 0 || is_loaded(a)) {
            return code;
        }
    }
    return TN_OK;
}

/* ---- 2 */

static void put_back(struct tn_haproxy_run *a)
{
    struct tn_host *host = a->h->base.host;
    if (!a->written) {
        return;
    }
    if (a->before != NULL) {
        host->ops->write(host, a->h->file, a->before, a->before_len, 0640, NULL);
    } else {
        host->ops->remove(host, a->h->file, NULL);
    }
}

/* The first line that tells something, else all of it in one line. */
static char *what_it_said(const struct tn_run_result *r)
{
    const char *text = r->err_text.data != NULL && r->err_text.len > 0 ? r->err_text.data : r->out.data;
    if (text == NULL) {
        return tn_strdup("it said nothing");
    }
    const char *alert = strstr(text, "[ALERT]");
    tn_autobuf clean = TN_BUF_INIT(1024);
    text = alert != NULL ? alert : text;
    tn_filter(&clean, text, strcspn(text, "\n"), false);
    return tn_buf_take(&clean);
}

static int run(struct tn_haproxy_run *a, const char *const *argv, const char *what)
{
    struct tn_run_result r = {.out = TN_BUF_INIT(64 << 10), .err_text = TN_BUF_INIT(64 << 10)};
    int code = a->h->base.host->ops->run(a->h->base.host, a->c, argv, NULL, PROGRAM_MS, &r, a->err);
    if (code < 0) {
        tn_error_prefix(a->err, "%s", what);
    } else if (r.exit_code != 0) {
        tn_autofree char *said = what_it_said(&r);
        code = tn_error_set(a->err, TN_EFAIL, "the %s of haproxy failed: %s", what, said);
    }
    tn_run_result_clear(&r);
    return code;
}

static int test(struct tn_haproxy_run *a)
{
    const struct tn_command *own = &a->h->base.config->test;
    if (a->h->managed_dir == NULL) {
        return own->n > 0 ? run(a, (const char *const *)own->argv, "test") : TN_OK;
    }
    int code = tn_haproxy_program(a->h, a->err);
    const char *const argv[] = {a->h->program, "-c", "-f", a->h->file, NULL};
    return code == TN_OK ? run(a, argv, "test") : code;
}

static int write_file(struct tn_haproxy_run *a)
{
    struct tn_host *host = a->h->base.host;
    if (same_bytes(a)) {
        return TN_OK;
    }
    int code = host->ops->write(host, a->h->file, a->text, strlen(a->text), 0640, a->err);
    if (code < 0) {
        return code;
    }
    a->written = a->changed = true;
    code = test(a);
    if (code < 0) {
        put_back(a);
    }
    return code;
}

/* ---- 4 (before 3, as 3 uses it) */

static int bring(struct tn_haproxy_run *a, const struct tn_haproxy_file *f, enum tn_haproxy_phase phase)
{
    int64_t deadline = tn_mono_ms() + a->h->timeout;
    size_t last = SIZE_MAX;
    tn_autobuf answer = TN_BUF_INIT(64 << 10);
    for (;;) {
        int code = tn_haproxy_look(a, f);
        if (code < 0) {
            return code;
        }
        tn_autobuf commands = TN_BUF_INIT(64 << 10);
        size_t differ = tn_haproxy_commands(f, &a->runtime, phase, SLOTS_A_LINE, &commands);
        if (differ == 0) {
            return TN_OK;
        }
        a->changed = true;
        if (tn_mono_ms() > deadline) {
            tn_autobuf said = TN_BUF_INIT(1024);
            tn_filter(&said, answer.data != NULL ? answer.data : "", answer.len < 512 ? answer.len : 512,
                      false);
            return tn_error_set(a->err, TN_ETIMEOUT,
                                "haproxy did not take over %zu servers after %lld ms: %s", differ,
                                (long long)a->h->timeout, said.data != NULL ? said.data : "");
        }
        if (differ >= last && (code = tn_haproxy_pause_for(a, "haproxy to take over its servers")) < 0) {
            return code;
        }
        last = differ;
        tn_buf_clear(&answer);
        code = tn_haproxy_tell(a->h, a->c, commands.data, &answer, a->err);
        if (code < 0) {
            return code;
        }
    }
}

/* ---- 3 */

/* The backend gets no server any more, or keeps one that serves already. */
static bool may_lose_some(const struct tn_haproxy_run *a, const struct tn_haproxy_backend *b)
{
    bool wanted = false;
    for (size_t k = 0; k < b->n_slots; k++) {
        const struct tn_haproxy_server *s = tn_haproxy_server(&a->runtime, b->upstream.name, k);
        if (b->slots[k].use != TN_HAPROXY_SERVES) {
            continue;
        }
        wanted = true;
        if (s != NULL && tn_haproxy_at(s, &b->slots[k]) && tn_haproxy_in_rotation(s)) {
            return true;
        }
    }
    return !wanted;
}

/* Backends that leave the file, with all their servers leaving. */
static void work_out_gone(const struct tn_haproxy_run *a, struct tn_haproxy_file *out)
{
    struct tn_traffic traffic = {0};
    for (size_t i = 0; i < a->old.n; i++) {
        if (tn_haproxy_find(&a->next, a->old.v[i].upstream.name) == NULL) {
            struct tn_upstream one = a->old.v[i].upstream;
            tn_traffic_copy(&traffic, &(struct tn_traffic){.v = &one, .n = 1});
        }
    }
    tn_haproxy_assign(&a->old, &traffic, NULL, false, out);
    tn_traffic_clear(&traffic);
}

/* After a reload the old worker goes on serving its connections with the servers it knows. It must not know those that
 * leave, so they are taken out of it first. */
static int take_out_first(struct tn_haproxy_run *a)
{
    tn_autofree struct tn_haproxy_backend *v = tn_alloc((a->next.n + 1) * sizeof(*v));
    struct tn_haproxy_file some = {.v = v}; /* borrows */
    tn_autohaproxyfile gone = {0};
    if (!a->running) {
        return TN_OK;
    }
    for (size_t i = 0; i < a->next.n; i++) {
        if (may_lose_some(a, &a->next.v[i])) {
            v[some.n++] = a->next.v[i];
        }
    }
    work_out_gone(a, &gone);
    int code = bring(a, &some, TN_HAPROXY_TAKE_OUT);
    return code == TN_OK && gone.n > 0 ? bring(a, &gone, TN_HAPROXY_TAKE_OUT) : code;
}

static int reload_once(struct tn_haproxy_run *a)
{
    if (a->h->managed_dir == NULL) {
        return run(a, (const char *const *)a->h->base.config->reload.argv, "reload");
    }
    return a->running ? tn_shim_signal(a->h->run_dir, SIGUSR2, a->err) : tn_haproxy_start(a->h, a->c, a->err);
}

static int not_loaded(struct tn_haproxy_run *a)
{
    struct tn_haproxy *h = a->h;
    tn_autofree char *complaint = h->managed_dir != NULL ? tn_haproxy_complaint(h, a->output_before) : NULL;
    if (complaint != NULL) {
        return tn_error_set(a->err, TN_EFAIL, "haproxy does not run with the new file: %s", complaint);
    }
    tn_error_set(a->err, TN_ETIMEOUT, "haproxy did not load file '%s' after its reload (%lld ms)", h->file,
                 (long long)h->timeout);
    if (h->managed_dir != NULL) {
        return TN_ETIMEOUT;
    }
    return tn_error_hint(
        a->err,
        "haproxy must be started with it: `touch %s`, EXTRAOPTS=\"-f %s\" in /etc/default/haproxy, "
        "restart haproxy once, deploy again",
        h->file, h->file);
}

/* The old worker still answers for a moment, and then nobody does. */
static int wait_loaded(struct tn_haproxy_run *a, int64_t old_pid)
{
    int64_t deadline = tn_mono_ms() + a->h->timeout;
    while (tn_mono_ms() < deadline) {
        struct tn_error *why = NULL;
        tn_haproxy_runtime_clear(&a->runtime);
        int code = tn_haproxy_ask(a->h, a->c, &a->next, &a->runtime, &why);
        if (code == TN_ECANCELLED) {
            return tn_error_move(a->err, &why);
        }
        tn_error_clear(&why);
        if (code == TN_OK && a->runtime.pid != old_pid && !a->runtime.stopping) {
            a->reloaded = a->running = true;
            if (is_loaded(a)) {
                return TN_OK;
            }
        }
        if (a->h->managed_dir != NULL && !tn_haproxy_runs(a->h)) {
            break;
        }
        code = tn_haproxy_pause_for(a, "haproxy to load its new file");
        if (code < 0) {
            return code;
        }
    }
    return not_loaded(a);
}

/* The old file again; the runtime, of which servers may have been taken, too. The first error is the one that counts. */
static void undo(struct tn_haproxy_run *a, bool asked)
{
    struct tn_error **err = a->err;
    a->err = NULL;
    put_back(a);
    if (a->h->managed_dir != NULL && !a->running) {
        tn_haproxy_stop(a->h, a->c, NULL);
    } else if (asked && (a->before != NULL || a->runtime.generation_loaded) && tn_cancel_level(a->c) < 2) {
        reload_once(a); /* a master that could not load waits without workers of its own */
    }
    if (a->running && a->old.n > 0 && tn_cancel_level(a->c) < 2) {
        tn_haproxy_file_clear(&a->next);
        a->next = a->old;
        a->old = (struct tn_haproxy_file){0};
        bring(a, &a->next, TN_HAPROXY_ADMIT);
    }
    a->err = err;
}

static int reload(struct tn_haproxy_run *a)
{
    int64_t old_pid = a->running ? a->runtime.pid : 0;
    bool ran = a->running;
    a->changed = true;
    a->output_before = a->h->managed_dir != NULL ? tn_haproxy_output(a->h) : 0;
    int code = take_out_first(a);
    bool asked = false;
    if (code == TN_OK) {
        code = reload_once(a);
        asked = code == TN_OK;
    }
    if (code == TN_OK) {
        code = wait_loaded(a, old_pid);
    }
    if (code == TN_OK && a->h->managed_dir != NULL) {
        code = tn_haproxy_keep(a->h, a->err);
    }
    /* Leaving now: what was asked for may still come, and the file must then say the same. */
    if (code < 0 && code != TN_ECANCELLED) {
        a->running = ran;
        undo(a, asked);
    }
    return code;
}

/* ---- 5 */

static int read_back(struct tn_haproxy_run *a)
{
    size_t len = 0;
    struct tn_host *host = a->h->base.host;
    tn_autofree char *now = host->ops->read(host, a->h->file, TN_HAPROXY_FILE_MAX, &len, a->err);
    if (now == NULL) {
        return a->err != NULL && *a->err != NULL ? (int)(*a->err)->code : TN_EIO;
    }
    if (len != strlen(a->text) || memcmp(now, a->text, len) != 0) {
        return tn_error_set(a->err, TN_ESTALE, "file '%s' was changed by somebody else in the meantime",
                            a->h->file);
    }
    int code = tn_haproxy_look(a, &a->next);
    if (code < 0) {
        return code;
    }
    if (!is_loaded(a) || tn_haproxy_commands(&a->next, &a->runtime, TN_HAPROXY_ADMIT, 0, NULL) > 0 ||
        tn_haproxy_commands(&a->next, &a->runtime, TN_HAPROXY_TAKE_OUT, 0, NULL) > 0) {
        return tn_error_set(a->err, TN_ESTALE, "haproxy was changed by somebody else in the meantime");
    }
    return TN_OK;
}

static int carry_out(struct tn_haproxy_run *a, const char *const *names, size_t n_names, bool force)
{
    int code = read_before(a, force);
    code = code == TN_OK ? plan(a) : code;
    code = code == TN_OK ? write_file(a) : code;
    if (code == TN_OK && !is_loaded(a)) {
        /* A run that was killed between writing and testing leaves a file that nobody tested. */
        code = a->written ? TN_OK : test(a);
        code = code == TN_OK ? reload(a) : code;
    }
    code = code == TN_OK ? bring(a, &a->next, TN_HAPROXY_ADMIT) : code;
    code = code == TN_OK ? tn_haproxy_confirm(a, names, n_names) : code;
    code = code == TN_OK ? bring(a, &a->next, TN_HAPROXY_TAKE_OUT) : code;
    return code == TN_OK ? read_back(a) : code;
}

int tn_haproxy_apply(struct tn_balancer_driver *b, struct tn_cancel *c, const struct tn_traffic *want,
                     const char *const *confirm_new, size_t n_confirm, bool force, char **note,
                     struct tn_error **err)
{
    struct tn_haproxy_run a = {.h = (struct tn_haproxy *)b, .c = c, .want = want, .err = err};
    int64_t start = tn_mono_ms();
    int code = tn_haproxy_check(want, err);
    code = code == TN_OK ? tn_haproxy_check_routes(want, a.h->managed_dir != NULL, err) : code;
    code = code == TN_OK ? tn_haproxy_prepare(a.h, true, err) : code;
    code = code == TN_OK ? carry_out(&a, confirm_new, n_confirm, force) : code;
    if (code == TN_OK && note != NULL) {
        *note = !a.changed ? tn_strdup("unchanged")
                           : tn_format("%s, confirmed in %lldms", a.reloaded ? "reload" : "runtime",
                                       (long long)(tn_mono_ms() - start));
    }
    if (code == TN_OK) {
        tn_haproxy_note_left(a.h, &a.old, &a.next);
    }
    apply_clear(&a);
    return code;
}

int tn_haproxy_differs(struct tn_balancer_driver *b, struct tn_cancel *c, const struct tn_traffic *want,
                       struct tn_error **err)
{
    struct tn_haproxy_run a = {.h = (struct tn_haproxy *)b, .c = c, .want = want, .err = err};
    int code = tn_haproxy_check(want, err);
    code = code == TN_OK ? tn_haproxy_check_routes(want, a.h->managed_dir != NULL, err) : code;
    code = code == TN_OK ? read_before(&a, false) : code;
    if (code == TN_OK) {
        work_out(&a, false);
        code = same_bytes(&a) ? 0 : 1;
    }
    apply_clear(&a);
    return code;
}
