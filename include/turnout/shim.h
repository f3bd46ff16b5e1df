/* turnout/shim.h - the entry of the shim, for programs that link the library: `PROGRAM __shim DIR` must call it first
 * thing in main, before any thread. It is how processes and hooks are started. */
#ifndef TURNOUT_SHIM_H
#define TURNOUT_SHIM_H

int tn_shim_main(const char *dir);

#endif
