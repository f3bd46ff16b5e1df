/* The store: opening, rollouts, revisions, events. */
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
#include <unistd.h>

#include "tests/unit/state/store_help.h"
#include "turnout/fs.h"
#include "turnout/mem.h"

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void refuse(const char *where, enum tn_code code, const char *says)
{
    struct tn_error *err = NULL;
    assert_null(tn_store_open(where, &err));
    assert_non_null(err);
    assert_int_equal(err->code, code);
    if (!strstr(err->message, says))
        fail_msg("'%s' does not say '%s'", err->message, says);
    tn_error_clear(&err);
}

static void test_modes(void **state)
{
    (void)state;
    mode_t old = umask(0);
    tn_autofree char *dir = tn_format("%s/a/b", store_dir);
    struct tn_store *s = tn_store_open(dir, NULL);
    umask(old);
    assert_non_null(s);
    struct tn_record r = store_record("r1", 1, "web-1");
    assert_int_equal(tn_store_append(s, &r, NULL), TN_OK); /* now the journal of SQLite is there, too */
    assert_int_equal(mode_of(dir), 0700);
    char **names;
    size_t n;
    assert_int_equal(tn_fs_list(dir, &names, &n, NULL), TN_OK);
    assert_true(n >= 1);
    for (size_t i = 0; i < n; i++) {
        tn_autofree char *path = tn_path_join(dir, names[i]);
        if (mode_of(path) != 0600)
            fail_msg("%s: %o", path, mode_of(path));
    }
    tn_fs_list_free(names, n);
    tn_autofree char *path = tn_format("%s/turnout.db", dir);
    assert_string_equal(tn_store_path(s), path);
    tn_store_free(s);
    tn_store_free(NULL);
}

static void test_umask_is_put_back(void **state)
{
    (void)state;
    mode_t old = umask(022);
    struct tn_store *s = store_open();
    assert_int_equal(umask(old), 022);
    tn_store_free(s);
}

static void test_folder_others_can_write(void **state)
{
    (void)state;
    static const mode_t bad[] = {0777, 0770, 0707, 0702, 0720}, good[] = {0700, 0755, 0750};
    for (size_t i = 0; i < TN_COUNT(bad); i++) {
        assert_int_equal(chmod(store_dir, bad[i]), 0);
        refuse(store_dir, TN_EIO, "can be written by others");
    }
    for (size_t i = 0; i < TN_COUNT(good); i++) {
        assert_int_equal(chmod(store_dir, good[i]), 0);
        tn_store_free(store_open());
    }
}

static void test_folder_of_another_user(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(store_dir, 12345, (gid_t)-1), 0);
    refuse(store_dir, TN_EIO, "another user");
}

/* /tmp is sticky: nobody can remove our file there, but anybody can put one there before us. */
static void test_file_of_another_user(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(store_dir, 01777), 0);
    tn_autofree char *path = tn_format("%s/turnout.db", store_dir), *where = tn_format("sqlite:%s", path);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, 0666), 0);
    assert_int_equal(fchown(fd, 12345, 12345), 0);
    close(fd);
    struct tn_store *s = tn_store_open(where, NULL);
    bool refused = s == NULL;
    tn_store_free(s);
    assert_true(refused);
}

static void test_wrong_places(void **state)
{
    (void)state;
    refuse("postgres://host/db", TN_EUNSUPPORTED, "sqlite:PATH");
    tn_autofree char *file = tn_format("%s/file", store_dir), *below = tn_format("%s/file/x", store_dir);
    assert_int_equal(tn_fs_write_atomic(file, "x", 1, 0600, NULL), TN_OK);
    refuse(below, TN_EIO, "file");
    tn_autofree char *db = tn_format("%s/turnout.db", store_dir);
    static const char noise[] =
        "this is no database, and long enough to be read as the header of one: 0123456789 0123456789";
    assert_int_equal(tn_fs_write_atomic(db, noise, sizeof(noise), 0600, NULL), TN_OK);
    refuse(store_dir, TN_EIO, "turnout.db");
}

