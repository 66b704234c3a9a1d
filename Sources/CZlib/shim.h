// The one door to zlib; only API opens it.
#include <zlib.h>
