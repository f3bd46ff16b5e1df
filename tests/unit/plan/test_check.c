/* Types, keys, references, rules: bad samples with their place, good samples next to them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/plan/plan_help.h"

/* `text` follows HEAD and begins on line 4; W stands for a good service. */
#define SERVICE "services:\n  web: { image: i, clusters: [c]"
static const struct {
    const char *text;
    int line, column;
    const char *part;
} bad[] = {
    /* keys */
    {SERVICE ", replcas: 3 }\n", 5, 35, "unknown key 'replcas' in services.web"},
    {"servics: {}\n" WEB, 4, 1, "unknown key 'servics'"},
    {WEB "rollout: { max_unavailible: 1 }\n", 9, 12, "unknown key 'max_unavailible' in rollout"},
    {SERVICE ", health: { http: /, intervall: 1s }, ports: [80] }\n", 5, 54,
     "unknown key 'intervall' in services.web.health"},
    {SERVICE ", ports: [{ nam: http, container: 80 }] }\n", 5, 45,
     "unknown key 'nam' in services.web.ports[0]"},
    {"services: {}\nname2: x\n", 5, 1, "unknown key 'name2'"},
    /* types */
    {SERVICE ", replicas: three }\n", 5, 45, "services.web.replicas: 'three' is not a whole number"},
    {SERVICE ", replicas: 1.5 }\n", 5, 45, "'1.5' is not a whole number"},
    {SERVICE ", replicas: [1] }\n", 5, 45, "services.web.replicas: a whole number is wanted, not a list"},
    {SERVICE ", replicas: -1 }\n", 5, 45, "'-1' is not within 0 and 1000"},
    {SERVICE ", replicas: 1001 }\n", 5, 45, "'1001' is not within 0 and 1000"},
    {SERVICE ", init: yes }\n", 5, 41, "services.web.init: 'yes' is neither true nor false"},
    {SERVICE ", stop: { grace: 10 } }\n", 5, 50, "services.web.stop.grace: '10' is no duration"},
    {SERVICE ", stop: { grace: 10y } }\n", 5, 50, "'10y' is no duration"},
    {SERVICE ", stop: { signal: TERM } }\n", 5, 51, "'TERM' is none of SIGTERM"},
    {SERVICE ", restart: sometimes }\n", 5, 44,
     "'sometimes' is none of no, always, unless-stopped, on-failure"},
    {SERVICE ", memory: much }\n", 5, 43, "services.web.memory: 'much' is no size"},
    {SERVICE ", cpu: half }\n", 5, 40, "services.web.cpu: 'half' is no number of CPUs"},
    {SERVICE ", env: [A=b] }\n", 5, 40, "services.web.env: a map is wanted, not a list"},
    {SERVICE ", env: { A: [b] } }\n", 5, 45, "services.web.env.A: a text is wanted, not a list"},
    {SERVICE ", env: { 1A: b } }\n", 5, 42, "services.web.env: '1A' is no name of an environment variable"},
    {SERVICE ", env: { \"A=\": b } }\n", 5, 42,
     "services.web.env: 'A=' is no name of an environment variable"},
    {SERVICE ", command: { a: b } }\n", 5, 44, "services.web.command: a command"},
    {SERVICE ", command: [] }\n", 5, 44, "services.web.command: a program in front is wanted"},
    {SERVICE ", ports: { http: 80 } }\n", 5, 42, "services.web.ports: a list is wanted, not a map"},
    {SERVICE ", platform: hello }\n", 5, 45, "services.web.platform: a map is wanted"},
    {SERVICE ", image: \"a b\" }\n", 5, 35, "duplicate key 'image'"},
    {"services: [web]\n", 4, 11, "services: a map is wanted, not a list"},
    {"services: { web: hello }\n", 4, 18, "services.web: a map is wanted, not text"},
    {WEB "rollout: { max_surge: 25 % }\n", 9, 23, "rollout.max_surge: '25 %' is no count or percentage"},
    {WEB "rollout: { max_surge: 101% }\n", 9, 23, "'101%' is no count or percentage"},
    {WEB "policy: { port_range: 20000 }\n", 9, 23, "policy.port_range: '20000' is no range"},
    {WEB "policy: { port_range: 30000-20000 }\n", 9, 23, "'30000-20000' is no range"},
    {WEB "policy: { lease_ttl: 10ms }\n", 9, 22, "policy.lease_ttl: '10ms' is too short"},
    /* names and forms */
    {"services:\n  Web: { image: i, clusters: [c] }\n", 5, 3, "services: 'Web' is no name"},
    {"services:\n  -web: { image: i, clusters: [c] }\n", 5, 3, "services: '-web' is no name"},
    {"services:\n  web: { image: \"a b\", clusters: [c] }\n", 5, 17,
     "services.web.image: 'a b' may hold no space"},
    {"services:\n  web: { image: \"a\\nb\", clusters: [c] }\n", 5, 17,
     "services.web.image: holds a line break"},
    {SERVICE ", health: { http: healthz }, ports: [80] }\n", 5, 51,
     "services.web.health.http: 'healthz' is no URL path"},
    {SERVICE ", health: { http: \"/a b\" }, ports: [80] }\n", 5, 51, "'/a b' is no URL path"},
    {SERVICE ", health: { http: /, expect: 2xx }, ports: [80] }\n", 5, 62,
     "'2xx' is no list of HTTP statuses"},
    {SERVICE ", health: { http: /, expect: 299-200 }, ports: [80] }\n", 5, 62, "'299-200' is no list"},
    {SERVICE ", volumes: [data] }\n", 5, 45, "services.web.volumes: 'data' is not source:/target"},
    {SERVICE ", volumes: [\"a:/b:xx\"] }\n", 5, 45, "'a:/b:xx' is not source:/target"},
    {SERVICE ", labels: { turnout.app: x } }\n", 5, 58, "labels that begin with turnout. are turnout's own"},
    {SERVICE ", ulimits: { nofile: { soft: 2, hard: 1 } } }\n", 5, 54, "soft is more than hard"},
    /* kinds */
    {"services: {}\nbalancers: { b: {} }\n", 5, 14, "balancers.b: one of haproxy, nginx, fake is wanted"},
    {"services: {}\nbalancers: { b: { hapoxy: {} } }\n", 5, 19, "unknown key 'hapoxy' in balancers.b"},
    {"services: {}\ngates: { g: { tcp: \"a:1\", cmd: x } }\n", 5, 27,
     "gates.g: 'tcp' and 'cmd' are two kinds"},
    {"services: {}\ngates: { g: { interval: 1s } }\n", 5, 10, "gates.g: one of http, tcp, cmd is wanted"},
    {SERVICE ", health: { interval: 1s } }\n", 5, 35,
     "services.web.health: one of http, tcp, cmd, native is wanted"},
    {SERVICE ", health: { tcp: false }, ports: [80] }\n", 5, 50,
     "services.web.health.tcp: 'false' can only be true"},
    /* reserved */
    {"services: {}\nbalancers: { b: { alb: { x: 1 } } }\n", 5, 19, "balancers.b.alb: 'alb' is reserved"},
    {"services: {}\ngates: { g: { prometheus: { url: x } } }\n", 5, 15,
     "gates.g.prometheus: 'prometheus' is reserved"},
    {SERVICE ", scale: { min: 1 } }\n", 5, 35, "services.web.scale: 'scale' is reserved"},
    {SERVICE ", rollout: { strategy: canary } }\n", 5, 56, "strategy 'canary' is reserved"},
    {SERVICE ", rollout: { strategy: blue_green } }\n", 5, 56, "strategy 'blue_green' is reserved"},
    {SERVICE ", expose: [{ balancer: platform, port: http }], ports: [{ name: http, container: 1 }] }\n", 5,
     56, "balancer 'platform' is reserved"},
    {"services: {}\nwaves: []\n", 5, 1, "waves: 'waves' is reserved"},
    {"services: {}\nnotify: []\n", 5, 1, "notify: 'notify' is reserved"},
    {"services: {}\nstate: postgres://x/y\n", 5, 8, "state: 'postgres' is reserved"},
    {"services: {}\nstate: ./x\n", 5, 8, "state: './x' is not sqlite:PATH"},
    {"services: {}\nsecrets: { s: \"vault://x\" }\n", 5, 15, "secrets.s: 'vault' is reserved"},
    {"services: {}\nsecrets: { s: { from: \"env://A\", deliver: reference } }\n", 5, 43,
     "'reference' is not value"},
    {"services: {}\nsecrets: { s: hunter2 }\n", 5, 15, "secrets.s: no reference"},
    {"services: {}\nsecrets: { s: \"fil://x\" }\n", 5, 15, "secrets.s: unknown scheme 'fil'"},
    {"services: {}\nsecrets: { s: \"env://1\" }\n", 5, 15,
     "secrets.s: '1' is no name of an environment variable"},
    {"services: {}\nsecrets: { s: \"exec://pass\" }\n", 5, 15,
     "secrets.s: the program's path must begin with"},
    /* references */
    {"services:\n  web: { image: i, clusters: [cc] }\n", 5, 31,
     "services.web.clusters: unknown cluster 'cc'"},
    {"services:\n  web: { image: i, clusters: [c/eu] }\n", 5, 31, "'c/eu': regions are reserved"},
    {"services:\n  web: { image: i, clusters: [c, c] }\n", 5, 34, "'c' stands there twice"},
    {"services:\n  web: { image: i, clusters: [] }\n", 5, 30,
     "services.web.clusters: at least one is needed"},
    {"services:\n  web: { image: i }\n", 5, 3, "services.web: 'clusters' is missing"},
    {SERVICE ", depends_on: [db] }\n", 5, 48, "services.web.depends_on: unknown service 'db'"},
    {SERVICE ", secrets: { A: s } }\n", 5, 49, "services.web.secrets: unknown secret 's'"},
    {SERVICE ", rollout: { gates: [smoke] } }\n", 5, 54, "services.web.rollout.gates: unknown gate 'smoke'"},
    {SERVICE ", expose: [{ balancer: edge, port: a }], ports: [{ name: a, container: 1 }] }\n", 5, 56,
     "services.web.expose[0]: unknown balancer 'edge'"},
    {SERVICE ", health: { http: /, port: htp }, ports: [{ name: http, container: 1 }] }\n", 5, 60,
     "services.web.health.port: unknown port 'htp'"},
    {SERVICE ", health: { http: / } }\n", 5, 43, "services.web.health: the service has no ports"},
    {"services: {}\nbalancers: { b: { haproxy: { managed: cc, listen: \"127.0.0.1:1\" } } }\n", 5, 39,
     "balancers.b.haproxy.managed: unknown cluster 'cc'"},
    {"services:\n  a: { image: i, clusters: [c], depends_on: [b] }\n  b: { image: i, clusters: [c], "
     "depends_on: [a] }\n",
     6, 45, "depends_on goes in a circle: a → b → a"},
    {SERVICE ", depends_on: [web] }\n", 5, 47, "depends_on goes in a circle: web → web"},
    /* what a cluster needs */
    {"services:\n  web: { clusters: [c] }\n", 5, 3, "services.web: 'image' is missing: it runs on docker"},
    {"services:\n  web: { clusters: [p] }\n", 5, 3,
     "services.web: 'command' is missing: it runs as a process"},
    {SERVICE ", ports: [{ name: http }] }\n", 5, 43, "'container' is missing: it runs on docker"},
    {"services:\n  web: { command: [x], clusters: [p], ports: [{}] }\n", 5, 47,
     "services.web.ports[0]: 'name' is missing"},
    {"services:\n  web: { command: [x], clusters: [p], health: { native: true } }\n", 5, 57,
     "a process has no health check of its own"},
    /* ports */
    {SERVICE ", ports: [{ name: a, container: 0 }] }\n", 5, 65, "'0' is not within 1 and 65535"},
    {SERVICE ", ports: [{ name: a, container: 65536 }] }\n", 5, 65, "'65536' is not within 1 and 65535"},
    {SERVICE ", ports: [{ name: a, container: 1 }, { name: a, container: 2 }] }\n", 5, 70,
     "the name 'a' is already taken"},
    {SERVICE ", ports: [1, 1] }\n", 5, 46, "container port 1 is already there"},
    {"services:\n  a: { image: i, clusters: [c], ports: [{ container: 1, host: 81 }] }\n"
     "  b: { image: i, clusters: [c], ports: [{ container: 1, host: 81 }] }\n",
     6, 63, "host port 81 belongs to the service 'a'"},
    {SERVICE ", ports: [{ name: \"a b\", container: 1 }] }\n", 5, 51, "'a b' may hold only letters"},
    /* rollout */
    {SERVICE ", rollout: { max_surge: 0 } }\n", 5, 57, "both come to 0 of 1"},
    {SERVICE ", replicas: 3, rollout: { max_surge: 0, max_unavailable: 25% } }\n", 5, 90,
     "both come to 0 of 3"},
    {SERVICE ", rollout: { min_healthy_time: 1m } }\n", 5, 64,
     "min_healthy_time 1m is not below healthy_deadline 1m"},
    {SERVICE ", rollout: { healthy_deadline: 6m } }\n", 5, 64,
     "healthy_deadline 6m is not below progress_deadline 5m"},
    {SERVICE ", rollout: { strategy: recreate, max_surge: 1 } }\n", 5, 66,
     "services.web.rollout.max_surge: the strategy 'recreate' does not use it"},
    {SERVICE ", rollout: { strategy: manual, delay: 1s } }\n", 5, 64,
     "the strategy 'manual' does not use it"},
    {WEB "rollout: { strategy: recreate, max_unavailable: 1 }\n", 9, 32,
     "rollout.max_unavailable: the strategy 'recreate'"},
    {WEB "rollout: { strategy: rollin }\n", 9, 22, "'rollin' is none of rolling"},
    /* secrets and env */
    {"secrets: { s: \"env://S\" }\n" SERVICE ", env: { A: b }, secrets: { A: s } }\n", 6, 64,
     "'A' is also in env"},
    /* balancers */
    {"services: {}\nbalancers: { b: { haproxy: { file: /x } } }\n", 5, 14,
     "balancers.b.haproxy: 'socket' is missing"},
    {"services: {}\nbalancers: { b: { haproxy: { file: /x, socket: /y } } }\n", 5, 14,
     "balancers.b.haproxy: 'reload' is missing"},
    {"services: {}\nbalancers: { b: { haproxy: { managed: c } } }\n", 5, 14,
     "balancers.b.haproxy: 'listen' is missing"},
    {"services: {}\nbalancers: { b: { haproxy: { managed: c, listen: \"1.1.1.1:8\", file: /x } } }\n", 5, 63,
     "balancers.b.haproxy.file: turnout owns it all"},
    {"services: {}\nbalancers: { b: { haproxy: { managed: c, listen: 8080 } } }\n", 5, 50,
     "'8080' is no address"},
    {"services: {}\nbalancers: { b: { haproxy: { file: /x, socket: y, reload: z, listen: \"a:1\" } } }\n", 5,
     62, "balancers.b.haproxy.listen: only with managed"},
    {"services: {}\nbalancers: { b: { haproxy: { file: /x, socket: y, reload: z } } }\n", 5, 48,
     "'y' is neither a path nor host:port"},
    {"services: {}\nbalancers: { b: { nginx: {} } }\n", 5, 19, "balancers.b.nginx: 'file' is missing"},
    {"services: {}\nbalancers: { b: { nginx: { file: /x, on: c } } }\n", 5, 14,
     "balancers.b.nginx: 'container' is missing"},
    {"services: {}\nbalancers: { b: { nginx: { file: /x, on: p, container: n } } }\n", 5, 42,
     "'p' has no containers"},
    {"services: {}\nbalancers: { b: { nginx: { file: x, on: c, container: n } } }\n", 5, 34,
     "a path inside the container begins with /"},
    {"services: {}\nbalancers: { b: { nginx: { file: \"/a b\" } } }\n", 5, 34, "'/a b' may hold no space"},
    {"services: {}\nbalancers: { b: { nginx: { file: /x } }, d: { nginx: { file: /x } } }\n", 5, 42,
     "the file '/x' already belongs to 'b'"},
    /* expose */
    {"balancers: { n: { nginx: { file: /x } } }\n" SERVICE ", ports: [80], expose: [{ balancer: n }] }\n", 6,
     57, "services.web.expose[0]: 'upstream' is missing"},
    {"balancers: { n: { nginx: { file: /x } } }\n" SERVICE
     ", ports: [80], expose: [{ balancer: n, upstream: \"a b\" }] }\n",
     6, 82, "'a b' may hold only letters"},
    {"balancers: { n: { nginx: { file: /x } } }\n" SERVICE
     ", ports: [80], expose: [{ balancer: n, upstream: a, host: h }] }\n",
     6, 91, "host and path are for managed balancers"},
    {"balancers: { n: { nginx: { file: /x } } }\n" SERVICE
     ", ports: [80], expose: [{ balancer: n, upstream: a }, { balancer: n, upstream: a }] }\n",
     6, 87, "the upstream 'a' of 'n' already belongs to 'web'"},
    {"balancers: { n: { nginx: { file: /x } } }\n" SERVICE
     ", ports: [80], expose: [{ balancer: n, upstream: a, weight: 257 }] }\n",
     6, 93, "'257' is not within 1 and 256"},
    {"balancers: { h: { haproxy: { managed: c, listen: \"127.0.0.1:1\" } } }\n" SERVICE
     ", ports: [80], expose: [{ balancer: h, keepalive: 3 }] }\n",
     6, 72, "only nginx uses it"},
    {SERVICE ", ports: [80], expose: [{ upstream: a }] }\n", 5, 57,
     "services.web.expose[0]: 'balancer' is missing"},
    /* clusters */
    {"services: {}\nx-a: 1\nmin_version: \"99\"\n", 6, 14, "the plan wants turnout 99"},
    {"services: {}\nmin_version: newest\n", 5, 14, "min_version: 'newest' is no version"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[2048];
        struct tn_problems p = {0};
        snprintf(text, sizeof(text), HEAD "%s", bad[i].text);
        struct tn_plan *plan = plan_load(text, &p);
        if (plan)
            print_error("loaded, wanted '%s':\n%s", bad[i].part, text);
        assert_null(plan);
        plan_expect(bad[i].text, &p, bad[i].line, bad[i].column, bad[i].part);
        tn_problems_clear(&p);
    }
    assert_int_equal(plan_failures, 0);
}

