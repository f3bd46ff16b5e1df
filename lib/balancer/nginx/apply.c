/* One change of the owned file: write, test, reload, confirm; or the old bytes again.
 *
 * Until the reload any failure puts the old file back, a cancel too: nginx does not know of the new one
 * yet. After it, a failure puts the old file back and reloads again; only a cancel or the end of the run's
 * time leaves at once, and the next apply sees by hash and generation what is left to do.
 */
#include "lib/balancer/nginx/nginx.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"

struct change {
    struct tn_nginx *n;
    struct tn_cancel *c;
    const struct tn_traffic *want;
    const char *const *confirm;
    size_t n_confirm;
    struct tn_nginx_file old;
    char generation[TN_ENDPOINT_TEXT];
    struct tn_buf text;
    char hash[TN_SHA256_HEX];
};

static void change_clear(struct change *ch)
{
    tn_nginx_file_clear(&ch->old);
    tn_buf_clear(&ch->text);
}

/* The file may be replaced: it is absent, or ours and as we wrote it. */
static int guard(struct tn_nginx *n, const struct tn_nginx_file *f, bool force, struct tn_error **err)
{
    const char *name = n->base.config->name, *file = n->base.config->file;
    const struct tn_nginx_owned *o = &f->owned;
    if (!f->text)
        return TN_OK;
    if (!o->ours) {
        tn_error_set(err, TN_ESTRANGER, "balancer '%s': file '%s' %s%s%s%s%s", name, file,
                     o->marked ? "belongs to app '" : "was not written by turnout", o->marked ? o->app : "",
                     o->marked ? "', environment '" : "", o->marked ? o->environment : "",
                     o->marked ? "'" : "");
        return tn_error_hint(err, "give the balancer another file of its own, or move this one away");
    }
    if (!o->edited || force)
        return TN_OK;
    tn_error_set(err, TN_ESTALE, "balancer '%s': file '%s' was edited by hand since turnout wrote it", name,
                 file);
    return tn_error_hint(err, "move the change to a file of yours; with --force this one is written anew");
}

static bool is_confirm(const struct change *ch, const char *instance)
{
    for (size_t i = 0; i < ch->n_confirm; i++)
        if (strcmp(ch->confirm[i], instance) == 0)
            return true;
    return false;
}

static bool wants_instance(const struct tn_traffic *t, const char *instance)
{
    for (size_t i = 0; i < t->n; i++)
        for (size_t k = 0; k < t->v[i].n_servers; k++)
            if (tn_streq(t->v[i].servers[k].instance, instance))
                return true;
    return false;
}

static int prepare(struct change *ch, bool force, struct tn_error **err)
{
    struct tn_nginx *n = ch->n;
    for (size_t i = 0; i < ch->n_confirm; i++)
        if (!wants_instance(ch->want, ch->confirm[i]))
            return tn_error_set(err, TN_EUSAGE,
                                "balancer '%s': instance '%s' is to be confirmed but gets no traffic",
                                n->base.config->name, ch->confirm[i]);
    int rc = tn_nginx_file_check_mount(n, ch->c, err);
    if (rc == TN_OK)
        rc = tn_nginx_file_read(n, &ch->old, err);
    if (rc == TN_OK)
        rc = guard(n, &ch->old, force, err);
    if (rc == TN_OK)
        rc = tn_nginx_pick_generation(n, ch->c, &ch->old, ch->generation, err);
    if (rc < 0)
        return rc;
    rc =
        tn_nginx_render(n->base.app, n->base.environment, ch->generation, ch->want, &ch->text, ch->hash, err);
    return rc < 0 ? tn_error_prefix(err, "balancer '%s'", n->base.config->name) : TN_OK;
}

static bool same_servers(const struct tn_upstream *a, const struct tn_upstream *b)
{
    if (!a || a->n_servers != b->n_servers)
        return false;
    for (size_t i = 0; i < a->n_servers; i++) {
        const struct tn_server *x = &a->servers[i], *y = &b->servers[i];
        if (x->port != y->port || x->weight != y->weight || x->backup != y->backup ||
            !tn_streq(x->address, y->address))
            return false;
    }
    return true;
}

