import CNghttp2

/// The C side of `HTTP2Connection`: what libnghttp2 calls, and the options it is given.
enum HTTP2Callbacks {
    static let success: Int32 = 0
    static let fatal = Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
    /// Resets the stream and goes on.
    static let temporal = Int32(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)

    /// Calls `body` with a table of callbacks and a set of options; both are copied into a session made from them.
    static func withCallbacksAndOptions(_ limits: WireLimits, _ body: (OpaquePointer, OpaquePointer) -> Void) {
        var callbacks: OpaquePointer?
        var options: OpaquePointer?
        defer {
            nghttp2_session_callbacks_del(callbacks)
            nghttp2_option_del(options)
        }
        guard nghttp2_session_callbacks_new(&callbacks) == 0, nghttp2_option_new(&options) == 0,
            let callbacks, let options
        else { return }
        set(callbacks)
        set(options, limits)
        body(callbacks, options)
    }

    private static func set(_ options: OpaquePointer, _ limits: WireLimits) {
        nghttp2_option_set_no_auto_window_update(options, 1)
        nghttp2_option_set_no_closed_streams(options, 1)
        nghttp2_option_set_max_settings(options, limits.settingsEntries)
        nghttp2_option_set_max_outbound_ack(options, limits.outboundAcknowledgements)
        // Frames of unknown types are otherwise skipped without a callback, and so without a charge.
        for type in UInt8(0x0a)...UInt8.max { nghttp2_option_set_user_recv_extension_type(options, type) }
        _ = gatehouse_set_stream_reset_rate_limit(
            options, UInt64(limits.libraryInboundResets.burst), UInt64(limits.libraryInboundResets.perSecond))
        _ = gatehouse_set_max_continuations(options, limits.continuations)
    }

    private static func set(_ callbacks: OpaquePointer) {
        nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks) { _, header, userData in
            guard let header, let connection = connection(userData) else { return HTTP2Callbacks.fatal }
            return connection.beganFrame(header.pointee)
        }
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, userData in
            guard let frame, let connection = connection(userData) else { return HTTP2Callbacks.fatal }
            return connection.beganHeaders(frame.pointee)
        }
        nghttp2_session_callbacks_set_on_header_callback2(callbacks) { _, frame, name, value, _, userData in
            guard let frame, let name, let value, let connection = connection(userData) else {
                return HTTP2Callbacks.fatal
            }
            return connection.gotField(frame.pointee.hd.stream_id, name: name, value: value)
        }
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, userData in
            guard let frame, let connection = connection(userData) else { return HTTP2Callbacks.fatal }
            return connection.gotFrame(frame)
        }
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) {
            _, _, stream, data, count, userData in
            guard let connection = connection(userData) else { return HTTP2Callbacks.fatal }
            return connection.gotData(StreamID(stream), UnsafeBufferPointer(start: data, count: count))
        }
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks) { _, frame, code, userData in
            guard let frame, let connection = connection(userData) else { return HTTP2Callbacks.fatal }
            return connection.gotInvalidFrame(frame.pointee.hd, code)
        }
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, stream, _, userData in
            guard let connection = connection(userData) else { return HTTP2Callbacks.fatal }
            connection.closedStream(StreamID(stream))
            return HTTP2Callbacks.success
        }
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { _, frame, userData in
            guard let frame, let connection = connection(userData) else { return HTTP2Callbacks.fatal }
            return connection.sentFrame(frame)
        }
        nghttp2_session_callbacks_set_unpack_extension_callback(callbacks) { _, _, _, _ in
            // RFC 9113 section 5.5: ignored. It was charged when it began.
            Int32(NGHTTP2_ERR_CANCEL.rawValue)
        }
        nghttp2_session_callbacks_set_send_data_callback(callbacks) { _, _, header, count, source, userData in
            guard let header, let source, let connection = connection(userData) else { return HTTP2Callbacks.fatal }
            return connection.sendData(header: header, count: count, slotIndex: Int(source.pointee.fd))
        }
    }

    /// The provider of a response body; `fd` of its source is the position of the stream's slot.
    static func dataProvider(slotIndex: Int) -> nghttp2_data_provider {
        nghttp2_data_provider(source: nghttp2_data_source(fd: Int32(slotIndex))) {
            _, stream, buffer, count, flags, source, userData in
            guard let buffer, let flags, let source, let connection = connection(userData) else {
                return Int(HTTP2Callbacks.fatal)
            }
            return connection.readBody(
                StreamID(stream), slotIndex: Int(source.pointee.fd),
                into: UnsafeMutableRawBufferPointer(start: buffer, count: count), flags: &flags.pointee)
        }
    }
}

/// The connection behind libnghttp2's user data; it lives as long as its session.
///
/// At file scope, because a C function pointer captures nothing, not even a metatype.
private func connection(_ userData: UnsafeMutableRawPointer?) -> HTTP2Connection? {
    guard let userData else { return nil }
    return Unmanaged<HTTP2Connection>.fromOpaque(userData).takeUnretainedValue()
}
