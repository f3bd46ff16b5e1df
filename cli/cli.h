/* cli.h - the program: one table of verbs and flags feeds parser, help and completion. */
#ifndef TN_CLI_H
#define TN_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "turnout/rollout.h"

struct cli_list {
    const char **v;
    size_t n, cap;
};

enum cli_progress { PROGRESS_AUTO, PROGRESS_TTY, PROGRESS_PLAIN, PROGRESS_JSON, PROGRESS_QUIET };
enum cli_output { OUTPUT_TEXT, OUTPUT_JSON };
enum cli_color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

/* Every flag's value; `cli_flags` says which verb knows which. */
struct cli_options {
    struct cli_list files, sets, vars, var_files, services, clusters;
    const char *environment, *state, *directory, *out, *confirm, *instance, *to, *hook, *from, *actor;
    int64_t timeout, lease_wait, interval; /* ms; -1 unset */
    int64_t tail, limit;
    int progress, output, color;
    bool warnings; /* no flag: set by the verbs that are about the plan */
    bool yes, no_input, dry_run, detailed_exitcode, watch, follow, force, no_exec, verify, quiet, online,
        help, no_color;
    struct cli_list args; /* what is no flag, without the verb */
};

struct cli_verb {
    const char *name, *alias, *group, *arguments, *summary;
    unsigned flags;                          /* groups of flags */
    int (*run)(const struct cli_options *o); /* NULL: reserved, refused by name */
};
extern const struct cli_verb cli_verbs[]; /* ends with name NULL */

enum cli_flag_group {
    FLAGS_COMMON = 1,
    FLAGS_PLAN = 2,   /* which plan */
    FLAGS_SELECT = 4, /* which placements */
    FLAGS_RUN = 8,    /* changes something */
    FLAGS_OUTPUT = 16,
    FLAGS_DIFF = 32,
    FLAGS_WATCH = 64,
    FLAGS_LOGS = 128,
    FLAGS_HISTORY = 256,
    FLAGS_INSTANCE = 512,
    FLAGS_ROLLBACK = 1024,
    FLAGS_RESUME = 2048,
    FLAGS_DESTROY = 4096,
    FLAGS_INIT = 8192,
    FLAGS_VALIDATE = 16384,
    FLAGS_TIMEOUT = 32768,
};
enum cli_kind { FLAG_BOOL, FLAG_TEXT, FLAG_LIST, FLAG_DURATION, FLAG_INT, FLAG_CHOICE };
struct cli_flag {
    const char *name;
    size_t offset;
    const char *argument, *doc;
    const char *choices; /* FLAG_CHOICE: "auto|tty|…": the value is the index */
    enum cli_kind kind;
    unsigned groups;
    char letter;   /* 0 = none */
    bool optional; /* --flag or --flag=VALUE */
};
extern const struct cli_flag cli_flags[]; /* ends with name NULL */

/* Parses everything; *verb NULL = none given. Returns 0, or an exit code after telling stderr. */
int cli_parse(int argc, char **argv, struct cli_options *o, const struct cli_verb **verb);
void cli_options_clear(struct cli_options *o);
const struct cli_verb *cli_find_verb(const char *name);

/* help.c */
void cli_help(FILE *f);
void cli_help_verb(FILE *f, const struct cli_verb *v);
int cli_help_topic(const char *topic);
/* completion.c */
int cli_completion(const char *shell);

/* screen.c: what a terminal may see, and how */
bool cli_color_on(const struct cli_options *o, int fd);
bool cli_utf8(void);
/* Sign and colour of a state; ASCII when the locale is not UTF-8. */
enum cli_sign { SIGN_OK, SIGN_RUNNING, SIGN_WAITING, SIGN_WARNING, SIGN_FAILED, SIGN_BACK, SIGN_PAUSED };
const char *cli_sign(enum cli_sign s);
#define CLI_RED    "31"
#define CLI_GREEN  "32"
#define CLI_YELLOW "33"
#define CLI_DIM    "2"
#define CLI_BOLD   "1"
/* "\033[…m" or "" */
const char *cli_paint(bool on, const char *code);
/* Text from elsewhere, filtered; caller frees. */
char *cli_clean(const char *s);
/* Prints text from elsewhere: filtered on a terminal, byte for byte elsewhere. */
void cli_put(FILE *f, const char *text, size_t n);
/* Asks on a terminal. 1 yes, 0 no. Without a terminal: prints that `--yes` is missing and returns -1. */
int cli_confirm(const struct cli_options *o, const char *question);

