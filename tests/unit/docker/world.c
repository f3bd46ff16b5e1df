#include "world.h"

#include <stdlib.h>

void world_open(struct world *w, const struct fake_row *rows, const char *api_version)
{
    *w = (struct world){.cluster = {.name = (char *)"web"},
                        .plan = {.name = (char *)"shop", .dir = (char *)"/tmp"}};
    w->engine = fake_engine_new(rows, api_version);
    w->cancel = tn_cancel_new();
    w->http = tn_http_new(w->cancel, NULL);
    w->hosts[0].url = w->engine->url;
    w->cluster.docker.hosts = w->hosts;
    w->cluster.docker.n_hosts = 1;
    w->p = tn_docker_open(&w->plan, &w->cluster, w->http, &w->err);
    if (w->p == NULL)
        abort();
    w->service = (struct tn_service){.name = (char *)"web",
                                     .image = (char *)IMAGE,
                                     .pull = (char *)"missing",
                                     .restart = (char *)"always"};
    w->start = (struct tn_start){.name = "shop-web-1",
                                 .spec = &w->service,
                                 .spec_json = "{}",
                                 .app = "shop",
                                 .service = "web",
                                 .cluster = "web",
                                 .revision = "abc",
                                 .rollout = "r1",
                                 .effect = "r1/web/1"};
}

void world_close(struct world *w)
{
    tn_provider_free(w->p);
    tn_http_free(w->http);
    tn_cancel_free(w->cancel);
    fake_engine_free(w->engine);
    tn_error_clear(&w->err);
}
