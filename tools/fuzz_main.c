/*
 * Replays corpora through one fuzz target, for `make check`: each argument is a file or a folder, and every file
 * in it is one input. Ends with "N inputs". libFuzzer brings its own main, so this file is not linked there.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void die(const char *what, const char *path)
{
    fprintf(stderr, "fuzz_main: %s '%s': %s\n", what, path, strerror(errno));
    exit(2);
}

static void replay_file(const char *path, off_t size)
{
    /* Exactly as large as the input, so that a read past its end is seen; never NULL. */
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    FILE *file = fopen(path, "rb");
    if (data == NULL || file == NULL) {
        die("cannot open", path);
    }
    size_t got = fread(data, 1, (size_t)size, file);
    fclose(file);
    uint8_t *exact = got > 0 ? realloc(data, got) : data;
    if (exact == NULL) {
        die("cannot read", path);
    }
    /* When the target aborts, the log must say on which input. */
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(exact, got);
    free(exact);
}

static unsigned replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        die("cannot find", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        replay_file(path, st.st_size);
        return 1;
    }
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, alphasort);
    if (count < 0) {
        die("cannot list", path);
    }
    unsigned inputs = 0;
    for (int i = 0; i < count; i++) {
        char child[4096];
        int len = snprintf(child, sizeof child, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.' && len > 0 && (size_t)len < sizeof child) {
            inputs += replay(child);
        }
        free(names[i]);
    }
    free(names);
    return inputs;
}

int main(int argc, char **argv)
{
    unsigned inputs = 0;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        inputs += replay(argv[i]);
    }
    printf("%u inputs\n", inputs);
    return 0;
}
