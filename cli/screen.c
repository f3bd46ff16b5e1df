#include <langinfo.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "turnout/buf.h"
#include "turnout/mem.h"
#include "turnout/text.h"

bool cli_color_on(const struct cli_options *o, int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM"), *force = getenv("CLICOLOR_FORCE");
    if (o->color != COLOR_AUTO)
        return o->color == COLOR_ALWAYS;
    if (no && *no)
        return false;
    if ((force && *force && strcmp(force, "0") != 0) || getenv("FORCE_COLOR"))
        return true;
    return isatty(fd) && term && strcmp(term, "dumb") != 0;
}

bool cli_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

const char *cli_sign(enum cli_sign s)
{
    static const char *const utf8[] = {"✓", "●", "…", "!", "✗", "↺", "⏸"};
    static const char *const ascii[] = {"+", "*", ".", "!", "x", "<", "="};
    return cli_utf8() ? utf8[s] : ascii[s];
}

const char *cli_paint(bool on, const char *code)
{
    static const struct {
        const char *code, *sequence;
    } table[] = {{CLI_RED, "\033[31m"}, {CLI_GREEN, "\033[32m"}, {CLI_YELLOW, "\033[33m"},
                 {CLI_DIM, "\033[2m"},  {CLI_BOLD, "\033[1m"},   {"0", "\033[0m"}};
    for (size_t i = 0; on && i < TN_COUNT(table); i++)
        if (strcmp(table[i].code, code) == 0)
            return table[i].sequence;
    return "";
}

char *cli_clean(const char *s)
{
    tn_autobuf b = TN_BUF_INIT(1 << 20);
    if (s)
        tn_filter(&b, s, strlen(s), true);
    return tn_buf_take(&b);
}

void cli_put(FILE *f, const char *text, size_t n)
{
    if (!isatty(fileno(f))) {
        fwrite(text, 1, n, f);
        return;
    }
    tn_autobuf b = TN_BUF_INIT(n * 4 + 1);
    tn_filter(&b, text, n, true);
    if (b.data)
        fputs(b.data, f);
}

size_t cli_width(int fd)
{
    struct winsize w;
    const char *columns = getenv("COLUMNS");
    int64_t n = 0;
    if (ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 0)
        return w.ws_col;
    return columns && tn_parse_int(columns, &n) && n > 20 ? (size_t)n : 80;
}

int cli_confirm(const struct cli_options *o, const char *question)
{
    if (o->yes)
        return 1;
    if (o->no_input || !isatty(STDIN_FILENO)) {
        fprintf(stderr, "turnout: %s: there is no terminal to ask on; say --yes\n", question);
        return -1;
    }
    fprintf(stderr, "%s [y/N] ", question);
    fflush(stderr);
    char line[64];
    return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

int cli_fail(struct tn_error *err)
{
    tn_autofree char *message = cli_clean(tn_error_message(err)), *hint = cli_clean(err ? err->hint : NULL);
    fprintf(stderr, "error: %s\n", message);
    if (*hint)
        fprintf(stderr, "  next: %s\n", hint);
    int code = tn_exit_of(err);
    tn_error_free(err);
    return code;
}

int cli_usage(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tn_autofree char *text = tn_vformat(fmt, ap), *clean = cli_clean(text);
    va_end(ap);
    fprintf(stderr, "turnout: %s\n", clean);
    return TN_EXIT_USAGE;
}

int cli_print_json(json_t *j)
{
    tn_autofree char *text = json_dumps(j, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    json_decref(j);
    puts(text ? text : "null");
    return 0;
}
