/* managed.c - HAProxy as a program of ours, under the shim.
 *
 * Its sockets have relative names and its working folder is ours, so that the length of the folder's name does not
 * matter (a socket address holds 108 bytes, and HAProxy binds under a longer, temporary name first).
 */
#include "lib/balancer/haproxy/haproxy.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "turnout/fs.h"
#include "turnout/text.h"
#include "lib/transport/shim.h"

enum { START_MS = 10000, GRACE_MS = 2000, OUTPUT_MAX = 1 << 20, FOLDER_NAME_MAX = 90 };

static char *socket_path(const struct tn_haproxy *h, const char *name)
{
    if (h->dir_fd >= 0) {
        return tn_format("/proc/self/fd/%d/%s", h->dir_fd, name);
    }
    return tn_path_join(h->managed_dir, name);
}

int tn_haproxy_prepare(struct tn_haproxy *h, bool create, struct tn_error **err)
{
    if (h->managed_dir == NULL || h->socket != NULL) {
        return TN_OK;
    }
    int code = create ? tn_fs_mkdirs(h->managed_dir, 0700, err) : TN_OK;
    if (code < 0 || !tn_fs_exists(h->managed_dir)) {
        return code;
    }
    if (strlen(h->managed_dir) > FOLDER_NAME_MAX) {
        h->dir_fd = open(h->managed_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (h->dir_fd < 0) {
            return tn_error_errno(err, TN_EIO, errno, "folder '%s': cannot be opened", h->managed_dir);
        }
    }
    h->socket = socket_path(h, "admin.sock");
    h->probe = socket_path(h, "probe.sock");
    return TN_OK;
}

bool tn_haproxy_runs(const struct tn_haproxy *h)
{
    struct tn_shim_status s = {0};
    return tn_shim_read(h->run_dir, &s, NULL) == TN_OK && s.state == TN_SHIM_RUNNING;
}

int tn_haproxy_program(struct tn_haproxy *h, struct tn_error **err)
{
    const char *path = getenv("PATH");
    tn_autofree char *all =
        tn_format("%s:/usr/local/sbin:/usr/sbin:/sbin", path != NULL ? path : "/usr/bin:/bin");
    for (char *dir = all; h->program == NULL && dir != NULL;) {
        char *end = strchr(dir, ':');
        if (end != NULL) {
            *end++ = '\0';
        }
        tn_autofree char *candidate = tn_format("%s/haproxy", dir);
        if (dir[0] == '/' && access(candidate, X_OK) == 0) {
            h->program = TN_TAKE(candidate);
        }
        dir = end;
    }
    if (h->program == NULL) {
        tn_error_set(err, TN_ENOTFOUND, "the program 'haproxy' is not installed");
        return tn_error_hint(err, "apt-get install haproxy");
    }
    return TN_OK;
}

static int put_policy(const struct tn_haproxy *h, const char *policy, struct tn_error **err)
{
    tn_autofree char *path = tn_path_join(h->run_dir, "policy");
    return tn_fs_write_atomic(path, policy, strlen(policy), 0600, err);
}

static int put_json(const struct tn_haproxy *h, const char *name, json_t *value, struct tn_error **err)
{
    tn_autofree char *path = tn_path_join(h->run_dir, name);
    tn_autofree char *text = json_dumps(value, JSON_INDENT(1) | JSON_SORT_KEYS);
    json_decref(value);
    return text != NULL ? tn_fs_write_atomic(path, text, strlen(text), 0600, err)
                        : tn_error_set(err, TN_EFAIL, "file '%s': cannot be put together", path);
}

int tn_haproxy_start(struct tn_haproxy *h, struct tn_cancel *c, struct tn_error **err)
{
    int code = tn_haproxy_program(h, err);
    if (code == TN_OK) {
        code = tn_fs_mkdirs(h->run_dir, 0700, err);
    }
    if (code == TN_OK) {
        code =
            put_json(h, "spec.json",
                     json_pack("{s:[s,s,s,s], s:{s:s}, s:s, s:s, s:i, s:i}", "argv", h->program, "-W", "-f",
                               h->file, "env", "PATH", "/usr/sbin:/usr/bin:/sbin:/bin", "cwd", h->managed_dir,
                               "signal", "SIGTERM", "grace_ms", GRACE_MS, "stdio_max", OUTPUT_MAX),
                     err);
    }
    if (code == TN_OK) {
        code = put_json(h, "meta.json",
                        json_pack("{s:s, s:s, s:s}", "turnout.app", h->id.app, "turnout.environment",
                                  h->id.environment != NULL ? h->id.environment : "", "turnout.balancer",
                                  h->id.balancer),
                        err);
    }
    /* One that cannot start must not be tried for ever. */
    if (code == TN_OK) {
        code = put_policy(h, "no", err);
    }
    return code == TN_OK ? tn_shim_start(c, h->run_dir, START_MS, err) : code;
}

int tn_haproxy_keep(struct tn_haproxy *h, struct tn_error **err)
{
    return put_policy(h, "always", err);
}

int tn_haproxy_wipe(struct tn_haproxy *h, struct tn_cancel *c, struct tn_error **err)
{
    int code = tn_haproxy_stop(h, c, err);
    code = code == TN_OK ? tn_fs_remove_tree(h->managed_dir, err) : code;
    if (code == TN_OK) {
        tn_cleanup_close(&h->dir_fd);
        h->dir_fd = -1;
        free(h->socket);
        free(h->probe);
        h->socket = h->probe = NULL;
    }
    return code;
}

int tn_haproxy_stop(struct tn_haproxy *h, struct tn_cancel *c, struct tn_error **err)
{
    return tn_fs_exists(h->run_dir) ? tn_shim_stop(c, h->run_dir, err) : TN_OK;
}

static char *output_of(const struct tn_haproxy *h, size_t *len)
{
    tn_autofree char *path = tn_path_join(h->run_dir, "output.log");
    *len = 0;
    return tn_fs_read(path, 4 * (size_t)OUTPUT_MAX, len, NULL);
}

size_t tn_haproxy_output(const struct tn_haproxy *h)
{
    size_t len;
    tn_autofree char *text = output_of(h, &len);
    return text != NULL ? len : 0;
}

char *tn_haproxy_complaint(const struct tn_haproxy *h, size_t from)
{
    size_t len;
    tn_autofree char *text = output_of(h, &len);
    const char *alert = text != NULL ? strstr(text + (from < len ? from : 0), "[ALERT]") : NULL;
    tn_autobuf clean = TN_BUF_INIT(1024);
    if (alert == NULL) {
        return NULL;
    }
    tn_filter(&clean, alert, strcspn(alert, "\n"), false);
    return tn_buf_take(&clean);
}
