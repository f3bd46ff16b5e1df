#include "turnout/json.h"

#include <string.h>

#include "turnout/buf.h"
#include "turnout/text.h"

json_t *tn_json_text(const char *s)
{
    if (!s)
        return json_null();
    json_t *j = json_string(s);
    if (j)
        return j;
    tn_autobuf clean = TN_BUF_INIT(strlen(s) * 4 + 1);
    tn_filter(&clean, s, strlen(s), true);
    j = json_string(clean.data ? clean.data : "");
    return j ? j : json_null();
}
