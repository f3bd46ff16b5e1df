/* turnout/clock.h - two clocks: monotonic for waits, wall for text. Milliseconds. */
#ifndef TURNOUT_CLOCK_H
#define TURNOUT_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t tn_mono_ms(void);
int64_t tn_mono_us(void);
int64_t tn_wall_ms(void);
/* RFC 3339, UTC, milliseconds: 2026-11-24T20:35:45.123Z. buf ≥ 32 bytes. */
const char *tn_format_time(int64_t wall_ms, char *buf, size_t n);
/* Local HH:MM:SS. buf ≥ 16 bytes. */
const char *tn_format_clock(int64_t wall_ms, char *buf, size_t n);
/* RFC 3339 with any fraction and zone → wall ms; -1 when it is not one, or is the zero time of Go. */
int64_t tn_parse_time(const char *s);

#endif
