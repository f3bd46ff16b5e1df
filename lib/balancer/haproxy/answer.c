/* answer.c - answers of the runtime API. Columns are looked up by the names in the header lines: newer versions add
 * and move some. */
#include "lib/balancer/haproxy/haproxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "turnout/text.h"

enum { COLUMNS_MAX = 256, SERVERS_MAX = 16384 };
/* srv_admin_state, from HAProxy's management guide: forced, inherited, DNS and hostname maintenance; drains. */
enum { ADMIN_MAINT = 0x01 | 0x02 | 0x20 | 0x40, ADMIN_DRAIN = 0x08 | 0x10 };
enum { OPERATIONAL_STARTING = 1, OPERATIONAL_RUNNING = 2 };

struct row {
    char *v[COLUMNS_MAX];
    size_t n;
};

void tn_haproxy_runtime_clear(struct tn_haproxy_runtime *r)
{
    for (size_t i = 0; i < r->n; i++) {
        free(r->v[i].backend);
        free(r->v[i].name);
        free(r->v[i].address);
    }
    free(r->v);
    memset(r, 0, sizeof(*r));
}

/* Cuts the line. A field in double quotes may hold the separator; the quotes are dropped. */
static void split(char *line, char separator, struct row *out)
{
    out->n = 0;
    while (out->n < COLUMNS_MAX) {
        bool quoted = *line == '"';
        char *field = quoted ? line + 1 : line;
        char *end = quoted ? strchr(field, '"') : NULL;
        if (end != NULL) {
            *end++ = '\0';
        } else {
            end = field;
        }
        out->v[out->n++] = field;
        end = strchr(end, separator);
        if (end == NULL) {
            return;
        }
        *end = '\0';
        line = end + 1;
    }
}

static const char *column(const struct row *header, const struct row *row, const char *name)
{
    for (size_t i = 0; i < header->n && i < row->n; i++) {
        if (strcmp(header->v[i], name) == 0) {
            return row->v[i];
        }
    }
    return "";
}

static int64_t count_of(const char *text)
{
    int64_t v;
    return tn_parse_int(text, &v) && v >= 0 ? v : 0;
}

static int small(const char *text)
{
    int64_t v = count_of(text);
    return v <= 65535 ? (int)v : 0;
}

static struct tn_haproxy_server *entry(struct tn_haproxy_runtime *r, const char *backend, const char *name)
{
    for (size_t i = 0; i < r->n; i++) {
        if (strcmp(r->v[i].backend, backend) == 0 && strcmp(r->v[i].name, name) == 0) {
            return &r->v[i];
        }
    }
    if (r->n >= SERVERS_MAX) {
        return NULL;
    }
    TN_GROW(r->v, r->n, r->cap);
    r->v[r->n] = (struct tn_haproxy_server){.backend = tn_strdup(backend), .name = tn_strdup(name)};
    return &r->v[r->n++];
}

static void read_stat(const struct row *h, const struct row *row, const struct tn_haproxy_file *ours,
                      const char *frontend, struct tn_haproxy_runtime *out)
{
    static const char *const classes[] = {"hrsp_1xx", "hrsp_2xx", "hrsp_3xx",
                                          "hrsp_4xx", "hrsp_5xx", "hrsp_other"};
    const char *proxy = column(h, row, "pxname"), *name = column(h, row, "svname");
    if (strcmp(name, "FRONTEND") == 0) {
        out->generation_loaded = out->generation_loaded || (frontend != NULL && strcmp(proxy, frontend) == 0);
        return;
    }
    if (strcmp(name, "BACKEND") == 0 || tn_haproxy_find(ours, proxy) == NULL) {
        return;
    }
    struct tn_haproxy_server *s = entry(out, proxy, name);
    if (s == NULL) {
        return;
    }
    s->has_stat = true;
    s->up = strcmp(column(h, row, "status"), "UP") == 0;
    s->running = count_of(column(h, row, "scur"));
    int64_t queued = count_of(column(h, row, "qcur"));
    s->running = s->running < INT32_MAX && queued < INT32_MAX ? s->running + queued : INT32_MAX;
    /* "* L7OK" while the next check runs. */
    const char *check = column(h, row, "check_status");
    check += strspn(check, "* ");
    size_t n = strlen(check);
    n = n < sizeof(s->check) ? n : sizeof(s->check) - 1;
    memset(s->check, 0, sizeof(s->check));
    memcpy(s->check, check, n);
    s->answered = 0;
    for (size_t i = 0; i < TN_COUNT(classes); i++) {
        int64_t more = count_of(column(h, row, classes[i]));
        s->answered = more < INT64_MAX / 8 ? s->answered + more : INT64_MAX / 8;
    }
}

