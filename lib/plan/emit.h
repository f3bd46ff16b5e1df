/* emit.h - C structs + the key table → JSON: the way back of bind.h. */
#ifndef TN_PLAN_EMIT_H
#define TN_PLAN_EMIT_H

#include "lib/plan/keys.h"

/* Every TN_REVISION key whose value differs from its default, normalised: commands as lists, durations in ms, CPUs in
 * thousandths, sizes in bytes. New reference; an empty object when nothing differs. */
json_t *tn_emit_revision(const struct tn_schema *s, const void *in);

#endif
