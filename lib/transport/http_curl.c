#include "lib/transport/http_curl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "turnout/mem.h"

#define SYMBOL(field, symbol)                                                                                \
    {                                                                                                        \
#symbol, offsetof(struct tn_curl, field)                                                             \
    }

static const struct {
    const char *name;
    size_t offset;
} symbols[] = {
    SYMBOL(global_init, curl_global_init),           SYMBOL(easy_init, curl_easy_init),
    SYMBOL(easy_cleanup, curl_easy_cleanup),         SYMBOL(easy_setopt, curl_easy_setopt),
    SYMBOL(easy_getinfo, curl_easy_getinfo),         SYMBOL(easy_pause, curl_easy_pause),
    SYMBOL(easy_strerror, curl_easy_strerror),       SYMBOL(slist_append, curl_slist_append),
    SYMBOL(slist_free_all, curl_slist_free_all),     SYMBOL(multi_init, curl_multi_init),
    SYMBOL(multi_cleanup, curl_multi_cleanup),       SYMBOL(multi_setopt, curl_multi_setopt),
    SYMBOL(multi_add_handle, curl_multi_add_handle), SYMBOL(multi_remove_handle, curl_multi_remove_handle),
    SYMBOL(multi_perform, curl_multi_perform),       SYMBOL(multi_poll, curl_multi_poll),
    SYMBOL(multi_wakeup, curl_multi_wakeup),         SYMBOL(multi_info_read, curl_multi_info_read),
};

static int missing(struct tn_error **err, const char *soname, const char *why)
{
    tn_error_set(err, TN_EUNSUPPORTED, "library '%s': %s", soname, why);
    tn_error_hint(err, "apt-get install libcurl4");
    return TN_EUNSUPPORTED;
}

int tn_curl_load_from(const char *soname, struct tn_curl *out, struct tn_error **err)
{
    void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return missing(err, soname, "not installed");
    for (size_t i = 0; i < TN_COUNT(symbols); i++) {
        void *address = dlsym(library, symbols[i].name);
        if (address == NULL) {
            tn_autofree char *why = tn_format("too old, it has no %s", symbols[i].name);
            return missing(err, soname, why);
        }
        /* ISO C knows no cast from object to function pointer; POSIX promises that the bytes are the same. */
        memcpy((char *)out + symbols[i].offset, &address, sizeof address);
    }
    return TN_OK;
}

const struct tn_curl *tn_curl_load(struct tn_error **err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct tn_curl curl;
    static bool loaded;
    pthread_mutex_lock(&lock);
    if (!loaded && tn_curl_load_from("libcurl.so.4", &curl, err) == TN_OK) {
        if (curl.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
            loaded = true;
        else
            tn_error_set(err, TN_EFAIL, "library 'libcurl.so.4': cannot be initialised");
    }
    const struct tn_curl *result = loaded ? &curl : NULL;
    pthread_mutex_unlock(&lock);
    return result;
}