static void test_sqlite_path(void **state)
{
    (void)state;
    tn_autofree char *where = tn_format("sqlite:%s/sub/my.db", store_dir),
                     *path = tn_format("%s/sub/my.db", store_dir);
    struct tn_store *s = tn_store_open(where, NULL);
    assert_non_null(s);
    assert_string_equal(tn_store_path(s), path);
    tn_store_free(s);
    assert_true(tn_fs_exists(path));
}

/* Looking creates nothing. */
static void test_open_existing(void **state)
{
    (void)state;
    struct tn_error *err = NULL;
    tn_autofree char *dir = tn_format("%s/none", store_dir);
    assert_null(tn_store_open_existing(dir, &err));
    assert_null(err);
    assert_false(tn_fs_exists(dir));
    tn_store_free(store_open());
    struct tn_store *s = tn_store_open_existing(store_dir, &err);
    assert_non_null(s);
    assert_null(err);
    tn_store_free(s);
    assert_null(tn_store_open_existing("postgres://x", &err));
    assert_int_equal(err->code, TN_EUNSUPPORTED);
    tn_error_clear(&err);
}

static void check_default(const char *flag, const char *plan, const char *want)
{
    tn_autofree char *got = tn_store_default(flag, plan);
    assert_string_equal(got, want);
}

static void test_default(void **state)
{
    (void)state;
    setenv("HOME", "/home/u", 1);
    unsetenv("TURNOUT_STATE");
    unsetenv("XDG_STATE_HOME");
    check_default(NULL, NULL, "/home/u/.local/state/turnout");
    setenv("XDG_STATE_HOME", "/x/state", 1);
    check_default(NULL, NULL, "/x/state/turnout");
    setenv("XDG_STATE_HOME", "relative", 1); /* the specification: to be ignored */
    check_default(NULL, NULL, "/home/u/.local/state/turnout");
    check_default(NULL, "/plan", "/plan");
    setenv("TURNOUT_STATE", "/env", 1);
    check_default(NULL, "/plan", "/env");
    check_default("/flag", "/plan", "/flag");
    setenv("TURNOUT_STATE", "", 1);
    check_default(NULL, "/plan", "/plan");
    unsetenv("TURNOUT_STATE");
    unsetenv("XDG_STATE_HOME");
}

static void begin(struct tn_store *s, const char *id, const char *app, const char *environment, int64_t began)
{
    char *texts[] = {tn_strdup(id), tn_strdup(app), tn_strdup(environment)};
    struct tn_rollout_row r = {
        .id = texts[0],
        .app = texts[1],
        .environment = texts[2],
        .action = tn_strdup("deploy"),
        .state = tn_strdup("running"),
        .actor = tn_strdup("me@here"),
        .began = began,
        .goal = json_pack("{s:[]}", "placements"),
    };
    struct tn_error *err = NULL;
    if (tn_store_rollout_begin(s, &r, &err) < 0)
        fail_msg("%s", tn_error_message(err));
    tn_rollout_row_clear(&r);
}

static void test_rollouts(void **state)
{
    (void)state;
    struct tn_store *s = store_open();
    begin(s, "aaa1", "shop", "", 1000);
    begin(s, "aab2", "shop", "prod", 3000);
    begin(s, "bbb3", "blog", "", 2000);
    struct tn_rollout_rows rows = {0};
    assert_int_equal(tn_store_rollouts(s, NULL, NULL, 0, &rows, NULL), TN_OK);
    assert_int_equal(rows.n, 3);
    assert_string_equal(rows.v[0].id, "aab2"); /* newest first */
    assert_string_equal(rows.v[2].id, "aaa1");
    tn_rollout_rows_clear(&rows);
    assert_int_equal(tn_store_rollouts(s, "shop", NULL, 0, &rows, NULL), TN_OK);
    assert_int_equal(rows.n, 2);
    tn_rollout_rows_clear(&rows);
    assert_int_equal(tn_store_rollouts(s, "shop", "", 0, &rows, NULL), TN_OK);
    assert_int_equal(rows.n, 1);
    assert_string_equal(rows.v[0].id, "aaa1");
    tn_rollout_rows_clear(&rows);
    assert_int_equal(tn_store_rollouts(s, NULL, NULL, 2, &rows, NULL), TN_OK);
    assert_int_equal(rows.n, 2);
    tn_rollout_rows_clear(&rows);
    tn_store_free(s);
}

