import HTTPTypes

/// Ready-made values for the names and methods that nearly every request carries.
enum FieldNames {
    private struct Entry {
        let bytes: [UInt8]
        let name: HTTPField.Name
    }

    /// Entries by length: most lengths have one or two, so a lookup compares few bytes and hashes none.
    private static let byLength: [[Entry]] = {
        let common = [
            "accept", "accept-encoding", "accept-language", "authorization", "cache-control", "content-encoding",
            "content-length", "content-type", "cookie", "expect", "host", "if-match", "if-none-match",
            "idempotency-key", "origin", "prefer", "referer", "user-agent", "te", "priority", "x-forwarded-for",
            "x-request-id", "traceparent", "sec-fetch-mode", "sec-fetch-site", "sec-fetch-dest", "dnt",
        ]
        var table: [[Entry]] = Array(repeating: [], count: 20)
        for text in common {
            guard let name = HTTPField.Name(parsed: text), text.utf8.count < table.count else { continue }
            table[text.utf8.count].append(Entry(bytes: Array(text.utf8), name: name))
        }
        return table
    }()

    /// The field name of these bytes; nil when they are not a lower-case token (RFC 9113 section 8.2.1).
    static func name(for bytes: UnsafeBufferPointer<UInt8>) -> HTTPField.Name? {
        if bytes.count < byLength.count {
            for entry in byLength[bytes.count] where entry.bytes.elementsEqual(bytes) { return entry.name }
        }
        return HTTPField.Name(parsed: String(decoding: bytes, as: UTF8.self))
    }

    /// The method of these bytes; nil when they are not a token (RFC 9110 section 9.1).
    static func method(for bytes: UnsafeBufferPointer<UInt8>) -> HTTPRequest.Method? {
        // At most 15 bytes are a String without allocation.
        let text = String(decoding: bytes, as: UTF8.self)
        switch text {
        case "GET": return .get
        case "POST": return .post
        case "HEAD": return .head
        case "PUT": return .put
        case "DELETE": return .delete
        case "OPTIONS": return .options
        case "PATCH": return .patch
        default: return HTTPRequest.Method(rawValue: text)
        }
    }
}
