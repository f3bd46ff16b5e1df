/* A look on this host. nginx's master is the process that holds the generation's listening socket: several
 * nginx may run, and their configurations and pid files need not be known. Where /proc/PID/fd of another
 * user cannot be read, every master counts: too many workers only make a drain longer. */
#include "lib/balancer/nginx/nginx.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/balancer/nginx/diag.h"
#include "turnout/clock.h"
#include "turnout/mem.h"

#define LINE_MAX_ 512
#define FDS_MAX   65536
/* Clock steps and the file system's time granularity, where only the file's own time is known. */
#define MTIME_SLACK_MS 1000

struct scene {
    struct tn_nginx_process *v;
    size_t n, cap;
    long ticks;
};

/* A small file of /proc; the length, or -1. Bytes of 0 become blanks. */
static ssize_t slurp(const char *path, char *buf, size_t size)
{
    tn_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);
    for (ssize_t i = 0; i < n; i++)
        if (buf[i] == '\0')
            buf[i] = ' ';
    buf[n < 0 ? 0 : n] = '\0';
    return n;
}

static void add_process(struct scene *s, const char *pid)
{
    char path[64], text[2048];
    snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
    if (slurp(path, text, sizeof(text)) <= 0)
        return;
    enum tn_nginx_role role = tn_nginx_role_of(text);
    if (role == TN_NGINX_OTHER)
        return;
    struct tn_nginx_process p;
    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    if (slurp(path, text, sizeof(text)) <= 0 || !tn_process_stat_parse(text, s->ticks, &p))
        return;
    p.role = role;
    TN_GROW(s->v, s->n, s->cap);
    s->v[s->n++] = p;
}

static bool scan(struct scene *s)
{
    DIR *d = opendir("/proc");
    if (!d)
        return false;
    s->ticks = sysconf(_SC_CLK_TCK);
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
            add_process(s, e->d_name);
    closedir(d);
    return true;
}

static bool read_table(const char *path, tn_tcp_row_fn fn, void *arg)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    char line[LINE_MAX_];
    struct tn_tcp_row row;
    while (fgets(line, sizeof(line), f))
        if (tn_tcp_row_parse(line, &row))
            fn(arg, &row);
    bool whole = !ferror(f);
    fclose(f);
    return whole;
}

/* Sockets of the network namespace of `pid`, all states. Without IPv6 there is no tcp6. */
static bool read_tables(int64_t pid, tn_tcp_row_fn fn, void *arg)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%lld/net/tcp", (long long)pid);
    if (!read_table(path, fn, arg))
        return false;
    snprintf(path, sizeof(path), "/proc/%lld/net/tcp6", (long long)pid);
    return read_table(path, fn, arg) || access(path, F_OK) < 0;
}

struct listener {
    struct tn_endpoint at;
    uint64_t inode;
};

static void match_listener(void *arg, const struct tn_tcp_row *row)
{
    struct listener *l = arg;
    if (row->state == TN_TCP_LISTEN && tn_endpoint_equal(&row->local, &l->at))
        l->inode = row->inode;
}

static uint64_t listener_inode(const char *generation)
{
    struct listener l = {0};
    if (tn_endpoint_parse(generation, &l.at) && !tn_tcp_dump(1U << TN_TCP_LISTEN, match_listener, &l))
        read_tables(getpid(), match_listener, &l);
    return l.inode;
}

/* 1 it holds the socket, 0 it does not, -1 that may not be seen. */
static int holds(int64_t pid, uint64_t inode)
{
    char path[64], want[64], link[64];
    snprintf(path, sizeof(path), "/proc/%lld/fd", (long long)pid);
    snprintf(want, sizeof(want), "socket:[%llu]", (unsigned long long)inode);
    DIR *d = opendir(path);
    if (!d)
        return -1;
    int found = 0, seen = 0;
    for (struct dirent *e = readdir(d); e && !found && seen < FDS_MAX; e = readdir(d), seen++) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);
        link[n < 0 ? 0 : n] = '\0';
        found = strcmp(link, want) == 0;
    }
    closedir(d);
    return found;
}

/* Forgets the masters that are known not to be ours, unless that would leave none. */
static void choose_masters(struct scene *s, const char *generation)
{
    uint64_t inode = listener_inode(generation);
    bool found = false;
    tn_autofree int *held = tn_alloc((s->n + 1) * sizeof(*held));
    for (size_t i = 0; inode != 0 && i < s->n; i++) {
        held[i] = s->v[i].role == TN_NGINX_MASTER ? holds(s->v[i].pid, inode) : 0;
        found = found || held[i] == 1;
    }
    for (size_t i = 0; found && i < s->n; i++)
        if (s->v[i].role == TN_NGINX_MASTER && held[i] == 0)
            s->v[i].role = TN_NGINX_OTHER;
}

static int64_t master_of(const struct scene *s, int64_t pid)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].role == TN_NGINX_MASTER && s->v[i].pid == pid)
            return pid;
    return 0;
}

/* When the file was written, in ms since boot. */
static int64_t written(const struct tn_nginx *n)
{
    struct stat st;
    struct timespec boot;
    if (n->written_ms >= 0)
        return n->written_ms;
    if (stat(n->base.config->file, &st) < 0)
        return 0;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    int64_t age = tn_wall_ms() - ((int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);
    return (int64_t)boot.tv_sec * 1000 + boot.tv_nsec / 1000000 - age - MTIME_SLACK_MS;
}

static void count(void *arg, const struct tn_tcp_row *row)
{
    tn_nginx_count(arg, row);
}

static bool same_network(int64_t pid)
{
    char path[64];
    struct stat here, there;
    snprintf(path, sizeof(path), "/proc/%lld/ns/net", (long long)pid);
    return stat("/proc/self/ns/net", &here) == 0 && stat(path, &there) == 0 && here.st_ino == there.st_ino &&
           here.st_dev == there.st_dev;
}

static bool count_all(struct tn_nginx *n, int64_t master)
{
    if (same_network(master) && tn_tcp_dump(1U << TN_TCP_ESTABLISHED | 1U << TN_TCP_SYN_SENT, count, n))
        return true;
    for (size_t i = 0; i < n->n_left; i++)
        n->left[i].running = 0;
    return read_tables(master, count, n);
}

void tn_nginx_sight_local(struct tn_nginx *n, const char *generation, struct tn_nginx_sight *out)
{
    struct scene s = {0};
    int64_t since = written(n), master = 0;
    out->processes = scan(&s);
    if (generation)
        choose_masters(&s, generation);
    for (size_t i = 0; i < s.n; i++) {
        const struct tn_nginx_process *p = &s.v[i];
        if (p->role == TN_NGINX_MASTER)
            master = p->pid;
        if (p->role == TN_NGINX_WORKER && p->start_ms < since && master_of(&s, p->parent))
            out->old = true;
    }
    out->master = master != 0;
    out->counted = n->n_left > 0 && master != 0 && count_all(n, master);
    free(s.v);
}
