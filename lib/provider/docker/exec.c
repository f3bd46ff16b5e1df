#include <string.h>

#include "turnout/clock.h"
#include "turnout/text.h"
#include "lib/provider/docker/docker.h"
#include "lib/provider/docker/request.h"
#include "lib/provider/docker/stream.h"

enum {
    OUTPUT_MAX = 1024 * 1024, /* each of stdout and stderr, unless the caller says otherwise */
    LOGS_MAX = 16 * 1024 * 1024,
    EXIT_POLL_MS = 20,
    EXIT_WAIT_MS = 5000,
    NOT_EXECUTABLE = 126,
    NOT_FOUND = 127,
};

/* ---- output of both streams -------------------------------------------------------------------------- */

static bool on_piece(void *arg, enum tn_stream_kind kind, const char *data, size_t n)
{
    struct tn_run_result *out = arg;
    struct tn_buf *b = kind == TN_STREAM_OUT ? &out->out : &out->err_text;
    size_t room = b->max - b->len;
    tn_buf_add(b, data, n < room ? n : room); /* what fits, then only the mark */
    b->overflow = b->overflow || n > room;
    return true;
}

static bool on_stream(void *arg, const char *data, size_t n)
{
    return tn_frames_feed(arg, data, n);
}

static void prepare_output(struct tn_run_result *out)
{
    if (out->out.max == 0)
        out->out.max = OUTPUT_MAX;
    if (out->err_text.max == 0)
        out->err_text.max = OUTPUT_MAX;
}

/* A streamed call whose frames land in *out; a status ≥ 400 is an error with `what`. */
static int collect(struct tn_docker *d, size_t host, struct tn_cancel *c, const struct tn_call *asked,
                   bool raw, const char *what, struct tn_run_result *out, struct tn_error **err)
{
    struct tn_frames frames = {.raw = raw, .on_data = on_piece, .arg = out};
    struct tn_call call = *asked;
    call.on_data = on_stream;
    call.on_data_arg = &frames;
    prepare_output(out);
    int code = tn_engine_json(d, host, c, &call, what, NULL, err);
    if (code == TN_OK && frames.broken)
        code = tn_error_set(err, TN_EPROTO, "%s: the engine's output stream cannot be read", what);
    return code;
}

/* ---- exec --------------------------------------------------------------------------------------------- */

static int create_exec(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id,
                       const char *what, const char *const *argv, char **exec_id, struct tn_error **err)
{
    tn_autofree char *path = tn_format("/containers/%s/exec", id);
    json_t *body = tn_docker_exec_body(argv);
    struct tn_call call = {.method = "POST", .path = path, .json = body};
    json_t *answer = NULL;
    int code = tn_engine_json(d, host, c, &call, what, &answer, err);
    json_decref(body);
    if (code != TN_OK)
        return code;
    *exec_id = tn_strdup(tn_docker_text(answer, "Id"));
    json_decref(answer);
    return *exec_id != NULL ? TN_OK : tn_error_set(err, TN_EPROTO, "%s: the engine gave no id", what);
}

/* The stream may end a moment before the engine knows the exit code. */
static int exit_code_of(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *exec_id,
                        const char *what, int *exit_code, struct tn_error **err)
{
    tn_autofree char *path = tn_format("/exec/%s/json", exec_id);
    int64_t deadline = tn_mono_ms() + EXIT_WAIT_MS;
    for (;;) {
        struct tn_call call = {.method = "GET", .path = path};
        json_t *answer = NULL;
        int code = tn_engine_json(d, host, c, &call, what, &answer, err);
        if (code != TN_OK)
            return code;
        const json_t *value = json_object_get(answer, "ExitCode");
        bool over = !json_is_true(json_object_get(answer, "Running")) && json_is_integer(value);
        if (over)
            *exit_code = (int)(json_integer_value(value) & 0xffff);
        json_decref(answer);
        if (over)
            return TN_OK;
        if (tn_mono_ms() > deadline)
            return tn_error_set(err, TN_ETIMEOUT, "%s: ended, but its exit code does not come", what);
        code = tn_engine_pause(c, what, EXIT_POLL_MS, err);
        if (code != TN_OK)
            return code;
    }
}

static bool program_is_missing(const struct tn_run_result *r)
{
    const char *text = r->out.data != NULL ? r->out.data : "";
    return (r->exit_code == NOT_FOUND || r->exit_code == NOT_EXECUTABLE) &&
           strstr(text, "OCI runtime exec failed") != NULL &&
           (strstr(text, "executable file not found") != NULL || strstr(text, "no such file") != NULL);
}

