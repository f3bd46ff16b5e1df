#include "turnout/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/hash.h"
#include "turnout/mem.h"

char *tn_path_join(const char *dir, const char *name)
{
    return name[0] == '/' ? tn_strdup(name) : tn_format("%s/%s", dir, name);
}

char *tn_path_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return tn_strdup(".");
    return slash == path ? tn_strdup("/") : tn_strndup(path, (size_t)(slash - path));
}

bool tn_fs_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

char *tn_fs_read(const char *path, size_t max, size_t *out_len, struct tn_error **err)
{
    tn_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        tn_error_errno(err, errno == ENOENT ? TN_ENOTFOUND : TN_EIO, errno, "'%s'", path);
        return NULL;
    }
    size_t len = 0, cap = 4096;
    char *data = tn_alloc(cap + 1);
    for (;;) {
        ssize_t n = read(fd, data + len, cap - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            tn_error_errno(err, TN_EIO, errno, "'%s'", path);
            break;
        }
        len += (size_t)n;
        if (len > max) {
            tn_error_set(err, TN_ELIMIT, "'%s': larger than %zu bytes", path, max);
            break;
        }
        if (n == 0) {
            data[len] = 0;
            if (out_len)
                *out_len = len;
            return data;
        }
        if (len == cap)
            data = tn_realloc_array(data, (cap *= 2) + 1, 1);
    }
    free(data);
    return NULL;
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -1;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

static int sync_dir(const char *path)
{
    tn_autofree char *dir = tn_path_dir(path);
    tn_autoclose int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

/* A complete, synced temp file beside `path`; returns its name. */
static char *write_temp(const char *path, const void *data, size_t len, mode_t mode, const struct stat *like,
                        struct tn_error **err)
{
    char random[9];
    tn_random_hex(random, 8);
    char *temp = tn_format("%s.new-%s", path, random);
    tn_autoclose int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode & 0777);
    bool ok = fd >= 0 && fchmod(fd, like ? like->st_mode & 07777 : mode) == 0;
    if (ok && like && fchown(fd, like->st_uid, like->st_gid) != 0 && errno != EPERM)
        ok = false;
    if (ok && write_all(fd, data, len) == 0 && fsync(fd) == 0)
        return temp;
    int saved = errno;
    if (fd >= 0)
        unlink(temp);
    tn_error_errno(err, TN_EIO, saved, "writing '%s'", path);
    free(temp);
    return NULL;
}

/* Where a link points whose target does not exist yet; NULL when it is no link. */
static char *link_target(const char *path)
{
    char to[PATH_MAX];
    ssize_t n = readlink(path, to, sizeof(to) - 1);
    if (n <= 0)
        return NULL;
    to[n] = 0;
    tn_autofree char *dir = tn_path_dir(path);
    return tn_path_join(dir, to);
}

int tn_fs_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct tn_error **err)
{
    char real[PATH_MAX];
    struct stat st;
    bool exists = stat(path, &st) == 0;
    tn_autofree char *target = exists ? NULL : link_target(path);
    if (exists && realpath(path, real))
        path = real;
    else if (target)
        path = target;
    tn_autofree char *temp = write_temp(path, data, len, mode, exists ? &st : NULL, err);
    if (!temp)
        return TN_EIO;
    if (rename(temp, path) == 0 && sync_dir(path) == 0)
        return TN_OK;
    int saved = errno;
    unlink(temp);
    return tn_error_errno(err, TN_EIO, saved, "writing '%s'", path);
}

int tn_fs_create_new(const char *path, const void *data, size_t len, mode_t mode, struct tn_error **err)
{
    tn_autofree char *temp = write_temp(path, data, len, mode, NULL, err);
    if (!temp)
        return TN_EIO;
    int rc = link(temp, path);
    int saved = errno;
    unlink(temp);
    if (rc != 0)
        return tn_error_errno(err, saved == EEXIST ? TN_EEXISTS : TN_EIO, saved, "creating '%s'", path);
    if (sync_dir(path) != 0)
        return tn_error_errno(err, TN_EIO, errno, "creating '%s'", path);
    return TN_OK;
}

int tn_fs_mkdirs(const char *path, mode_t mode, struct tn_error **err)
{
    tn_autofree char *p = tn_strdup(path);
    for (char *s = p + 1;; s++) {
        if (*s && *s != '/')
            continue;
        char c = *s;
        *s = 0;
        if (mkdir(p, mode) != 0 && errno != EEXIST)
            return tn_error_errno(err, TN_EIO, errno, "creating folder '%s'", p);
        *s = c;
        if (!c)
            break;
    }
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return tn_error_set(err, TN_EIO, "'%s' is not a folder", path);
    return TN_OK;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

int tn_fs_remove_tree(const char *path, struct tn_error **err)
{
    if (!tn_fs_exists(path))
        return TN_OK;
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0 && errno != ENOENT)
        return tn_error_errno(err, TN_EIO, errno, "removing '%s'", path);
    return TN_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int tn_fs_list(const char *path, char ***out_names, size_t *out_n, struct tn_error **err)
{
    DIR *d = opendir(path);
    if (!d)
        return tn_error_errno(err, errno == ENOENT ? TN_ENOTFOUND : TN_EIO, errno, "'%s'", path);
    char **v = NULL;
    size_t n = 0, cap = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        TN_GROW(v, n, cap);
        v[n++] = tn_strdup(e->d_name);
    }
    closedir(d);
    if (n)
        qsort(v, n, sizeof(*v), by_name);
    *out_names = v;
    *out_n = n;
    return TN_OK;
}

void tn_fs_list_free(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}
