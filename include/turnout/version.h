/* turnout/version.h - what this build is. */
#ifndef TURNOUT_VERSION_H
#define TURNOUT_VERSION_H

#define TN_RELEASE "0.1.0"
const char *tn_version(void); /* release and, when known, the commit */

#endif
