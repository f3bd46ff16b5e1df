#include "turnout/mem.h" /* moved */
