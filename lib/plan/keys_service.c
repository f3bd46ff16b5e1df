/* The table, part three: services with health, ports, expose and hooks. */
#include "lib/plan/keys.h"

#include "turnout/mem.h"

/* One row a key, as dense as a table is read. */
/* clang-format off */

/* ---- health ----------------------------------------------------------------------------------------- */

static const struct tn_key health_keys[] = {
    {.name = "http", .type = TN_KEY_STRING, .flags = TN_KIND | TN_REVISION, TN_AT(tn_health, http),
     .kind = TN_HEALTH_HTTP, .check = TN_CHECK_PATH, .since = "0.1", .doc = "Path that must answer"},
    {.name = "tcp", .type = TN_KEY_BOOL, .flags = TN_KIND | TN_REVISION, TN_AT(tn_health, tcp),
     .kind = TN_HEALTH_TCP, .since = "0.1", .doc = "The port must accept a connection"},
    {.name = "cmd", .type = TN_KEY_COMMAND, .flags = TN_KIND | TN_REVISION, TN_AT(tn_health, cmd),
     .kind = TN_HEALTH_CMD, .since = "0.1", .doc = "A command in the instance that must exit with 0"},
    {.name = "native", .type = TN_KEY_BOOL, .flags = TN_KIND | TN_REVISION, TN_AT(tn_health, native),
     .kind = TN_HEALTH_NATIVE, .since = "0.1",
     .doc = "The image's own health check decides (docker clusters)"},
    {.name = "port", .type = TN_KEY_STRING, .flags = TN_REVISION, TN_AT(tn_health, port),
     .shown = "the first port", .since = "0.1", .doc = "Name of the port that is probed"},
    {.name = "expect", .type = TN_KEY_STRING, .flags = TN_REVISION, TN_AT(tn_health, expect),
     .def = "200-299", .check = TN_CHECK_STATUSES, .since = "0.1", .doc = "Statuses that pass"},
    {.name = "interval", .type = TN_KEY_DURATION, .flags = TN_REVISION, TN_AT(tn_health, interval),
     .def = "1s", .min = 1, .since = "0.1", .doc = "Time between two probes"},
    {.name = "timeout", .type = TN_KEY_DURATION, .flags = TN_REVISION, TN_AT(tn_health, timeout), .def = "1s",
     .min = 1, .since = "0.1", .doc = "Longest time that a probe may take"},
    {.name = "healthy_after", .type = TN_KEY_INT, .flags = TN_REVISION, TN_AT(tn_health, healthy_after),
     .def = "1", .min = 1, .max = 1000, .since = "0.1", .doc = "Probes in a row that must pass"},
    {.name = "unhealthy_after", .type = TN_KEY_INT, .flags = TN_REVISION, TN_AT(tn_health, unhealthy_after),
     .def = "3", .min = 1, .max = 1000, .since = "0.1", .doc = "Probes in a row that must fail"},
    {.name = "start_period", .type = TN_KEY_DURATION, .flags = TN_REVISION, TN_AT(tn_health, start_period),
     .def = "0s", .since = "0.1", .doc = "Failed probes do not count for so long after the start"},
};
static const struct tn_schema health_schema = {
    .name = "health", .doc = "When an instance is ready: exactly one of http, tcp, cmd, native",
    .size = sizeof(struct tn_health), .keys = health_keys, .n = TN_COUNT(health_keys), .name_at = TN_NOWHERE,
    .mark_at = TN_NOWHERE, .kind_at = offsetof(struct tn_health, kind), .has_kinds = true,
    .example = "{ http: /healthz, interval: 500ms, timeout: 1s, healthy_after: 2 }"};

/* ---- ports, networks, limits ------------------------------------------------------------------------ */

