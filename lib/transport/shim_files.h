/* shim_files.h - what stands in a run folder, typed. Internal to the shim. */
#ifndef TN_TRANSPORT_SHIM_FILES_H
#define TN_TRANSPORT_SHIM_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <jansson.h>

#include "turnout/error.h"

struct tn_shim_spec {
    json_t *root;
    const char **argv; /* borrowed strings of root; the array is owned */
    char **env;        /* the program's whole environment, owned */
    const char *cwd;
    int signal;
    int64_t grace_ms, stdio_max;
    bool inherit_env;
};
/* `dir` becomes TURNOUT_SHIM_DIR. TN_EPROTO names the field that is off. */
int tn_shim_spec_read(const char *dir, struct tn_shim_spec *out, struct tn_error **err);
void tn_shim_spec_clear(struct tn_shim_spec *s);

struct tn_shim_run {
    int64_t shim_pid, pid; /* pid 0: about to start */
    int64_t started_at;
    int restarts;
    char boot_id[64];
};
int tn_shim_run_read(const char *dir, struct tn_shim_run *out, struct tn_error **err);
int tn_shim_run_write(const char *dir, const struct tn_shim_run *run, struct tn_error **err);

struct tn_shim_end {
    int exit_code, signal, run;
    int64_t ended_at;
    bool stopped;
    char error[256];
};
int tn_shim_end_read(const char *dir, struct tn_shim_end *out, struct tn_error **err);
int tn_shim_end_write(const char *dir, const struct tn_shim_end *end, struct tn_error **err);

/* Unknown words and a missing file are "no". */
const char *tn_shim_policy_read(const char *dir);
void tn_boot_id(char out[64]);

#endif
