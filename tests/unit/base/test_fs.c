/* Bounded reads, atomic durable writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "turnout/fs.h"
#include "turnout/mem.h"

static char dir[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/turnout-fs-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return tn_fs_remove_tree(dir, NULL);
}

static char *in_dir(const char *name)
{
    return tn_path_join(dir, name);
}

static void put(const char *path, const char *text)
{
    assert_int_equal(tn_fs_write_atomic(path, text, strlen(text), 0644, NULL), TN_OK);
}

static void assert_content(const char *path, const char *text)
{
    tn_autofree char *got = tn_fs_read(path, 1 << 20, NULL, NULL);
    assert_non_null(got);
    assert_string_equal(got, text);
}

static size_t count_names(void)
{
    char **names;
    size_t n;
    assert_int_equal(tn_fs_list(dir, &names, &n, NULL), TN_OK);
    tn_fs_list_free(names, n);
    return n;
}

static void test_paths(void **state)
{
    const struct {
        const char *path, *dir;
    } rows[] = {{"a", "."}, {"/a", "/"}, {"a/b", "a"}, {"/a/b/c", "/a/b"}, {"", "."}, {"a/", "a"}};
    (void)state;
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        tn_autofree char *d = tn_path_dir(rows[i].path);
        assert_string_equal(d, rows[i].dir);
    }
    tn_autofree char *joined = tn_path_join("/x", "y"), *absolute = tn_path_join("/x", "/y");
    assert_string_equal(joined, "/x/y");
    assert_string_equal(absolute, "/y");
}

static void test_read(void **state)
{
    (void)state;
    tn_autofree char *path = in_dir("data");
    char data[10000];
    memset(data, 'x', sizeof(data));
    data[77] = 0;
    assert_int_equal(tn_fs_write_atomic(path, data, sizeof(data), 0600, NULL), TN_OK);
    size_t len = 0;
    tn_autofree char *got = tn_fs_read(path, sizeof(data), &len, NULL);
    assert_int_equal(len, sizeof(data));
    assert_memory_equal(got, data, sizeof(data));
    assert_int_equal(got[len], 0);
    struct tn_error *err = NULL;
    assert_null(tn_fs_read(path, sizeof(data) - 1, &len, &err));
    assert_int_equal(err->code, TN_ELIMIT);
    assert_non_null(strstr(err->message, path));
    tn_error_clear(&err);
    put(path, "");
    tn_autofree char *empty = tn_fs_read(path, 0, &len, NULL);
    assert_string_equal(empty, "");
    assert_int_equal(len, 0);
}

static void test_read_what_is_no_file(void **state)
{
    (void)state;
    struct tn_error *err = NULL;
    tn_autofree char *path = in_dir("none"), *fifo = in_dir("fifo");
    assert_null(tn_fs_read(path, 10, NULL, &err));
    assert_int_equal(err->code, TN_ENOTFOUND);
    tn_error_clear(&err);
    assert_null(tn_fs_read(dir, 10, NULL, &err));
    assert_int_equal(err->code, TN_EIO);
    tn_error_clear(&err);
    assert_null(tn_fs_read("/dev/zero", 100000, NULL, &err)); /* has no end */
    assert_int_equal(err->code, TN_ELIMIT);
    tn_error_clear(&err);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    tn_autofree char *got = tn_fs_read(fifo, 10, NULL, &err); /* must not block */
    tn_error_clear(&err);
    assert_true(got == NULL || *got == 0);
}

static void test_atomic_creates_with_mode(void **state)
{
    (void)state;
    tn_autofree char *path = in_dir("new");
    struct stat st;
    mode_t old = umask(077);
    assert_int_equal(tn_fs_write_atomic(path, "x", 1, 0640, NULL), TN_OK);
    umask(old);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(count_names(), 1); /* no temp file is left */
}