static const struct tn_key port_keys[] = {
    {.name = "name", .type = TN_KEY_STRING, .flags = TN_REVISION, TN_AT(tn_port, name),
     .check = TN_CHECK_TOKEN, .since = "0.1", .shown = "the container's port",
     .doc = "What health and expose call it"},
    {.name = "container", .type = TN_KEY_INT, .flags = TN_REVISION, TN_AT(tn_port, container), .min = 1,
     .max = 65535, .since = "0.1", .doc = "Port inside the container; none on a process, which gets PORT"},
    {.name = "host", .type = TN_KEY_INT, .flags = TN_REVISION, TN_AT(tn_port, host), .min = 1, .max = 65535,
     .since = "0.1", .shown = "picked from policy.port_range", .doc = "Fixed port on the host"},
    {.name = "bind", .type = TN_KEY_STRING, .flags = TN_REVISION, TN_AT(tn_port, bind), .check = TN_CHECK_IP,
     .since = "0.1", .shown = "the cluster's publish", .doc = "Address that the port is bound on"},
};
static const struct tn_schema port_schema = {
    .name = "port", .doc = "A port that the service listens on", .size = sizeof(struct tn_port),
    .keys = port_keys, .n = TN_COUNT(port_keys), .name_at = TN_NOWHERE, .mark_at = TN_NOWHERE,
    .kind_at = TN_NOWHERE, .shorthand = "container", .example = "{ name: http, container: 8080 }"};

static const struct tn_key network_keys[] = {
    {.name = "aliases", .type = TN_KEY_STRINGS, .flags = TN_REVISION, TN_AT(tn_network, aliases),
     .check = TN_CHECK_TOKEN, .since = "0.1", .doc = "Names that others on this network call it by"},
};
static const struct tn_schema network_schema = {
    .name = "network", .doc = "A network of the engine that the containers join",
    .size = sizeof(struct tn_network), .keys = network_keys, .n = TN_COUNT(network_keys),
    .name_at = offsetof(struct tn_network, name), .mark_at = TN_NOWHERE, .kind_at = TN_NOWHERE,
    .name_check = TN_CHECK_TOKEN, .example = "backend: { aliases: [web] }"};

static const struct tn_key ulimit_keys[] = {
    {.name = "soft", .type = TN_KEY_SIZE, .flags = TN_REVISION | TN_REQUIRED, TN_AT(tn_ulimit, soft),
     .min = -1, .since = "0.1", .doc = "What a process may have"},
    {.name = "hard", .type = TN_KEY_SIZE, .flags = TN_REVISION, TN_AT(tn_ulimit, hard), .min = -1,
     .def = "-1", .shown = "the soft limit", .since = "0.1", .doc = "What a process may raise it to"},
};
static const struct tn_schema ulimit_schema = {
    .name = "ulimit", .doc = "A limit of the kernel: a number, or soft and hard",
    .size = sizeof(struct tn_ulimit), .keys = ulimit_keys, .n = TN_COUNT(ulimit_keys),
    .name_at = offsetof(struct tn_ulimit, name), .mark_at = TN_NOWHERE, .kind_at = TN_NOWHERE,
    .shorthand = "soft", .name_check = TN_CHECK_TOKEN, .example = "nofile: { soft: 4096, hard: 8192 }"};

static const struct tn_name signal_names[] = {{"SIGTERM", 0}, {"SIGINT", 0},  {"SIGQUIT", 0},  {"SIGHUP", 0},
                                              {"SIGUSR1", 0}, {"SIGUSR2", 0}, {"SIGWINCH", 0}, {"SIGKILL", 0},
                                              {NULL, 0}};
static const struct tn_key stop_keys[] = {
    {.name = "signal", .type = TN_KEY_WORD, .flags = TN_REVISION, TN_AT(tn_stop, signal), .def = "SIGTERM",
     .names = signal_names, .since = "0.1", .doc = "Signal that asks it to stop"},
    {.name = "grace", .type = TN_KEY_DURATION, .flags = TN_REVISION, TN_AT(tn_stop, grace), .def = "10s",
     .since = "0.1", .doc = "Time until it is killed"},
};
static const struct tn_schema stop_schema = {
    .name = "stop", .doc = "How an instance is stopped", .size = sizeof(struct tn_stop), .keys = stop_keys,
    .n = TN_COUNT(stop_keys), .name_at = TN_NOWHERE, .mark_at = TN_NOWHERE, .kind_at = TN_NOWHERE,
    .example = "{ signal: SIGTERM, grace: 10s }"};

