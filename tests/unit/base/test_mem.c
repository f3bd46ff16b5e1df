/* Bounded buffers, the arena, small helpers of ownership. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "turnout/buf.h"
#include "turnout/mem.h"

static void test_buf_appends(void **state)
{
    (void)state;
    struct tn_buf b = TN_BUF_INIT(1000);
    assert_null(b.data);
    tn_buf_puts(&b, "ab");
    tn_buf_putc(&b, 'c');
    tn_buf_printf(&b, "%d-%s", 4, "e");
    tn_buf_add(&b, "\0f", 2);
    assert_int_equal(b.len, 8);
    assert_memory_equal(b.data, "abc4-e\0f", 9);
    assert_false(b.overflow);
    tn_buf_clear(&b);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.max, 1000);
}

static void test_buf_grows(void **state)
{
    (void)state;
    struct tn_buf b = TN_BUF_INIT(1 << 20);
    for (int i = 0; i < 100000; i++)
        tn_buf_putc(&b, (char)('a' + i % 26));
    assert_int_equal(b.len, 100000);
    assert_int_equal(b.data[100000], 0);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(b.data[i], 'a' + i % 26);
    tn_buf_clear(&b);
}

/* Exactly the maximum fits; one byte more sets the flag, drops that piece whole, and what follows too. */
static void test_buf_overflow(void **state)
{
    (void)state;
    struct tn_buf b = TN_BUF_INIT(5);
    tn_buf_puts(&b, "12345");
    assert_false(b.overflow);
    tn_buf_puts(&b, "");
    assert_false(b.overflow);
    tn_buf_putc(&b, '6');
    assert_true(b.overflow);
    assert_string_equal(b.data, "12345");
    tn_buf_clear(&b);
    assert_false(b.overflow);
    tn_buf_puts(&b, "123");
    tn_buf_puts(&b, "456");
    assert_true(b.overflow);
    tn_buf_puts(&b, "4");
    assert_string_equal(b.data, "123");
    assert_int_equal(b.len, 3);
    tn_buf_clear(&b);
}

static void test_buf_huge_piece(void **state)
{
    (void)state;
    struct tn_buf b = TN_BUF_INIT(16);
    tn_buf_puts(&b, "x");
    tn_buf_add(&b, "y", SIZE_MAX); /* must be refused before anything is added up */
    assert_true(b.overflow);
    assert_string_equal(b.data, "x");
    tn_buf_clear(&b);
    struct tn_buf none = TN_BUF_INIT(0);
    tn_buf_puts(&none, "a");
    assert_true(none.overflow);
    assert_null(none.data);
    tn_buf_clear(&none);
}

static void test_buf_take(void **state)
{
    (void)state;
    struct tn_buf b = TN_BUF_INIT(8);
    tn_autofree char *empty = tn_buf_take(&b);
    assert_string_equal(empty, "");
    tn_buf_puts(&b, "123456789");
    tn_buf_puts(&b, "x");
    tn_autofree char *nothing = tn_buf_take(&b);
    assert_string_equal(nothing, "");
    assert_false(b.overflow);
    assert_int_equal(b.max, 8);
    tn_buf_puts(&b, "abc");
    tn_autofree char *text = tn_buf_take(&b);
    assert_string_equal(text, "abc");
    assert_null(b.data);
    assert_int_equal(b.len, 0);
}

static void test_buf_zero_bytes(void **state)
{
    (void)state;
    struct tn_buf b = TN_BUF_INIT(8);
    tn_buf_add(&b, NULL, 0);
    assert_int_equal(b.len, 0);
    assert_false(b.overflow);
    tn_buf_clear(&b);
}

static void test_arena_is_zeroed_and_aligned(void **state)
{
    (void)state;
    struct tn_arena *a = tn_arena_new();
    unsigned char *seen[400];
    for (size_t i = 0; i < 400; i++) {
        size_t n = i * 7 % 97 + 1;
        unsigned char *p = tn_arena_alloc(a, n);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(p[k], 0);
        memset(p, (int)(i % 255) + 1, n);
        seen[i] = p;
    }
    for (size_t i = 0; i < 400; i++) /* nobody wrote over a neighbour */
        for (size_t k = 0; k < i * 7 % 97 + 1; k++)
            assert_int_equal(seen[i][k], i % 255 + 1);
    tn_arena_free(a);
}

static void test_arena_large(void **state)
{
    (void)state;
    struct tn_arena *a = tn_arena_new();
    char *small = tn_arena_strdup(a, "small");
    char *big = tn_arena_alloc(a, 1 << 20);
    memset(big, 'x', 1 << 20);
    char *after = tn_arena_strdup(a, "after");
    char *exact = tn_arena_alloc(a, 4096);
    memset(exact, 'y', 4096);
    assert_string_equal(small, "small");
    assert_string_equal(after, "after");
    assert_non_null(tn_arena_alloc(a, 0));
    tn_arena_free(a);
    tn_arena_free(NULL);
}

static void test_arena_texts(void **state)
{
    (void)state;
    tn_auto(arena) struct tn_arena *a = tn_arena_new();
    assert_string_equal(tn_arena_strndup(a, "abcdef", 3), "abc");
    assert_string_equal(tn_arena_strndup(a, "ab", 30), "ab");
    assert_null(tn_arena_strdup(a, NULL));
    assert_string_equal(tn_arena_format(a, "%s=%d", "k", 7), "k=7");
}

static void test_helpers(void **state)
{
    (void)state;
    assert_null(tn_strdup(NULL));
    tn_autofree char *a = tn_strndup("abcdef", 2), *b = tn_format("%03d", 5), *zero = tn_alloc(0);
    assert_string_equal(a, "ab");
    assert_string_equal(b, "005");
    assert_non_null(zero);
    char *taken = TN_TAKE(a);
    assert_null(a);
    assert_string_equal(taken, "ab");
    free(taken);
    int *v = NULL;
    size_t n = 0, cap = 0;
    for (int i = 0; i < 100; i++) {
        TN_GROW(v, n, cap);
        v[n++] = i;
    }
    assert_true(cap >= 100);
    assert_int_equal(v[99], 99);
    free(v);
}

static void test_autoclose_keeps_errno(void **state)
{
    (void)state;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), copy = fd, none = -1;
    assert_true(fd >= 0);
    errno = EAGAIN;
    tn_cleanup_close(&fd);
    tn_cleanup_close(&none);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(fcntl(copy, F_GETFD), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_appends),
        cmocka_unit_test(test_buf_grows),
        cmocka_unit_test(test_buf_overflow),
        cmocka_unit_test(test_buf_huge_piece),
        cmocka_unit_test(test_buf_take),
        cmocka_unit_test(test_buf_zero_bytes),
        cmocka_unit_test(test_arena_is_zeroed_and_aligned),
        cmocka_unit_test(test_arena_large),
        cmocka_unit_test(test_arena_texts),
        cmocka_unit_test(test_helpers),
        cmocka_unit_test(test_autoclose_keeps_errno),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