/* Cluster kinds need plans without HEAD. */
static const struct {
    const char *clusters;
    int column;
    const char *part;
} bad_clusters[] = {
    {"{ kubernetes: { context: x } }", 18, "clusters.x.kubernetes: 'kubernetes' is reserved"},
    {"{ swarm: {} }", 18, "'swarm' is reserved"},
    {"{ docker: {}, process: { dir: x } }", 30, "'docker' and 'process' are two kinds"},
    {"{}", 13, "clusters.x: one of docker, process, fake is wanted"},
    {"{ dcker: {} }", 18, "unknown key 'dcker' in clusters.x"},
    {"{ process: {} }", 18, "clusters.x.process: 'dir' is missing"},
    {"{ docker: { host: \"ssh://a@b\" } }", 34, "'ssh' hosts are reserved"},
    {"{ docker: { host: \"http://a\" } }", 34, "'http://a' is no address of an engine"},
    {"{ docker: { host: \"tcp://a\" } }", 34, "'tcp://a' is no address of an engine"},
    {"{ docker: { hosts: [\"tcp://a:1\", \"tcp://a:1\"] } }", 49, "'tcp://a:1' stands there twice"},
    {"{ docker: { host: \"tcp://a:1\", hosts: [\"tcp://b:1\"] } }", 54, "already said by its other form"},
    {"{ docker: { publish: localhost } }", 37, "'localhost' is no numeric address"},
    {"{ docker: { registry: { server: r, user: u, password: p } } }", 70, "unknown secret 'p'"},
    {"{ docker: { registry: { server: r } } }", 28, "'user' is missing"},
    {"{ docker: { hosts: [{ address: 10.0.0.1 }] } }", 36, "clusters.x.docker.hosts[0]: 'url' is missing"},
    {"{ docker: { hosts: [{ url: \"unix:///s\", sudo: true }] } }", 56, "'sudo' is reserved"},
    {"{ regions: [a], docker: {} }", 18, "'regions' is reserved"},
};

