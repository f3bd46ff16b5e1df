/* Verbs around the plan file; none of them runs anything that the plan names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "turnout/fs.h"
#include "turnout/mem.h"
#include "turnout/version.h"

int cmd_validate(const struct cli_options *given)
{
    struct cli_options with = *given, *o = &with;
    struct tn_plan *plan = NULL;
    with.warnings = true;
    int rc = cli_load_plan(o, NULL, NULL, &plan);
    if (rc == 0 && o->output == OUTPUT_JSON)
        cli_print_json(json_pack("{s:i,s:b,s:s}", "v", 1, "valid", 1, "app", plan->name));
    else if (rc == 0)
        printf("%s is valid: %zu service%s on %zu cluster%s\n", plan->file, plan->n_services,
               plan->n_services == 1 ? "" : "s", plan->n_clusters, plan->n_clusters == 1 ? "" : "s");
    tn_plan_free(plan);
    return rc == 0 && o->online ? cmd_doctor(o) : rc;
}

int cmd_explain(const struct cli_options *o)
{
    struct tn_error *err = NULL;
    tn_autofree char *text = tn_plan_explain(o->args.n ? o->args.v[0] : NULL, &err);
    if (!text)
        return cli_fail(err);
    fputs(text, stdout);
    return 0;
}

int cmd_schema(const struct cli_options *o)
{
    (void)o;
    return cli_print_json(tn_plan_schema());
}

int cmd_config(const struct cli_options *o)
{
    struct tn_plan *plan = NULL;
    int rc = cli_load_plan(o, NULL, NULL, &plan);
    if (rc)
        return rc;
    if (o->output == OUTPUT_JSON) {
        cli_print_json(json_incref(plan->merged));
    } else {
        tn_autofree char *text = tn_plan_config(plan);
        fputs(text, stdout);
    }
    tn_plan_free(plan);
    return 0;
}

static char *ask(const char *question, const char *fallback)
{
    char line[256];
    fprintf(stderr, "%s [%s] ", question, fallback);
    fflush(stderr);
    if (!fgets(line, sizeof(line), stdin))
        return tn_strdup(fallback);
    line[strcspn(line, "\r\n")] = 0;
    return tn_strdup(line[0] ? line : fallback);
}

int cmd_init(const struct cli_options *o)
{
    const char *path = o->out ? o->out : "turnout.yaml";
    struct tn_error *err = NULL;
    char cwd[4096];
    bool terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    const char *base = getcwd(cwd, sizeof(cwd)) ? strrchr(cwd, '/') + 1 : "app";
    if (o->from && strcmp(o->from, "docker") != 0 && strcmp(o->from, "process") != 0)
        return cli_usage("init --from takes docker or process, not '%s'", o->from);
    tn_autofree char *name = terminal ? ask("name of the application", base) : tn_strdup(base);
    tn_autofree char *kind = o->from    ? tn_strdup(o->from)
                             : terminal ? ask("docker or process", "docker")
                                        : tn_strdup("docker");
    tn_autofree char *text = tn_plan_starter(name, kind);
    int rc = tn_fs_create_new(path, text, strlen(text), 0644, &err);
    if (rc == TN_EEXISTS)
        tn_error_hint(&err, "it was left as it is; write another one: turnout init --out FILE");
    if (rc < 0)
        return cli_fail(err);
    printf("%s is written. Next: turnout validate\n", path);
    return 0;
}

int cmd_version(const struct cli_options *o)
{
    if (o->output == OUTPUT_JSON)
        return cli_print_json(json_pack("{s:s,s:i}", "version", tn_version(), "schema", 1));
    printf("turnout %s\n", tn_version());
    return 0;
}

static void print_check(void *arg, bool ok, const char *text)
{
    (void)arg;
    tn_autofree char *clean = cli_clean(text);
    printf("%s %s\n", cli_sign(ok ? SIGN_OK : SIGN_FAILED), clean);
}

int cmd_doctor(const struct cli_options *o)
{
    struct cli_context c;
    struct tn_error *err = NULL;
    int rc = cli_open(&c, o, false);
    if (rc)
        return rc;
    if (tn_session_doctor(c.session, print_check, NULL, &err) < 0)
        rc = cli_fail(err);
    cli_close(&c);
    return rc;
}
