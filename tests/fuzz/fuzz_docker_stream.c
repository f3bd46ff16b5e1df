#include <stdint.h>
#include <stdlib.h>

#include "turnout/buf.h"
#include "lib/provider/docker/parse.h"
#include "lib/provider/docker/stream.h"

struct sum {
    size_t bytes;
};

static bool on_data(void *arg, enum tn_stream_kind kind, const char *data, size_t n)
{
    struct sum *s = arg;
    (void)kind;
    for (size_t i = 0; i < n; i++)
        s->bytes += 1 + 0 * (size_t)data[i];
    return true;
}

static void on_progress(void *arg, const char *text, int64_t current, int64_t total)
{
    (void)arg;
    if (text == NULL || current < 0 || total < 0)
        abort();
}

/* Fed whole and in pieces (the first byte says how large), frames and pulls must come to the same end. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t piece = data[0] % 13 + 1;
    const char *text = (const char *)data + 1;
    size_t len = size - 1;
    struct sum whole = {0}, pieces = {0};
    struct tn_frames f = {.on_data = on_data, .arg = &whole}, g = {.on_data = on_data, .arg = &pieces};
    struct tn_pull p = {.line = TN_BUF_INIT(4096), .progress = on_progress};
    struct tn_pull q = {.line = TN_BUF_INIT(4096), .progress = on_progress};
    tn_frames_feed(&f, text, len);
    tn_pull_feed(&p, text, len);
    for (size_t at = 0; at < len; at += piece) {
        size_t n = len - at < piece ? len - at : piece;
        tn_frames_feed(&g, text + at, n);
        tn_pull_feed(&q, text + at, n);
    }
    if (whole.bytes != pieces.bytes || f.broken != g.broken || tn_pull_is_clean(&p) != tn_pull_is_clean(&q))
        abort();
    tn_pull_clear(&p);
    tn_pull_clear(&q);
    return 0;
}