static void test_bad_clusters(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_clusters) / sizeof(bad_clusters[0]); i++) {
        char text[1024];
        struct tn_problems p = {0};
        snprintf(text, sizeof(text), "turnout: 1\nname: shop\nclusters: { x: %s }\nservices: {}\n",
                 bad_clusters[i].clusters);
        assert_null(plan_load(text, &p));
        plan_expect(bad_clusters[i].clusters, &p, 3, bad_clusters[i].column, bad_clusters[i].part);
        tn_problems_clear(&p);
    }
    assert_int_equal(plan_failures, 0);
}

static void test_required(void **state)
{
    (void)state;
    struct tn_problems p = {0};
    assert_null(plan_load("x-a: 1\n", &p));
    assert_int_equal(p.n, 4); /* turnout, name, clusters, services */
    tn_problems_clear(&p);
    assert_null(plan_load("turnout: 2\nname: a\nclusters: { c: { docker: {} } }\nservices: {}\n", &p));
    plan_expect("schema 2", &p, 1, 10, "turnout: '2' must be 1");
    tn_problems_clear(&p);
    assert_null(plan_load("turnout: 1\nname: \"\"\nclusters: { c: { docker: {} } }\nservices: {}\n", &p));
    plan_expect("empty name", &p, 2, 7, "name: '' is no name");
    tn_problems_clear(&p);
    assert_int_equal(plan_failures, 0);
}

