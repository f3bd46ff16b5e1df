/* The table, part one: the top of a plan, clusters, gates, secrets, policy, rollout. */
#include "lib/plan/keys.h"

#include "turnout/mem.h"

/* One row a key, as dense as a table is read. */
/* clang-format off */

/* ---- clusters --------------------------------------------------------------------------------------- */

static const struct tn_key host_keys[] = {
    {.name = "url", .type = TN_KEY_STRING, .flags = TN_REQUIRED, TN_AT(tn_host_ref, url),
     .check = TN_CHECK_WORD, .since = "0.1",
     .doc = "The engine's address: unix:///path or tcp://host:port (ssh:// is reserved)"},
    {.name = "address", .type = TN_KEY_STRING, TN_AT(tn_host_ref, address), .check = TN_CHECK_IP,
     .since = "0.1",
     .doc = "Numeric address on which its instances get traffic, when that is not the URL's host"},
    TN_RESERVED_KEY("labels", "Labels of this host, for placement"),
    {.name = "sudo", .type = TN_KEY_BOOL, TN_AT(tn_host_ref, sudo), .def = "false", .flags = TN_RESERVED,
     .since = "0.1", .doc = "Run commands on an ssh:// host through sudo"},
};
static const struct tn_schema host_schema = {
    .name = "host", .doc = "One host of a cluster: a URL, or a map when its traffic goes elsewhere",
    .size = sizeof(struct tn_host_ref), .keys = host_keys, .n = TN_COUNT(host_keys), .name_at = TN_NOWHERE,
    .mark_at = TN_NOWHERE, .kind_at = TN_NOWHERE, .shorthand = "url",
    .example = "{ url: \"tcp://10.0.0.11:2376\", address: 10.0.0.11 }"};

static const struct tn_key registry_keys[] = {
    {.name = "server", .type = TN_KEY_STRING, .flags = TN_REQUIRED, TN_AT(tn_registry, server),
     .check = TN_CHECK_WORD, .since = "0.1", .doc = "The registry's host, as image names begin with it"},
    {.name = "user", .type = TN_KEY_STRING, .flags = TN_REQUIRED, TN_AT(tn_registry, user), .since = "0.1",
     .doc = "Who logs in"},
    {.name = "password", .type = TN_KEY_STRING, .flags = TN_REQUIRED, TN_AT(tn_registry, password),
     .ref = TN_REF_SECRET, .since = "0.1", .doc = "Name of the secret that holds the password or token"},
};
static const struct tn_schema registry_schema = {
    .name = "registry", .doc = "A login for one registry; without it the user's docker config is used",
    .size = sizeof(struct tn_registry), .keys = registry_keys, .n = TN_COUNT(registry_keys),
    .name_at = TN_NOWHERE, .mark_at = TN_NOWHERE, .kind_at = TN_NOWHERE,
    .example = "{ server: registry.example, user: ci, password: registry_token }"};

static const struct tn_key docker_keys[] = {
    {.name = "host", .type = TN_KEY_LIST, .flags = TN_SINGLE,
     TN_AT_LIST(tn_cluster, docker.hosts, docker.n_hosts), .child = &host_schema, .since = "0.1",
     .doc = "The one engine of this cluster", .shown = "DOCKER_HOST, or unix:///var/run/docker.sock"},
    {.name = "hosts", .type = TN_KEY_LIST, TN_AT_LIST(tn_cluster, docker.hosts, docker.n_hosts),
     .child = &host_schema, .since = "0.1",
     .doc = "The engines of this cluster; instances are spread over them"},
    {.name = "publish", .type = TN_KEY_STRING, TN_AT(tn_cluster, docker.publish), .check = TN_CHECK_IP,
     .since = "0.1", .shown = "127.0.0.1 on a local engine, else the host's address",
     .doc = "Address that picked ports are bound on; 0.0.0.0 only when said here"},
    {.name = "tls", .type = TN_KEY_PATH, TN_AT(tn_cluster, docker.tls), .since = "0.1",
     .doc = "Folder with ca.pem, cert.pem and key.pem for tcp:// hosts"},
    {.name = "registry", .type = TN_KEY_OBJECT, .flags = TN_POINTER, TN_AT(tn_cluster, docker.registry),
     .child = &registry_schema, .since = "0.1", .doc = "Login for the registry that images are pulled from"},
};
/* The members of the kinds lie in struct tn_cluster itself, so their offsets are the cluster's. */
static const struct tn_schema docker_schema = {
    .name = "docker", .doc = "One or several Docker engines", .size = 0, .keys = docker_keys,
    .n = TN_COUNT(docker_keys), .name_at = TN_NOWHERE, .mark_at = TN_NOWHERE, .kind_at = TN_NOWHERE,
    .example = "{ host: \"unix:///var/run/docker.sock\" }"};

