#include "lib/provider/process/process.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/fs.h"
#include "turnout/mem.h"
#include "turnout/text.h"
#include "lib/transport/shim.h"
#include "lib/transport/shim_files.h"

#define META_MAX  ((size_t)1 << 20)
#define PORTS_MAX 64

static bool valid(const json_t *meta)
{
    json_t *labels = json_object_get(meta, "labels"), *value;
    const char *key;
    if (!json_is_object(labels))
        return false;
    json_object_foreach(labels, key, value)
    {
        if (!json_is_string(value))
            return false;
    }
    return json_object_get(labels, TN_LABEL_APP) && json_object_get(labels, TN_LABEL_SERVICE);
}

json_t *tn_process_meta_read(const char *run_dir)
{
    tn_autofree char *path = tn_path_join(run_dir, "meta.json");
    size_t len = 0;
    tn_autofree char *text = tn_fs_read(path, META_MAX, &len, NULL);
    json_t *meta = text ? json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (valid(meta))
        return meta;
    json_decref(meta);
    return NULL;
}

const char *tn_process_label(const json_t *meta, const char *label)
{
    return json_string_value(json_object_get(json_object_get(meta, "labels"), label));
}

static void read_ports(const json_t *meta, struct tn_instance *out)
{
    const char *text = tn_process_label(meta, TN_LABEL_PORTS);
    json_t *ports = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL, *value;
    const char *name;
    if (json_is_object(ports) && json_object_size(ports) <= PORTS_MAX) {
        out->ports = tn_alloc((json_object_size(ports) + 1) * sizeof(*out->ports));
        json_object_foreach(ports, name, value)
        {
            json_int_t port = json_is_integer(value) ? json_integer_value(value) : 0;
            if (port < 1 || port > 65535)
                continue;
            out->ports[out->n_ports].name = tn_strdup(name);
            out->ports[out->n_ports++].host_port = (int)port;
        }
    }
    json_decref(ports);
}

/* Between two runs of a restart policy nothing runs: that is an end, as far as anyone outside can tell. */
static enum tn_run_state run_state(const struct tn_shim_status *s)
{
    if (s->state == TN_SHIM_RUNNING)
        return s->pid > 0 ? TN_RUN_RUNNING : TN_RUN_EXITED;
    return s->state == TN_SHIM_ENDED ? TN_RUN_EXITED : TN_RUN_CREATED;
}

int tn_process_instance(const char *run_dir, const char *name, const json_t *meta, struct tn_instance *out,
                        struct tn_error **err)
{
    struct tn_shim_status s;
    int rc = tn_shim_read(run_dir, &s, err);
    if (rc != TN_OK)
        return rc;
    if (s.state == TN_SHIM_ABSENT)
        return tn_error_set(err, TN_ENOTFOUND, "instance '%s' does not exist", name);
    *out = (struct tn_instance){
        .name = tn_strdup(name),
        .id = tn_strdup(run_dir),
        .state = run_state(&s),
        .exit_code = s.exit_code,
        .exit_signal = s.signal,
        .restarts = s.restarts,
        .started_at = s.started_at,
        .detail = s.error[0] ? tn_strdup(s.error) : NULL,
        .service = tn_strdup(tn_process_label(meta, TN_LABEL_SERVICE)),
        .revision = tn_strdup(tn_process_label(meta, TN_LABEL_REVISION)),
        .rollout = tn_strdup(tn_process_label(meta, TN_LABEL_ROLLOUT)),
        .effect = tn_strdup(tn_process_label(meta, TN_LABEL_EFFECT)),
        .environment = tn_strdup(tn_process_label(meta, TN_LABEL_ENV)),
        .spec = tn_strdup(tn_process_label(meta, TN_LABEL_SPEC)),
        .secrets = tn_strdup(tn_process_label(meta, TN_LABEL_SECRETS)),
        .address = tn_strdup("127.0.0.1"),
        .restart_policy = tn_strdup(tn_shim_policy_read(run_dir)),
    };
    if (!out->environment)
        out->environment = tn_strdup("");
    read_ports(meta, out);
    return TN_OK;
}