static const char *const good[] = {
    WEB,
    WEB "x-anything: { a: [1, { b: c }] }\n",
    WEB "    x-note: hello\n",
    SERVICE ", replicas: \"3\", init: true }\n",
    SERVICE ", networks: [a, b] }\n",
    SERVICE ", networks: { a: { aliases: [x] }, b: {} } }\n",
    SERVICE ", ulimits: { nofile: 1024, memlock: { soft: -1, hard: -1 } } }\n",
    SERVICE ", hooks: { pre_deploy: { run: bin/x, rerun: safe }, on_failure: [ls, [ls, -l]] } }\n",
    SERVICE
    ", hooks: { pre_deploy: [{ run: [bin/migrate], once: true, timeout: 5m, where: container }] } }\n",
    SERVICE ", logging: { driver: json-file, options: { max-size: 10m } } }\n",
    SERVICE ", platform: { HostConfig: { ShmSize: 67108864 } } }\n",
    SERVICE ", ports: [8080, { name: b, container: 81, host: 8081, bind: \"::1\" }] }\n",
    SERVICE ", rollout: { strategy: recreate } }\nrollout: { max_surge: 25%, max_unavailable: 0 }\n",
    SERVICE ", rollout: { max_surge: 0, max_unavailable: 1 } }\n",
    SERVICE ", replicas: 0, rollout: { max_surge: 0 } }\n",
    "gates: { a: { http: \"http://x/\" }, b: { http: { url: \"https://x\", expect: \"200,204\", body: ok } "
    "}, "
    "d: { cmd: [ls] }, e: { tcp: \"h:1\" } }\n" SERVICE ", rollout: { gates: [a, b] } }\n",
    "balancers: { h: { haproxy: { socket: \"127.0.0.1:99\", file: ./h.cfg, reload: systemctl reload haproxy "
    "} } }\n" WEB,
    "balancers: { n: { nginx: { file: n.conf } } }\n" WEB
    "    expose: { balancer: n, upstream: a.b-c_d, port: 8080, keepalive: 16, max_fails: 2, fail_timeout: 5s "
    "}\n",
    "secrets: { a: { from: \"file://x\", deliver: value }, b: \"exec:///bin/echo hi\", c: \"env://A\" }\n" WEB
    "    secrets: { A: a }\n",
    "min_version: 0.1\nstate: sqlite:./x.db\n" WEB,
    "policy: { lease_ttl: 2s, lease_wait: 0s, port_range: 21000-21999 }\n" WEB,
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char text[2048];
        snprintf(text, sizeof(text), HEAD "%s", good[i]);
        tn_plan_free(plan_load_good(text));
    }
}

