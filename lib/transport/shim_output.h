/* shim_output.h - a program's output into DIR/output.log, rotated once. Internal to the shim. */
#ifndef TN_TRANSPORT_SHIM_OUTPUT_H
#define TN_TRANSPORT_SHIM_OUTPUT_H

#include <stdint.h>

struct tn_shim_output {
    const char *dir; /* borrowed */
    int from;        /* read end of the program's pipe, non-blocking; -1 = none */
    int to;
    int64_t size, max;
};
void tn_shim_output_init(struct tn_shim_output *o, const char *dir, int64_t max);
void tn_shim_output_clear(struct tn_shim_output *o);
/* Copies what is there now. What cannot be written (full disk) is dropped: the program is never held by its
 * output. At the end of the pipe `from` is closed and -1. */
void tn_shim_output_copy(struct tn_shim_output *o);

#endif