/* Backups are not asked for: they get no request while a main server answers. */
static int confirm_answers(struct change *ch, int64_t deadline, struct tn_error **err)
{
    int rc = TN_OK;
    for (size_t i = 0; rc == TN_OK && i < ch->want->n; i++) {
        const struct tn_upstream *u = &ch->want->v[i];
        tn_autofree bool *need = tn_alloc(u->n_servers + 1);
        bool ask = u->n_servers > 0 && !same_servers(tn_traffic_find(&ch->old.owned.traffic, u->name), u);
        for (size_t k = 0; k < u->n_servers; k++) {
            need[k] = !u->servers[k].backup && is_confirm(ch, u->servers[k].instance);
            ask = ask || need[k];
        }
        if (ask)
            rc = tn_nginx_confirm_upstream(ch->n, ch->c, ch->generation, u, need, deadline, err);
    }
    return rc;
}

static void remember_left(struct change *ch)
{
    const struct tn_traffic *old = &ch->old.owned.traffic, *new = ch->want;
    struct tn_endpoint e;
    for (size_t i = 0; i < old->n; i++)
        for (size_t k = 0; k < old->v[i].n_servers; k++) {
            const struct tn_server *s = &old->v[i].servers[k];
            if (tn_endpoint_of(s->address, s->port, &e))
                tn_nginx_left_add(ch->n, s->instance, &e);
        }
    for (size_t i = 0; i < new->n; i++)
        for (size_t k = 0; k < new->v[i].n_servers; k++) {
            const struct tn_server *s = &new->v[i].servers[k];
            if (tn_endpoint_of(s->address, s->port, &e))
                tn_nginx_left_drop(ch->n, &e);
        }
}

static bool must_leave(const struct change *ch, int rc)
{
    return rc == TN_ECANCELLED || tn_cancel_level(ch->c) >= 2 || tn_mono_ms() >= tn_cancel_deadline(ch->c);
}

/* nginx does not know of the new file yet. Returns the code of *err, which says why. */
static int back_before_reload(struct change *ch, struct tn_error **err)
{
    struct tn_error *why = NULL;
    int rc = tn_nginx_file_put_back(ch->n, ch->c, &ch->old, false, &why);
    if (rc < 0) {
        tn_error_hint(err,
                      "the old file could not be put back (%s): '%s' must be mended by hand before nginx is "
                      "reloaded",
                      tn_error_message(why), ch->n->base.config->file);
    } else if (!must_leave(ch, TN_OK) && tn_nginx_test(ch->n, ch->c, NULL) < 0) {
        tn_error_hint(err, "the test fails without turnout's change too: mend nginx's configuration first");
    }
    tn_error_free(why);
    return err && *err ? (int)(*err)->code : TN_EFAIL;
}

/* The reload was asked for. Returns the code of *err. */
static int back_after_reload(struct change *ch, struct tn_error **err)
{
    struct tn_nginx *n = ch->n;
    struct tn_error *why = NULL;
    int rc = tn_nginx_file_put_back(n, ch->c, &ch->old, true, &why);
    if (rc == TN_OK)
        rc = tn_nginx_reload(n, ch->c, &why);
    if (rc == TN_OK && ch->old.owned.ours && !ch->old.owned.edited && ch->old.owned.generation)
        rc = tn_nginx_confirm_generation(n, ch->c, ch->old.owned.generation, ch->old.owned.hash,
                                         tn_mono_ms() + tn_nginx_timeout(n), &why);
    if (rc < 0)
        tn_error_hint(err, "%s%sthe old file %s", tn_error_message(why), why ? "; " : "",
                      tn_nginx_runs(n, ch->c) ? "is back, but nginx does not confirm it"
                                              : "waits for nginx to start");
    tn_error_free(why);
    return err && *err ? (int)(*err)->code : TN_EFAIL;
}

