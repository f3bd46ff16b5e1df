#include "turnout/version.h"

#ifndef TN_VERSION
#define TN_VERSION "unknown"
#endif

const char *tn_version(void)
{
    return TN_RELEASE "+" TN_VERSION;
}
