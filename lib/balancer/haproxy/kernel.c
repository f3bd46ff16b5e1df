/* kernel.c - what the kernel knows of requests that older workers still carry.
 *
 * After a reload the old worker finishes its requests, but the runtime API speaks for the new one alone, which counts
 * none of them: "scur 0" would stop a server in the middle of an answer. While such a worker lives, established
 * connections to the server's address count as running requests too (idle ones as well: they go within seconds).
 */
#include "lib/balancer/haproxy/haproxy.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/fs.h"
#include "turnout/text.h"

enum { STAT_MAX = 4096, TABLE_MAX = 64 << 20, PARENT_FIELD = 2 };

/* Parent of a process that is called haproxy; 0 when it is not one, or gone. */
static int64_t parent_of(const char *pid)
{
    static const char name[] = "(haproxy)";
    tn_autofree char *path = tn_format("/proc/%s/stat", pid);
    tn_autofree char *text = tn_fs_read(path, STAT_MAX, NULL, NULL);
    const char *close = text != NULL ? strstr(text, name) : NULL;
    if (close == NULL) {
        return 0;
    }
    /* ") S 123 …" */
    return strtoll(close + sizeof(name) - 1 + PARENT_FIELD + 1, NULL, 10);
}

bool tn_haproxy_old_workers(int64_t pid)
{
    char **names = NULL;
    size_t n = 0;
    bool found = false;
    tn_autofree char *own = tn_format("%lld", (long long)pid);
    int64_t parent = parent_of(own);
    if (parent == 0 || tn_fs_list("/proc", &names, &n, NULL) < 0) {
        return true; /* in another process namespace: cannot tell */
    }
    for (size_t i = 0; i < n && !found; i++) {
        found = names[i][0] >= '0' && names[i][0] <= '9' && !tn_streq(names[i], own) &&
                parent_of(names[i]) == parent;
    }
    tn_fs_list_free(names, n);
    return found;
}

/* The kernel prints addresses as words of the machine's byte order. */
static bool kernel_form(const char *address, int port, char out[48])
{
    unsigned char raw[16];
    size_t words = 0;
    if (inet_pton(AF_INET, address, raw) == 1) {
        words = 1;
    } else if (inet_pton(AF_INET6, address, raw) == 1) {
        words = 4;
    }
    size_t n = 0;
    for (size_t i = 0; i < words; i++) {
        uint32_t word;
        memcpy(&word, raw + i * 4, 4);
        n += (size_t)snprintf(out + n, 48 - n, "%08X", (unsigned)word);
    }
    snprintf(out + n, 48 - n, ":%04X", (unsigned)port);
    return words > 0;
}

int64_t tn_haproxy_established(const char *proc_net_tcp, const char *address, int port)
{
    char want[48];
    int64_t count = 0;
    if (!kernel_form(address, port, want)) {
        return 0;
    }
    size_t n = strlen(want);
    /* "  sl  local_address rem_address   st …": the remote address, then " 01" for established */
    for (const char *line = proc_net_tcp; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        const char *colon = strchr(line, ':');
        const char *remote = colon != NULL ? strchr(colon + 1 + strspn(colon + 1, " "), ' ') : NULL;
        size_t left = remote != NULL ? strnlen(remote + 1, n + 4) : 0;
        if (remote != NULL && (end == NULL || remote < end) && left >= n + 3 &&
            memcmp(remote + 1, want, n) == 0 && memcmp(remote + 1 + n, " 01", 3) == 0) {
            count++;
        }
        line = end != NULL ? end + 1 : NULL;
    }
    return count;
}

int64_t tn_haproxy_connections(const char *address, int port)
{
    const char *table = strchr(address, ':') != NULL ? "/proc/net/tcp6" : "/proc/net/tcp";
    tn_autofree char *text = tn_fs_read(table, TABLE_MAX, NULL, NULL);
    return text != NULL ? tn_haproxy_established(text, address, port) : 0;
}