/* From the test on; the new file is in place. */
static int put_in_force(struct change *ch, int64_t *took, struct tn_error **err)
{
    struct tn_nginx *n = ch->n;
    int rc = tn_nginx_test(n, ch->c, err);
    if (rc < 0)
        return back_before_reload(ch, err);
    int64_t start = tn_mono_ms(), deadline = start + tn_nginx_timeout(n);
    rc = tn_nginx_reload(n, ch->c, err);
    /* It ran and refused: the master was never told. */
    if (rc == TN_EFAIL || rc == TN_ENOTFOUND) {
        struct tn_error *why = NULL;
        if (tn_nginx_file_put_back(n, ch->c, &ch->old, false, &why) < 0)
            tn_error_hint(err, "the old file could not be put back: %s", tn_error_message(why));
        tn_error_free(why);
        return rc;
    }
    if (rc == TN_OK)
        rc = tn_nginx_confirm_generation(n, ch->c, ch->generation, ch->hash, deadline, err);
    if (rc == TN_OK)
        rc = tn_nginx_wait_for_workers(n, ch->c, ch->generation, err);
    *took = tn_mono_ms() - start;
    if (rc == TN_OK)
        rc = confirm_answers(ch, deadline, err);
    if (rc == TN_OK || must_leave(ch, rc))
        return rc;
    return back_after_reload(ch, err);
}

/* True when nginx runs exactly this file already. */
static int is_loaded(struct change *ch, bool *loaded, struct tn_error **err)
{
    struct tn_error *why = NULL;
    tn_autofree char *other = NULL;
    int same = 0;
    int rc =
        tn_nginx_ask_generation(ch->n, ch->c, ch->generation, ch->hash, TN_NGINX_FRESH, &same, &other, &why);
    *loaded = rc == TN_OK && same >= TN_NGINX_FRESH;
    if (rc == TN_ECANCELLED)
        return tn_error_move(err, &why);
    tn_error_free(why);
    return TN_OK;
}

static void set_note(char **note, char *text)
{
    if (note)
        *note = text;
    else
        free(text);
}

static int carry_out(struct change *ch, char **note, struct tn_error **err)
{
    const struct tn_nginx_file *old = &ch->old;
    bool same = old->text && old->len == ch->text.len && memcmp(old->text, ch->text.data, old->len) == 0;
    bool loaded = false;
    int64_t took = 0;
    /* That nothing can be asked there is better told before anything is written. */
    int rc = tn_nginx_find_asker(ch->n, ch->c, err);
    if (rc == TN_OK && same)
        rc = is_loaded(ch, &loaded, err);
    if (rc < 0)
        return rc;
    if (same && loaded) {
        rc = confirm_answers(ch, tn_mono_ms() + tn_nginx_timeout(ch->n), err);
        if (rc == TN_OK)
            set_note(note, tn_strdup("nothing to do"));
        return rc;
    }
    if (!same)
        rc = tn_nginx_file_write(ch->n, ch->c, ch->text.data, ch->text.len, err);
    if (rc == TN_OK)
        rc = put_in_force(ch, &took, err);
    if (rc < 0)
        return rc;
    remember_left(ch);
    set_note(note, tn_format("reload, confirmed in %lldms", (long long)took));
    return TN_OK;
}

int tn_nginx_apply(struct tn_balancer_driver *b, struct tn_cancel *c, const struct tn_traffic *want,
                   const char *const *confirm_new, size_t n_confirm, bool force, char **note,
                   struct tn_error **err)
{
    struct change ch = {.n = tn_nginx_of(b),
                        .c = c,
                        .want = want,
                        .confirm = confirm_new,
                        .n_confirm = n_confirm,
                        .text = TN_BUF_INIT(TN_NGINX_FILE_MAX + 1)};
    struct tn_error *why = NULL;
    int rc = prepare(&ch, force, &why);
    if (rc == TN_OK)
        rc = carry_out(&ch, note, &why);
    change_clear(&ch);
    return rc < 0 ? tn_error_move(err, &why) : TN_OK;
}

