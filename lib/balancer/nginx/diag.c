#include "lib/balancer/nginx/diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "turnout/mem.h"

#define PIECE      32768
#define PATIENCE_S 2

static bool send_request(int fd, int family, unsigned states)
{
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 body;
    } rq = {.head = {.nlmsg_len = sizeof(rq),
                     .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                     .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
            .body = {.sdiag_family = (uint8_t)family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = states}};
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    return sendto(fd, &rq, sizeof(rq), 0, (struct sockaddr *)&kernel, sizeof(kernel)) == (ssize_t)sizeof(rq);
}

static bool endpoint(int family, const uint32_t *address, uint16_t port, struct tn_endpoint *out)
{
    char text[INET6_ADDRSTRLEN];
    *out = (struct tn_endpoint){.family = family};
    if (port == 0 || !inet_ntop(family, address, text, sizeof(text)))
        return false;
    return tn_endpoint_of(text, ntohs(port), out);
}

static void deliver(const struct nlmsghdr *h, tn_tcp_row_fn fn, void *arg)
{
    struct inet_diag_msg m;
    struct tn_tcp_row row;
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof(m)))
        return;
    memcpy(&m, NLMSG_DATA(h), sizeof(m));
    if (!endpoint(m.idiag_family, m.id.idiag_src, m.id.idiag_sport, &row.local))
        return;
    endpoint(m.idiag_family, m.id.idiag_dst, m.id.idiag_dport, &row.remote);
    row.state = m.idiag_state;
    row.inode = m.idiag_inode;
    fn(arg, &row);
}

/* 1 the dump is over, 0 more follows, -1 it broke off. */
static int take_piece(const char *piece, size_t len, tn_tcp_row_fn fn, void *arg)
{
    while (len >= sizeof(struct nlmsghdr)) {
        const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)piece;
        if (h->nlmsg_len < sizeof(*h) || h->nlmsg_len > len)
            return -1;
        if (h->nlmsg_type == NLMSG_DONE)
            return 1;
        if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || (h->nlmsg_flags & NLM_F_DUMP_INTR))
            return -1;
        deliver(h, fn, arg);
        size_t step = NLMSG_ALIGN(h->nlmsg_len);
        step = step < len ? step : len;
        piece += step;
        len -= step;
    }
    return 0;
}

static bool dump_family(int family, unsigned states, tn_tcp_row_fn fn, void *arg)
{
    tn_autoclose int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    struct timeval patience = {.tv_sec = PATIENCE_S};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        !send_request(fd, family, states))
        return false;
    tn_autofree char *piece = tn_alloc(PIECE);
    for (;;) {
        ssize_t n = recv(fd, piece, PIECE, 0);
        if (n < 0 && errno == EINTR)
            continue;
        int state = n <= 0 ? -1 : take_piece(piece, (size_t)n, fn, arg);
        if (state != 0)
            return state == 1;
    }
}

bool tn_tcp_dump(unsigned states, tn_tcp_row_fn fn, void *arg)
{
    return dump_family(AF_INET, states, fn, arg) && dump_family(AF_INET6, states, fn, arg);
}
