/* The tester and the reload: the plan's commands, or nginx's own. */
#include "lib/balancer/nginx/nginx.h"

#include <string.h>

#include "turnout/mem.h"
#include "turnout/text.h"

#define COMMAND_TIMEOUT_MS 30000
#define WORDS_MAX          1000

int tn_nginx_run(struct tn_nginx *n, struct tn_cancel *c, const char *const *argv, struct tn_run_result *out,
                 struct tn_error **err)
{
    struct tn_host *h = n->base.host;
    int rc = h->ops->run(h, c, argv, NULL, COMMAND_TIMEOUT_MS, out, err);
    /* An engine's exec tells of a missing program by the codes of a shell. */
    if (rc == TN_OK && !h->local && (out->exit_code == 126 || out->exit_code == 127))
        return tn_error_set(err, TN_ENOTFOUND, "command '%s' on %s: there is no such program", argv[0],
                            h->name);
    return rc;
}

/* One line of an error message: what was said, without notices ("signal process started"). */
char *tn_nginx_words(const struct tn_run_result *r)
{
    const struct tn_buf *from = r->err_text.len > 0 ? &r->err_text : &r->out;
    size_t skip = from->len > WORDS_MAX ? from->len - WORDS_MAX : 0;
    tn_autobuf b = TN_BUF_INIT(WORDS_MAX * 8);
    for (const char *at = from->data ? from->data + skip : ""; *at; at += *at == '\n') {
        size_t n = strcspn(at, "\n");
        if (n > 0 && !memmem(at, n, "[notice]", strlen("[notice]"))) {
            tn_buf_puts(&b, b.len > 0 ? "; " : "");
            tn_filter(&b, at, n, false);
        }
        at += n;
    }
    if (b.len == 0 && r->signal)
        tn_buf_printf(&b, "ended by signal %d", r->signal);
    else if (b.len == 0)
        tn_buf_printf(&b, "exit code %d", r->exit_code);
    return tn_buf_take(&b);
}

/* `what` names the command; *out_words gets what it said when it failed. */
static int run_named(struct tn_nginx *n, struct tn_cancel *c, const char *what, const struct tn_command *own,
                     const char *const *usual, struct tn_error **err)
{
    const char *const *argv = own->argv ? (const char *const *)own->argv : usual;
    struct tn_run_result r = {0};
    int rc = tn_nginx_run(n, c, argv, &r, err);
    if (rc < 0) {
        tn_error_prefix(err, "balancer '%s': %s", n->base.config->name, what);
        if (rc == TN_ENOTFOUND)
            tn_error_hint(err, "give the command that works there as '%s' of balancer '%s'", what,
                          n->base.config->name);
    } else if (r.exit_code != 0) {
        tn_autofree char *words = tn_nginx_words(&r);
        rc = tn_error_set(err, TN_EFAIL, "balancer '%s': %s by '%s' failed: %s", n->base.config->name, what,
                          argv[0], words);
    }
    tn_run_result_clear(&r);
    return rc;
}

int tn_nginx_test(struct tn_nginx *n, struct tn_cancel *c, struct tn_error **err)
{
    static const char *const usual[] = {"nginx", "-t", NULL};
    return run_named(n, c, "test", &n->base.config->test, usual, err);
}

int tn_nginx_reload(struct tn_nginx *n, struct tn_cancel *c, struct tn_error **err)
{
    static const char *const usual[] = {"nginx", "-s", "reload", NULL};
    int rc = run_named(n, c, "reload", &n->base.config->reload, usual, err);
    if (rc == TN_EFAIL && !tn_nginx_runs(n, c))
        tn_error_hint(err, "nginx does not run on %s: start it first", n->base.host->name);
    return rc;
}
