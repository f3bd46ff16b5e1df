/* turnout/json.h - text from elsewhere as JSON. */
#ifndef TURNOUT_JSON_H
#define TURNOUT_JSON_H

#include <jansson.h>

/* A JSON string, new reference, never NULL: NULL becomes null, bytes that are no UTF-8 become \xNN (as text), so that one
 * bad name never costs a whole object. */
json_t *tn_json_text(const char *s);

#endif
