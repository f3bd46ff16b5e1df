/* world.h - the provider, opened on a scripted engine. */
#ifndef TESTS_UNIT_DOCKER_WORLD_H
#define TESTS_UNIT_DOCKER_WORLD_H

#include "fake_engine.h"
#include "lib/provider/docker/docker.h"

#define ID    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define IMAGE "r.example/web@sha256:" ID

struct world {
    struct fake_engine *engine;
    struct tn_http *http;
    struct tn_cancel *cancel;
    struct tn_host_ref hosts[2];
    struct tn_cluster cluster;
    struct tn_plan plan;
    struct tn_provider *p;
    struct tn_service service;
    struct tn_start start;
    struct tn_error *err;
};

void world_open(struct world *w, const struct fake_row *rows, const char *api_version);
void world_close(struct world *w);

/* Answers of the engine. */
#define LISTED                                                                                               \
    "[{\"Id\":\"" ID                                                                                         \
    "\",\"Names\":[\"/shop-web-1\"],\"State\":\"running\",\"Status\":\"Up 2 seconds\",\"Labels\":"           \
    "{\"turnout.service\":\"web\",\"turnout.revision\":\"abc\"}}]"
#define INSPECTED(state, labels)                                                                             \
    "{\"Id\":\"" ID "\",\"State\":" state ",\"Config\":{\"Labels\":" labels                                  \
    "},\"HostConfig\":{\"RestartPolicy\":"                                                                   \
    "{\"Name\":\"always\"}}}"
#define RUNNING "{\"Status\":\"running\",\"Running\":true,\"ExitCode\":0}"
#define OURS    "{\"turnout.app\":\"shop\",\"turnout.env\":\"\",\"turnout.effect\":\"r1/web/1\"}"

#endif
