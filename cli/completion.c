/* Completion scripts, made of the tables; they never ask the network. */
#include <string.h>

#include "cli/cli.h"

static void words(const char *before, const char *after)
{
    for (const struct cli_verb *v = cli_verbs; v->name; v++)
        if (v->run)
            printf("%s%s%s", before, v->name, after);
}

static void flags_of(const struct cli_verb *v, const char *before)
{
    for (const struct cli_flag *f = cli_flags; f->name; f++)
        if (f->groups & (v->flags | FLAGS_COMMON))
            printf("%s--%s", before, f->name);
}

static void bash(void)
{
    fputs("# bash completion for turnout: source <(turnout completion bash)\n"
          "_turnout() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= word flags=\n"
          "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
          "        case $word in -*) ;; *) verb=$word; break ;; esac\n"
          "    done\n"
          "    case $prev in -f|--file|--var-file|--out|-C|--directory|--state) COMPREPLY=($(compgen -f -- "
          "\"$cur\")); return ;; esac\n"
          "    case $verb in\n",
          stdout);
    for (const struct cli_verb *v = cli_verbs; v->name; v++) {
        if (!v->run)
            continue;
        printf("    %s) flags='", v->name);
        flags_of(v, " ");
        fputs("' ;;\n", stdout);
    }
    fputs("    '') flags='", stdout);
    words("", " ");
    fputs("' ;;\n    esac\n"
          "    COMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n"
          "}\n"
          "complete -o default -F _turnout turnout\n",
          stdout);
}

static void zsh(void)
{
    fputs("#compdef turnout\n"
          "# zsh completion for turnout: turnout completion zsh > \"${fpath[1]}/_turnout\"\n"
          "_turnout() {\n  local -a verbs\n  verbs=(\n",
          stdout);
    for (const struct cli_verb *v = cli_verbs; v->name; v++)
        if (v->run)
            printf("    '%s:%s'\n", v->name, v->summary);
    fputs("  )\n  if (( CURRENT == 2 )); then _describe 'verb' verbs; return; fi\n  case $words[2] in\n",
          stdout);
    for (const struct cli_verb *v = cli_verbs; v->name; v++) {
        if (!v->run)
            continue;
        printf("    %s) compadd --", v->name);
        flags_of(v, " ");
        fputs("; _files ;;\n", stdout);
    }
    fputs("  esac\n}\n_turnout \"$@\"\n", stdout);
}

static void fish(void)
{
    fputs(
        "# fish completion for turnout: turnout completion fish > ~/.config/fish/completions/turnout.fish\n",
        stdout);
    for (const struct cli_verb *v = cli_verbs; v->name; v++) {
        if (!v->run)
            continue;
        printf("complete -c turnout -n __fish_use_subcommand -a %s -d '%s'\n", v->name, v->summary);
        for (const struct cli_flag *f = cli_flags; f->name; f++)
            if (f->groups & v->flags)
                printf("complete -c turnout -n '__fish_seen_subcommand_from %s' -l %s -d '%s'\n", v->name,
                       f->name, f->doc);
    }
}

int cli_completion(const char *shell)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    for (size_t i = 0; i < sizeof(shells) / sizeof(*shells); i++) {
        if (strcmp(shells[i].name, shell) == 0) {
            shells[i].print();
            return 0;
        }
    }
    return cli_usage("completion takes bash, zsh or fish, not '%s'", shell);
}
