package import HTTPTypes

/// A finished answer that is sent again and again: its field list is laid out once.
///
/// The `date` field is not part of it.
package final class PreparedAnswer: Sendable {
    package let response: HTTPResponse
    package let body: SharedBytes
    let fields: FlatFields
    /// Status line and fields of HTTP/1.1, without the empty line.
    let http1Head: [UInt8]

    /// Prepares an answer to GET; nil when it cannot be sent as it is (an interim status, a body with a status that has
    /// none, or a list that is too large).
    package init?(_ response: HTTPResponse, body: SharedBytes) {
        let status = response.status.code
        var fields = FlatFields(response, status: status)
        if !fields.hasContentLength { fields.addContentLength(body.count) }
        guard (200...999).contains(status), status != 204, status != 304, fields.fits else { return nil }
        self.response = response
        self.body = body
        self.fields = fields
        http1Head = fields.http1Head(response.status)
    }

    /// The same with a copy of `body`.
    package convenience init?(_ response: HTTPResponse, body: [UInt8]) { self.init(response, body: SharedBytes(body)) }
}
