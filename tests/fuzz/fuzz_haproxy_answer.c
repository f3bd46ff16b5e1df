/* Answers of HAProxy's runtime API, and the commands that follow from them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "lib/balancer/haproxy/haproxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char ours[] = "backend shop_web\n"
                               "    server s1 127.0.0.1:18901 weight 1 # instance=a weight=1\n"
                               "    server s2 127.0.0.1:18902 weight 3 # instance=b weight=3\n"
                               "    server s3 127.0.0.1:1 weight 1 disabled # free\n";
    struct tn_haproxy_file f = {0};
    struct tn_haproxy_runtime r = {0};
    tn_autofree char *text = tn_strndup((const char *)data, size);
    tn_autobuf commands = TN_BUF_INIT(1 << 16);
    if (tn_haproxy_read(ours, sizeof(ours) - 1, &f, NULL) != TN_OK) {
        abort();
    }
    if (tn_haproxy_answer(text, &f, "turnout-shop-edge-0123456789ab", &r, NULL) == TN_OK) {
        tn_haproxy_commands(&f, &r, TN_HAPROXY_ADMIT, 20, &commands);
        tn_haproxy_commands(&f, &r, TN_HAPROXY_TAKE_OUT, 20, &commands);
        tn_haproxy_has_slots(&f, &r);
    }
    tn_haproxy_established(text, "127.0.0.1", 18901);
    tn_haproxy_runtime_clear(&r);
    tn_haproxy_file_clear(&f);
    return 0;
}