static const struct {
    const char *text, *part;
} warned[] = {
    {SERVICE ", rollout: { strategy: recreate } }\n", "cannot keep the service up"},
    {SERVICE ", rollout: { max_surge: 0, max_unavailable: 1 } }\n", "cannot keep it up"},
    {SERVICE ", ports: [{ container: 1, host: 81 }] }\n", "cannot start beside the old one"},
    {SERVICE ", ports: [{ container: 1, host: 20001 }] }\n", "lies in the range that turnout picks from"},
    {"services:\n  web: { command: [x], clusters: [p], memory: 1Gi }\n", "a process does not use it"},
};

static void test_warnings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(warned) / sizeof(warned[0]); i++) {
        char text[1024];
        struct tn_problems p = {0};
        snprintf(text, sizeof(text), HEAD "%s", warned[i].text);
        struct tn_plan *plan = plan_load(text, &p);
        assert_non_null(plan);
        const struct tn_problem *found = plan_find_problem(&p, warned[i].part);
        assert_non_null(found);
        assert_true(found->warning);
        tn_plan_free(plan);
        tn_problems_clear(&p);
    }
    struct tn_problems none = {0};
    struct tn_plan *plan = plan_load(HEAD WEB, &none);
    assert_int_equal(none.n, 0);
    tn_plan_free(plan);
}

