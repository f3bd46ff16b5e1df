#include "lib/provider/docker/stream.h"

#include <string.h>

/* stdin (0) is echoed by some engines as output; 3 is the engine's own error text. */
static enum tn_stream_kind kind_of(unsigned char type)
{
    return type >= 2 ? TN_STREAM_ERR : TN_STREAM_OUT;
}

static bool head_is_valid(const unsigned char *h)
{
    return h[0] <= 3 && h[1] == 0 && h[2] == 0 && h[3] == 0;
}

bool tn_frames_feed(struct tn_frames *f, const char *data, size_t n)
{
    if (f->raw)
        return n == 0 || f->on_data(f->arg, TN_STREAM_OUT, data, n);
    while (n > 0 && !f->broken) {
        if (f->left > 0) {
            size_t piece = n < f->left ? n : f->left;
            if (!f->on_data(f->arg, kind_of(f->head[0]), data, piece))
                return false;
            f->left -= (uint32_t)piece;
            data += piece;
            n -= piece;
            continue;
        }
        size_t want = sizeof f->head - f->have;
        size_t piece = n < want ? n : want;
        memcpy(f->head + f->have, data, piece);
        f->have += piece;
        data += piece;
        n -= piece;
        if (f->have == sizeof f->head) {
            f->have = 0;
            f->broken = !head_is_valid(f->head);
            f->left = (uint32_t)f->head[4] << 24 | (uint32_t)f->head[5] << 16 | (uint32_t)f->head[6] << 8 |
                      (uint32_t)f->head[7];
        }
    }
    return !f->broken;
}