static void read_state(const struct row *h, const struct row *row, const struct tn_haproxy_file *ours,
                       struct tn_haproxy_runtime *out)
{
    char address[64];
    const char *backend = column(h, row, "be_name");
    if (tn_haproxy_find(ours, backend) == NULL) {
        return;
    }
    struct tn_haproxy_server *s = entry(out, backend, column(h, row, "srv_name"));
    if (s == NULL) {
        return;
    }
    s->has_state = true;
    free(s->address);
    s->address = tn_haproxy_address(column(h, row, "srv_addr"), address) ? tn_strdup(address) : NULL;
    s->port = small(column(h, row, "srv_port"));
    s->operational = small(column(h, row, "srv_op_state"));
    s->admin = (unsigned)small(column(h, row, "srv_admin_state"));
    s->weight = small(column(h, row, "srv_uweight"));
}

static void read_info(const char *line, struct tn_haproxy_runtime *out)
{
    if (tn_starts_with(line, "Pid: ")) {
        out->pid = count_of(line + strlen("Pid: "));
    } else if (tn_starts_with(line, "Stopping: ")) {
        out->stopping = count_of(line + strlen("Stopping: ")) != 0;
    }
}

int tn_haproxy_answer(const char *text, const struct tn_haproxy_file *ours, const char *frontend,
                      struct tn_haproxy_runtime *out, struct tn_error **err)
{
    enum { INFO, STAT, STATE } part = INFO;
    bool seen_stat = false, seen_state = false;
    struct row header = {.n = 0}, row;
    tn_autofree char *copy = tn_strdup(text);
    for (char *line = copy, *next; line != NULL; line = next) {
        char *end = strchr(line, '\n');
        next = end != NULL ? end + 1 : NULL;
        if (end != NULL) {
            *end = '\0';
        }
        if (tn_starts_with(line, "# pxname,")) {
            split(line + 2, ',', &header);
            part = STAT;
            seen_stat = true;
        } else if (tn_starts_with(line, "# be_id ")) {
            split(line + 2, ' ', &header);
            part = STATE;
            seen_state = true;
        } else if (part == INFO) {
            read_info(line, out);
        } else if (*line != '\0') {
            split(line, part == STAT ? ',' : ' ', &row);
            if (part == STAT) {
                read_stat(&header, &row, ours, frontend, out);
            } else {
                read_state(&header, &row, ours, out);
            }
        }
    }
    if (out->pid <= 0 || !seen_stat || !seen_state) {
        tn_haproxy_runtime_clear(out);
        return tn_error_set(err, TN_EPROTO, "haproxy's runtime API answered something else than asked for");
    }
    return TN_OK;
}

const struct tn_haproxy_server *tn_haproxy_server(const struct tn_haproxy_runtime *r, const char *backend,
                                                  size_t slot)
{
    char name[24];
    snprintf(name, sizeof(name), "s%zu", slot + 1);
    for (size_t i = 0; i < r->n; i++) {
        if (r->v[i].has_state && r->v[i].has_stat && strcmp(r->v[i].name, name) == 0 &&
            strcmp(r->v[i].backend, backend) == 0) {
            return &r->v[i];
        }
    }
    return NULL;
}

bool tn_haproxy_in_maint(const struct tn_haproxy_server *s)
{
    return (s->admin & ADMIN_MAINT) != 0;
}

bool tn_haproxy_in_rotation(const struct tn_haproxy_server *s)
{
    return (s->admin & (ADMIN_MAINT | ADMIN_DRAIN)) == 0 && s->weight > 0 &&
           (s->operational == OPERATIONAL_STARTING || s->operational == OPERATIONAL_RUNNING);
}

bool tn_haproxy_at(const struct tn_haproxy_server *s, const struct tn_haproxy_slot *slot)
{
    return tn_streq(s->address, slot->address) && s->port == slot->port;
}

bool tn_haproxy_checked(const struct tn_haproxy_server *s)
{
    static const char *const passed[] = {"L7OK", "L7OKC", "L6OK", "L4OK"};
    bool ok = false;
    for (size_t i = 0; i < TN_COUNT(passed); i++) {
        ok = ok || strcmp(s->check, passed[i]) == 0;
    }
    return ok && s->up && tn_haproxy_in_rotation(s);
}
