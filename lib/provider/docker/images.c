/* Tags become digests before anything is decided, and images are on every engine before anything changes.
 *
 * pull: missing asks the engine first (one call, and what is there is used), always asks the registry, never asks only
 * the engine. An image that no registry has (built or imported here) is named by its id.
 * A digest is content: where the engine has it, it is not pulled again, whatever `pull` says.
 */
#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "lib/base/hash.h"
#include "lib/base/pool.h"
#include "turnout/text.h"
#include "lib/provider/docker/docker.h"
#include "lib/provider/docker/request.h"

enum {
    REGISTRY_TIMEOUT_MS = 30000,
    PULL_STALL_MS = 120000,
    PULL_TRIES = 3,
    RETRY_BASE_MS = 500,
    RETRY_CAP_MS = 10000,
    PARALLEL_PULLS = 8,
};

/* ---- asking the engine and the registry ---------------------------------------------------------------- */

static int inspect_image(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *name,
                         json_t **out, struct tn_error **err)
{
    tn_autofree char *path = tn_format("/images/%s/json", name);
    tn_autofree char *what = tn_format("image '%s'", name);
    struct tn_call call = {.method = "GET", .path = path};
    return tn_engine_json(d, host, c, &call, what, out, err);
}

/* Reference of a local image: its digest in this repository, else its id, with a note. */
static char *local_reference(const json_t *image, const char *repository, const char *name, char **note)
{
    const char *pinned = tn_docker_repo_digest(image, repository);
    const char *id = tn_docker_text(image, "Id");
    if (pinned != NULL)
        return tn_strdup(pinned);
    if (id == NULL || !tn_image_is_id(id))
        return NULL;
    if (note != NULL)
        *note = tn_format("image '%s': no registry has it: local image id is used", name);
    return tn_strdup(id);
}

struct wanted {
    struct tn_image_ref ref;
    char *repository, *name;
    char *auth, *user;
};

static void wanted_clear(struct wanted *w)
{
    tn_image_ref_clear(&w->ref);
    free(w->repository);
    free(w->name);
    free(w->user);
    if (w->auth != NULL)
        tn_secret_free(w->auth, strlen(w->auth));
}

static bool is_rate_limit(const char *words, int status)
{
    return status == 429 || strstr(words, "toomanyrequests") != NULL ||
           strstr(words, "429 Too Many Requests") != NULL;
}

static bool wants_login(const char *words, int status)
{
    return status == 401 || status == 403 || strstr(words, "unauthorized") != NULL ||
           strstr(words, "no basic auth credentials") != NULL ||
           strstr(words, "authentication required") != NULL;
}

static bool is_absent(const char *words, int status)
{
    return status == 404 || strstr(words, "not found") != NULL || strstr(words, "manifest unknown") != NULL;
}

static int login_refused(const struct wanted *w, const char *words, struct tn_error **err)
{
    const char *r = w->ref.domain;
    if (w->user != NULL) {
        tn_error_set(err, TN_EAUTH, "image '%s': registry '%s' refused the login of '%s': %s", w->name, r,
                     w->user, words);
        tn_error_hint(err, "check docker.registry in the plan, or run docker login %s", r);
    } else {
        tn_error_set(err, TN_EAUTH, "image '%s': registry '%s' wants a login: %s", w->name, r, words);
        tn_error_hint(err, "give docker.registry in the plan, or run docker login %s", r);
    }
    return TN_EAUTH;
}

/* The registry's no, as the engine reports it. Hub says "denied" for what does not exist as well, so without a login
 * it is read as not found. */
static int registry_said(const struct wanted *w, const char *words, int status, bool pulling,
                         struct tn_error **err)
{
    if (is_rate_limit(words, status)) {
        tn_error_set(err, TN_EFAIL, "image '%s': registry '%s' has had too many requests: %s", w->name,
                     w->ref.domain, words);
        tn_error_hint(err, "wait, or log in: registries allow more to known users");
        return TN_EFAIL;
    }
    bool login = wants_login(words, status);
    if (login && (w->user != NULL || strcmp(w->ref.domain, "docker.io") != 0))
        return login_refused(w, words, err);
    if (pulling && !login && !is_absent(words, status))
        return tn_error_set(err, TN_EFAIL, "pull of image '%s': %s", w->name, words);
    tn_error_set(err, TN_ENOTFOUND, "image '%s': not on the engine and the registry says: %s", w->name,
                 words);
    if (login)
        tn_error_hint(err, "docker.io answers the same when a login is needed");
    return TN_ENOTFOUND;
}

