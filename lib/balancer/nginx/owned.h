/* owned.h - the file of upstreams that turnout owns: rendering and reading back (pure).
 *
 *   # turnout app=shop env=prod sha256=<64 digits>: written by turnout, do not edit
 *   upstream shop_web {
 *       # turnout service=web balance=least_conn keepalive=8 max_fails=2 fail_timeout=5000 slots=3 probe=/
 *       zone turnout_shop_web 64k;
 *       least_conn;
 *       server 127.0.0.1:20000 weight=1 max_fails=2 fail_timeout=5s; # web-1 weight 4
 *       keepalive 8;
 *   }
 *   server {
 *       listen 127.0.0.1:18099;
 *       location = /generation { return 200 "<64 digits>\n"; }
 *       location ^~ /u/shop_web/ { proxy_pass http://shop_web/; … }
 *   }
 *
 * The hash is the SHA-256 of the whole file in which both places that hold it are 64 zeros. Comments
 * inside an upstream carry what nginx's own words cannot: names of instances, weights before they were
 * made small, settings that a reader needs to write the same file again. Everything is typed and checked:
 * names [A-Za-z0-9_.-], numeric addresses only (nginx does not start when a name does not resolve), paths
 * of safe URL characters.
 */
#ifndef TN_BALANCER_NGINX_OWNED_H
#define TN_BALANCER_NGINX_OWNED_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/balancer/balancer.h"
#include "turnout/buf.h"
#include "lib/base/hash.h"

#define TN_NGINX_FILE_MAX ((size_t)1 << 20)

/* Appends the whole file to *out (an empty buffer). generation = "127.0.0.1:18099". TN_EPLAN or TN_ELIMIT
 * when a value cannot be written. */
int tn_nginx_render(const char *app, const char *environment, const char *generation,
                    const struct tn_traffic *want, struct tn_buf *out, char hash[TN_SHA256_HEX],
                    struct tn_error **err);

/* What a file says of itself. */
struct tn_nginx_owned {
    bool marked;             /* the first line is a mark of turnout */
    bool ours;               /* … with this app and environment */
    bool edited;             /* ours, but the hash does not match */
    char *app, *environment; /* of the mark */
    char hash[TN_SHA256_HEX];
    char *generation; /* loopback address:port, NULL when it cannot be read */
    struct tn_traffic traffic;
};
/* Reads what can be read (an edited file too); never fails. */
void tn_nginx_owned_read(const char *text, size_t len, const char *app, const char *environment,
                         struct tn_nginx_owned *out);
void tn_nginx_owned_clear(struct tn_nginx_owned *o);

bool tn_nginx_name_ok(const char *s); /* [A-Za-z0-9_.-], 1..200 bytes */
/* Begins with '/', characters that mean nothing to nginx, a shell or a header. */
bool tn_nginx_path_ok(const char *s);
/* "127.x.y.z:port" or "[::1]:port"; NULL does not pass. */
bool tn_nginx_loopback_ok(const char *s);

#endif