/* Prints an error with its hint; returns its exit code. Frees err. */
int cli_fail(struct tn_error *err);
int cli_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int cli_print_json(json_t *j); /* takes j */

/* context.c: a plan and a session for a verb */
struct cli_context {
    const struct cli_options *o;
    struct tn_plan *plan;
    struct tn_session *session;
    struct tn_cancel *cancel;
    struct cli_sink *sink;
};
/* What the command line says of the plan. Borrowed. */
struct tn_plan_options cli_plan_options(const struct cli_options *o);
/* Loads the plan (telling its problems); 0 or an exit code. */
int cli_load_plan(const struct cli_options *o, const json_t *document, const char *dir, struct tn_plan **out);
/* Plan and session. `changing` = state is created, events are shown. */
int cli_open(struct cli_context *c, const struct cli_options *o, bool changing);
int cli_open_document(struct cli_context *c, const struct cli_options *o, const json_t *document,
                      const char *dir);
void cli_close(struct cli_context *c);
struct tn_selection cli_selection(const struct cli_options *o, bool args_are_services);
/* Every service named on the command line is one of the plan's (or a glob); 0, or 64 after telling stderr. */
int cli_check_services(const struct cli_options *o, const struct tn_plan *plan);
struct tn_deploy_options cli_deploy_options(const struct cli_options *o, bool args_are_services);
/* The signal that ended the run, 0 = none. */
int cli_signal_seen(void);

/* sink.c: progress of a run on stderr */
struct cli_sink *cli_sink_new(const struct cli_options *o, struct tn_cancel *cancel);
void cli_sink_event(void *sink, const struct tn_event *e);
void cli_sink_end(struct cli_sink *s); /* takes a live view off the screen, leaving its last state */
void cli_sink_free(struct cli_sink *s);
/* view.c: the live view */
struct cli_view;
struct cli_view *cli_view_new(const struct cli_options *o);
void cli_view_event(struct cli_view *v, const struct tn_event *e);
void cli_view_end(struct cli_view *v);
void cli_view_free(struct cli_view *v);
/* The frame as lines (for tests and for `status -w`); caller frees. */
char *cli_status_text(const json_t *status, const struct cli_options *o, size_t width);
size_t cli_width(int fd);

/* difftext.c */
void cli_print_diff(FILE *f, const struct tn_plan *plan, const struct tn_changes *c, bool color);
/* Only what there is to say of unchanged ones. */
void cli_print_notes(FILE *f, const struct tn_changes *c);
/* outcome of a run, in the order: cause, evidence, what was done, the state now, what to type next */
int cli_print_outcome(const struct cli_options *o, struct tn_outcome *out, int rc, struct tn_error *err);

int cmd_init(const struct cli_options *o);
int cmd_validate(const struct cli_options *o);
int cmd_doctor(const struct cli_options *o);
int cmd_explain(const struct cli_options *o);
int cmd_schema(const struct cli_options *o);
int cmd_config(const struct cli_options *o);
int cmd_diff(const struct cli_options *o);
int cmd_deploy(const struct cli_options *o);
int cmd_rollback(const struct cli_options *o);
int cmd_destroy(const struct cli_options *o);
int cmd_status(const struct cli_options *o);
int cmd_wait(const struct cli_options *o);
int cmd_resume(const struct cli_options *o);
int cmd_abort(const struct cli_options *o);
int cmd_restart(const struct cli_options *o);
int cmd_logs(const struct cli_options *o);
int cmd_exec(const struct cli_options *o);
int cmd_history(const struct cli_options *o);
int cmd_show(const struct cli_options *o);
int cmd_events(const struct cli_options *o);
int cmd_lease(const struct cli_options *o);
int cmd_prune(const struct cli_options *o);
int cmd_completion(const struct cli_options *o);
int cmd_version(const struct cli_options *o);
int cmd_help(const struct cli_options *o);

#endif
