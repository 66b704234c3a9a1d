// Both C modules of the HTTP targets ask for the same GNU declarations: modules that disagree about `fd_set` clash.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
// The one door to libevent, and to two Linux calls that Swift's Glibc module leaves out; only HTTPTransport opens it.
#include <event2/event.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static inline int gatehouse_eventfd(void) {
    return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

// `accept4` with a descriptor that does not block and is not inherited.
static inline int gatehouse_accept(int listener, struct sockaddr_storage *peer) {
    socklen_t size = sizeof(*peer);
    return accept4(listener, (struct sockaddr *)peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
