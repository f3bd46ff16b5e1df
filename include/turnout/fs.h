/* turnout/fs.h - files: bounded reads, atomic durable writes. All paths are UTF-8 without NUL. */
#ifndef TURNOUT_FS_H
#define TURNOUT_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "turnout/error.h"

/* Whole file, at most `max` bytes (TN_ELIMIT), NUL-terminated. TN_ENOTFOUND when absent. Caller frees. */
char *tn_fs_read(const char *path, size_t max, size_t *out_len, struct tn_error **err);
/* Temp file in the same folder, fsync, rename, fsync of the folder. An existing file's owner and mode are kept;
 * a symlink's target is replaced, not the link. */
int tn_fs_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct tn_error **err);
/* Creates `path` only if absent: complete or not there at all (temp + link). TN_EEXISTS when it is there. */
int tn_fs_create_new(const char *path, const void *data, size_t len, mode_t mode, struct tn_error **err);
int tn_fs_mkdirs(const char *path, mode_t mode, struct tn_error **err);
bool tn_fs_exists(const char *path);
/* Removes a folder with all it holds; does not follow links. Absent = success. */
int tn_fs_remove_tree(const char *path, struct tn_error **err);
/* Names in a folder except . and .., sorted. Caller frees names and array. */
int tn_fs_list(const char *path, char ***out_names, size_t *out_n, struct tn_error **err);
void tn_fs_list_free(char **names, size_t n);
/* dir + "/" + name unless name is absolute. Caller frees. */
char *tn_path_join(const char *dir, const char *name);
char *tn_path_dir(const char *path); /* folder part, "." when none. Caller frees. */

#endif