int tn_docker_exec_in(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id, const char *what,
                      const char *const *argv, int64_t timeout_ms, struct tn_run_result *out,
                      struct tn_error **err)
{
    tn_autofree char *exec_id = NULL;
    int code = create_exec(d, host, c, id, what, argv, &exec_id, err);
    if (code != TN_OK)
        return code;
    tn_autofree char *path = tn_format("/exec/%s/start", exec_id);
    json_t *body = json_pack("{s:b,s:b}", "Detach", 0, "Tty", 0);
    struct tn_call call = {
        .method = "POST", .path = path, .json = body, .timeout_ms = timeout_ms > 0 ? timeout_ms : -1};
    struct tn_error *why = NULL;
    code = collect(d, host, c, &call, false, what, out, &why);
    json_decref(body);
    if (code == TN_ETIMEOUT && timeout_ms > 0) {
        char text[32];
        tn_error_set(&why, TN_ETIMEOUT, "%s: command '%s' did not end within %s", what, argv[0],
                     tn_format_duration(timeout_ms, text, sizeof text));
    }
    if (code != TN_OK)
        return tn_error_move(err, &why);
    code = exit_code_of(d, host, c, exec_id, what, &out->exit_code, err);
    if (code != TN_OK)
        return code;
    out->signal = tn_docker_signal_of(out->exit_code);
    if (program_is_missing(out))
        return tn_error_set(err, TN_ENOTFOUND, "%s: no program '%s' in it", what, argv[0]);
    return TN_OK;
}

int tn_docker_exec(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i,
                   const char *const *argv, int64_t timeout_ms, struct tn_run_result *out,
                   struct tn_error **err)
{
    tn_autofree char *what = tn_format("container '%s'", i->name);
    return tn_docker_exec_in(tn_docker_of(p), i->host, c, i->id, what, argv, timeout_ms, out, err);
}

/* ---- logs --------------------------------------------------------------------------------------------- */

struct log_reader {
    bool (*on_data)(void *arg, const char *data, size_t n);
    void *arg;
    const struct tn_cancel *c;
    bool follow;
    size_t seen;
};

static bool on_log(void *arg, enum tn_stream_kind kind, const char *data, size_t n)
{
    struct log_reader *r = arg;
    (void)kind;
    r->seen += n;
    if (r->follow ? tn_cancel_level(r->c) > 0 : r->seen > LOGS_MAX)
        return false; /* following is nothing to bring to a safe point */
    return r->on_data(r->arg, data, n);
}

int tn_docker_logs(struct tn_provider *p, struct tn_cancel *c, const struct tn_instance *i, int tail,
                   bool follow, bool (*on_data)(void *arg, const char *data, size_t n), void *arg,
                   struct tn_error **err)
{
    struct tn_docker *d = tn_docker_of(p);
    json_t *owner = NULL;
    struct tn_inspect in;
    int code = tn_engine_inspect(d, i->host, c, i->id, &owner, &in, err);
    if (code != TN_OK)
        return code;
    struct log_reader reader = {.on_data = on_data, .arg = arg, .c = c, .follow = follow};
    struct tn_frames frames = {.raw = in.tty, .on_data = on_log, .arg = &reader};
    json_decref(owner);
    tn_autofree char *path = tn_docker_path_logs(i->id, tail, follow);
    tn_autofree char *what = tn_format("log of container '%s'", i->name);
    struct tn_call call = {.method = "GET",
                           .path = path,
                           .timeout_ms = follow ? -1 : 0,
                           .on_data = on_stream,
                           .on_data_arg = &frames};
    code = tn_engine_json(d, i->host, c, &call, what, NULL, err);
    if (code == TN_OK && frames.broken)
        code = tn_error_set(err, TN_EPROTO, "%s: cannot be read", what);
    return code;
}

int tn_docker_collect_logs(struct tn_docker *d, size_t host, struct tn_cancel *c, const char *id, bool tty,
                           struct tn_run_result *out, struct tn_error **err)
{
    tn_autofree char *path = tn_docker_path_logs(id, -1, false);
    tn_autofree char *what = tn_format("log of container '%s'", id);
    struct tn_call call = {.method = "GET", .path = path};
    return collect(d, host, c, &call, tty, what, out, err);
}
