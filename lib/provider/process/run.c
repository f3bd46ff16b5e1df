/* Starting, stopping and looking into instances. */
#include "lib/provider/process/process.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/fs.h"
#include "lib/base/hash.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/transport/hook_shim.h"
#include "lib/transport/run.h"
#include "lib/transport/shim.h"
#include "lib/transport/shim_files.h"
#include "lib/transport/shim_tail.h"

#define BEGIN_MS 10000
#define STALE_S  600

bool tn_process_port_taken(struct tn_provider *p, size_t host, int port)
{
    (void)p;
    (void)host;
    tn_autoclose int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    /* All addresses: a listener on any of them is in the way of a program that binds all. REUSEADDR:
     * connections that are closing are not. */
    return fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
           bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 && errno == EADDRINUSE;
}

static char *run_dir(struct tn_provider *p, const char *name, struct tn_error **err)
{
    if (tn_process_name_ok(name))
        return tn_path_join(tn_process_of(p)->instances, name);
    tn_error_set(err, TN_EFAIL, "instance '%s': only letters, digits, '.', '_' and '-' can be in its name",
                 name);
    return NULL;
}

/* Gone at once for everybody who looks; the files go afterwards. */
static int remove_run(const char *dir, struct tn_error **err)
{
    char random[17];
    tn_random_hex(random, 16);
    tn_autofree char *parent = tn_path_dir(dir);
    tn_autofree char *gone = tn_format("%s/.gone-%s", parent, random);
    if (rename(dir, gone) < 0)
        return errno == ENOENT ? TN_OK : tn_error_errno(err, TN_EIO, errno, "removing '%s'", dir);
    return tn_fs_remove_tree(gone, err);
}

/* What a crash left: folders half removed, and folders half made that are too old to be somebody's work. */
static void remove_leftovers(const char *parent, int64_t older_than_s)
{
    char **names = NULL;
    size_t n = 0;
    if (tn_fs_list(parent, &names, &n, NULL) != TN_OK)
        return;
    for (size_t i = 0; i < n; i++) {
        tn_autofree char *path = tn_path_join(parent, names[i]);
        struct stat st;
        bool old = lstat(path, &st) == 0 && time(NULL) - st.st_mtime >= older_than_s;
        if (old && (tn_starts_with(names[i], ".gone-") || tn_starts_with(names[i], ".new-")))
            (void)tn_fs_remove_tree(path, NULL);
    }
    tn_fs_list_free(names, n);
}

/* The plan's own words instead of the absolute path that was executed. */
static int exec_failed(const struct tn_start *s, const struct tn_shim_status *st, struct tn_error **err)
{
    const char *argv0 = s->spec->command.argv[0];
    tn_autofree char *path = s->dir ? tn_path_join(s->dir, argv0) : tn_strdup(argv0);
    tn_autofree char *from = tn_format("program '%s': ", path);
    if (tn_starts_with(st->error, from))
        tn_error_set(err, TN_EFAIL, "program '%s': %s", argv0, st->error + strlen(from));
    else
        tn_error_set(err, TN_EFAIL, "%s", st->error);
    return tn_error_hint(err, "'command' and 'working_dir' of service '%s' are looked up from '%s'",
                         s->service, s->dir ? s->dir : "/");
}

static int launch(struct tn_cancel *c, const char *dir, const struct tn_start *s, struct tn_error **err)
{
    int rc = tn_shim_start(c, dir, BEGIN_MS, err);
    struct tn_shim_status st;
    if (rc == TN_OK || tn_shim_read(dir, &st, NULL) != TN_OK || st.state != TN_SHIM_ENDED || st.lost ||
        !st.error[0])
        return rc;
    (void)remove_run(dir, NULL);
    return exec_failed(s, &st, err);
}

