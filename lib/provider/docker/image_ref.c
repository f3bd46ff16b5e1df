#include "lib/provider/docker/image_ref.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/mem.h"
#include "turnout/text.h"

enum { NAME_MAX_LEN = 255, TAG_MAX_LEN = 128 };

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Between two letters or digits: one '.', one or two '_', or any number of '-'. */
static size_t separator(const char *s, const char *end)
{
    size_t n = 0;
    if (*s == '.')
        return 1;
    if (*s == '_')
        return s + 1 < end && s[1] == '_' ? 2 : 1;
    while (s + n < end && s[n] == '-')
        n++;
    return n;
}

static bool component_is_valid(const char *s, const char *end)
{
    if (s >= end || !is_lower_alnum(*s))
        return false;
    while (s < end) {
        if (!is_lower_alnum(*s)) {
            size_t n = separator(s, end);
            if (n == 0 || s + n >= end || !is_lower_alnum(s[n]))
                return false;
            s += n;
        }
        s++;
    }
    return true;
}

static bool path_is_valid(const char *path)
{
    for (;;) {
        const char *slash = strchrnul(path, '/');
        if (!component_is_valid(path, slash))
            return false;
        if (*slash == '\0')
            return true;
        path = slash + 1;
    }
}

static bool port_is_valid(const char *s)
{
    int64_t port;
    return strspn(s, "0123456789") == strlen(s) && tn_parse_int(s, &port) && port > 0 && port <= 65535;
}

static bool label_is_valid(const char *s, size_t n)
{
    if (n == 0 || s[0] == '-' || s[n - 1] == '-')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '-')
            return false;
    return true;
}

/* host[:port], the host a name, an IPv4 address or a bracketed IPv6 address. */
static bool domain_is_valid(const char *domain)
{
    const char *rest = domain;
    if (*domain == '[') {
        size_t n = strspn(domain + 1, "0123456789abcdefABCDEF:");
        if (n == 0 || domain[n + 1] != ']')
            return false;
        rest = domain + n + 2;
    } else {
        for (;;) {
            size_t n = strcspn(rest, ".:");
            if (!label_is_valid(rest, n))
                return false;
            rest += n;
            if (*rest != '.')
                break;
            rest++;
        }
    }
    return *rest == '\0' || (*rest == ':' && port_is_valid(rest + 1));
}

static bool tag_is_valid(const char *tag)
{
    size_t n = strlen(tag);
    if (n == 0 || n > TAG_MAX_LEN || *tag == '.' || *tag == '-')
        return false;
    for (; *tag; tag++)
        if (!isalnum((unsigned char)*tag) && strchr("_.-", *tag) == NULL)
            return false;
    return true;
}

bool tn_image_is_id(const char *text)
{
    return strncmp(text, "sha256:", 7) == 0 && strspn(text + 7, "0123456789abcdef") == 64 && text[71] == '\0';
}

/* The first part is a registry when it looks like a host; otherwise it is a path on Docker Hub. */
static bool begins_with_host(const char *name)
{
    size_t n = strcspn(name, "/");
    if (name[n] != '/' || n == 0)
        return false;
    bool host = memchr(name, '.', n) != NULL || memchr(name, ':', n) != NULL ||
                (n == 9 && strncmp(name, "localhost", 9) == 0);
    for (size_t i = 0; i < n; i++)
        host = host || isupper((unsigned char)name[i]);
    return host;
}

static void split_domain(const char *name, struct tn_image_ref *r)
{
    size_t n = strcspn(name, "/");
    bool host = begins_with_host(name);
    r->domain = host ? tn_strndup(name, n) : tn_strdup("docker.io");
    const char *path = host ? name + n + 1 : name;
    if (tn_streq(r->domain, "index.docker.io")) {
        free(r->domain);
        r->domain = tn_strdup("docker.io");
    }
    bool official = strcmp(r->domain, "docker.io") == 0 && strchr(path, '/') == NULL;
    r->path = official ? tn_format("library/%s", path) : tn_strdup(path);
}

static const char *parse(const char *text, struct tn_image_ref *r)
{
    size_t n = strcspn(text, "@");
    tn_autofree char *name = tn_strndup(text, n);
    if (text[n] == '@') {
        if (!tn_image_is_id(text + n + 1))
            return "the digest is not sha256: and 64 hex digits";
        r->digest = tn_strdup(text + n + 1);
    }
    char *slash = strrchr(name, '/');
    char *colon = strchr(slash != NULL ? slash : name, ':');
    if (colon != NULL) {
        *colon = '\0';
        if (!tag_is_valid(colon + 1))
            return "the tag is not valid";
        r->tag = tn_strdup(colon + 1);
    }
    if (strlen(name) > NAME_MAX_LEN)
        return "the name is longer than 255 characters";
    split_domain(name, r);
    if (!domain_is_valid(r->domain))
        return "the registry is not host or host:port";
    if (!path_is_valid(r->path))
        return "the name may hold lower-case letters, digits and single . _ - between them";
    if (r->tag == NULL && r->digest == NULL)
        r->tag = tn_strdup("latest");
    return NULL;
}

int tn_image_ref_parse(const char *text, struct tn_image_ref *out, struct tn_error **err)
{
    struct tn_image_ref r = {0};
    const char *why = *text != '\0' ? parse(text, &r) : "it is empty";
    if (why != NULL) {
        tn_image_ref_clear(&r);
        return tn_error_set(err, TN_EPLAN, "image '%s': %s", text, why);
    }
    *out = r;
    return TN_OK;
}

void tn_image_ref_clear(struct tn_image_ref *r)
{
    free(r->domain);
    free(r->path);
    free(r->tag);
    free(r->digest);
    *r = (struct tn_image_ref){0};
}

char *tn_image_ref_repository(const struct tn_image_ref *r)
{
    if (strcmp(r->domain, "docker.io") != 0)
        return tn_format("%s/%s", r->domain, r->path);
    /* Only one level may be left out: docker.io/library/a/b is not a/b. */
    bool official = tn_starts_with(r->path, "library/") && strchr(r->path + 8, '/') == NULL;
    if (begins_with_host(r->path))
        return tn_format("docker.io/%s", r->path); /* docker.io/a.b/c is on the Hub, a.b/c is on a.b */
    return tn_strdup(official ? r->path + 8 : r->path);
}

char *tn_image_ref_name(const struct tn_image_ref *r)
{
    tn_autofree char *repository = tn_image_ref_repository(r);
    return r->digest != NULL ? tn_format("%s@%s", repository, r->digest)
                             : tn_format("%s:%s", repository, r->tag);
}
