#include "turnout/error.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"

static struct tn_error *error_fresh(struct tn_error **err, enum tn_code code)
{
    tn_error_clear(err);
    struct tn_error *e = tn_alloc(sizeof(*e));
    e->code = code;
    *err = e;
    return e;
}

int tn_error_set(struct tn_error **err, enum tn_code code, const char *fmt, ...)
{
    if (!err)
        return code;
    va_list ap;
    va_start(ap, fmt);
    char *message = tn_vformat(fmt, ap); /* before the old error goes: it may be one of the arguments */
    va_end(ap);
    error_fresh(err, code)->message = message;
    return code;
}

int tn_error_errno(struct tn_error **err, enum tn_code code, int os_errno, const char *fmt, ...)
{
    if (!err)
        return code;
    va_list ap;
    va_start(ap, fmt);
    tn_autofree char *what = tn_vformat(fmt, ap);
    va_end(ap);
    char reason[128];
    const char *text = strerror_r(os_errno, reason, sizeof(reason));
    struct tn_error *e = error_fresh(err, code);
    e->message = tn_format("%s: %s", what, text);
    e->os_errno = os_errno;
    return code;
}

int tn_error_prefix(struct tn_error **err, const char *fmt, ...)
{
    if (!err || !*err)
        return TN_EFAIL;
    va_list ap;
    va_start(ap, fmt);
    tn_autofree char *context = tn_vformat(fmt, ap);
    va_end(ap);
    char *joined = tn_format("%s: %s", context, (*err)->message);
    free((*err)->message);
    (*err)->message = joined;
    return (*err)->code;
}

int tn_error_hint(struct tn_error **err, const char *fmt, ...)
{
    if (!err || !*err)
        return TN_EFAIL;
    va_list ap;
    va_start(ap, fmt);
    char *hint = tn_vformat(fmt, ap);
    va_end(ap);
    free((*err)->hint);
    (*err)->hint = hint;
    return (*err)->code;
}

int tn_error_move(struct tn_error **to, struct tn_error **from)
{
    int code = *from ? (*from)->code : TN_EFAIL;
    if (!to) {
        tn_error_clear(from);
        return code;
    }
    tn_error_clear(to);
    *to = TN_TAKE(*from);
    return code;
}

void tn_error_free(struct tn_error *err)
{
    if (!err)
        return;
    free(err->message);
    free(err->hint);
    free(err);
}

void tn_error_clear(struct tn_error **err)
{
    if (!err)
        return;
    tn_error_free(*err);
    *err = NULL;
}

const char *tn_error_message(const struct tn_error *err)
{
    return err && err->message ? err->message : "unknown error";
}

const char *tn_code_name(enum tn_code code)
{
    static const char *const names[] = {
        "ok",          "failed",  "usage",   "plan",      "not-found", "exists",   "auth",
        "unreachable", "unknown", "timeout", "cancelled", "limit",     "protocol", "unsupported",
        "stale",       "held",    "busy",    "stranger",  "lost",      "io",
    };
    int i = -(int)code;
    return i >= 0 && (size_t)i < TN_COUNT(names) ? names[i] : "?";
}
