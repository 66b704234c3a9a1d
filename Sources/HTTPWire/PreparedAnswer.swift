import CNghttp2
package import HTTPTypes
import Synchronization

/// A finished answer that is sent again and again: its field list is laid out once.
///
/// The `date` field is not part of it.
package final class PreparedAnswer: @unchecked Sendable {
    package let response: HTTPResponse
    package let body: SharedBytes
    let hasDate: Bool
    /// Names and values of the list, at one address.
    private let text: SharedBytes
    /// The list as libnghttp2 wants it, which reads `text` until the answer is sent: whoever submits it holds the answer.
    ///
    /// Pointers are the reason for `@unchecked`: what they point at never changes.
    let list: [nghttp2_nv]
    /// Status line and fields of HTTP/1.1, without the empty line.
    let http1Head: [UInt8]
    private let countUse: @Sendable () -> Void
    private let isRevoked = Atomic<Bool>(false)

    /// Prepares an answer to GET; nil when it cannot be sent as it is (an interim status, a body with a status that has
    /// none, or a list that is too large).
    ///
    /// - Parameter countUse: Called for each time it is taken.
    package init?(_ response: HTTPResponse, body: SharedBytes, countUse: @escaping @Sendable () -> Void = {}) {
        let status = response.status.code
        var fields = FlatFields(response, status: status)
        if !fields.hasContentLength { fields.addContentLength(body.count) }
        guard (200...999).contains(status), status != 204, status != 304, fields.fits else { return nil }
        self.response = response
        self.body = body
        hasDate = fields.hasDate
        let text = SharedBytes(fields.bytes)
        self.text = text
        list = fields.list(at: text)
        self.countUse = countUse
        http1Head = fields.http1Head(response.status)
    }

    /// The same with a copy of `body`.
    package convenience init?(_ response: HTTPResponse, body: [UInt8]) { self.init(response, body: SharedBytes(body)) }

    /// From now on it is not to be taken any more: what it shows was removed, or others need the room.
    package func revoke() { isRevoked.store(true, ordering: .relaxed) }

    /// Whether it may still be taken.
    package var isCurrent: Bool { !isRevoked.load(ordering: .relaxed) }

    /// Takes it for one more request; false when that is too late.
    package func use() -> Bool {
        guard isCurrent else { return false }
        countUse()
        return true
    }
}
