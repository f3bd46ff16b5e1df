#include "turnout/text.h" /* moved */