static const struct tn_key logging_keys[] = {
    {.name = "driver", .type = TN_KEY_STRING, .flags = TN_REVISION, TN_AT(tn_service, log_driver),
     .check = TN_CHECK_WORD, .since = "0.1", .shown = "the engine's", .doc = "The engine's log driver"},
    {.name = "options", .type = TN_KEY_PAIRS, .flags = TN_REVISION, TN_AT(tn_service, log_options),
     .since = "0.1", .doc = "Options of the log driver"},
};
static const struct tn_schema logging_schema = {
    .name = "logging", .doc = "Where the engine sends the output", .size = 0, .keys = logging_keys,
    .n = TN_COUNT(logging_keys), .name_at = TN_NOWHERE, .mark_at = TN_NOWHERE, .kind_at = TN_NOWHERE,
    .example = "{ driver: json-file, options: { max-size: 10m } }"};

/* ---- expose ----------------------------------------------------------------------------------------- */

static const struct tn_name balance_names[] = {{"roundrobin", 0}, {"least_conn", 0}, {NULL, 0}};
static const struct tn_key expose_keys[] = {
    {.name = "balancer", .type = TN_KEY_STRING, .flags = TN_REQUIRED, TN_AT(tn_expose, balancer),
     .ref = TN_REF_BALANCER, .since = "0.1", .doc = "Who sends the traffic"},
    {.name = "port", .type = TN_KEY_STRING, TN_AT(tn_expose, port), .since = "0.1", .shown = "the first port",
     .doc = "Name of the port that gets it"},
    {.name = "upstream", .type = TN_KEY_STRING, TN_AT(tn_expose, upstream), .check = TN_CHECK_TOKEN,
     .since = "0.1", .shown = "<app>_<service> with a managed balancer",
     .doc = "Name of the upstream (nginx) or backend (HAProxy) that your configuration points at"},
    {.name = "host", .type = TN_KEY_STRING, TN_AT(tn_expose, host), .check = TN_CHECK_TOKEN, .since = "0.1",
     .doc = "managed: requests for this host name are for this service"},
    {.name = "path", .type = TN_KEY_STRING, TN_AT(tn_expose, path), .check = TN_CHECK_PATH, .since = "0.1",
     .doc = "managed: requests below this path are for this service"},
    {.name = "drain", .type = TN_KEY_DURATION, TN_AT(tn_expose, drain), .def = "10s", .since = "0.1",
     .doc = "Longest wait for running requests before an instance is stopped"},
    {.name = "weight", .type = TN_KEY_INT, TN_AT(tn_expose, weight), .def = "1", .min = 1, .max = 256,
     .since = "0.1", .doc = "Weight of each instance"},
    {.name = "balance", .type = TN_KEY_WORD, TN_AT(tn_expose, balance), .def = "roundrobin",
     .names = balance_names, .since = "0.1", .doc = "How the balancer chooses"},
    {.name = "keepalive", .type = TN_KEY_INT, TN_AT(tn_expose, keepalive), .def = "0", .min = 0,
     .max = 100000, .since = "0.1", .doc = "nginx: idle connections that each worker keeps"},
    {.name = "max_fails", .type = TN_KEY_INT, TN_AT(tn_expose, max_fails), .def = "-1", .min = 0,
     .max = 100000, .since = "0.1", .shown = "nginx's own",
     .doc = "nginx: failed tries before a server is left out"},
    {.name = "fail_timeout", .type = TN_KEY_DURATION, TN_AT(tn_expose, fail_timeout), .def = "-1",
     .since = "0.1", .shown = "nginx's own", .doc = "nginx: how long it is left out"},
    {.name = "backup", .type = TN_KEY_BOOL, TN_AT(tn_expose, backup), .def = "false", .since = "0.1",
     .doc = "Gets traffic only when all others are down"},
    TN_RESERVED_KEY("version_header", "Answer header that carries the version, as a second proof"),
    {.name = "sticky", .type = TN_KEY_BOOL, TN_AT(tn_expose, sticky), .flags = TN_RESERVED, .since = "0.1",
     .doc = "Requests of one client go to one instance"},
    TN_RESERVED_KEY("preview", "An upstream or host that shows the candidate before it serves"),
};
static const struct tn_schema expose_schema = {
    .name = "expose", .doc = "One way in: a balancer that sends traffic to a port",
    .size = sizeof(struct tn_expose), .keys = expose_keys, .n = TN_COUNT(expose_keys), .name_at = TN_NOWHERE,
    .mark_at = offsetof(struct tn_expose, mark), .kind_at = TN_NOWHERE,
    .example = "{ balancer: edge, upstream: shop_web, port: http, drain: 15s }"};

