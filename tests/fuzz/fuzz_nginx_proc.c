/* Lines of /proc and headers of answers from a container that may lie. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/balancer/nginx/nginx.h"
#include "turnout/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tn_autofree char *text = tn_alloc(size + 1);
    memcpy(text, data, size);
    struct tn_tcp_row row;
    struct tn_nginx_process p;
    struct tn_endpoint e, back;
    char buf[TN_ENDPOINT_TEXT];
    tn_process_stat_parse(text, 100, &p);
    tn_nginx_role_of(text);
    tn_mountinfo_has(text, "/etc/nginx/conf.d/a b.conf");
    tn_nginx_route_parse(text, size, &e);
    if (tn_endpoint_parse(text, &e) &&
        (!tn_endpoint_parse(tn_endpoint_format(&e, buf), &back) || !tn_endpoint_equal(&e, &back)))
        abort();
    for (char *line = text; *line;) {
        char *end = line + strcspn(line, "\n");
        bool last = *end == '\0';
        tn_tcp_row_parse(line, &row);
        line = last ? end : end + 1;
    }
    return 0;
}
