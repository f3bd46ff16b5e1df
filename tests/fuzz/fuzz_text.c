/* fuzz_text.c - durations, sizes, CPUs, times and the filter before a terminal. */
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/clock.h"
#include "turnout/mem.h"
#include "turnout/text.h"

static void need(bool ok)
{
    if (!ok)
        abort();
}

/* What is taken is in range, and its shortest form means the same. */
static void numbers(const char *s)
{
    int64_t v, back;
    char text[32];
    if (tn_parse_duration(s, &v)) {
        need(v >= 0 && v <= 100000000000000);
        need(tn_parse_duration(tn_format_duration(v, text, sizeof(text)), &back) && back == v);
        need(*tn_format_age(v, text, sizeof(text)) != 0);
    }
    if (tn_parse_size(s, &v))
        need(v >= 0 && v <= 9000000000000000);
    if (tn_parse_cpu(s, &v))
        need(v >= 0);
    if (tn_parse_int(s, &v))
        need(tn_parse_int(s, &back) && back == v);
    v = tn_parse_time(s);
    if (v >= 0 && v < 4000000000000)
        need(tn_parse_time(tn_format_time(v, text, sizeof(text))) == v);
}

static void is_clean(const char *s, size_t n, bool newlines)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        need((c >= 0x20 && c != 0x7f) || (c == '\n' && newlines));
        need(c != 0xc2 || (unsigned char)s[i + 1] >= 0xa0); /* C1 */
    }
}

static void filter(const char *s, size_t n, bool newlines)
{
    struct tn_buf once = TN_BUF_INIT(1 << 20), twice = TN_BUF_INIT(1 << 20);
    tn_filter(&once, s, n, newlines);
    if (!once.overflow && once.data) {
        is_clean(once.data, once.len, newlines);
        need(tn_columns(once.data) <= 2 * once.len);
        tn_filter(&twice, once.data, once.len, newlines); /* clean is clean */
        need(twice.len == once.len && memcmp(twice.data, once.data, once.len) == 0);
    }
    tn_buf_clear(&once);
    tn_buf_clear(&twice);
}

static void words(const char *s)
{
    static const char *const names[] = {"image", "replicas", "environment", "healthy_deadline"};
    int near = tn_nearest(s, names, TN_COUNT(names));
    need(near >= -1 && near < (int)TN_COUNT(names));
    need(strlen(s) > 200 || !tn_glob("web-*", s) || tn_starts_with(s, "web-"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    char *text = tn_strndup(bytes, size); /* up to the first NUL */
    numbers(text);
    words(text);
    free(text);
    filter(bytes, size, false);
    filter(bytes, size, true);
    return 0;
}
