/* turnout/error.h - the error object that every fallible call passes last.
 *
 * A function that can fail takes `struct tn_error **err` as its last parameter and returns a negative
 * enum tn_code (or NULL). `err == NULL` means that the caller does not care. On success *err is untouched.
 * Messages: lower case, no full stop, the thing in single quotes, the reason after a colon; advice in the hint.
 */
#ifndef TURNOUT_ERROR_H
#define TURNOUT_ERROR_H

/* What a caller decides on; never a second name for the same decision. */
enum tn_code {
    TN_OK = 0,
    TN_EFAIL = -1,         /* failed for good; the message says why */
    TN_EUSAGE = -2,        /* the caller's words are off (exit 64) */
    TN_EPLAN = -3,         /* the plan is invalid (exit 65) */
    TN_ENOTFOUND = -4,     /* the named thing does not exist */
    TN_EEXISTS = -5,       /* the name is taken: by us or by a stranger, the caller looks */
    TN_EAUTH = -6,         /* login refused or rights missing (exit 4) */
    TN_EUNREACHABLE = -7,  /* never sent: safe to try again */
    TN_EUNKNOWN = -8,      /* sent, no answer: must be probed, never repeated blindly */
    TN_ETIMEOUT = -9,      /* a named deadline passed */
    TN_ECANCELLED = -10,   /* the cancel token was raised */
    TN_ELIMIT = -11,       /* input from outside exceeds a stated maximum */
    TN_EPROTO = -12,       /* an answer could not be understood */
    TN_EUNSUPPORTED = -13, /* a reserved or unknown kind, by name */
    TN_ESTALE = -14,       /* a precondition of a change set moved (exit 9) */
    TN_EHELD = -15,        /* the lease is held by another (exit 7) */
    TN_EBUSY = -16,        /* port or name in use: take the next one */
    TN_ESTRANGER = -17,    /* it does not carry our mark: never touched */
    TN_ELOST = -18,        /* our lease is gone: stop changing things */
    TN_EIO = -19,          /* local file or store trouble */
};

struct tn_error {
    enum tn_code code;
    int os_errno;    /* 0, or the errno behind it */
    int http_status; /* 0, or the HTTP status behind it */
    char *message;   /* owned */
    char *hint;      /* owned, may be NULL */
};

/* Sets *err (replacing what was there) and returns `code`, so that failing is one return statement. */
int tn_error_set(struct tn_error **err, enum tn_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Same, with ": strerror(errno)" appended and os_errno set. */
int tn_error_errno(struct tn_error **err, enum tn_code code, int os_errno, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Adds "context: " in front of the message. Returns the error's code (TN_EFAIL when *err is NULL). */
int tn_error_prefix(struct tn_error **err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Sets the advice. Returns the error's code. */
int tn_error_hint(struct tn_error **err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Hands *from over to *to (frees what was in *to). *from becomes NULL. Returns the code. */
int tn_error_move(struct tn_error **to, struct tn_error **from);
void tn_error_free(struct tn_error *err);
void tn_error_clear(struct tn_error **err);
/* Never NULL. */
const char *tn_error_message(const struct tn_error *err);
const char *tn_code_name(enum tn_code code);

#endif
