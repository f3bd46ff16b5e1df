/* http_curl.h - libcurl, loaded at run time: linking it costs 6-11 ms and 8-10 MB at every start. */
#ifndef TN_TRANSPORT_HTTP_CURL_H
#define TN_TRANSPORT_HTTP_CURL_H

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include "turnout/error.h"

struct tn_curl {
    CURLcode (*global_init)(long flags);
    CURL *(*easy_init)(void);
    void (*easy_cleanup)(CURL *easy);
    CURLcode (*easy_setopt)(CURL *easy, CURLoption option, ...);
    CURLcode (*easy_getinfo)(CURL *easy, CURLINFO info, ...);
    CURLcode (*easy_pause)(CURL *easy, int bitmask);
    const char *(*easy_strerror)(CURLcode code);
    struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
    void (*slist_free_all)(struct curl_slist *list);
    CURLM *(*multi_init)(void);
    CURLMcode (*multi_cleanup)(CURLM *multi);
    CURLMcode (*multi_setopt)(CURLM *multi, CURLMoption option, ...);
    CURLMcode (*multi_add_handle)(CURLM *multi, CURL *easy);
    CURLMcode (*multi_remove_handle)(CURLM *multi, CURL *easy);
    CURLMcode (*multi_perform)(CURLM *multi, int *running);
    CURLMcode (*multi_poll)(CURLM *multi, struct curl_waitfd *fds, unsigned n, int timeout_ms, int *ready);
    CURLMcode (*multi_wakeup)(CURLM *multi);
    CURLMsg *(*multi_info_read)(CURLM *multi, int *left);
};

/* Fills *out from the shared library `soname`, which stays loaded. TN_EUNSUPPORTED, with the package to install, when
 * it is missing or too old. */
int tn_curl_load_from(const char *soname, struct tn_curl *out, struct tn_error **err);
/* libcurl.so.4, loaded and initialised once in the life of the program. Safe from any thread. */
const struct tn_curl *tn_curl_load(struct tn_error **err);

#endif
