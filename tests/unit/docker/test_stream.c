/* Frames of attach and exec, progress of pulls, archives: each fed whole, byte by byte, and damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "turnout/buf.h"
#include "turnout/mem.h"
#include "lib/provider/docker/parse.h"
#include "lib/provider/docker/stream.h"
#include "lib/provider/docker/tar.h"

struct sides {
    char out[256], err[256];
    bool stop;
};

static bool on_data(void *arg, enum tn_stream_kind kind, const char *data, size_t n)
{
    struct sides *s = arg;
    strncat(kind == TN_STREAM_OUT ? s->out : s->err, data, n);
    return !s->stop;
}

static const char frames[] = "\x01\0\0\0\0\0\0\x03ok\n"
                             "\x02\0\0\0\0\0\0\x05wrong"
                             "\x01\0\0\0\0\0\0\0"
                             "\x01\0\0\0\0\0\0\x01!"
                             "\x03\0\0\0\0\0\0\x01?";

static void frames_are_told_apart(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < sizeof frames; piece++) {
        struct sides s = {0};
        struct tn_frames f = {.on_data = on_data, .arg = &s};
        for (size_t i = 0; i < sizeof frames - 1; i += piece) {
            size_t n = sizeof frames - 1 - i;
            assert_true(tn_frames_feed(&f, frames + i, n < piece ? n : piece));
        }
        assert_string_equal(s.out, "ok\n!");
        assert_string_equal(s.err, "wrong?");
    }
}

static void a_terminals_stream_is_raw(void **state)
{
    (void)state;
    struct sides s = {0};
    struct tn_frames f = {.raw = true, .on_data = on_data, .arg = &s};
    assert_true(tn_frames_feed(&f, "plain text", 10));
    assert_string_equal(s.out, "plain text");
}

static void what_is_no_frame_ends_the_stream(void **state)
{
    (void)state;
    struct sides s = {0};
    struct tn_frames f = {.on_data = on_data, .arg = &s};
    assert_false(tn_frames_feed(&f, "HTTP/1.1 200 OK", 15));
    assert_true(f.broken);
    f = (struct tn_frames){.on_data = on_data, .arg = &s};
    s.stop = true;
    assert_false(tn_frames_feed(&f, frames, sizeof frames - 1));
    assert_false(f.broken);
}

static void count_progress(void *arg, const char *text, int64_t current, int64_t total)
{
    (void)text;
    int64_t *sum = arg;
    *sum += 1000000 + current + total;
}

static void pulls_succeed_or_say_why_not(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
        bool clean;
        int64_t sum;
    } cases[] = {
        {"", NULL, true, 0},
        {"{\"status\":\"Pulling\",\"id\":\"1\"}\r\n{\"status\":\"Downloading\",\"progressDetail\":{"
         "\"current\":5,"
         "\"total\":9},\"id\":\"2\"}\r\n",
         NULL, true, 2000014},
        {"{\"status\":\"a\"}{\"status\":\"b\"}", NULL, true, 2000000},
        {"{\"status\":\"br{ce \\\"}\\\" \\\\\"}\n", NULL, true, 1000000},
        {"{\"status\":\"a\"}\n{\"errorDetail\":{\"message\":\"unauthorized\"},\"error\":\"unauthorized\"}\n",
         "unauthorized", false, 1000000},
        {"{\"error\":\"old style\"}", "old style", false, 0},
        {"{\"errorDetail\":{}}", "no reason given", false, 0},
        {"{\"error\":7}", "no reason given", false, 0},
        {"{\"status\":\"cut", NULL, false, 0},
        {"{\"status\":\"a\"}\n{\"sta", NULL, false, 1000000},
        {"{]}", NULL, false, 0},
        {"garbage", NULL, false, 0},
        {"[1]", NULL, false, 0},
        {"{\"status\":\"a\"} x", NULL, false, 1000000},
        {"{\"progressDetail\":{\"current\":-5,\"total\":\"x\"},\"status\":\"s\"}", NULL, true, 1000000},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        for (size_t piece = 1; piece < 40; piece += 19) {
            int64_t sum = 0;
            struct tn_pull p = {
                .progress = count_progress, .arg = &sum, .line = TN_BUF_INIT(TN_PULL_LINE_MAX)};
            size_t len = strlen(cases[i].text);
            for (size_t at = 0; at < len; at += piece)
                tn_pull_feed(&p, cases[i].text + at, len - at < piece ? len - at : piece);
            if (tn_pull_is_clean(&p) != cases[i].clean || sum != cases[i].sum)
                fail_msg("%s: clean %d sum %lld", cases[i].text, tn_pull_is_clean(&p), (long long)sum);
            if (cases[i].error != NULL)
                assert_string_equal(p.error, cases[i].error);
            else
                assert_null(p.error);
            tn_pull_clear(&p);
        }
    }
}

static void a_line_without_end_is_refused(void **state)
{
    (void)state;
    struct tn_pull p = {.line = TN_BUF_INIT(TN_PULL_LINE_MAX)};
    assert_true(tn_pull_feed(&p, "{\"a\":\"", 6));
    char piece[4096];
    memset(piece, 'x', sizeof piece);
    size_t fed = 0;
    while (fed < 4 * TN_PULL_LINE_MAX && tn_pull_feed(&p, piece, sizeof piece))
        fed += sizeof piece;
    assert_true(fed < 2 * TN_PULL_LINE_MAX);
    assert_false(tn_pull_is_clean(&p));
    tn_pull_clear(&p);
}

static void archives_are_read_as_written(void **state)
{
    (void)state;
    for (size_t len = 0; len < 1600; len += 511) {
        char data[1600];
        memset(data, 'd', sizeof data);
        struct tn_tar_entry like = {.mode = 0640, .uid = 33, .gid = 34}, entry;
        struct tn_buf b = TN_BUF_INIT(1 << 16);
        tn_tar_write(&b, "x.conf", data, len, &like, 1700000000);
        assert_int_equal(b.len % 512, 0);
        assert_string_equal(b.data, "x.conf");
        assert_int_equal(tn_tar_first(b.data, b.len, &entry, NULL), TN_OK);
        assert_int_equal(entry.type, '0');
        assert_int_equal(entry.len, len);
        assert_int_equal(entry.mode, 0640);
        assert_int_equal(entry.uid, 33);
        assert_int_equal(entry.gid, 34);
        assert_memory_equal(entry.data, data, len);
        b.data[0] ^= 1; /* the checksum covers the name */
        assert_int_equal(tn_tar_first(b.data, b.len, &entry, NULL), TN_EPROTO);
        b.data[0] ^= 1;
        if (len > 0)
            assert_int_equal(tn_tar_first(b.data, 512 + len - 1, &entry, NULL), TN_EPROTO);
        tn_buf_clear(&b);
    }
    struct tn_tar_entry entry;
    static const char zeros[1024];
    assert_int_equal(tn_tar_first(zeros, sizeof zeros, &entry, NULL), TN_EPROTO);
    assert_int_equal(tn_tar_first("short", 5, &entry, NULL), TN_EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_told_apart),
        cmocka_unit_test(a_terminals_stream_is_raw),
        cmocka_unit_test(what_is_no_frame_ends_the_stream),
        cmocka_unit_test(pulls_succeed_or_say_why_not),
        cmocka_unit_test(a_line_without_end_is_refused),
        cmocka_unit_test(archives_are_read_as_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
