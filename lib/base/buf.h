#include "turnout/buf.h" /* moved */