static const struct tn_key process_keys[] = {
    {.name = "dir", .type = TN_KEY_PATH, .flags = TN_REQUIRED, TN_AT(tn_cluster, process.dir), .since = "0.1",
     .doc = "Folder for pids, output and working folders"},
};
static const struct tn_schema process_schema = {
    .name = "process", .doc = "Programs on this host, each under turnout's own shim", .size = 0,
    .keys = process_keys, .n = TN_COUNT(process_keys), .name_at = TN_NOWHERE, .mark_at = TN_NOWHERE,
    .kind_at = TN_NOWHERE, .shorthand = "dir", .example = "{ dir: ./run }"};

#ifdef TN_FAKE
static const struct tn_key fake_keys[] = {
    {.name = "file", .type = TN_KEY_PATH, .flags = TN_REQUIRED, TN_AT(tn_cluster, fake.file), .since = "0.1",
     .doc = "The fake world's state file"},
};
static const struct tn_schema fake_schema = {
    .name = "fake", .doc = "A scripted world, for tests", .size = 0, .keys = fake_keys,
    .n = TN_COUNT(fake_keys), .name_at = TN_NOWHERE, .mark_at = TN_NOWHERE, .kind_at = TN_NOWHERE,
    .example = "{ file: world.json }"};
#endif

static const struct tn_key cluster_keys[] = {
    {.name = "docker", .type = TN_KEY_OBJECT, .flags = TN_KIND, .at = 0, .child = &docker_schema,
     .kind = TN_CLUSTER_DOCKER, .since = "0.1", .doc = "Containers on one or several Docker engines"},
    {.name = "process", .type = TN_KEY_OBJECT, .flags = TN_KIND, .at = 0, .child = &process_schema,
     .kind = TN_CLUSTER_PROCESS, .since = "0.1", .doc = "Programs on this host"},
#ifdef TN_FAKE
    {.name = "fake", .type = TN_KEY_OBJECT, .flags = TN_KIND, .at = 0, .child = &fake_schema,
     .kind = TN_CLUSTER_FAKE, .since = "0.1", .doc = "A scripted world, for tests"},
#endif
    TN_RESERVED_KIND("swarm", "Services of a Docker Swarm"),
    TN_RESERVED_KIND("kubernetes", "Deployments of a Kubernetes cluster"),
    TN_RESERVED_KIND("ecs", "Services of an AWS ECS cluster"),
    TN_RESERVED_KIND("container_apps", "Azure Container Apps"),
    TN_RESERVED_KIND("cloud_run", "Google Cloud Run services"),
    TN_RESERVED_KEY("region", "The region that this cluster is in"),
    TN_RESERVED_KEY("regions", "Regions that this cluster spans: a list, or a map with values per region"),
    TN_RESERVED_KEY("provision", "How to make the cluster when it does not exist"),
};
const struct tn_schema tn_schema_cluster = {
    .name = "cluster", .doc = "A named place to run: exactly one kind", .size = sizeof(struct tn_cluster),
    .keys = cluster_keys, .n = TN_COUNT(cluster_keys), .name_at = offsetof(struct tn_cluster, name),
    .mark_at = offsetof(struct tn_cluster, mark), .kind_at = offsetof(struct tn_cluster, kind),
    .has_kinds = true, .name_check = TN_CHECK_NAME,
    .example = "local: { docker: { host: \"unix:///var/run/docker.sock\" } }"};