/* The folder is there: ours from this very effect, ours from another one, or somebody else's. */
static int take_over(struct tn_cancel *c, const char *dir, const struct tn_start *s, struct tn_error **err)
{
    json_t *meta = tn_process_meta_read(dir);
    if (!meta)
        return tn_error_set(err, TN_ESTRANGER, "'%s' is there and is not turnout's", dir);
    bool ours = tn_streq(tn_process_label(meta, TN_LABEL_APP), s->app) &&
                tn_streq(tn_process_label(meta, TN_LABEL_ENV), s->environment ? s->environment : "");
    bool same = ours && tn_streq(tn_process_label(meta, TN_LABEL_EFFECT), s->effect);
    tn_autofree char *app = tn_strdup(tn_process_label(meta, TN_LABEL_APP));
    json_decref(meta);
    if (same)
        return launch(c, dir, s, err);
    if (!ours)
        return tn_error_set(err, TN_ESTRANGER, "instance '%s' belongs to '%s' or to another environment",
                            s->name, app);
    return tn_error_set(err, TN_EEXISTS, "instance '%s' is there already", s->name);
}

static int check_ports(struct tn_provider *p, const struct tn_start *s, struct tn_error **err)
{
    for (size_t i = 0; i < s->n_ports; i++)
        if (tn_process_port_taken(p, 0, s->ports[i].host_port))
            return tn_error_set(err, TN_EBUSY, "port %d is in use by another program", s->ports[i].host_port);
    return TN_OK;
}

static int create(const char *dir, const struct tn_start *s, struct tn_error **err)
{
    json_t *spec = NULL;
    int rc = tn_process_spec(s, NULL, &spec, err);
    if (rc != TN_OK)
        return rc;
    json_t *meta = tn_process_meta(s);
    rc = tn_shim_create(dir, spec, meta, "no", err);
    json_decref(spec);
    json_decref(meta);
    return rc;
}

int tn_process_start(struct tn_provider *p, struct tn_cancel *c, const struct tn_start *s,
                     struct tn_error **err)
{
    tn_autofree char *dir = run_dir(p, s->name, err);
    if (!dir)
        return TN_EFAIL;
    if (tn_fs_exists(dir))
        return take_over(c, dir, s, err);
    int rc = check_ports(p, s, err);
    if (rc == TN_OK)
        rc = tn_fs_mkdirs(tn_process_of(p)->instances, 0700, err);
    if (rc != TN_OK)
        return rc;
    remove_leftovers(tn_process_of(p)->instances, STALE_S);
    rc = create(dir, s, err);
    if (rc == TN_EEXISTS) {
        tn_error_clear(err);
        return take_over(c, dir, s, err);
    }
    return rc == TN_OK ? launch(c, dir, s, err) : rc;
}

/* The run folder of this very instance, or NULL when it is not there: gone, or a later one of the same name.
 * */
static char *own_dir(struct tn_provider *p, const struct tn_instance *i, struct tn_error **err)
{
    char *dir = run_dir(p, i->name, err);
    json_t *meta = dir ? tn_process_meta_read(dir) : NULL;
    bool own = meta && (!i->effect || tn_streq(i->effect, tn_process_label(meta, TN_LABEL_EFFECT)));
    json_decref(meta);
    if (own || !dir)
        return dir;
    free(dir);
    tn_error_set(err, TN_ENOTFOUND, "instance '%s' does not exist", i->name);
    return NULL;
}

/* The plan's words of now, when they are not those of the start. */
static int update_stop(const char *dir, const char *signal_name, int64_t grace_ms, struct tn_error **err)
{
    tn_autofree char *path = tn_path_join(dir, "spec.json");
    json_t *spec = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(spec)) {
        json_decref(spec);
        return TN_OK; /* the shim stops with what it has read at its start */
    }
    const char *had = json_string_value(json_object_get(spec, "signal"));
    int rc = TN_OK;
    if (!tn_streq(had, signal_name) || json_integer_value(json_object_get(spec, "grace_ms")) != grace_ms) {
        json_object_set_new(spec, "signal", json_string(signal_name));
        json_object_set_new(spec, "grace_ms", json_integer(grace_ms));
        char *text = json_dumps(spec, JSON_COMPACT);
        rc = tn_fs_write_atomic(path, text, strlen(text), 0600, err);
        tn_wipe(text, strlen(text));
        free(text);
    }
    json_decref(spec);
    return rc;
}

