/* The one filter between bytes from elsewhere and a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"
#include "turnout/text.h"

struct row {
    const char *in, *out;
};

static char *filtered(const char *s, size_t n, bool newlines)
{
    struct tn_buf b = TN_BUF_INIT(1 << 20);
    tn_filter(&b, s, n, newlines);
    assert_false(b.overflow);
    return tn_buf_take(&b);
}

static void check_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        tn_autofree char *got = filtered(rows[i].in, strlen(rows[i].in), false);
        if (strcmp(got, rows[i].out) != 0)
            fail_msg("row %zu: got '%s', not '%s'", i, got, rows[i].out);
    }
}

static void test_plain(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"", ""},
        {"plain text ~!", "plain text ~!"},
        {"caf\xc3\xa9 \xe2\x9c\x93 \xf0\x9f\x9a\x80 \xe4\xb8\xad",
         "caf\xc3\xa9 \xe2\x9c\x93 \xf0\x9f\x9a\x80 \xe4\xb8\xad"},
        {"a\tb", "a b"},
        {"a\nb", "a b"},
        {"a\r\nb", "a b"},
        {"a\rb", "a?b"}, /* would write over the line */
        {"a\r", "a?"},
        {"a\bb\ac\x7f", "a?b?c?"},
        {"\x01\x0b\x0c\x0e\x1f", "?????"},
        {"%s %n \\", "%s %n \\"},
    };
    check_rows(rows, TN_COUNT(rows));
}

static void test_newlines(void **state)
{
    (void)state;
    tn_autofree char *kept = filtered("a\nb\r\nc\r", 7, true);
    assert_string_equal(kept, "a\nb\nc?");
    tn_autofree char *nul = filtered("a\0b", 3, false);
    assert_string_equal(nul, "a?b");
}

static void test_escape_sequences(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"\033[31mred\033[0m", "red"},
        {"\033[2J\033[1;1Hx", "x"},
        {"\033[?25lx", "x"},
        {"\033[38;2;1;2;3mx", "x"},
        {"\033[>0cx", "x"},
        {"\033[1 qx", "x"},           /* with an intermediate byte */
        {"\033]0;title\ax", "x"},     /* window title, ended by BEL */
        {"\033]0;title\033\\x", "x"}, /* ended by ST */
        {"\033]8;;http://a\033\\link\033]8;;\033\\", "link"},
        {"\033]52;c;c2VjcmV0\ax", "x"}, /* clipboard */
        {"\033P1$r0m\033\\x", "x"},     /* DCS */
        {"\033_app\033\\x", "x"},       /* APC */
        {"\033^pm\033\\x", "x"},        /* PM */
        {"\033Xsos\033\\x", "x"},       /* SOS */
        {"\033cx", "x"},                /* reset */
        {"\0337x\0338", "x"},
        {"\033=x", "x"},
        {"\033Mx", "x"},
    };
    check_rows(rows, TN_COUNT(rows));
}

/* ESC, intermediate bytes (0x20-0x2f), final byte: `tput sgr0` ends with ESC ( B. */
static void test_escape_with_intermediates(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"\033(Bx", "x"}, {"\033)0x", "x"}, {"\033#8x", "x"},
        {"\033%Gx", "x"}, {"\033 Fx", "x"}, {"\033$(Cx", "x"},
    };
    check_rows(rows, TN_COUNT(rows));
}

/* A line ends where it ends: an ESC before the newline does not join two lines. */
static void test_newline_after_escape(void **state)
{
    (void)state;
    tn_autofree char *lines = filtered("a\033\nb", 4, true);
    assert_string_equal(lines, "a\nb");
}

/* Whatever a sequence that is cut looks like, no ESC comes out, and a new sequence in it is not passed on. */
static void test_cut_sequences(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"x\033", "x"},
        {"x\033[", "x"},
        {"x\033[31", "x"},
        {"x\033]0;ti", "x"},
        {"x\033P1$r", "x"},
        {"x\033]0;ti\033", "x"},
        {"x\033[3\033[31my", "xy"},
        {"x\033]0;a\033[31my", "xy"},
        {"x\033[3\ny", "x y"}, /* a control character ends it */
    };
    check_rows(rows, TN_COUNT(rows));
    tn_autofree char *lines = filtered("x\033]0;never ended\nnext", 21, true);
    assert_string_equal(lines, "x\nnext");
}

static void test_c1(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"\xc2\x9b"
         "31mx",
         "?31mx"}, /* CSI as UTF-8 */
        {"\xc2\x9d"
         "0;t\xc2\x9c",
         "?0;t?"}, /* OSC … ST */
        {"\xc2\x80\xc2\x9f\xc2\x85", "???"},
        {"\x9b"
         "31mx",
         "\\x9b31mx"}, /* CSI as a byte */
        {"\x90x\x9c", "\\x90x\\x9c"},
        {"\xc2\xa0", "\xc2\xa0"}, /* the first one that is no control */
    };
    check_rows(rows, TN_COUNT(rows));
}

