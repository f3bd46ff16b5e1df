/* stream.h - the frames of attach, logs and exec: {type, 0, 0, 0, length big-endian} and then the bytes; raw with a
 * terminal (Engine API, ContainerAttach). Frames may be cut anywhere.
 */
#ifndef TN_PROVIDER_DOCKER_STREAM_H
#define TN_PROVIDER_DOCKER_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tn_stream_kind { TN_STREAM_OUT = 1, TN_STREAM_ERR = 2 };

struct tn_frames {
    bool raw; /* no frames: all is stdout */
    /* Called with pieces of at most what was fed; false = stop. */
    bool (*on_data)(void *arg, enum tn_stream_kind kind, const char *data, size_t n);
    void *arg;
    bool broken; /* what came are no frames */
    unsigned char head[8];
    size_t have;
    uint32_t left;
};
/* False when the reader wants no more, or the stream is broken. */
bool tn_frames_feed(struct tn_frames *f, const char *data, size_t n);

#endif
