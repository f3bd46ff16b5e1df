#include "turnout/clock.h" /* moved */
