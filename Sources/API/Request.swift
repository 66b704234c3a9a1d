import EntryCode
package import HTTPTypes
package import HTTPWire

/// A request as the handlers see it: path segments and query decoded, nothing interpreted yet.
package struct Request: Sendable {
    package var method: HTTPRequest.Method
    /// The path without its query, as it came.
    package var path: String
    /// Percent-decoded segments of the path.
    package var segments: [String]
    /// Decoded parameters in their order.
    package var query: [(name: String, value: String)]
    package var fields: HTTPFields
    package var body: [UInt8]
    /// Whether nobody waits for the answer any more.
    package var isGivenUp: @Sendable () -> Bool = { false }
    /// Sends an answer before the handler is done; what it returns must then be that same answer.
    package var answerEarly: (@Sendable (Answer) -> Void)?
    /// Says that the answer will not change any more, but for a removal: whoever asks for the same may have it.
    var settle: @Sendable () -> Void = {}
    /// Who is served in turn with others; empty for nobody in particular.
    package var client = ""
    /// The address or network of the peer, which what it does not read counts for.
    package var network = ""
    /// The threads for what takes long are taken: who would wait for an answer only so long gets one at once.
    package var isWaitHopeless = false

    /// Takes a request apart; throws `malformed-request` for a path or query that cannot be decoded.
    package init(_ incoming: IncomingRequest) throws(Problem) {
        try self.init(incoming.head, body: incoming.body)
        network = incoming.peer.network
    }

    package init(_ head: HTTPRequest, body: [UInt8]) throws(Problem) {
        method = head.method
        fields = head.headerFields
        self.body = body
        let target = head.path ?? "/"
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = parts.first.map(String.init) ?? "/"
        segments = []
        for part in path.split(separator: "/", omittingEmptySubsequences: true) {
            guard let segment = percentDecoded(part) else {
                throw Problem(.malformedRequest, "the path is not percent-encoded UTF-8")
            }
            segments.append(segment)
        }
        query = []
        guard parts.count == 2 else { return }
        for pair in parts[1].split(separator: "&", omittingEmptySubsequences: true) {
            let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = percentDecoded(sides[0], plusIsSpace: true),
                let value = percentDecoded(sides.count == 2 ? sides[1] : "", plusIsSpace: true)
            else { throw Problem(.malformedRequest, "the query is not percent-encoded UTF-8") }
            query.append((name, value))
        }
    }

    /// The value of a parameter; throws if it stands twice.
    package func parameter(_ name: String) throws(Problem) -> String? {
        let values = query.filter { $0.name == name }
        if values.count > 1 {
            throw Problem(
                .invalidParameter, "the parameter '\(name)' stands more than once",
                items: [Problem.Item(parameter: name, code: "duplicate-parameter", message: "give it once")])
        }
        return values.first?.value
    }

    /// Throws `unknown-parameter` for every parameter that the resource does not know, and for one that stands twice.
    package func allow(_ known: [String]) throws(Problem) {
        let items = query.filter { !known.contains($0.name) && $0.name != "format" }.map { parameter in
            let nearest = nearestName(to: parameter.name, among: known + ["format"])
            let shown = String(parameter.name.prefix(64))
            return Problem.Item(
                parameter: shown, code: "unknown-parameter",
                message: nearest.map { "unknown parameter '\(shown)'; did you mean '\($0)'?" }
                    ?? "unknown parameter '\(shown)'; known are: \((known + ["format"]).joined(separator: ", "))")
        }
        if let first = items.first { throw Problem(.unknownParameter, first.message, items: items) }
        for name in known + ["format"] { _ = try parameter(name) }
    }

    /// An integer parameter within a range.
    package func integer(_ name: String, in range: ClosedRange<Int>) throws(Problem) -> Int? {
        guard let text = try parameter(name) else { return nil }
        guard let value = Int(text), range.contains(value) else {
            throw Problem(
                .invalidParameter, "'\(name)' is a number from \(range.lowerBound) to \(range.upperBound)",
                items: [Problem.Item(parameter: name, code: "out-of-range", message: "not a number in that range")])
        }
        return value
    }

    /// A parameter with a closed set of values.
    package func choice<T: RawRepresentable & CaseIterable>(
        _ name: String, _ type: T.Type
    ) throws(Problem) -> T? where T.RawValue == String {
        guard let text = try parameter(name) else { return nil }
        guard let value = T(rawValue: text) else {
            throw Problem(
                .invalidParameter, "'\(name)' is one of: \(T.allCases.map(\.rawValue).joined(separator: ", "))",
                items: [Problem.Item(parameter: name, code: "invalid-value", message: "not one of them")])
        }
        return value
    }
}

/// Decodes `%XX`; nil where the escapes are malformed or the result is not UTF-8.
package func percentDecoded(_ text: Substring, plusIsSpace: Bool = false) -> String? {
    if !text.utf8.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") }) { return String(text) }
    var bytes: [UInt8] = []
    var iterator = text.utf8.makeIterator()
    while let byte = iterator.next() {
        if byte == UInt8(ascii: "+") && plusIsSpace {
            bytes.append(0x20)
        } else if byte == UInt8(ascii: "%") {
            guard let high = iterator.next().flatMap(hexadecimalValue),
                let low = iterator.next().flatMap(hexadecimalValue)
            else { return nil }
            bytes.append(high << 4 | low)
        } else {
            bytes.append(byte)
        }
    }
    return String(validating: bytes, as: UTF8.self)
}

private func hexadecimalValue(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}

/// Encodes what may not stand in a path segment or query value (RFC 3986, section 2.3).
package func percentEncoded(_ text: String) -> String {
    var out = ""
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            out.unicodeScalars.append(Unicode.Scalar(byte))
        default:
            out += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
        }
    }
    return out
}
