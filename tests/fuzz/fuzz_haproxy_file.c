/* Our file, as somebody may have left it: what can be read is written again in a form that reads as the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/balancer/haproxy/haproxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tn_haproxy_identity id = {.app = "shop",
                                           .environment = "",
                                           .balancer = "edge",
                                           .probe_bind = "unix@probe.sock",
                                           .listen = "127.0.0.1:80"};
    struct tn_haproxy_file f = {0}, back = {0};
    tn_autofree char *text = tn_alloc(size + 1);
    memcpy(text, data, size);
    tn_haproxy_owner(&id, text, size);
    if (size <= TN_HAPROXY_FILE_MAX && tn_haproxy_read(text, size, &f, NULL) == TN_OK) {
        tn_autofree char *first = tn_haproxy_render(&id, &f);
        if (tn_haproxy_owner(&id, first, strlen(first)) != TN_HAPROXY_OURS ||
            tn_haproxy_read(first, strlen(first), &back, NULL) != TN_OK) {
            abort();
        }
        tn_autofree char *second = tn_haproxy_render(&id, &back);
        if (strcmp(first, second) != 0) {
            abort();
        }
    }
    tn_haproxy_file_clear(&back);
    tn_haproxy_file_clear(&f);
    return 0;
}
