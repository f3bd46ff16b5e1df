/* proc.h - addresses with ports, and what Linux tells of connections and processes (pure). */
#ifndef TN_BALANCER_NGINX_PROC_H
#define TN_BALANCER_NGINX_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct tn_endpoint {
    int family; /* AF_INET or AF_INET6; an IPv4 address mapped into IPv6 counts as IPv4 */
    uint8_t address[16];
    int port;
};
#define TN_ENDPOINT_TEXT 64
/* Numeric address and port 1..65535. */
bool tn_endpoint_of(const char *address, int port, struct tn_endpoint *out);
/* "a.b.c.d:port" or "[v6]:port". NULL does not pass. */
bool tn_endpoint_parse(const char *s, struct tn_endpoint *out);
const char *tn_endpoint_format(const struct tn_endpoint *e, char buf[TN_ENDPOINT_TEXT]);
bool tn_endpoint_equal(const struct tn_endpoint *a, const struct tn_endpoint *b);

enum { TN_TCP_ESTABLISHED = 1, TN_TCP_SYN_SENT = 2, TN_TCP_LISTEN = 10 };
struct tn_tcp_row {
    struct tn_endpoint local, remote; /* a remote port may be 0 */
    unsigned state;
    uint64_t inode;
};
/* One line of /proc/net/tcp or tcp6 (of a kernel with this machine's byte order); false for the headline. */
bool tn_tcp_row_parse(const char *line, struct tn_tcp_row *out);
/* The text that stands between "rem_address" and "st" for such a peer, for grep: "0100007F:1F90". IPv4:
 * `mapped` gives the form in tcp6. */
#define TN_TCP_PEER_TEXT 48
void tn_tcp_peer_text(const struct tn_endpoint *e, bool mapped, char buf[TN_TCP_PEER_TEXT]);

enum tn_nginx_role { TN_NGINX_OTHER, TN_NGINX_MASTER, TN_NGINX_WORKER, TN_NGINX_LEAVING };
struct tn_nginx_process {
    int64_t pid, parent;
    int64_t start_ms; /* since boot, rounded down to the kernel's tick */
    enum tn_nginx_role role;
};
/* `stat` = text of /proc/PID/stat, `ticks` = sysconf(_SC_CLK_TCK). Fills all but role. */
bool tn_process_stat_parse(const char *stat, long ticks, struct tn_nginx_process *out);
/* From the title that nginx writes over its command line. */
enum tn_nginx_role tn_nginx_role_of(const char *title);

/* True when `path` itself is a mount point in the text of /proc/PID/mountinfo. */
bool tn_mountinfo_has(const char *text, const char *path);

#endif
