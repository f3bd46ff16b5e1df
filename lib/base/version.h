/* version.h - what this build is. */
#ifndef TN_BASE_VERSION_H
#define TN_BASE_VERSION_H

#define TN_RELEASE "0.1.0"
const char *tn_version(void); /* release and, when known, the commit */

#endif
