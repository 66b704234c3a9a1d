// First, so that it is declared as in Swift's Glibc module and in CNghttp2: <event2/event-config.h> defines _GNU_SOURCE,
// which changes a member's name in `fd_set`, and modules that disagree about a type do not compile together.
#include <sys/select.h>
// The one door to libevent, and to two Linux calls that Swift's Glibc module leaves out; only HTTPTransport opens it.
#include <event2/event.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static inline int gatehouse_eventfd(void) {
    return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

// Declared by <sys/socket.h> under _GNU_SOURCE only.
extern int accept4(int listener, struct sockaddr *peer, socklen_t *size, int flags);

// `accept4` with a descriptor that does not block and is not inherited.
static inline int gatehouse_accept(int listener, struct sockaddr_storage *peer) {
    socklen_t size = sizeof(*peer);
    return accept4(listener, (struct sockaddr *)peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

// A copy of a socket that the process was started with; it does not block and is not inherited.
static inline int gatehouse_duplicate(int number) {
    int copy = fcntl(number, F_DUPFD_CLOEXEC, 3);
    if (copy >= 0) fcntl(copy, F_SETFL, fcntl(copy, F_GETFL) | O_NONBLOCK);
    return copy;
}
