// No feature macros here: Swift's Glibc module has none, and modules that disagree about `fd_set` clash.
// The one door to libnghttp2; only HTTPWire (and its tests) opens it.
#include <nghttp2/nghttp2.h>

// Both options are Debian backports to 1.52 (1.52.0-1+deb12u1 and deb12u2); upstream has them from 1.57 and 1.61.
// The names are resolved weakly, so that a program built against this header still starts with a library
// that lacks them. Each call answers 1 when the option was set and 0 when the library has no such option.
extern void nghttp2_option_set_stream_reset_rate_limit(nghttp2_option *option, uint64_t burst, uint64_t rate)
    __attribute__((weak));
extern void nghttp2_option_set_max_continuations(nghttp2_option *option, size_t val) __attribute__((weak));

static inline int gatehouse_set_stream_reset_rate_limit(nghttp2_option *option, uint64_t burst, uint64_t rate) {
    if (!nghttp2_option_set_stream_reset_rate_limit) return 0;
    nghttp2_option_set_stream_reset_rate_limit(option, burst, rate);
    return 1;
}

static inline int gatehouse_set_max_continuations(nghttp2_option *option, size_t count) {
    if (!nghttp2_option_set_max_continuations) return 0;
    nghttp2_option_set_max_continuations(option, count);
    return 1;
}