int tn_nginx_differs(struct tn_balancer_driver *b, struct tn_cancel *c, const struct tn_traffic *want,
                     struct tn_error **err)
{
    struct change ch = {
        .n = tn_nginx_of(b), .c = c, .want = want, .text = TN_BUF_INIT(TN_NGINX_FILE_MAX + 1)};
    int rc =
        tn_nginx_find_asker(ch.n, c, err); /* before anything starts it is better known that nobody can ask */
    if (rc == TN_OK)
        rc = prepare(&ch, false, err);
    if (rc == TN_OK)
        rc = !ch.old.text || ch.old.len != ch.text.len || memcmp(ch.old.text, ch.text.data, ch.text.len) != 0;
    change_clear(&ch);
    return rc;
}

/* Every upstream stays by name, none has a server. */
static int stay_empty(struct change *ch, struct tn_traffic *empty, struct tn_error **err)
{
    struct tn_nginx *n = ch->n;
    tn_traffic_copy(empty, &ch->old.owned.traffic);
    for (size_t i = 0; i < empty->n; i++) {
        struct tn_upstream *u = &empty->v[i];
        for (size_t k = 0; k < u->n_servers; k++) {
            free(u->servers[k].instance);
            free(u->servers[k].address);
        }
        u->n_servers = 0;
    }
    int rc = tn_nginx_apply(&n->base, ch->c, empty, NULL, 0, false, NULL, err);
    if (rc < 0)
        return rc;
    tn_error_set(err, TN_EBUSY,
                 "balancer '%s': file '%s' stays, with no server in its upstreams: nginx's other "
                 "configuration still uses them",
                 n->base.config->name, n->base.config->file);
    return tn_error_hint(err,
                         "take the upstreams out of your server blocks, then run `turnout destroy` again");
}

/* The file is gone and the test passed. A reload that fails matters only while the old configuration still
 * answers. */
static int forget(struct change *ch, struct tn_error **err)
{
    struct tn_nginx *n = ch->n;
    struct tn_error *why = NULL;
    int64_t deadline = tn_mono_ms() + tn_nginx_timeout(n);
    int rc = tn_nginx_reload(n, ch->c, &why);
    bool gone = !ch->old.owned.generation;
    while (!gone && !must_leave(ch, TN_OK)) {
        tn_autofree char *other = NULL;
        int same = 0;
        gone = tn_nginx_ask_generation(n, ch->c, ch->old.owned.generation, ch->old.owned.hash, 1, &same,
                                       &other, NULL) < 0 ||
               same == 0;
        if (gone || tn_mono_ms() >= deadline)
            break;
        rc = tn_wait_fd(ch->c, "nginx to forget the file", -1, tn_mono_ms() + 5, NULL);
    }
    if (gone) {
        remember_left(ch);
        tn_error_free(why);
        return TN_OK;
    }
    if (!why)
        rc = tn_error_set(&why, rc < 0 ? (enum tn_code)rc : TN_EFAIL,
                          "balancer '%s': nginx still runs the configuration with the removed file",
                          n->base.config->name);
    tn_error_move(err, &why);
    return must_leave(ch, rc) ? rc : back_after_reload(ch, err);
}

int tn_nginx_remove(struct tn_balancer_driver *b, struct tn_cancel *c, struct tn_error **err)
{
    static const struct tn_traffic none;
    struct change ch = {.n = tn_nginx_of(b), .c = c, .want = &none};
    struct tn_traffic empty = {0};
    struct tn_error *why = NULL;
    int rc = tn_nginx_file_check_mount(ch.n, c, &why);
    if (rc == TN_OK)
        rc = tn_nginx_file_read(ch.n, &ch.old, &why);
    if (rc == TN_OK)
        rc = guard(ch.n, &ch.old, false, &why);
    if (rc == TN_OK && ch.old.text) {
        rc = tn_nginx_file_write(ch.n, c, NULL, 0, &why);
        if (rc == TN_OK && tn_nginx_test(ch.n, c, &why) == TN_OK) {
            rc = forget(&ch, &why);
        } else if (rc == TN_OK) {
            rc = tn_nginx_file_put_back(ch.n, c, &ch.old, false, &why);
            if (rc == TN_OK)
                rc = must_leave(&ch, TN_OK) ? (int)why->code : stay_empty(&ch, &empty, &why);
        }
    }
    tn_traffic_clear(&empty);
    change_clear(&ch);
    return rc < 0 ? tn_error_move(err, &why) : TN_OK;
}
