#include "lib/provider/fake/fake.h"

#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"
#include "turnout/text.h"

static bool is_ours(const struct tn_provider *p, const json_t *entry, const char *app)
{
    const json_t *labels = json_object_get(entry, "labels");
    return tn_streq(json_string_value(json_object_get(labels, TN_LABEL_APP)), app) &&
           tn_streq(json_string_value(json_object_get(labels, TN_LABEL_CLUSTER)), p->cluster->name);
}

static int fake_observe(struct tn_provider *p, struct tn_cancel *c, const char *app,
                        struct tn_observation *out, struct tn_error **err)
{
    struct tn_fake_call k;
    int rc = tn_fake_enter(&k, tn_fake_file(p), "observe", NULL, c, err);
    if (rc < 0)
        return rc;
    const char *name;
    json_t *entry;
    tn_observation_clear(out);
    json_object_foreach(json_object_get(k.world, "instances"), name, entry)
    {
        if (is_ours(p, entry, app))
            tn_fake_look(&k, p, name, out);
    }
    out->n_hosts = p->n_hosts;
    out->hosts = tn_alloc(p->n_hosts * sizeof(*out->hosts));
    for (size_t i = 0; i < p->n_hosts; i++) {
        out->hosts[i].answered = !tn_fake_host_down(&k, p, i);
        out->hosts[i].error = out->hosts[i].answered ? NULL : tn_strdup("connection refused");
    }
    return tn_fake_leave(&k, TN_OK, err);
}

/* ---- images ---- */

static char *digest_of(const struct tn_fake_call *k, const char *image, struct tn_error **err)
{
    const json_t *images = json_object_get(k->world, "images");
    const char *digest = json_string_value(json_object_get(images, image));
    const char *colon = strrchr(image, ':'), *slash = strrchr(image, '/');
    size_t n = colon && (!slash || colon > slash) ? (size_t)(colon - image) : strlen(image);
    if (!images || strchr(image, '@'))
        return tn_strdup(image);
    if (digest)
        return tn_format("%.*s@%s", (int)n, image, digest);
    tn_error_set(err, TN_ENOTFOUND, "image '%s': not in the registry", image);
    return NULL;
}

static char *fake_resolve(struct tn_provider *p, struct tn_cancel *c, const struct tn_service *s, char **note,
                          struct tn_error **err)
{
    const struct tn_fake_keys keys = {.service = s->name};
    struct tn_fake_call k;
    if (note)
        *note = NULL;
    if (tn_fake_enter(&k, tn_fake_file(p), "resolve", &keys, c, err) < 0)
        return NULL;
    char *ref = s->image ? digest_of(&k, s->image, err) : tn_strdup("");
    tn_fake_leave(&k, TN_OK, NULL);
    return ref;
}

static int fake_prepare(struct tn_provider *p, struct tn_cancel *c, const struct tn_service *s,
                        const char *image_ref, tn_progress_fn progress, void *arg, struct tn_error **err)
{
    const struct tn_fake_keys keys = {.service = s->name, .instance = image_ref};
    struct tn_fake_call k;
    int rc = tn_fake_enter(&k, tn_fake_file(p), "prepare", &keys, c, err);
    if (rc < 0)
        return rc;
    json_t *pulled = json_object_get(k.world, "pulled");
    if (!json_is_array(pulled)) {
        json_object_set_new(k.world, "pulled", json_array());
        pulled = json_object_get(k.world, "pulled");
    }
    json_array_append_new(pulled, json_string(image_ref));
    rc = tn_fake_leave(&k, TN_OK, err);
    if (progress)
        progress(arg, "layer 1 of 1", 1024, 1024);
    return rc;
}

/* ---- the rest ---- */

static bool fake_port_taken(struct tn_provider *p, size_t host, int port)
{
    (void)p;
    (void)host;
    (void)port;
    return false;
}

static int fake_doctor(struct tn_provider *p, struct tn_cancel *c,
                       void (*report)(void *arg, bool ok, const char *text), void *arg, struct tn_error **err)
{
    struct tn_fake_call k;
    int rc = tn_fake_enter(&k, tn_fake_file(p), "doctor", NULL, c, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < p->n_hosts; i++) {
        bool up = !tn_fake_host_down(&k, p, i);
        tn_autofree char *text =
            tn_format("host '%s': %s", p->host_names[i], up ? "answers" : "connection refused");
        report(arg, up, text);
    }
    return tn_fake_leave(&k, TN_OK, err);
}

static void fake_free(struct tn_provider *p)
{
    for (size_t i = 0; i < p->n_hosts; i++) {
        free(p->host_names[i]);
        free(p->host_ids[i]);
    }
    free(p->host_names);
    free(p->host_ids);
    free(p);
}

static const struct tn_provider_ops fake_ops = {
    .name = "fake",
    .observe = fake_observe,
    .resolve = fake_resolve,
    .prepare = fake_prepare,
    .start = tn_fake_start,
    .stop = tn_fake_stop,
    .set_restart = tn_fake_set_restart,
    .logs = tn_fake_logs,
    .exec = tn_fake_exec,
    .task = tn_fake_task,
    .port_taken = fake_port_taken,
    .doc_create = tn_fake_doc_create,
    .doc_list = tn_fake_doc_list,
    .doc_remove = tn_fake_doc_remove,
    .doctor = fake_doctor,
    .free = fake_free,
};

static void add_host(struct tn_provider *p, const char *file, const char *name)
{
    p->host_names[p->n_hosts] = tn_strdup(name);
    p->host_ids[p->n_hosts++] = tn_format("fake:%s:%s", file, name);
}

struct tn_provider *tn_fake_open(const struct tn_plan *plan, const struct tn_cluster *cluster,
                                 struct tn_http *http, struct tn_error **err)
{
    (void)http;
    struct tn_fake_call k;
    if (tn_fake_enter(&k, cluster->fake.file, "open", NULL, NULL, err) < 0)
        return NULL;
    struct tn_provider *p = tn_alloc(sizeof(*p));
    p->ops = &fake_ops;
    p->cluster = cluster;
    p->plan = plan;
    json_t *hosts = json_object_get(k.world, "hosts"), *one;
    size_t n = json_array_size(hosts), i;
    p->host_names = tn_alloc((n + 1) * sizeof(char *));
    p->host_ids = tn_alloc((n + 1) * sizeof(char *));
    json_array_foreach(hosts, i, one)
    {
        if (json_is_string(one))
            add_host(p, cluster->fake.file, json_string_value(one));
    }
    if (p->n_hosts == 0)
        add_host(p, cluster->fake.file, "local");
    tn_fake_leave(&k, TN_OK, NULL);
    return p;
}