static void test_atomic_keeps_mode_and_owner(void **state)
{
    (void)state;
    tn_autofree char *path = in_dir("kept");
    struct stat before, after;
    put(path, "one");
    assert_int_equal(chmod(path, 0604), 0);
    bool root = geteuid() == 0;
    if (root)
        assert_int_equal(chown(path, 12, 34), 0);
    stat(path, &before);
    assert_int_equal(tn_fs_write_atomic(path, "two", 3, 0600, NULL), TN_OK);
    stat(path, &after);
    assert_content(path, "two");
    assert_int_equal(after.st_mode & 07777, 0604);
    assert_true(after.st_ino != before.st_ino); /* a reader of the old one keeps the old one */
    if (root) {
        assert_int_equal(after.st_uid, 12);
        assert_int_equal(after.st_gid, 34);
    }
}

static void test_atomic_through_a_symlink(void **state)
{
    (void)state;
    tn_autofree char *target = in_dir("target"), *link = in_dir("link");
    struct stat st;
    put(target, "one");
    assert_int_equal(symlink("target", link), 0);
    assert_int_equal(tn_fs_write_atomic(link, "two", 3, 0600, NULL), TN_OK);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(lstat(target, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_content(target, "two");
}

/* "a symlink's target is replaced, not the link": also when the target is not there yet. */
static void test_atomic_through_a_dangling_symlink(void **state)
{
    (void)state;
    tn_autofree char *target = in_dir("later"), *link = in_dir("link");
    struct stat st;
    assert_int_equal(symlink("later", link), 0);
    assert_int_equal(tn_fs_write_atomic(link, "two", 3, 0600, NULL), TN_OK);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_content(target, "two");
}

static void test_atomic_fails_whole(void **state)
{
    (void)state;
    struct tn_error *err = NULL;
    tn_autofree char *path = in_dir("no/such/folder"), *folder = in_dir("folder");
    assert_int_equal(tn_fs_write_atomic(path, "x", 1, 0600, &err), TN_EIO);
    assert_non_null(strstr(err->message, path));
    tn_error_clear(&err);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(tn_fs_write_atomic(folder, "x", 1, 0600, &err), TN_EIO); /* a folder is there */
    tn_error_clear(&err);
    assert_int_equal(count_names(), 1);
}

static void test_create_new(void **state)
{
    (void)state;
    struct tn_error *err = NULL;
    struct stat st;
    tn_autofree char *path = in_dir("lock");
    assert_int_equal(tn_fs_create_new(path, "one", 3, 0640, &err), TN_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(tn_fs_create_new(path, "two", 3, 0640, &err), TN_EEXISTS);
    tn_error_clear(&err);
    assert_content(path, "one");
    tn_autofree char *link = in_dir("dangling");
    assert_int_equal(symlink("nowhere", link), 0);
    assert_int_equal(tn_fs_create_new(link, "two", 3, 0640, &err), TN_EEXISTS); /* a link is there, too */
    tn_error_clear(&err);
    assert_int_equal(count_names(), 2);
}

/* Several processes, many names: of each name exactly one wins, and the file is its own, whole. */
static void test_create_new_in_processes(void **state)
{
    (void)state;
    enum { PROCESSES = 4, NAMES = 50 };
    int start[2];
    assert_int_equal(pipe(start), 0);
    pid_t child[PROCESSES];
    for (int c = 0; c < PROCESSES; c++) {
        child[c] = fork();
        if (child[c] == 0) {
            char byte, text[16];
            close(start[1]);
            ssize_t n = read(start[0], &byte, 1); /* all at once */
            int won = (int)n;
            snprintf(text, sizeof(text), "%d", c);
            for (int i = 0; i < NAMES; i++) {
                char name[16];
                snprintf(name, sizeof(name), "n%d", i);
                tn_autofree char *path = in_dir(name);
                int rc = tn_fs_create_new(path, text, strlen(text), 0600, NULL);
                if (rc != TN_OK && rc != TN_EEXISTS)
                    _exit(255);
                won += rc == TN_OK;
            }
            _exit(won);
        }
    }
    close(start[0]);
    close(start[1]);
    int won[PROCESSES], total = 0, counted[PROCESSES] = {0};
    for (int c = 0; c < PROCESSES; c++) {
        int status;
        assert_int_equal(waitpid(child[c], &status, 0), child[c]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 255);
        total += won[c] = WEXITSTATUS(status);
    }
    assert_int_equal(total, NAMES);
    for (int i = 0; i < NAMES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        tn_autofree char *path = in_dir(name), *text = tn_fs_read(path, 10, NULL, NULL);
        assert_true(text && text[0] >= '0' && text[0] < '0' + PROCESSES && text[1] == 0);
        counted[text[0] - '0']++;
    }
    for (int c = 0; c < PROCESSES; c++)
        assert_int_equal(counted[c], won[c]);
    assert_int_equal(count_names(), NAMES);
}

static void test_mkdirs(void **state)
{
    (void)state;
    struct tn_error *err = NULL;
    struct stat st;
    tn_autofree char *path = in_dir("a/b/c"), *file = in_dir("file"), *below = in_dir("file/x"),
                     *slash = in_dir("d//e/");
    assert_int_equal(tn_fs_mkdirs(path, 0700, &err), TN_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(tn_fs_mkdirs(path, 0700, &err), TN_OK);
    assert_int_equal(tn_fs_mkdirs(slash, 0700, &err), TN_OK);
    assert_int_equal(tn_fs_mkdirs("/", 0700, &err), TN_OK);
    put(file, "x");
    assert_int_equal(tn_fs_mkdirs(file, 0700, &err), TN_EIO);
    tn_error_clear(&err);
    assert_int_equal(tn_fs_mkdirs(below, 0700, &err), TN_EIO);
    assert_non_null(err);
    tn_error_clear(&err);
}

static void test_remove_tree(void **state)
{
    (void)state;
    tn_autofree char *top = in_dir("top"), *deep = in_dir("top/a/b"), *file = in_dir("top/a/f"),
                     *outside = in_dir("out"), *kept = in_dir("out/kept"), *link = in_dir("top/link");
    assert_int_equal(tn_fs_remove_tree(top, NULL), TN_OK); /* absent */
    tn_fs_mkdirs(deep, 0700, NULL);
    tn_fs_mkdirs(outside, 0700, NULL);
    put(file, "x");
    put(kept, "kept");
    assert_int_equal(symlink(outside, link), 0);
    assert_int_equal(tn_fs_remove_tree(top, NULL), TN_OK);
    assert_false(tn_fs_exists(top));
    assert_content(kept, "kept"); /* links are not followed */
    assert_int_equal(tn_fs_remove_tree(kept, NULL), TN_OK);
    assert_false(tn_fs_exists(kept));
}

static void test_list(void **state)
{
    (void)state;
    static const char *const made[] = {"b", ".hidden", "a", "c"}, *const sorted[] = {".hidden", "a", "b",
                                                                                     "c"};
    for (size_t i = 0; i < TN_COUNT(made); i++) {
        tn_autofree char *path = in_dir(made[i]);
        put(path, "");
    }
    char **names = NULL;
    size_t n = 0;
    assert_int_equal(tn_fs_list(dir, &names, &n, NULL), TN_OK);
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(names[i], sorted[i]);
    tn_fs_list_free(names, n);
    struct tn_error *err = NULL;
    tn_autofree char *none = in_dir("none"), *file = in_dir("a");
    assert_int_equal(tn_fs_list(none, &names, &n, &err), TN_ENOTFOUND);
    tn_error_clear(&err);
    assert_int_equal(tn_fs_list(file, &names, &n, &err), TN_EIO);
    tn_error_clear(&err);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_paths),
        TEST(test_read),
        TEST(test_read_what_is_no_file),
        TEST(test_atomic_creates_with_mode),
        TEST(test_atomic_keeps_mode_and_owner),
        TEST(test_atomic_through_a_symlink),
        TEST(test_atomic_through_a_dangling_symlink),
        TEST(test_atomic_fails_whole),
        TEST(test_create_new),
        TEST(test_create_new_in_processes),
        TEST(test_mkdirs),
        TEST(test_remove_tree),
        TEST(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
