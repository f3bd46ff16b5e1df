/* What must be true before turnout can steer this nginx. */
#include "lib/balancer/nginx/nginx.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/fs.h"
#include "turnout/mem.h"
#include "turnout/text.h"

#define DUMP_MAX  ((size_t)8 << 20)
#define DUMP_FILE "# configuration file "
#define ARGS_MAX  32

struct visit {
    struct tn_nginx *n;
    struct tn_cancel *c;
    void (*report)(void *arg, bool ok, const char *text);
    void *arg;
};

static void __attribute__((format(printf, 3, 4))) say(const struct visit *v, bool ok, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tn_autofree char *text = tn_vformat(fmt, ap);
    va_end(ap);
    tn_autofree char *line = tn_format("balancer '%s': %s", v->n->base.config->name, text);
    v->report(v->arg, ok, line);
}

/* The tester with another switch in the place of -t, so that its -c and -p hold. False when it has no -t. */
static bool run_like_test(const struct visit *v, const char *flag, struct tn_run_result *r)
{
    static const char *const usual[] = {"nginx", "-t", NULL};
    const struct tn_command *own = &v->n->base.config->test;
    const char *const *from = own->argv ? (const char *const *)own->argv : usual;
    const char *argv[ARGS_MAX + 1];
    bool found = false;
    size_t i = 0;
    for (; i < ARGS_MAX && from[i]; i++) {
        bool is_test = strcmp(from[i], "-t") == 0;
        argv[i] = is_test ? flag : from[i];
        found = found || is_test;
    }
    argv[i] = NULL;
    return found && tn_nginx_run(v->n, v->c, argv, r, NULL) == TN_OK && r->exit_code == 0;
}

static void visit_version(const struct visit *v)
{
    struct tn_run_result r = {0};
    if (run_like_test(v, "-v", &r)) {
        tn_autofree char *words = tn_nginx_words(&r);
        say(v, true, "%s on %s", words, v->n->base.host->name);
    }
    tn_run_result_clear(&r);
}

static void visit_test(const struct visit *v)
{
    struct tn_error *why = NULL;
    if (tn_nginx_test(v->n, v->c, &why) == TN_OK)
        say(v, true, "its configuration passes the test");
    else
        v->report(v->arg, false, tn_error_message(why));
    tn_error_free(why);
}

/* Would `include` of the dump take `file`? Relative patterns stand beside the main file, which comes
 * first. */
static bool include_takes(const char *dump, const char *file)
{
    tn_autofree char *dir = NULL;
    for (const char *at = dump; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        tn_autofree char *line = tn_strndup(at, strcspn(at, "\n"));
        char *save = NULL, *w = strtok_r(line, " \t", &save);
        if (!dir && tn_starts_with(at, DUMP_FILE) && w) {
            tn_autofree char *main_file =
                tn_strndup(at + strlen(DUMP_FILE), strcspn(at, ":\n") - strlen(DUMP_FILE));
            dir = tn_path_dir(main_file);
        }
        if (!w || strcmp(w, "include") != 0 || !(w = strtok_r(NULL, " \t;\"'", &save)))
            continue;
        tn_autofree char *pattern = tn_path_join(dir ? dir : "/etc/nginx", w);
        if (tn_glob(pattern, file))
            return true;
    }
    return false;
}

static void visit_include(const struct visit *v)
{
    struct tn_run_result r = {.out = TN_BUF_INIT(DUMP_MAX)};
    const char *file = v->n->base.config->file;
    if (run_like_test(v, "-T", &r) && r.out.data && !r.out.overflow) {
        tn_autofree char *title = tn_format(DUMP_FILE "%s:", file);
        bool there = strstr(r.out.data, title) || include_takes(r.out.data, file);
        if (there)
            say(v, true, "file '%s' is included", file);
        else
            say(v, false, "file '%s' is not included: add `include %s;` to http{} of nginx.conf", file, file);
    }
    tn_run_result_clear(&r);
}

static void visit_rights(const struct visit *v)
{
    struct tn_run_result r = {0};
    tn_autofree char *dir = tn_path_dir(v->n->base.config->file);
    const char *argv[] = {"test", "-w", dir, NULL};
    if (tn_nginx_run(v->n, v->c, argv, &r, NULL) == TN_OK)
        say(v, r.exit_code == 0, "folder '%s' %s be written", dir, r.exit_code == 0 ? "can" : "cannot");
    tn_run_result_clear(&r);
}

static void visit_file(const struct visit *v)
{
    struct tn_balancer_status s = {0};
    struct tn_error *why = NULL;
    const char *file = v->n->base.config->file;
    if (v->n->base.ops->observe(&v->n->base, v->c, &s, &why) < 0 || s.error)
        say(v, false, "%s", s.error ? s.error : tn_error_message(why));
    else if (!s.file_hash)
        say(v, true, "file '%s' is not there yet: the first deployment writes it", file);
    else
        say(v, true, "nginx runs what stands in '%s'", file);
    if (!s.file_hash && !tn_nginx_runs(v->n, v->c))
        say(v, false, "nginx does not run on %s, or its processes cannot be seen", v->n->base.host->name);
    tn_error_free(why);
    tn_balancer_status_clear(&s);
}

int tn_nginx_doctor(struct tn_balancer_driver *b, struct tn_cancel *c,
                    void (*report)(void *arg, bool ok, const char *text), void *arg, struct tn_error **err)
{
    struct visit v = {.n = tn_nginx_of(b), .c = c, .report = report, .arg = arg};
    struct tn_error *why = NULL;
    visit_version(&v);
    visit_test(&v);
    visit_include(&v);
    visit_rights(&v);
    if (tn_nginx_file_check_mount(v.n, c, &why) < 0)
        report(arg, false, tn_error_message(why));
    tn_error_free(why);
    visit_file(&v);
    return tn_cancel_level(c) >= 2 ? tn_error_set(err, TN_ECANCELLED, "doctor: interrupted") : TN_OK;
}
