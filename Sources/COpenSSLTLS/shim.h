// The one door to libssl; only HTTPTransport opens it. What OpenSSL offers as macros, and how this service sets it up.
#include <openssl/ssl.h>
#include <openssl/err.h>
#include <string.h>

// Chooses h2, then http/1.1, among what the client offers; nothing in common ends the handshake (RFC 7301 section 3.2).
static inline int gatehouse_alpn(SSL *ssl, const unsigned char **out, unsigned char *count, const unsigned char *offered,
                                 unsigned int size, void *unused) {
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    (void)ssl;
    (void)unused;
    if (SSL_select_next_proto((unsigned char **)out, count, ours, sizeof(ours) - 1, offered, size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    return SSL_TLSEXT_ERR_OK;
}

// A context as decision 0015 has it; null when there is no memory or a setting is refused.
static inline SSL_CTX *gatehouse_tls_context(void) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context) return 0;
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_alpn_select_cb(context, gatehouse_alpn, 0);
    if (!SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) || !SSL_CTX_set_num_tickets(context, 0) ||
        // Of TLS 1.2, only what RFC 9113 section 9.2.2 leaves: ephemeral keys and authenticated encryption.
        !SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20")) {
        SSL_CTX_free(context);
        return 0;
    }
    return context;
}

// Demands a certificate that an authority of `file` has signed; 1 when that can be done.
static inline int gatehouse_tls_demand_certificates(SSL_CTX *context, const char *file) {
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);
    if (!names || SSL_CTX_load_verify_locations(context, file, 0) != 1) return 0;
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, 0);
    return 1;
}

// Whether the client chose HTTP/2.
static inline int gatehouse_tls_is_http2(const SSL *ssl) {
    const unsigned char *name = 0;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl, &name, &size);
    return size == 2 && memcmp(name, "h2", 2) == 0;
}

// Whether a failed handshake began with a request of HTTP/1.
static inline int gatehouse_tls_was_cleartext(void) {
    return ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST;
}

// Says that a read, which gave nothing, is worth another try later.
static inline void gatehouse_bio_retry_read(BIO *bio) { BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY); }

static inline void gatehouse_bio_clear_retry(BIO *bio) { BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY); }

typedef void (*gatehouse_tls_watcher)(int is_written, int version, int type, const void *bytes, size_t count, SSL *ssl, void *argument);

// Shows every message of the protocol to `watcher`.
static inline void gatehouse_tls_watch(SSL *ssl, gatehouse_tls_watcher watcher, void *argument) {
    SSL_set_msg_callback(ssl, watcher);
    SSL_set_msg_callback_arg(ssl, argument);
}

static inline const char *gatehouse_tls_reason(void) {
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text ? text : "unknown error";
}
