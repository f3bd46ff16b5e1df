/* Reading an owned file that anybody may have changed; what is believed is written again as it was. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/balancer/nginx/owned.h"
#include "turnout/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tn_autofree char *text = tn_alloc(size + 1);
    memcpy(text, data, size);
    struct tn_nginx_owned o;
    char hash[TN_SHA256_HEX];
    tn_nginx_owned_read(text, size, "shop", "prod", &o);
    if (o.ours && !o.generation && !o.edited)
        o.generation = tn_strdup("127.0.0.1:18099");
    if (o.ours && o.generation) {
        tn_autobuf out = TN_BUF_INIT(TN_NGINX_FILE_MAX + 1);
        struct tn_nginx_owned again;
        if (tn_nginx_render("shop", "prod", o.generation, &o.traffic, &out, hash, NULL) == TN_OK) {
            tn_nginx_owned_read(out.data, out.len, "shop", "prod", &again);
            if (!again.ours || again.edited || again.traffic.n != o.traffic.n ||
                strcmp(again.hash, hash) != 0)
                abort();
            tn_nginx_owned_clear(&again);
        }
    }
    tn_nginx_owned_clear(&o);
    return 0;
}