static void test_order(void **state)
{
    (void)state;
    struct tn_plan *p = plan_load_good(HEAD "services:\n"
                                            "  a: { image: i, clusters: [c], depends_on: [b, d] }\n"
                                            "  b: { image: i, clusters: [c], depends_on: [d] }\n"
                                            "  e: { image: i, clusters: [c] }\n"
                                            "  d: { image: i, clusters: [c] }\n");
    const struct tn_service *order[4];
    tn_plan_order(p, order);
    assert_string_equal(order[0]->name, "d");
    assert_string_equal(order[1]->name, "b");
    assert_string_equal(order[2]->name, "a");
    assert_string_equal(order[3]->name, "e");
    assert_string_equal(p->services[0].name, "a"); /* file order */
    tn_plan_free(p);
}

static void test_counts(void **state)
{
    (void)state;
    const struct tn_count quarter = {.value = 25, .percent = true}, two = {.value = 2};
    assert_int_equal(tn_count_of(quarter, 10, false), 2);
    assert_int_equal(tn_count_of(quarter, 10, true), 3);
    assert_int_equal(tn_count_of(quarter, 4, true), 1);
    assert_int_equal(tn_count_of(quarter, 3, false), 0);
    assert_int_equal(tn_count_of(two, 1, true), 2);
}

