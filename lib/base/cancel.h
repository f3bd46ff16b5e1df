#include "turnout/cancel.h" /* moved */