static char *ask_registry(struct tn_docker *d, size_t host, struct tn_cancel *c, const struct wanted *w,
                          struct tn_error **err)
{
    tn_autofree char *path = tn_format("/distribution/%s/json", w->name);
    struct tn_call call = {
        .method = "GET", .path = path, .registry_auth = w->auth, .timeout_ms = REGISTRY_TIMEOUT_MS};
    struct tn_http_answer a;
    if (tn_engine_call(d, host, c, &call, &a, err) != TN_OK)
        return NULL;
    char *pinned = NULL;
    if (a.status >= 400) {
        tn_autofree char *words = tn_docker_message(a.body.data, a.body.len);
        registry_said(w, words, a.status, false, err);
    } else {
        json_t *o = tn_docker_json(a.body.data, a.body.len, err);
        const char *digest = tn_docker_text(json_object_get(o, "Descriptor"), "digest");
        if (digest != NULL && tn_image_is_id(digest))
            pinned = tn_format("%s@%s", w->repository, digest);
        else if (o != NULL)
            tn_error_set(err, TN_EPROTO, "image '%s': the registry's answer holds no digest", w->name);
        json_decref(o);
    }
    tn_http_answer_clear(&a);
    return pinned;
}

/* ---- resolve --------------------------------------------------------------------------------------------- */

/* On the engine, or NULL; *code tells why not when the engine did not answer. */
static char *ask_engine(struct tn_docker *d, size_t host, struct tn_cancel *c, const struct wanted *w,
                        char **note, int *code, struct tn_error **err)
{
    json_t *image = NULL;
    *code = inspect_image(d, host, c, w->name, &image, err);
    char *found = *code == TN_OK ? local_reference(image, w->repository, w->name, note) : NULL;
    if (*code == TN_OK && found == NULL)
        *code = tn_error_set(err, TN_EPROTO, "image '%s': the engine gave no id", w->name);
    json_decref(image);
    return found;
}

static char *resolve_at_registry(struct tn_docker *d, size_t host, struct tn_cancel *c, struct wanted *w,
                                 struct tn_error **err)
{
    if (tn_docker_registry_auth(d->base.plan, d->base.cluster, c, w->ref.domain, &w->auth, &w->user, err) !=
        TN_OK) {
        tn_error_prefix(err, "image '%s'", w->name);
        return NULL;
    }
    return ask_registry(d, host, c, w, err);
}

/* pull: always. A registry that does not answer leaves what the engine has; one that refuses the login does not. */
static char *resolve_always(struct tn_docker *d, size_t host, struct tn_cancel *c, struct wanted *w,
                            char **note, struct tn_error **err)
{
    struct tn_error *registry = NULL, *engine = NULL;
    int code;
    char *found = resolve_at_registry(d, host, c, w, &registry);
    if (found == NULL && registry->code != TN_EAUTH && registry->code != TN_ECANCELLED) {
        found = ask_engine(d, host, c, w, note, &code, &engine);
        if (found != NULL && note != NULL && *note == NULL)
            *note = tn_format("image '%s': registry '%s' gave no answer: the engine's own copy is used",
                              w->name, w->ref.domain);
    }
    if (found == NULL)
        tn_error_move(err, &registry);
    tn_error_free(registry);
    tn_error_free(engine);
    return found;
}

/* pull: missing, never. */
static char *resolve_local_first(struct tn_docker *d, size_t host, struct tn_cancel *c, struct wanted *w,
                                 bool never, char **note, struct tn_error **err)
{
    struct tn_error *why = NULL;
    int code;
    char *found = ask_engine(d, host, c, w, note, &code, &why);
    if (found != NULL)
        return found;
    if (code == TN_ENOTFOUND && !never) {
        tn_error_free(why);
        return resolve_at_registry(d, host, c, w, err);
    }
    if (code == TN_ENOTFOUND)
        tn_error_set(&why, TN_ENOTFOUND, "image '%s': not on the engine, and pull is never", w->name);
    tn_error_move(err, &why);
    return NULL;
}

