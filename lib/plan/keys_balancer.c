/* The table, part two: balancers. Their keys lie in struct tn_balancer itself, so offsets are the balancer's. */
#include "lib/plan/keys.h"

#include "turnout/mem.h"

/* One row a key, as dense as a table is read. */
/* clang-format off */

#define APPLY_TIMEOUT                                                                                        \
    {.name = "apply_timeout", .type = TN_KEY_DURATION, TN_AT(tn_balancer, apply_timeout), .def = "10s",      \
     .since = "0.1", .doc = "The balancer must confirm a change within"}

static const struct tn_key haproxy_keys[] = {
    {.name = "socket", .type = TN_KEY_STRING, TN_AT(tn_balancer, socket), .check = TN_CHECK_WORD,
     .since = "0.1", .doc = "Its runtime API: a socket's path, or host:port"},
    {.name = "file", .type = TN_KEY_PATH, TN_AT(tn_balancer, file), .check = TN_CHECK_WORD, .since = "0.1",
     .doc = "The file of backends that turnout owns; HAProxy loads it with a second -f"},
    {.name = "test", .type = TN_KEY_COMMAND, TN_AT(tn_balancer, test), .since = "0.1",
     .doc = "Command that checks the configuration before it is loaded"},
    {.name = "reload", .type = TN_KEY_COMMAND, TN_AT(tn_balancer, reload), .since = "0.1",
     .doc = "Command that loads the configuration"},
    {.name = "managed", .type = TN_KEY_STRING, TN_AT(tn_balancer, managed), .ref = TN_REF_CLUSTER,
     .since = "0.1",
     .doc = "Cluster on which turnout runs an HAProxy itself and owns its whole configuration"},
    {.name = "listen", .type = TN_KEY_STRING, TN_AT(tn_balancer, listen), .check = TN_CHECK_ADDRESS,
     .since = "0.1", .doc = "managed: address:port of the frontend"},
    {.name = "image", .type = TN_KEY_STRING, TN_AT(tn_balancer, image), .check = TN_CHECK_WORD,
     .since = "0.1", .doc = "managed on docker: the image to run"},
    TN_RESERVED_KEY("cookie", "Cookie for sticky sessions"),
    TN_RESERVED_KEY("hosts", "Hosts that the balancer runs on, when that is not this one"),
    APPLY_TIMEOUT,
};
static const struct tn_schema haproxy_schema = {
    .name = "haproxy",
    .doc = "HAProxy: your own, driven by its runtime API, or one that turnout runs (managed)", .size = 0,
    .keys = haproxy_keys, .n = TN_COUNT(haproxy_keys), .name_at = TN_NOWHERE, .mark_at = TN_NOWHERE,
    .kind_at = TN_NOWHERE, .example = "{ managed: local, listen: \"127.0.0.1:8080\" }"};

static const struct tn_key nginx_keys[] = {
    {.name = "file", .type = TN_KEY_PATH, .flags = TN_REQUIRED, TN_AT(tn_balancer, file),
     .check = TN_CHECK_WORD, .since = "0.1",
     .doc = "The file of upstreams that turnout owns; your server blocks stay yours"},
    {.name = "test", .type = TN_KEY_COMMAND, TN_AT(tn_balancer, test), .shown = "[nginx, -t]", .since = "0.1",
     .doc = "Command that checks the configuration before it is loaded"},
    {.name = "reload", .type = TN_KEY_COMMAND, TN_AT(tn_balancer, reload), .shown = "[nginx, -s, reload]",
     .since = "0.1", .doc = "Command that loads the configuration"},
    {.name = "on", .type = TN_KEY_STRING, TN_AT(tn_balancer, on), .ref = TN_REF_CLUSTER, .since = "0.1",
     .doc = "Docker cluster that the container runs on"},
    {.name = "container", .type = TN_KEY_STRING, TN_AT(tn_balancer, container), .check = TN_CHECK_TOKEN,
     .since = "0.1", .doc = "Container that nginx runs in; test and reload by exec in it"},
    {.name = "generation", .type = TN_KEY_STRING, TN_AT(tn_balancer, generation), .check = TN_CHECK_ADDRESS,
     .since = "0.1", .shown = "picked",
     .doc = "Loopback address:port on which nginx proves what it has loaded"},
    TN_RESERVED_KEY("hosts", "Hosts that the balancer runs on, when that is not this one"),
    APPLY_TIMEOUT,
};
static const struct tn_schema nginx_schema = {
    .name = "nginx", .doc = "nginx, on this host or in a container of a cluster", .size = 0,
    .keys = nginx_keys, .n = TN_COUNT(nginx_keys), .name_at = TN_NOWHERE, .mark_at = TN_NOWHERE,
    .kind_at = TN_NOWHERE, .example = "{ file: /etc/nginx/conf.d/shop.conf }"};

#ifdef TN_FAKE
static const struct tn_key fake_keys[] = {
    {.name = "file", .type = TN_KEY_PATH, .flags = TN_REQUIRED, TN_AT(tn_balancer, file), .since = "0.1",
     .doc = "The fake world's state file"},
    APPLY_TIMEOUT,
};
static const struct tn_schema fake_schema = {
    .name = "fake", .doc = "A scripted balancer, for tests", .size = 0, .keys = fake_keys,
    .n = TN_COUNT(fake_keys), .name_at = TN_NOWHERE, .mark_at = TN_NOWHERE, .kind_at = TN_NOWHERE,
    .example = "{ file: world.json }"};
#endif

static const struct tn_key balancer_keys[] = {
    {.name = "haproxy", .type = TN_KEY_OBJECT, .flags = TN_KIND, .at = 0, .child = &haproxy_schema,
     .kind = TN_BALANCER_HAPROXY, .since = "0.1", .doc = "HAProxy 2.4 or newer"},
    {.name = "nginx", .type = TN_KEY_OBJECT, .flags = TN_KIND, .at = 0, .child = &nginx_schema,
     .kind = TN_BALANCER_NGINX, .since = "0.1", .doc = "nginx"},
#ifdef TN_FAKE
    {.name = "fake", .type = TN_KEY_OBJECT, .flags = TN_KIND, .at = 0, .child = &fake_schema,
     .kind = TN_BALANCER_FAKE, .since = "0.1", .doc = "A scripted balancer, for tests"},
#endif
    TN_RESERVED_KIND("traefik", "Traefik"),
    TN_RESERVED_KIND("caddy", "Caddy"),
    TN_RESERVED_KIND("kubernetes_service", "The selector of a Kubernetes Service"),
    TN_RESERVED_KIND("gateway", "A route of the Kubernetes Gateway API"),
    TN_RESERVED_KIND("ingress_nginx", "Canary annotations of ingress-nginx"),
    TN_RESERVED_KIND("istio", "An Istio VirtualService"),
    TN_RESERVED_KIND("alb", "A rule of an AWS Application Load Balancer"),
    TN_RESERVED_KIND("front_door", "Azure Front Door"),
    TN_RESERVED_KIND("gcp_lb", "A Google Cloud load balancer"),
};
const struct tn_schema tn_schema_balancer = {
    .name = "balancer", .doc = "What sends traffic: exactly one kind", .size = sizeof(struct tn_balancer),
    .keys = balancer_keys, .n = TN_COUNT(balancer_keys), .name_at = offsetof(struct tn_balancer, name),
    .mark_at = offsetof(struct tn_balancer, mark), .kind_at = offsetof(struct tn_balancer, kind),
    .has_kinds = true, .name_check = TN_CHECK_NAME,
    .example = "edge: { haproxy: { managed: local, listen: \"127.0.0.1:8080\" } }"};
/* clang-format on */
