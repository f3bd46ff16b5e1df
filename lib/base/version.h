#include "turnout/version.h" /* moved */