/* The first engine that can be spoken to; the others get the same digest. */
static int first_engine(struct tn_docker *d, struct tn_cancel *c, size_t *host, struct tn_error **err)
{
    int api = TN_EUNREACHABLE;
    for (size_t i = 0; i < d->base.n_hosts; i++) {
        struct tn_error *why = NULL;
        api = tn_engine_api(d, i, c, &why);
        *host = i;
        if (api > 0)
            return TN_OK;
        tn_error_move(err, &why);
    }
    return api;
}

char *tn_docker_resolve(struct tn_provider *p, struct tn_cancel *c, const struct tn_service *s, char **note,
                        struct tn_error **err)
{
    struct tn_docker *d = tn_docker_of(p);
    struct wanted w = {0};
    if (note != NULL)
        *note = NULL;
    if (tn_image_is_id(s->image))
        return tn_strdup(s->image);
    if (tn_image_ref_parse(s->image, &w.ref, err) != TN_OK)
        return NULL;
    w.repository = tn_image_ref_repository(&w.ref);
    w.name = tn_image_ref_name(&w.ref);
    char *found = NULL;
    size_t host;
    if (w.ref.digest != NULL)
        found = tn_strdup(w.name);
    else if (first_engine(d, c, &host, err) == TN_OK)
        found = tn_streq(s->pull, "always")
                    ? resolve_always(d, host, c, &w, note, err)
                    : resolve_local_first(d, host, c, &w, tn_streq(s->pull, "never"), note, err);
    wanted_clear(&w);
    return found;
}

/* ---- prepare --------------------------------------------------------------------------------------------- */

struct preparation {
    struct tn_docker *d;
    struct tn_cancel *c;
    size_t host;
    const struct wanted *w; /* NULL for an image id */
    const char *ref, *pull;
    struct tn_progress *progress;
    int code;
    struct tn_error *err;
};

/* Several engines pull at once, the caller's function is called by one thread at a time. */
struct tn_progress {
    pthread_mutex_t lock;
    tn_progress_fn fn;
    void *arg;
};

static void on_progress(void *arg, const char *text, int64_t current, int64_t total)
{
    struct tn_progress *p = arg;
    pthread_mutex_lock(&p->lock);
    if (p->fn != NULL)
        p->fn(p->arg, text, current, total);
    pthread_mutex_unlock(&p->lock);
}

static bool on_pull(void *arg, const char *data, size_t n)
{
    return tn_pull_feed(arg, data, n);
}

/* One pull. *again: it is worth another try (nothing was sent, or the engine itself failed). */
static int pull_once(struct preparation *t, bool *again, struct tn_error **err)
{
    tn_autofree char *path = tn_docker_path_pull(t->ref);
    struct tn_pull stream = {
        .progress = on_progress, .arg = t->progress, .line = TN_BUF_INIT(TN_PULL_LINE_MAX)};
    struct tn_call call = {.method = "POST",
                           .path = path,
                           .registry_auth = t->w->auth,
                           .timeout_ms = -1,
                           .stall_ms = PULL_STALL_MS,
                           .on_data = on_pull,
                           .on_data_arg = &stream};
    struct tn_http_answer a;
    int code = tn_engine_call(t->d, t->host, t->c, &call, &a, err);
    *again = code == TN_EUNREACHABLE;
    if (code != TN_OK) {
        tn_error_prefix(err, "pull of image '%s'", t->ref);
    } else if (a.status >= 400 || stream.error != NULL) {
        tn_autofree char *words =
            stream.error != NULL ? tn_strdup(stream.error) : tn_docker_message(a.body.data, a.body.len);
        code = registry_said(t->w, words, a.status, true, err);
        *again = a.status >= 500 && code != TN_EAUTH && !is_rate_limit(words, a.status);
    } else if (!tn_pull_is_clean(&stream)) {
        code = tn_error_set(err, TN_EPROTO, "pull of image '%s': the engine's progress ended in the middle",
                            t->ref);
    }
    tn_http_answer_clear(&a);
    tn_pull_clear(&stream);
    return code;
}

/* Full jitter: anything up to the doubled base, so that many engines do not come back at once. */
static int64_t backoff(int attempt)
{
    int64_t top = RETRY_BASE_MS << attempt;
    char hex[9];
    tn_random_hex(hex, 8);
    return (int64_t)(strtoul(hex, NULL, 16) % (unsigned long)(top < RETRY_CAP_MS ? top : RETRY_CAP_MS)) + 1;
}

