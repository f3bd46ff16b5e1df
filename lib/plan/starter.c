/* `init`: a commented plan to start from. It loads as it is. */
#include <string.h>

#include "turnout/buf.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/plan/keys.h"

static const char head[] =
    "# yaml-language-server: $schema=./turnout.schema.json   (turnout schema > turnout.schema.json)\n"
    "# What runs, where, and how it changes. `turnout explain KEY` tells more of each key.\n"
    "turnout: 1\n"
    "name: %s\n"
    "\n"
    "# Values given at the start: turnout deploy --var tag=v2\n"
    "vars:\n"
    "  tag: v1\n"
    "\n";

static const char docker_part[] =
    "# Where it runs: one Docker engine. Several: hosts: [..]\n"
    "clusters:\n"
    "  local:\n"
    "    docker:\n"
    "      host: unix:///var/run/docker.sock\n"
    "\n"
    "# What sends the traffic: an HAProxy that turnout runs itself. Your own HAProxy or nginx: turnout "
    "explain balancers\n"
    "balancers:\n"
    "  edge:\n"
    "    haproxy:\n"
    "      managed: local\n"
    "      listen: 127.0.0.1:8080\n"
    "\n"
    "services:\n"
    "  web:\n"
    "    image: \"registry.example/%s:${tag}\"\n"
    "    clusters: [local]\n"
    "    replicas: 2\n"
    "    env:\n"
    "      LOG_LEVEL: info\n"
    "    ports:\n"
    "      - { name: http, container: 8080 }     # turnout picks the host's port\n";

static const char process_part[] =
    "# Where it runs: programs on this host. The folder holds pids, output and working folders.\n"
    "clusters:\n"
    "  local:\n"
    "    process:\n"
    "      dir: ./run\n"
    "\n"
    "# What sends the traffic: an HAProxy that turnout runs itself. Your own HAProxy or nginx: turnout "
    "explain balancers\n"
    "balancers:\n"
    "  edge:\n"
    "    haproxy:\n"
    "      managed: local\n"
    "      listen: 127.0.0.1:8080\n"
    "\n"
    "services:\n"
    "  web:\n"
    "    command: [./%s]                          # it listens on the port in $PORT\n"
    "    clusters: [local]\n"
    "    replicas: 2\n"
    "    env:\n"
    "      VERSION: \"${tag}\"\n"
    "    ports:\n"
    "      - { name: http }\n";

static const char tail[] =
    "    health:\n"
    "      http: /healthz                        # must answer 2xx before it gets traffic\n"
    "      interval: 500ms\n"
    "    stop:\n"
    "      grace: 10s                            # after SIGTERM\n"
    "    expose:\n"
    "      - { balancer: edge, port: http, drain: 10s }\n"
    "\n"
    "# How it changes: the new one starts first, is watched, gets traffic; then an old one drains and "
    "stops.\n"
    "rollout:\n"
    "  strategy: rolling\n"
    "  max_surge: 1\n"
    "  max_unavailable: 0\n"
    "  min_healthy_time: 2s\n"
    "  on_failure: rollback\n";

char *tn_plan_starter(const char *name, const char *kind)
{
    const char *app = name && tn_check_text(TN_CHECK_NAME, name) ? name : "shop";
    tn_autobuf b = TN_BUF_INIT(16384);
    tn_buf_printf(&b, head, app);
    if (tn_streq(kind, "process"))
        tn_buf_printf(&b, process_part, app);
    else
        tn_buf_printf(&b, docker_part, app);
    tn_buf_puts(&b, tail);
    return tn_buf_take(&b);
}