/* References by number become the port's name; defaults that the checks fill in. */
static void test_filled_in(void **state)
{
    (void)state;
    struct tn_plan *p = plan_load_good(
        HEAD "balancers: { h: { haproxy: { managed: c, listen: \"127.0.0.1:1\" } }, n: { nginx: { file: "
             "n.conf } } }\n"
             "state: sqlite:x.db\n"
             "services:\n  web: { image: i, clusters: [c], ports: [{ name: http, container: 80 }, 81],\n"
             "         health: { tcp: true, port: 80 }, expose: [{ balancer: h, port: 81 }] }\n");
    const struct tn_service *s = tn_plan_service(p, "web");
    assert_string_equal(s->health.port, "http");
    assert_string_equal(s->ports[1].name, "81");
    assert_string_equal(s->expose[0].port, "81");
    assert_string_equal(s->expose[0].upstream, "shop_web");
    assert_string_equal(p->balancers[1].test.argv[1], "-t");
    assert_string_equal(p->balancers[1].reload.argv[2], "reload");
    assert_int_equal(p->balancers[1].file[0], '/');
    assert_int_equal(p->clusters[1].process.dir[0], '/');
    assert_null(strstr(p->clusters[1].process.dir, "./"));
    assert_int_equal(p->state[7], '/');
    assert_string_equal(p->clusters[0].docker.hosts[0].url, "unix:///var/run/docker.sock");
    tn_plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad),    cmocka_unit_test(test_bad_clusters), cmocka_unit_test(test_required),
        cmocka_unit_test(test_good),   cmocka_unit_test(test_warnings),     cmocka_unit_test(test_order),
        cmocka_unit_test(test_counts), cmocka_unit_test(test_filled_in),
    };
    int failed = cmocka_run_group_tests_name("plan: checks", tests, plan_enter_folder, plan_leave_folder);
    return failed || plan_failures;
}