int tn_process_stop(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                    const char *signal, int64_t grace_ms, struct tn_error **err)
{
    struct tn_error *why = NULL;
    tn_autofree char *dir = own_dir(p, i, &why);
    if (why && why->code == TN_ENOTFOUND) {
        tn_error_free(why);
        return TN_OK;
    }
    if (!dir)
        return tn_error_move(err, &why);
    const char *name = signal ? signal : "SIGTERM";
    if (tn_signal_number(name) == 0)
        return tn_error_set(err, TN_EPLAN, "instance '%s': '%s' is not a signal of this host", i->name, name);
    int rc = update_stop(dir, name, grace_ms, err);
    if (rc == TN_OK)
        rc = tn_shim_stop(c, dir, err);
    return rc == TN_OK ? remove_run(dir, err) : tn_error_prefix(err, "instance '%s'", i->name);
}

int tn_process_set_restart(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                           const char *policy, struct tn_error **err)
{
    (void)c;
    static const char *const known[] = {"no", "always", "on-failure", "unless-stopped"};
    bool ok = false;
    for (size_t k = 0; k < TN_COUNT(known); k++)
        ok |= tn_streq(known[k], policy);
    if (!ok)
        return tn_error_set(err, TN_EFAIL, "restart policy '%s' is not known", policy);
    tn_autofree char *dir = own_dir(p, i, err);
    if (!dir)
        return TN_ENOTFOUND;
    if (tn_streq(tn_shim_policy_read(dir), policy))
        return TN_OK;
    tn_autofree char *path = tn_path_join(dir, "policy");
    return tn_fs_write_atomic(path, policy, strlen(policy), 0600, err);
}

int tn_process_logs(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i, int tail,
                    bool follow, bool (*on_data)(void *arg, const char *data, size_t n), void *arg,
                    struct tn_error **err)
{
    tn_autofree char *dir = own_dir(p, i, err);
    if (!dir)
        return TN_ENOTFOUND;
    if (follow)
        return tn_shim_follow(c, dir, tail, on_data, arg, err);
    tn_autobuf out = TN_BUF_INIT((size_t)1 << 20);
    int rc = tn_shim_tail(dir, tail, &out, err);
    if (rc == TN_OK && out.len > 0)
        (void)on_data(arg, out.data, out.len);
    return rc;
}

int tn_process_exec(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                    const char *const *argv, int64_t timeout_ms, struct tn_run_result *out,
                    struct tn_error **err)
{
    tn_autofree char *dir = own_dir(p, i, err);
    if (!dir)
        return TN_ENOTFOUND;
    struct tn_shim_spec spec;
    int rc = tn_shim_spec_read(dir, &spec, err);
    if (rc != TN_OK)
        return rc;
    /* Not marked as part of the instance: its end is not this command's end. */
    for (char **e = spec.env; *e; e++)
        if (tn_starts_with(*e, "TURNOUT_SHIM_DIR="))
            (*e)[sizeof("TURNOUT_SHIM_DIR=") - 1] = 0;
    struct tn_run_options o = {
        .argv = argv, .env = (const char *const *)spec.env, .cwd = spec.cwd, .timeout_ms = timeout_ms};
    rc = tn_run(c, &o, out, err);
    tn_shim_spec_clear(&spec);
    return rc;
}

int tn_process_task(struct tn_provider *p, struct tn_cancel *c, const struct tn_start *s,
                    const char *const *argv, int64_t timeout_ms, struct tn_run_result *out,
                    struct tn_error **err)
{
    tn_autofree char *name = tn_process_name_from(s->effect);
    if (!tn_process_name_ok(name))
        return tn_error_set(err, TN_EFAIL, "effect '%s' cannot name a folder", s->effect);
    tn_autofree char *dir = tn_path_join(tn_process_of(p)->tasks, name);
    json_t *spec = NULL;
    int rc = tn_process_spec(s, argv, &spec, err);
    if (rc != TN_OK)
        return rc;
    rc = tn_hook_run_spec(c, dir, spec, timeout_ms, out, err);
    json_decref(spec);
    return rc;
}

int tn_process_tidy(struct tn_provider *p, struct tn_cancel *c, bool all, struct tn_error **err)
{
    (void)c;
    (void)all;
    (void)err;
    remove_leftovers(tn_process_of(p)->instances,
                     0); /* nobody else starts anything while the lease is held */
    return TN_OK;
}
