#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/transport_shim/run_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "turnout/clock.h"
#include "turnout/fs.h"
#include "turnout/mem.h"
#include "lib/transport/shim_tail.h"

char run_root[] = "/tmp/turnout-shim-XXXXXX";
char *run_dir;

bool run_possible(void)
{
    tn_autoclose int fd = pidfd_open(getpid(), 0);
    if (fd < 0)
        puts("skipped: no pidfd here");
    return fd >= 0;
}

bool run_set_up_root(void)
{
    return mkdtemp(run_root) != NULL;
}

json_t *run_spec_of(const char *script, int grace_ms, int stdio_max)
{
    return json_pack("{s:[s,s,s], s:{s:s}, s:s, s:s, s:i, s:i}", "argv", "/bin/sh", "-c", script, "env",
                     "COLOUR", "blue", "cwd", run_dir, "signal", "SIGTERM", "grace_ms", grace_ms, "stdio_max",
                     stdio_max);
}

void run_create(const char *script, int grace_ms, int stdio_max, const char *policy)
{
    json_t *spec = run_spec_of(script, grace_ms, stdio_max);
    assert_int_equal(tn_shim_create(run_dir, spec, NULL, policy, NULL), TN_OK);
    json_decref(spec);
    tn_autofree char *fifo = tn_path_join(run_dir, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
}

int run_set_up(void **state)
{
    static int n;
    (void)state;
    run_dir = tn_format("%s/%d", run_root, n++);
    return 0;
}

int run_tear_down(void **state)
{
    (void)state;
    int rc = tn_shim_stop(NULL, run_dir, NULL);
    rc = rc == TN_OK ? tn_fs_remove_tree(run_dir, NULL) : rc;
    free(run_dir);
    return rc;
}

void run_start(void)
{
    struct tn_error *err = NULL;
    if (tn_shim_start(NULL, run_dir, RUN_SOON_MS, &err) != TN_OK)
        fail_msg("start: %s", tn_error_message(err));
}

struct tn_shim_status run_status(void)
{
    struct tn_shim_status s;
    assert_int_equal(tn_shim_read(run_dir, &s, NULL), TN_OK);
    return s;
}

struct tn_shim_status run_await_end(void)
{
    assert_int_equal(tn_shim_wait(NULL, run_dir, "test", tn_mono_ms() + RUN_SOON_MS, NULL), 1);
    return run_status();
}

static bool stop_at_word(void *arg, const char *data, size_t n)
{
    struct tn_buf *b = arg;
    char *word = b->data; /* the first bytes are the word waited for, up to '|' */
    size_t len = strcspn(word, "|");
    tn_buf_add(b, data, n);
    tn_autofree char *w = tn_strndup(b->data, len);
    return strstr(b->data + len + 1, w) == NULL;
}

char *run_await_word(const char *word)
{
    tn_autobuf b = TN_BUF_INIT(1 << 20);
    tn_buf_printf(&b, "%s|", word);
    size_t len = b.len;
    struct tn_cancel *c = tn_cancel_new();
    tn_cancel_set_deadline(c, tn_mono_ms() + RUN_SOON_MS);
    assert_int_equal(tn_shim_follow(c, run_dir, 0, stop_at_word, &b, NULL), TN_OK);
    tn_cancel_free(c);
    if (!strstr(b.data + len, word))
        fail_msg("the program ended without '%s': %s", word, b.data + len);
    return tn_strdup(b.data + len);
}

bool run_ends(int64_t pid)
{
    tn_autoclose int fd = pidfd_open((pid_t)pid, 0);
    return fd < 0 || tn_wait_fd(NULL, "test", fd, tn_mono_ms() + RUN_SOON_MS, NULL) == 1;
}

bool run_gone(int64_t pid)
{
    return kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}
