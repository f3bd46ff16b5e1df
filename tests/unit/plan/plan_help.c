#include "tests/unit/plan/plan_help.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "turnout/fs.h"
#include "turnout/mem.h"

int plan_failures;
static char folder[64];

int plan_enter_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/turnout-plan-XXXXXX");
    unsetenv("DOCKER_HOST");
    unsetenv("GITHUB_SHA");
    unsetenv("CI_COMMIT_SHA");
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

int plan_leave_folder(void **state)
{
    (void)state;
    return chdir("/") == 0 && tn_fs_remove_tree(folder, NULL) == 0 ? 0 : -1;
}

void plan_write(const char *path, const char *text)
{
    tn_autofree char *dir = tn_path_dir(path);
    assert_int_equal(tn_fs_mkdirs(dir, 0755, NULL), 0);
    assert_int_equal(tn_fs_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

struct tn_plan *plan_load_with(const struct tn_plan_options *o, struct tn_problems *problems)
{
    struct tn_error *err = NULL;
    struct tn_plan *p = tn_plan_load(o, problems, &err);
    assert_true((p == NULL) == (err != NULL));
    if (err)
        assert_int_equal(err->code, TN_EPLAN);
    tn_error_free(err);
    return p;
}

struct tn_plan *plan_load(const char *text, struct tn_problems *problems)
{
    plan_write("turnout.yaml", text);
    const struct tn_plan_options o = {0};
    return plan_load_with(&o, problems);
}

struct tn_plan *plan_load_good(const char *text)
{
    struct tn_problems problems = {0};
    struct tn_plan *p = plan_load(text, &problems);
    if (!p) {
        char *all = tn_problems_format(&problems);
        print_error("%s\n", all);
        free(all);
    }
    assert_non_null(p);
    tn_problems_clear(&problems);
    return p;
}

const struct tn_problem *plan_find_problem(const struct tn_problems *p, const char *part)
{
    for (size_t i = 0; i < p->n; i++)
        if (strstr(p->v[i].message, part))
            return &p->v[i];
    return NULL;
}

void plan_expect(const char *name, const struct tn_problems *p, int line, int column, const char *part)
{
    int found = 0;
    for (size_t i = 0; i < p->n; i++)
        found += strstr(p->v[i].message, part) && p->v[i].mark.line == line && p->v[i].mark.column == column;
    if (found == 1)
        return;
    char *all = tn_problems_format(p);
    print_error("%s: wanted one '%s' at %d:%d, found %d in\n%s", name, part, line, column, found, all);
    free(all);
    plan_failures++;
}
