#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "turnout/shim.h"

static int run_verb(const struct cli_verb *v, const struct cli_options *o)
{
    if (o->help) {
        cli_help_verb(stdout, v);
        return 0;
    }
    if (!v->run)
        return cli_usage("'%s' is reserved: this build cannot do it yet", v->name);
    if (o->directory && chdir(o->directory) != 0)
        return cli_usage("-C '%s': no such folder", o->directory);
    return v->run(o);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "__shim") == 0)
        return tn_shim_main(argv[2]);
    setlocale(LC_ALL, "");
    signal(SIGPIPE, SIG_IGN);
    struct cli_options o;
    const struct cli_verb *verb = NULL;
    int rc = cli_parse(argc, argv, &o, &verb);
    if (rc == 0 && verb) {
        rc = run_verb(verb, &o);
    } else if (rc == 0) {
        cli_help(o.help ? stdout : stderr);
        rc = o.help ? 0 : TN_EXIT_USAGE;
    }
    cli_options_clear(&o);
    /* A reader that went away (head) is no error of ours; a full disk behind > is. */
    if (fflush(stdout) != 0 && errno != EPIPE && rc == 0)
        rc = TN_EXIT_ERROR;
    return rc;
}