/* ---- gates ------------------------------------------------------------------------------------------ */

static const struct tn_key gate_http_keys[] = {
    {.name = "url", .type = TN_KEY_STRING, .flags = TN_REQUIRED, TN_AT(tn_gate, url),
     .check = TN_CHECK_HTTP_URL, .since = "0.1", .doc = "What to ask"},
    {.name = "expect", .type = TN_KEY_STRING, TN_AT(tn_gate, expect), .def = "200-299",
     .check = TN_CHECK_STATUSES, .since = "0.1", .doc = "Statuses that pass"},
    {.name = "body", .type = TN_KEY_TEXT, TN_AT(tn_gate, body), .since = "0.1",
     .doc = "Text that the answer must hold"},
};
static const struct tn_schema gate_http_schema = {
    .name = "http gate", .doc = "Passes when a URL answers as expected", .size = 0, .keys = gate_http_keys,
    .n = TN_COUNT(gate_http_keys), .name_at = TN_NOWHERE, .mark_at = TN_NOWHERE, .kind_at = TN_NOWHERE,
    .shorthand = "url", .example = "{ url: \"http://127.0.0.1:8080/health\", expect: \"200\", body: ok }"};

static const struct tn_key gate_keys[] = {
    {.name = "http", .type = TN_KEY_OBJECT, .flags = TN_KIND, .at = 0, .child = &gate_http_schema,
     .kind = TN_GATE_HTTP, .since = "0.1", .doc = "A URL that must answer; a bare URL will do"},
    {.name = "tcp", .type = TN_KEY_STRING, .flags = TN_KIND, TN_AT(tn_gate, tcp), .kind = TN_GATE_TCP,
     .check = TN_CHECK_ADDRESS, .since = "0.1", .doc = "host:port that must accept a connection"},
    {.name = "cmd", .type = TN_KEY_COMMAND, .flags = TN_KIND, TN_AT(tn_gate, cmd), .kind = TN_GATE_CMD,
     .since = "0.1", .doc = "A command on this host that must exit with 0"},
    TN_RESERVED_KIND("prometheus", "A PromQL query against a limit"),
    TN_RESERVED_KIND("traffic", "The balancer's own counters against a limit"),
    TN_RESERVED_KIND("cloudwatch", "An AWS CloudWatch metric against a limit"),
    TN_RESERVED_KIND("azure_monitor", "An Azure Monitor metric against a limit"),
    TN_RESERVED_KIND("google_monitoring", "A Google Cloud Monitoring metric against a limit"),
    TN_RESERVED_KIND("approve", "People who must approve"),
    {.name = "interval", .type = TN_KEY_DURATION, TN_AT(tn_gate, interval), .def = "5s", .min = 1,
     .since = "0.1", .doc = "Time between two measurements"},
    {.name = "timeout", .type = TN_KEY_DURATION, TN_AT(tn_gate, timeout), .def = "5s", .min = 1,
     .since = "0.1", .doc = "Longest time that one measurement may take"},
    {.name = "count", .type = TN_KEY_INT, TN_AT(tn_gate, count), .def = "1", .min = 1, .max = 10000,
     .since = "0.1", .doc = "Measurements that must pass"},
    {.name = "failure_limit", .type = TN_KEY_INT, TN_AT(tn_gate, failure_limit), .def = "0", .min = 0,
     .max = 10000, .since = "0.1", .doc = "Measurements that may fail before the gate fails"},
    {.name = "error_limit", .type = TN_KEY_INT, TN_AT(tn_gate, error_limit), .def = "3", .min = 0,
     .max = 10000, .since = "0.1",
     .doc = "Measurements that may give no answer, one after another, before the gate fails"},
    TN_RESERVED_KEY("no_data", "What a metric without data means"),
    TN_RESERVED_KEY("min_samples", "Requests that a metric must have seen"),
    TN_RESERVED_KEY("fail_above", "The metric's upper limit"),
    TN_RESERVED_KEY("fail_below", "The metric's lower limit"),
};
const struct tn_schema tn_schema_gate = {
    .name = "gate", .doc = "A condition that must hold before a rollout goes on: exactly one kind",
    .size = sizeof(struct tn_gate), .keys = gate_keys, .n = TN_COUNT(gate_keys),
    .name_at = offsetof(struct tn_gate, name), .mark_at = offsetof(struct tn_gate, mark),
    .kind_at = offsetof(struct tn_gate, kind), .has_kinds = true, .name_check = TN_CHECK_TOKEN,
    .example = "smoke: { http: \"http://127.0.0.1:8080/health\", interval: 2s, count: 3 }"};

