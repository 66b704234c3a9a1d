// The one door to libevent; only HTTPTransport opens it.
#include <event2/event.h>
