/* diag.h - TCP connections of this network namespace, from the kernel's sock_diag.
 *
 * /proc/net/tcp lists every socket in TIME_WAIT too: with 30,000 of them (a busy balancer) it takes 50 ms
 * to read, this takes 2. It may be missing (no module, a sandbox): then /proc it is.
 */
#ifndef TN_BALANCER_NGINX_DIAG_H
#define TN_BALANCER_NGINX_DIAG_H

#include <stdbool.h>

#include "lib/balancer/nginx/proc.h"

typedef void (*tn_tcp_row_fn)(void *arg, const struct tn_tcp_row *row);
/* Calls fn for each TCP socket (IPv4 and IPv6) whose state's bit is set in `states`. False when the kernel
 * cannot be asked or broke off; fn may have been called before. */
bool tn_tcp_dump(unsigned states, tn_tcp_row_fn fn, void *arg);

#endif
