/* ${git.sha} without git: the CI's variables, or .git read as files (HEAD, a ref, packed-refs, a worktree's .git). */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/fs.h"
#include "lib/plan/load.h"

#define MAX_REF    4096
#define MAX_PACKED ((size_t)4 << 20)
#define MAX_LEVELS 64

static bool is_sha(const char *s)
{
    size_t n = strspn(s, "0123456789abcdef");
    return (n == 40 || n == 64) && (s[n] == '\0' || isspace((unsigned char)s[n]));
}

static char *read_line(const char *dir, const char *name)
{
    tn_autofree char *path = tn_path_join(dir, name);
    char *text = tn_fs_read(path, MAX_REF, NULL, NULL);
    if (text)
        text[strcspn(text, "\r\n")] = '\0';
    return text;
}

static char *packed_ref(const char *git, const char *ref)
{
    tn_autofree char *path = tn_path_join(git, "packed-refs");
    tn_autofree char *text = tn_fs_read(path, MAX_PACKED, NULL, NULL);
    size_t n = strlen(ref);
    for (char *line = text; line && *line;) {
        char *end = strchr(line, '\n');
        char *space = strchr(line, ' ');
        if (is_sha(line) && space && strncmp(space + 1, ref, n) == 0 &&
            (!space[1 + n] || isspace((unsigned char)space[1 + n])))
            return tn_strndup(line, (size_t)(space - line));
        line = end ? end + 1 : NULL;
    }
    return NULL;
}

/* A ref lives in the worktree's own folder or in the common one. */
static char *resolve(const char *git, const char *ref)
{
    if (strstr(ref, "..") || ref[0] == '/')
        return NULL;
    char *sha = read_line(git, ref);
    if (sha)
        return sha;
    tn_autofree char *common = read_line(git, "commondir");
    tn_autofree char *base = common ? tn_path_join(git, common) : tn_strdup(git);
    sha = common ? read_line(base, ref) : NULL;
    return sha ? sha : packed_ref(base, ref);
}

static char *head_of(const char *git)
{
    char *head = read_line(git, "HEAD");
    if (!head || strncmp(head, "ref: ", 5) != 0)
        return head;
    char *sha = resolve(git, head + 5);
    free(head);
    return sha;
}

static char *git_folder(const char *dir)
{
    tn_autofree char *up = tn_strdup(dir);
    for (int i = 0; i < MAX_LEVELS; i++) {
        char *git = tn_path_join(up, ".git");
        tn_autofree char *link = read_line(up, ".git"); /* a worktree's .git is a file */
        if (link && strncmp(link, "gitdir: ", 8) == 0) {
            free(git);
            return tn_path_join(up, link + 8);
        }
        tn_autofree char *head = tn_path_join(git, "HEAD");
        if (tn_fs_exists(head))
            return git;
        free(git);
        char *parent = tn_path_dir(up);
        bool top = strcmp(parent, up) == 0 || strcmp(parent, ".") == 0;
        free(up);
        up = parent;
        if (top)
            break;
    }
    return NULL;
}

const char *tn_git_sha(struct tn_arena *a, const char *dir)
{
    static const char *const names[] = {"GITHUB_SHA", "CI_COMMIT_SHA"};
    for (size_t i = 0; i < TN_COUNT(names); i++) {
        const char *given = getenv(names[i]);
        if (given && is_sha(given))
            return tn_arena_strdup(a, given);
    }
    tn_autofree char *git = git_folder(dir);
    tn_autofree char *sha = git ? head_of(git) : NULL;
    return sha && is_sha(sha) ? tn_arena_strndup(a, sha, strspn(sha, "0123456789abcdef")) : NULL;
}