/* ---- hooks ------------------------------------------------------------------------------------------ */

static const struct tn_name where_names[] = {
    {"local", TN_HOOK_LOCAL}, {"host", TN_HOOK_HOST}, {"container", TN_HOOK_CONTAINER}, {NULL, 0}};
/* One bit each: `rerun: safe` is true. */
static const struct tn_name rerun_names[] = {{"safe", 1}, {"ask", 0}, {NULL, 0}};
static const struct tn_key hook_keys[] = {
    {.name = "run", .type = TN_KEY_COMMAND, .flags = TN_REQUIRED, TN_AT(tn_hook, run), .since = "0.1",
     .doc = "The command"},
    {.name = "once", .type = TN_KEY_BOOL, TN_AT(tn_hook, once), .def = "false", .since = "0.1",
     .doc = "Once a rollout, not once a cluster"},
    {.name = "timeout", .type = TN_KEY_DURATION, TN_AT(tn_hook, timeout), .def = "5m", .min = 1,
     .since = "0.1", .doc = "It has failed when it runs longer"},
    {.name = "where", .type = TN_KEY_ENUM, TN_AT(tn_hook, where), .def = "local", .names = where_names,
     .since = "0.1", .doc = "On this machine, on the cluster's host, or in a container of the new revision"},
    {.name = "rerun", .type = TN_KEY_BOOL, TN_AT(tn_hook, rerun_safe), .def = "ask", .names = rerun_names,
     .since = "0.1", .doc = "safe: it may run again when nobody knows how it ended"},
};
static const struct tn_schema hook_schema = {
    .name = "hook", .doc = "A command before or after; a rollback does not undo it",
    .size = sizeof(struct tn_hook), .keys = hook_keys, .n = TN_COUNT(hook_keys), .name_at = TN_NOWHERE,
    .mark_at = offsetof(struct tn_hook, mark), .kind_at = TN_NOWHERE, .shorthand = "run",
    .example = "{ run: [bin/migrate], once: true, timeout: 5m }"};

static const struct tn_key hooks_keys[] = {
    {.name = "pre_deploy", .type = TN_KEY_LIST, .flags = TN_SINGLE,
     TN_AT_LIST(tn_hooks, pre_deploy, n_pre_deploy), .child = &hook_schema, .since = "0.1",
     .doc = "Before anything of the service changes"},
    {.name = "post_deploy", .type = TN_KEY_LIST, .flags = TN_SINGLE,
     TN_AT_LIST(tn_hooks, post_deploy, n_post_deploy), .child = &hook_schema, .since = "0.1",
     .doc = "After the new revision serves alone"},
    {.name = "on_failure", .type = TN_KEY_LIST, .flags = TN_SINGLE,
     TN_AT_LIST(tn_hooks, on_failure, n_on_failure), .child = &hook_schema, .since = "0.1",
     .doc = "After the rollout has failed"},
};
static const struct tn_schema hooks_schema = {
    .name = "hooks", .doc = "Commands around a rollout", .size = sizeof(struct tn_hooks), .keys = hooks_keys,
    .n = TN_COUNT(hooks_keys), .name_at = TN_NOWHERE, .mark_at = TN_NOWHERE, .kind_at = TN_NOWHERE,
    .example = "{ pre_deploy: [{ run: [bin/migrate], once: true }] }"};

/* ---- services --------------------------------------------------------------------------------------- */

static const struct tn_name pull_names[] = {{"missing", 0}, {"always", 0}, {"never", 0}, {NULL, 0}};
static const struct tn_name restart_names[] = {
    {"no", 0}, {"always", 0}, {"unless-stopped", 0}, {"on-failure", 0}, {NULL, 0}};