/* ---- secrets, policy, variables --------------------------------------------------------------------- */

static const struct tn_name deliver_names[] = {{"value", 0}, {NULL, 0}};
static const struct tn_key secret_keys[] = {
    {.name = "from", .type = TN_KEY_STRING, .flags = TN_REQUIRED, TN_AT(tn_secret, from), .since = "0.1",
     .doc = "Reference: env://NAME, file://PATH or exec:///PROGRAM ARGUMENT…"},
    {.name = "deliver", .type = TN_KEY_WORD, .flags = TN_NOSTORE, .def = "value", .names = deliver_names,
     .since = "0.1", .doc = "How the instance gets it (reference is reserved)"},
};
const struct tn_schema tn_schema_secret = {
    .name = "secret", .doc = "A value that turnout reads only to hand it over; a reference, or a map",
    .size = sizeof(struct tn_secret), .keys = secret_keys, .n = TN_COUNT(secret_keys),
    .name_at = offsetof(struct tn_secret, name), .mark_at = offsetof(struct tn_secret, mark),
    .kind_at = TN_NOWHERE, .shorthand = "from", .name_check = TN_CHECK_TOKEN,
    .example = "db_url: \"file://./secrets/db_url\""};

static const struct tn_key policy_keys[] = {
    {.name = "lease_ttl", .type = TN_KEY_DURATION, TN_AT(tn_policy, lease_ttl), .def = "30s", .min = 500,
     .since = "0.1", .doc = "After so long without renewal a rollout's lease may be taken over"},
    {.name = "lease_wait", .type = TN_KEY_DURATION, TN_AT(tn_policy, lease_wait), .def = "0s", .since = "0.1",
     .doc = "How long to wait for a lease that another holds"},
    {.name = "port_range", .type = TN_KEY_RANGE, TN_AT_LIST(tn_policy, port_first, port_last),
     .def = "20000-29999", .min = 1, .max = 65535, .since = "0.1",
     .doc = "Host ports that turnout picks from"},
    TN_RESERVED_KEY("windows", "Times at which a rollout may begin"),
    TN_RESERVED_KEY("digest_only", "Refuse images that are named by a tag"),
};
const struct tn_schema tn_schema_policy = {
    .name = "policy", .doc = "Limits that hold for every rollout", .size = sizeof(struct tn_policy),
    .keys = policy_keys, .n = TN_COUNT(policy_keys), .name_at = TN_NOWHERE, .mark_at = TN_NOWHERE,
    .kind_at = TN_NOWHERE, .example = "{ lease_ttl: 30s, port_range: \"20000-29999\" }"};

static const struct tn_key variable_keys[] = {
    {.name = "default", .type = TN_KEY_RAW, .flags = TN_NOSTORE, .since = "0.1",
     .doc = "Value when none is given"},
    {.name = "required", .type = TN_KEY_BOOL, .flags = TN_NOSTORE, .def = "false", .since = "0.1",
     .doc = "It must be given"},
    {.name = "enum", .type = TN_KEY_STRINGS, .flags = TN_NOSTORE, .since = "0.1",
     .doc = "The values it may have"},
    {.name = "pattern", .type = TN_KEY_STRING, .flags = TN_NOSTORE, .since = "0.1",
     .doc = "Extended regular expression that the value must match"},
    {.name = "doc", .type = TN_KEY_TEXT, .flags = TN_NOSTORE, .since = "0.1", .doc = "What it is for"},
};
const struct tn_schema tn_schema_variable = {
    .name = "variable", .doc = "A value given at the start: a bare default, or a map", .size = 0,
    .keys = variable_keys, .n = TN_COUNT(variable_keys), .name_at = TN_NOWHERE, .mark_at = TN_NOWHERE,
    .kind_at = TN_NOWHERE, .shorthand = "default", .name_check = TN_CHECK_ENV,
    .example = "tag: { required: true, pattern: \"^v?[0-9.]+$\" }"};