/* What began in the same millisecond: the later one is the newer. */
static void test_rollouts_of_the_same_time(void **state)
{
    (void)state;
    struct tn_store *s = store_open();
    static const char *const ids[] = {"z", "a", "m"};
    for (size_t i = 0; i < 3; i++)
        begin(s, ids[i], "shop", "", 1000);
    struct tn_rollout_rows rows = {0};
    tn_store_rollouts(s, "shop", "", 0, &rows, NULL);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(rows.v[i].id, ids[2 - i]);
    tn_rollout_rows_clear(&rows);
    tn_store_free(s);
}

static void test_rollout_life(void **state)
{
    (void)state;
    struct tn_store *s = store_open();
    struct tn_rollout_row r = {0};
    begin(s, "r1", "shop", "", 1000);
    assert_int_equal(tn_store_rollout_find(s, "r1", &r, NULL), TN_OK);
    assert_string_equal(r.state, "running");
    assert_string_equal(r.actor, "me@here");
    assert_null(r.host);
    assert_int_equal(r.exit_code, -1);
    assert_int_equal(r.ended, 0);
    assert_null(r.result);
    assert_true(json_is_array(json_object_get(r.goal, "placements")));
    tn_rollout_row_clear(&r);
    assert_int_equal(tn_store_rollout_state(s, "r1", "paused", NULL), TN_OK);
    json_t *result = json_pack("{s:s}", "now", "all \xc3\xa9 good");
    assert_int_equal(tn_store_rollout_find(s, "r1", &r, NULL), TN_OK);
    assert_string_equal(r.state, "paused");
    assert_int_equal(r.exit_code, -1);
    tn_rollout_row_clear(&r);
    assert_int_equal(tn_store_rollout_end(s, "r1", "rolled_back", 3, result, NULL), TN_OK);
    tn_store_free(s);
    s = store_open(); /* it is on disk */
    assert_int_equal(tn_store_rollout_find(s, "r1", &r, NULL), TN_OK);
    assert_string_equal(r.state, "rolled_back");
    assert_int_equal(r.exit_code, 3);
    assert_true(r.ended > 1000);
    assert_true(json_equal(r.result, result));
    tn_rollout_row_clear(&r);
    json_decref(result);
    tn_store_free(s);
}

static void test_find(void **state)
{
    (void)state;
    struct tn_store *s = store_open();
    struct tn_error *err = NULL;
    struct tn_rollout_row r = {0};
    begin(s, "abc1", "shop", "", 1);
    begin(s, "abd2", "shop", "", 2);
    begin(s, "a%_", "shop", "", 3);
    assert_int_equal(tn_store_rollout_find(s, "abc", &r, &err), TN_OK);
    assert_string_equal(r.id, "abc1");
    tn_rollout_row_clear(&r);
    assert_int_equal(tn_store_rollout_find(s, "ab", &r, &err), TN_EUSAGE);
    tn_error_clear(&err);
    assert_int_equal(tn_store_rollout_find(s, "x", &r, &err), TN_ENOTFOUND);
    assert_non_null(err->hint);
    tn_error_clear(&err);
    assert_int_equal(tn_store_rollout_find(s, "a%", &r, &err), TN_OK); /* no pattern */
    tn_rollout_row_clear(&r);
    assert_int_equal(tn_store_rollout_find(s, "%", &r, &err), TN_ENOTFOUND);
    tn_error_clear(&err);
    tn_store_free(s);
}

/* A whole id is that id, also when another one begins with it. */
static void test_find_exact(void **state)
{
    (void)state;
    struct tn_store *s = store_open();
    struct tn_rollout_row r = {0};
    begin(s, "ab", "shop", "", 1);
    begin(s, "abc", "shop", "", 2);
    assert_int_equal(tn_store_rollout_find(s, "ab", &r, NULL), TN_OK);
    assert_string_equal(r.id, "ab");
    tn_rollout_row_clear(&r);
    tn_store_free(s);
}