static const struct tn_key service_keys[] = {
    {.name = "image", .type = TN_KEY_STRING, .flags = TN_REVISION, TN_AT(tn_service, image),
     .check = TN_CHECK_WORD, .since = "0.1", .doc = "Image of its containers (docker clusters)"},
    {.name = "pull", .type = TN_KEY_WORD, TN_AT(tn_service, pull), .def = "missing", .names = pull_names,
     .since = "0.1", .doc = "When the image is pulled"},
    {.name = "command", .type = TN_KEY_COMMAND, .flags = TN_REVISION, TN_AT(tn_service, command),
     .since = "0.1", .doc = "Program and arguments; overrides the image's CMD"},
    {.name = "entrypoint", .type = TN_KEY_COMMAND, .flags = TN_REVISION, TN_AT(tn_service, entrypoint),
     .since = "0.1", .doc = "Overrides the image's ENTRYPOINT"},
    {.name = "env", .type = TN_KEY_PAIRS, .flags = TN_REVISION, TN_AT(tn_service, env), .check = TN_CHECK_ENV,
     .since = "0.1", .doc = "Environment variables"},
    {.name = "env_files", .type = TN_KEY_STRINGS, .flags = TN_NOSTORE, .since = "0.1",
     .doc = "Files of KEY=VALUE lines, overridden by env"},
    {.name = "secrets", .type = TN_KEY_PAIRS, .flags = TN_REVISION, TN_AT(tn_service, secrets),
     .check = TN_CHECK_ENV, .ref = TN_REF_SECRET, .since = "0.1",
     .doc = "Environment variable: name of the secret that it gets"},
    {.name = "files", .type = TN_KEY_STRINGS, .flags = TN_REVISION, TN_AT(tn_service, files), .since = "0.1",
     .doc = "Files whose contents make a new revision"},
    {.name = "ports", .type = TN_KEY_LIST, .flags = TN_REVISION, TN_AT_LIST(tn_service, ports, n_ports),
     .child = &port_schema, .since = "0.1", .doc = "Ports that it listens on"},
    {.name = "volumes", .type = TN_KEY_STRINGS, .flags = TN_REVISION, TN_AT(tn_service, volumes),
     .since = "0.1", .doc = "Mounts: source:target or source:target:ro"},
    {.name = "networks", .type = TN_KEY_NAMED, .flags = TN_REVISION | TN_NAMES,
     TN_AT_LIST(tn_service, networks, n_networks), .child = &network_schema, .since = "0.1",
     .doc = "Networks of the engine that it joins"},
    {.name = "cpu", .type = TN_KEY_CPU, .flags = TN_REVISION, TN_AT(tn_service, cpu), .since = "0.1",
     .shown = "no limit", .doc = "Limit in CPUs: 0.5 or 500m"},
    {.name = "memory", .type = TN_KEY_SIZE, .flags = TN_REVISION, TN_AT(tn_service, memory), .since = "0.1",
     .shown = "no limit", .doc = "Limit of memory: 512Mi, 1Gi"},
    {.name = "replicas", .type = TN_KEY_INT, TN_AT(tn_service, replicas), .def = "1", .min = 0, .max = 1000,
     .since = "0.1", .doc = "How many instances, on all hosts of a cluster together"},
    {.name = "clusters", .type = TN_KEY_STRINGS, .flags = TN_REQUIRED, TN_AT(tn_service, clusters),
     .ref = TN_REF_CLUSTER, .since = "0.1", .doc = "Where it runs"},
    {.name = "depends_on", .type = TN_KEY_STRINGS, TN_AT(tn_service, depends_on), .ref = TN_REF_SERVICE,
     .since = "0.1", .doc = "Services that are rolled out before it"},
    {.name = "health", .type = TN_KEY_OBJECT, .flags = TN_REVISION, TN_AT(tn_service, health),
     .child = &health_schema, .since = "0.1", .doc = "When an instance is ready"},
    {.name = "stop", .type = TN_KEY_OBJECT, .flags = TN_REVISION, TN_AT(tn_service, stop),
     .child = &stop_schema, .since = "0.1", .doc = "How an instance is stopped"},
    {.name = "restart", .type = TN_KEY_WORD, .flags = TN_REVISION, TN_AT(tn_service, restart),
     .def = "unless-stopped", .names = restart_names, .since = "0.1",
     .doc = "What happens when it ends by itself, once it serves"},
    {.name = "expose", .type = TN_KEY_LIST, .flags = TN_SINGLE, TN_AT_LIST(tn_service, expose, n_expose),
     .child = &expose_schema, .since = "0.1", .doc = "Balancers that send it traffic"},
    {.name = "rollout", .type = TN_KEY_OBJECT, TN_AT(tn_service, rollout), .child = &tn_schema_rollout,
     .since = "0.1", .doc = "How it changes, where that differs from the plan's rollout"},
    {.name = "hooks", .type = TN_KEY_OBJECT, TN_AT(tn_service, hooks), .child = &hooks_schema, .since = "0.1",
     .doc = "Commands around a rollout"},
    {.name = "labels", .type = TN_KEY_PAIRS, .flags = TN_REVISION, TN_AT(tn_service, labels), .since = "0.1",
     .doc = "Labels of its containers, beside turnout's own"},
    {.name = "logging", .type = TN_KEY_OBJECT, .flags = TN_REVISION, .at = 0, .child = &logging_schema,
     .since = "0.1", .doc = "Where the engine sends the output"},
    {.name = "user", .type = TN_KEY_STRING, .flags = TN_REVISION, TN_AT(tn_service, user),
     .check = TN_CHECK_WORD, .since = "0.1", .shown = "the image's", .doc = "User that it runs as"},
    {.name = "working_dir", .type = TN_KEY_STRING, .flags = TN_REVISION, TN_AT(tn_service, working_dir),
     .since = "0.1", .shown = "the image's", .doc = "Folder that it runs in"},
    {.name = "hostname", .type = TN_KEY_STRING, .flags = TN_REVISION, TN_AT(tn_service, hostname),
     .check = TN_CHECK_TOKEN, .since = "0.1", .doc = "Host name inside the container"},
    {.name = "init", .type = TN_KEY_BOOL, .flags = TN_REVISION, TN_AT(tn_service, init), .def = "false",
     .since = "0.1", .doc = "Run a small init as process 1"},
    {.name = "read_only", .type = TN_KEY_BOOL, .flags = TN_REVISION, TN_AT(tn_service, read_only),
     .def = "false", .since = "0.1", .doc = "The root file system cannot be written"},
    {.name = "ulimits", .type = TN_KEY_NAMED, .flags = TN_REVISION,
     TN_AT_LIST(tn_service, ulimits, n_ulimits), .child = &ulimit_schema, .since = "0.1",
     .doc = "Limits of the kernel by name"},
    {.name = "cap_add", .type = TN_KEY_STRINGS, .flags = TN_REVISION, TN_AT(tn_service, cap_add),
     .check = TN_CHECK_TOKEN, .since = "0.1", .doc = "Capabilities that it gets"},
    {.name = "cap_drop", .type = TN_KEY_STRINGS, .flags = TN_REVISION, TN_AT(tn_service, cap_drop),
     .check = TN_CHECK_TOKEN, .since = "0.1", .doc = "Capabilities that it loses"},
    {.name = "extra_hosts", .type = TN_KEY_STRINGS, .flags = TN_REVISION, TN_AT(tn_service, extra_hosts),
     .check = TN_CHECK_WORD, .since = "0.1", .doc = "Lines of its hosts file: name:address"},
    {.name = "tmpfs", .type = TN_KEY_STRINGS, .flags = TN_REVISION, TN_AT(tn_service, tmpfs),
     .check = TN_CHECK_ABSOLUTE, .since = "0.1", .doc = "Folders in memory"},
    {.name = "platform", .type = TN_KEY_RAW, .flags = TN_REVISION, TN_AT(tn_service, platform),
     .since = "0.1", .doc = "A raw map merged last into the platform's own object"},
    TN_RESERVED_KEY("scale", "Limits and targets of an autoscaler"),
    TN_RESERVED_KEY("disruption", "How many must stay up when hosts are emptied"),
    TN_RESERVED_KEY("placement", "Zones, spread, tolerations"),
    TN_RESERVED_KEY("from", "A service whose keys are taken over"),
};
const struct tn_schema tn_schema_service = {
    .name = "service", .doc = "Something that runs in instances", .size = sizeof(struct tn_service),
    .keys = service_keys, .n = TN_COUNT(service_keys), .name_at = offsetof(struct tn_service, name),
    .mark_at = offsetof(struct tn_service, mark), .kind_at = TN_NOWHERE, .name_check = TN_CHECK_NAME,
    .example = "web: { image: \"shop/web:1\", clusters: [local], replicas: 3 }"};
/* clang-format on */