/* ---- rollout ---------------------------------------------------------------------------------------- */

static const struct tn_key rollout_keys[] = {
    {.name = "strategy", .type = TN_KEY_ENUM, TN_AT(tn_rollout_options, strategy), .def = "rolling",
     .names = tn_strategy_names, .since = "0.1",
     .doc = "How the new revision replaces the old one (blue_green and canary are reserved)"},
    {.name = "engine", .type = TN_KEY_STRING, TN_AT(tn_rollout_options, engine), .flags = TN_RESERVED,
     .since = "0.1", .doc = "Who decides the steps: turnout or the platform"},
    {.name = "max_unavailable", .type = TN_KEY_COUNT, TN_AT(tn_rollout_options, max_unavailable), .def = "0",
     .since = "0.1", .doc = "How many instances may be out of service; percentages round down; rolling only"},
    {.name = "max_surge", .type = TN_KEY_COUNT, TN_AT(tn_rollout_options, max_surge), .def = "1",
     .since = "0.1",
     .doc = "How many instances there may be beyond replicas; percentages round up; rolling only"},
    {.name = "delay", .type = TN_KEY_DURATION, TN_AT(tn_rollout_options, delay), .def = "0s", .since = "0.1",
     .doc = "Pause between two batches; rolling only"},
    {.name = "min_healthy_time", .type = TN_KEY_DURATION, TN_AT(tn_rollout_options, min_healthy_time),
     .def = "2s", .since = "0.1", .doc = "How long an instance must stay ready before it counts"},
    {.name = "healthy_deadline", .type = TN_KEY_DURATION, TN_AT(tn_rollout_options, healthy_deadline),
     .def = "1m", .since = "0.1", .doc = "An instance that is not ready by then has failed"},
    {.name = "progress_deadline", .type = TN_KEY_DURATION, TN_AT(tn_rollout_options, progress_deadline),
     .def = "5m", .since = "0.1", .doc = "The rollout has failed when nothing got further for so long"},
    {.name = "max_failures", .type = TN_KEY_INT, TN_AT(tn_rollout_options, max_failures), .def = "0",
     .min = 0, .max = 10000, .since = "0.1",
     .doc = "Failed instances that are replaced before the rollout fails"},
    {.name = "on_failure", .type = TN_KEY_ENUM, TN_AT(tn_rollout_options, on_failure), .def = "rollback",
     .names = tn_on_failure_names, .since = "0.1", .doc = "What a failed rollout does"},
    {.name = "gates", .type = TN_KEY_STRINGS, TN_AT(tn_rollout_options, gates), .ref = TN_REF_GATE,
     .since = "0.1", .doc = "Gates that must pass before the old revision is given up"},
    {.name = "keep", .type = TN_KEY_INT, TN_AT(tn_rollout_options, keep), .def = "3", .min = 0, .max = 100,
     .since = "0.1", .doc = "Revisions that can be gone back to"},
    TN_RESERVED_KEY("steps", "The steps of a canary"),
    TN_RESERVED_KEY("auto_promote", "Whether a blue-green switch needs no approval"),
    TN_RESERVED_KEY("bake", "How long to watch before the old revision is removed"),
    TN_RESERVED_KEY("preview_replicas", "Instances of the candidate while it is a preview"),
    TN_RESERVED_KEY("standby", "Whether old instances stay up, out of traffic"),
};
const struct tn_schema tn_schema_rollout = {
    .name = "rollout", .doc = "How to get there; at the top the default, in a service an override",
    .size = sizeof(struct tn_rollout_options), .keys = rollout_keys, .n = TN_COUNT(rollout_keys),
    .name_at = TN_NOWHERE, .mark_at = TN_NOWHERE, .kind_at = TN_NOWHERE,
    .example = "{ strategy: rolling, max_surge: 1, max_unavailable: 0, min_healthy_time: 5s }"};