static int pull_image(struct preparation *t, struct tn_error **err)
{
    for (int attempt = 0;; attempt++) {
        bool again = false;
        struct tn_error *why = NULL;
        int code = pull_once(t, &again, &why);
        if (code == TN_OK)
            return TN_OK;
        if (!again || attempt + 1 >= PULL_TRIES)
            return tn_error_move(err, &why);
        tn_error_free(why);
        code = tn_engine_pause(t->c, "the next try of a pull", backoff(attempt), err);
        if (code != TN_OK)
            return code;
    }
}

/* Present: TN_OK. The engine's answer to the digest is the only proof that a pull succeeded. */
static int check_present(struct preparation *t, struct tn_error **err)
{
    json_t *image = NULL;
    int code = inspect_image(t->d, t->host, t->c, t->ref, &image, err);
    json_decref(image);
    return code;
}

static int prepare_host(struct preparation *t)
{
    const char *host = t->d->engines[t->host].url;
    struct tn_error *absent = NULL;
    int code = check_present(t, &absent);
    if (code == TN_OK)
        return TN_OK;
    if (code != TN_ENOTFOUND)
        return tn_error_move(&t->err, &absent);
    tn_error_free(absent);
    if (t->w == NULL) {
        tn_error_set(&t->err, TN_ENOTFOUND, "image '%s': not on engine '%s', and no registry has it", t->ref,
                     host);
        return tn_error_hint(&t->err, "load it there, or push it to a registry");
    }
    if (tn_streq(t->pull, "never"))
        return tn_error_set(&t->err, TN_ENOTFOUND, "image '%s': not on engine '%s', and pull is never",
                            t->ref, host);
    code = pull_image(t, &t->err);
    if (code == TN_OK && (code = check_present(t, &t->err)) != TN_OK)
        tn_error_prefix(&t->err, "pulled, but engine '%s' does not have it", host);
    return code;
}

static void prepare_job(void *arg)
{
    struct preparation *t = arg;
    t->code = prepare_host(t);
}

static int prepare_all(struct tn_docker *d, struct tn_cancel *c, const struct wanted *w, const char *ref,
                       const char *pull, struct tn_progress *progress, struct tn_error **err)
{
    size_t n = d->base.n_hosts;
    struct preparation *all = tn_alloc(n * sizeof *all);
    void **args = tn_alloc(n * sizeof *args);
    for (size_t i = 0; i < n; i++) {
        all[i] = (struct preparation){
            .d = d, .c = c, .host = i, .w = w, .ref = ref, .pull = pull, .progress = progress};
        args[i] = &all[i];
    }
    if (n == 1) {
        prepare_job(&all[0]);
    } else {
        struct tn_pool *pool = tn_pool_new(n < PARALLEL_PULLS ? n : PARALLEL_PULLS);
        tn_pool_map(pool, prepare_job, args, n);
        tn_pool_free(pool);
    }
    int code = TN_OK;
    for (size_t i = 0; i < n; i++) {
        if (all[i].code != TN_OK && code == TN_OK)
            code = tn_error_move(err, &all[i].err);
        tn_error_free(all[i].err);
    }
    free(all);
    free(args);
    return code;
}

int tn_docker_prepare(struct tn_provider *p, struct tn_cancel *c, const struct tn_service *s,
                      const char *image_ref, tn_progress_fn progress, void *arg, struct tn_error **err)
{
    struct tn_docker *d = tn_docker_of(p);
    struct tn_progress shared = {.lock = PTHREAD_MUTEX_INITIALIZER, .fn = progress, .arg = arg};
    struct wanted w = {0};
    bool by_id = tn_image_is_id(image_ref);
    int code = by_id ? TN_OK : tn_image_ref_parse(image_ref, &w.ref, err);
    if (code == TN_OK && !by_id) {
        w.repository = tn_image_ref_repository(&w.ref);
        w.name = tn_image_ref_name(&w.ref);
        code = tn_docker_registry_auth(p->plan, p->cluster, c, w.ref.domain, &w.auth, &w.user, err);
    }
    if (code == TN_OK)
        code = prepare_all(d, c, by_id ? NULL : &w, image_ref, s->pull, &shared, err);
    wanted_clear(&w);
    pthread_mutex_destroy(&shared.lock);
    return code;
}