static void test_bidi_and_hidden(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"a\xe2\x80\xae"
         "b",
         "a?b"}, /* U+202E right-to-left override */
        {"\xe2\x80\xaa\xe2\x80\xab\xe2\x80\xac\xe2\x80\xad", "????"},
        {"\xe2\x81\xa6\xe2\x81\xa7\xe2\x81\xa8\xe2\x81\xa9", "????"}, /* isolates */
        {"\xe2\x80\x8e\xe2\x80\x8f", "??"},                           /* marks */
        {"\xe2\x80\x8b\xe2\x80\x8d", "??"},                           /* zero width */
        {"\xe2\x80\xa8\xe2\x80\xa9", "??"},                           /* line and paragraph separators */
        {"\xef\xbb\xbf", "?"},                                        /* BOM */
        {"\xf3\xa0\x81\x81", "?"},                                    /* a tag */
    };
    check_rows(rows, TN_COUNT(rows));
}

/* U+061C is a direction mark like U+200E and U+200F (Unicode UAX #9, Bidi_Control). */
static void test_bidi_arabic_letter_mark(void **state)
{
    (void)state;
    static const struct row rows[] = {{"a\xd8\x9c"
                                       "b",
                                       "a?b"}};
    check_rows(rows, TN_COUNT(rows));
}

static void test_invalid_utf8(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"\xff", "\\xff"},
        {"\x80", "\\x80"},
        {"\xc3", "\\xc3"}, /* cut */
        {"\xe2\x82", "\\xe2\\x82"},
        {"\xf0\x9f\x9a", "\\xf0\\x9f\\x9a"},
        {"\xc3(", "\\xc3("},
        {"\xc0\xaf", "\\xc0\\xaf"}, /* too long */
        {"\xc1\x9b", "\\xc1\\x9b"},
        {"\xe0\x80\xaf", "\\xe0\\x80\\xaf"},
        {"\xe0\x82\x9b", "\\xe0\\x82\\x9b"}, /* CSI, too long */
        {"\xf0\x80\x80\x9b", "\\xf0\\x80\\x80\\x9b"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* above U+10FFFF */
        {"\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80"},
        {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"}, /* the last one */
        {"a\xe2\x82\033[31mb", "a\\xe2\\x82b"},
    };
    check_rows(rows, TN_COUNT(rows));
}

/* Any bytes at all: what comes out has no control characters and is filtered to itself. */
static void test_any_bytes(void **state)
{
    (void)state;
    uint64_t r = 99991;
    for (int i = 0; i < 5000; i++) {
        char in[40];
        size_t n = (size_t)(i % 40);
        for (size_t k = 0; k < n; k++) {
            r ^= r << 13, r ^= r >> 7, r ^= r << 17;
            static const char favourites[] = "\033[]P\\\a\n\r\t;mB(\xc2\x9b\xe2\x80\xae\x00";
            in[k] = r % 3 ? favourites[(r >> 8) % sizeof(favourites)] : (char)(r >> 16);
        }
        tn_autofree char *once = filtered(in, n, true);
        for (const char *p = once; *p; p++)
            if ((unsigned char)*p < 0x20 && *p != '\n')
                fail_msg("case %d lets 0x%02x through", i, *p);
        assert_null(strstr(once, "\xc2\x9b"));
        assert_null(strstr(once, "\xe2\x80\xae"));
        tn_autofree char *twice = filtered(once, strlen(once), true);
        assert_string_equal(once, twice);
    }
}

static void test_columns(void **state)
{
    const struct {
        const char *text;
        size_t n;
    } rows[] = {
        {"", 0},
        {"abc", 3},
        {"caf\xc3\xa9", 4},
        {"\xe4\xb8\xad\xe6\x96\x87", 4},
        {"\xe2\x9c\x93", 1},
        {"e\xcc\x81", 1},
        {"\xff", 1},
    };
    (void)state;
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        skip();
    for (size_t i = 0; i < TN_COUNT(rows); i++)
        assert_int_equal(tn_columns(rows[i].text), rows[i].n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_newlines),
        cmocka_unit_test(test_escape_sequences),
        cmocka_unit_test(test_escape_with_intermediates),
        cmocka_unit_test(test_newline_after_escape),
        cmocka_unit_test(test_cut_sequences),
        cmocka_unit_test(test_c1),
        cmocka_unit_test(test_bidi_and_hidden),
        cmocka_unit_test(test_bidi_arabic_letter_mark),
        cmocka_unit_test(test_invalid_utf8),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