static void test_text_is_data(void **state)
{
    (void)state;
    struct tn_store *s = store_open();
    struct tn_rollout_row r = {0};
    begin(s, "'; DROP TABLE rollouts;--", "o'app\"", "", 1);
    assert_int_equal(tn_store_rollout_find(s, "'; DROP", &r, NULL), TN_OK);
    assert_string_equal(r.app, "o'app\"");
    tn_rollout_row_clear(&r);
    tn_store_free(s);
}

struct lines {
    int64_t last;
    int n;
    char text[1024];
};

static void take_line(void *arg, int64_t sequence, const char *line)
{
    struct lines *l = arg;
    assert_true(sequence > l->last);
    l->last = sequence;
    l->n++;
    size_t n = strlen(l->text);
    snprintf(l->text + n, sizeof(l->text) - n, "%s;", line);
}

static void test_events(void **state)
{
    (void)state;
    struct tn_store *s = store_open();
    for (int i = 0; i < 5; i++) {
        char line[32];
        snprintf(line, sizeof(line), "{\"n\":%d}", i);
        tn_store_event_later(s, i == 2 ? "other" : "r1", 1000 + i, line);
    }
    struct lines l = {0};
    assert_int_equal(tn_store_events(s, "r1", 0, take_line, &l, NULL),
                     TN_OK); /* takes along what was waiting */
    assert_string_equal(l.text, "{\"n\":0};{\"n\":1};{\"n\":3};{\"n\":4};");
    int64_t after = l.last;
    tn_store_event_later(s, "r1", 2000, "{\"n\":5}");
    memset(l.text, 0, sizeof(l.text));
    assert_int_equal(tn_store_events(s, "r1", after, take_line, &l, NULL), TN_OK);
    assert_string_equal(l.text, "{\"n\":5};");
    tn_store_event_later(s, "r1", 3000, "{\"n\":6}");
    tn_store_free(s); /* flushes */
    s = store_open();
    l = (struct lines){0};
    assert_int_equal(tn_store_events(s, "r1", 0, take_line, &l, NULL), TN_OK);
    assert_int_equal(l.n, 6);
    tn_store_free(s);
}

static void test_revisions(void **state)
{
    (void)state;
    struct tn_store *s = store_open();
    json_t *spec = json_pack("{s:s}", "image", "a:1");
    for (int i = 0; i < 3; i++) {
        char revision[16];
        snprintf(revision, sizeof(revision), "rev%d", i);
        struct tn_revision_row r = {.service = (char *)(uintptr_t) "web",
                                    .cluster = (char *)(uintptr_t) "main",
                                    .revision = revision,
                                    .spec = spec,
                                    .at = i};
        assert_int_equal(tn_store_revision_add(s, "shop", i == 1 ? "prod" : "", &r, NULL), TN_OK);
    }
    struct tn_revision_rows rows = {0};
    assert_int_equal(tn_store_revisions(s, "shop", "", &rows, NULL), TN_OK);
    assert_int_equal(rows.n, 2);
    assert_string_equal(rows.v[0].revision, "rev2");
    assert_string_equal(rows.v[1].revision, "rev0");
    assert_true(json_equal(rows.v[0].spec, spec));
    assert_null(rows.v[0].rollout);
    tn_revision_rows_clear(&rows);
    json_decref(spec);
    tn_store_free(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, store_dir_make, store_dir_remove)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_modes),
        TEST(test_umask_is_put_back),
        TEST(test_folder_others_can_write),
        TEST(test_folder_of_another_user),
        TEST(test_file_of_another_user),
        TEST(test_wrong_places),
        TEST(test_sqlite_path),
        TEST(test_open_existing),
        TEST(test_default),
        TEST(test_rollouts),
        TEST(test_rollouts_of_the_same_time),
        TEST(test_rollout_life),
        TEST(test_find),
        TEST(test_find_exact),
        TEST(test_text_is_data),
        TEST(test_events),
        TEST(test_revisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
