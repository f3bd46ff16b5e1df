#include "turnout/fs.h" /* moved */