/* ---- the plan --------------------------------------------------------------------------------------- */

static const struct tn_key plan_keys[] = {
    {.name = "turnout", .type = TN_KEY_INT, .flags = TN_REQUIRED | TN_NOSTORE, .min = 1, .max = 1,
     .since = "0.1", .doc = "The major number of the plan language; marks the file"},
    {.name = "name", .type = TN_KEY_STRING, .flags = TN_REQUIRED, TN_AT(tn_plan, name),
     .check = TN_CHECK_NAME, .since = "0.1", .doc = "Name of the application"},
    {.name = "min_version", .type = TN_KEY_STRING, .flags = TN_NOSTORE, .since = "0.1",
     .doc = "The oldest turnout that may run this plan"},
    {.name = "include", .type = TN_KEY_STRINGS, .flags = TN_NOSTORE, .since = "0.1",
     .doc = "Local files merged before this one; they hold services, gates, vars and secrets"},
    {.name = "vars", .type = TN_KEY_NAMED, .flags = TN_NOSTORE, .child = &tn_schema_variable, .since = "0.1",
     .doc = "Variables for ${name}; given by --var, --var-file or TURNOUT_VAR_<name>"},
    {.name = "secrets", .type = TN_KEY_NAMED, TN_AT_LIST(tn_plan, secrets, n_secrets),
     .child = &tn_schema_secret, .since = "0.1", .doc = "Secrets by name"},
    {.name = "clusters", .type = TN_KEY_NAMED, .flags = TN_REQUIRED,
     TN_AT_LIST(tn_plan, clusters, n_clusters), .child = &tn_schema_cluster, .since = "0.1",
     .doc = "Places to run by name"},
    {.name = "balancers", .type = TN_KEY_NAMED, TN_AT_LIST(tn_plan, balancers, n_balancers),
     .child = &tn_schema_balancer, .since = "0.1", .doc = "What sends traffic, by name"},
    {.name = "services", .type = TN_KEY_NAMED, .flags = TN_REQUIRED,
     TN_AT_LIST(tn_plan, services, n_services), .child = &tn_schema_service, .since = "0.1",
     .doc = "What runs, by name"},
    {.name = "rollout", .type = TN_KEY_OBJECT, .flags = TN_NOSTORE, .child = &tn_schema_rollout,
     .since = "0.1", .doc = "How services change, unless they say otherwise"},
    {.name = "gates", .type = TN_KEY_NAMED, TN_AT_LIST(tn_plan, gates, n_gates), .child = &tn_schema_gate,
     .since = "0.1", .doc = "Conditions by name"},
    {.name = "policy", .type = TN_KEY_OBJECT, TN_AT(tn_plan, policy), .child = &tn_schema_policy,
     .since = "0.1", .doc = "Limits that hold for every rollout"},
    {.name = "state", .type = TN_KEY_STRING, TN_AT(tn_plan, state), .since = "0.1",
     .shown = "the user's state folder",
     .doc = "Where history is kept: sqlite:PATH (postgres:// is reserved)"},
    {.name = "environments", .type = TN_KEY_NAMED, .flags = TN_NOSTORE | TN_OVERLAY, .child = &tn_schema_plan,
     .since = "0.1", .doc = "Overlays of any key by environment name, chosen with -e"},
    TN_RESERVED_KEY("compose", "A Compose file whose services are imported"),
    TN_RESERVED_KEY("resources", "Cloud resources that must exist"),
    TN_RESERVED_KEY("waves", "Placements that go together, in order"),
    TN_RESERVED_KEY("notify", "Who is told of what"),
    TN_RESERVED_KEY("gitops", "The repository that is reconciled"),
};
const struct tn_schema tn_schema_plan = {
    .name = "plan", .doc = "A plan says what should run, where, and how to get there",
    .size = sizeof(struct tn_plan), .keys = plan_keys, .n = TN_COUNT(plan_keys), .name_at = TN_NOWHERE,
    .mark_at = TN_NOWHERE, .kind_at = TN_NOWHERE, .name_check = TN_CHECK_NAME, .example = "turnout: 1"};
/* clang-format on */
