/// A document that is not JSON, or exceeds a limit; parsing stops at the first such place.
package struct JSONSyntaxError: Error, Sendable, Hashable {
    /// Stable: `json-syntax`, `json-too-deep`, `json-too-large`, `json-invalid-utf8`, `json-number-range`.
    package var code: String
    package var message: String
    /// Offset from the start of the document, in bytes.
    package var offset_bytes: Int
    /// 1-based.
    package var line: Int
    /// 1-based, in bytes.
    package var column: Int
    /// The innermost value that was being read.
    package var pointer: String
}

/// Bounds of what the parser accepts.
package struct JSONLimits: Sendable, Hashable {
    package var size_bytes = 1 << 20
    package var depth = 32
    /// Values in one document.
    package var values = 100_000

    package init() {}
}

/// A parsed document and the places where a key was repeated.
package struct JSONDocument: Sendable {
    package var value: JSON
    /// Pointers of members whose key stood in the same object before.
    package var duplicateKeys: [String]
}

extension JSON {
    /// Parses strict JSON (RFC 8259): no comments, no trailing commas, UTF-8 only.
    ///
    /// Our own parser because the ones at hand neither report repeated keys nor where a fault is (decision 0002).
    package static func parse(
        _ bytes: [UInt8], limits: JSONLimits = JSONLimits()
    ) throws(JSONSyntaxError) -> JSONDocument {
        var parser = JSONParser(bytes: bytes, limits: limits)
        return try parser.document()
    }
}

private struct JSONParser {
    let bytes: [UInt8]
    let limits: JSONLimits
    var position = 0
    var values = 0
    var path: [Step] = []
    var duplicates: [String] = []

    /// One level of the way to the value that is being read.
    enum Step {
        case key(String)
        case index(Int)
    }

    init(bytes: [UInt8], limits: JSONLimits) {
        self.bytes = bytes
        self.limits = limits
    }

    mutating func document() throws(JSONSyntaxError) -> JSONDocument {
        if bytes.count > limits.size_bytes {
            throw failure(
                "json-too-large", "the document has \(bytes.count) bytes; at most \(limits.size_bytes) are accepted")
        }
        skipSpace()
        let value = try self.value(depth: 0)
        skipSpace()
        if position < bytes.count { throw failure("json-syntax", "text follows the end of the document") }
        return JSONDocument(value: value, duplicateKeys: duplicates)
    }

    func failure(_ code: String, _ message: String) -> JSONSyntaxError {
        var line = 1
        var column = 1
        for byte in bytes.prefix(position) {
            if byte == 0x0A {
                line += 1
                column = 1
            } else {
                column += 1
            }
        }
        return JSONSyntaxError(
            code: code, message: message, offset_bytes: position, line: line, column: column,
            pointer: currentPointer)
    }

    var currentPointer: String {
        path.reduce("") { place, step in
            switch step {
            case .key(let key): pointer(place, key)
            case .index(let index): "\(place)/\(index)"
            }
        }
    }

    var byte: UInt8? { position < bytes.count ? bytes[position] : nil }

    mutating func skipSpace() {
        while let byte, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    mutating func value(depth: Int) throws(JSONSyntaxError) -> JSON {
        if depth > limits.depth {
            throw failure("json-too-deep", "values are nested more than \(limits.depth) deep")
        }
        values += 1
        if values > limits.values {
            throw failure("json-too-large", "the document has more than \(limits.values) values")
        }
        guard let byte else { throw failure("json-syntax", "the document ends where a value is expected") }
        switch byte {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw failure("json-syntax", "a value is expected here")
        }
    }

    mutating func word(_ text: StaticString, _ value: JSON) throws(JSONSyntaxError) -> JSON {
        let count = text.utf8CodeUnitCount
        let matches =
            position + count <= bytes.count
            && text.withUTF8Buffer { $0.elementsEqual(bytes[position..<(position + count)]) }
        if !matches { throw failure("json-syntax", "expected \(text)") }
        position += count
        return value
    }

    mutating func object(depth: Int) throws(JSONSyntaxError) -> JSON {
        position += 1
        var members: [JSON.Member] = []
        var names = MemberNames()
        skipSpace()
        if byte == UInt8(ascii: "}") {
            position += 1
            return .object([])
        }
        while true {
            skipSpace()
            guard byte == UInt8(ascii: "\"") else {
                throw failure("json-syntax", "a member name in quotes is expected")
            }
            let key = try string()
            skipSpace()
            guard byte == UInt8(ascii: ":") else { throw failure("json-syntax", "':' is expected after a member name") }
            position += 1
            skipSpace()
            path.append(.key(key))
            if !names.insert(key, after: members) && duplicates.count < 100 { duplicates.append(currentPointer) }
            let value = try self.value(depth: depth + 1)
            path.removeLast()
            members.append(JSON.Member(key, value))
            skipSpace()
            if byte == UInt8(ascii: ",") {
                position += 1
                continue
            }
            if byte == UInt8(ascii: "}") {
                position += 1
                return .object(members)
            }
            throw failure("json-syntax", "',' or '}' is expected here")
        }
    }

    mutating func array(depth: Int) throws(JSONSyntaxError) -> JSON {
        position += 1
        var elements: [JSON] = []
        skipSpace()
        if byte == UInt8(ascii: "]") {
            position += 1
            return .array([])
        }
        while true {
            skipSpace()
            path.append(.index(elements.count))
            elements.append(try value(depth: depth + 1))
            path.removeLast()
            skipSpace()
            if byte == UInt8(ascii: ",") {
                position += 1
                continue
            }
            if byte == UInt8(ascii: "]") {
                position += 1
                return .array(elements)
            }
            throw failure("json-syntax", "',' or ']' is expected here")
        }
    }

    mutating func string() throws(JSONSyntaxError) -> String {
        position += 1
        let start = position
        while let byte, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { position += 1 }
        if byte == UInt8(ascii: "\"") {
            // The common case: no escape, one copy.
            guard let text = String(validating: bytes[start..<position], as: UTF8.self) else {
                throw failure("json-invalid-utf8", "the string is not valid UTF-8")
            }
            position += 1
            return text
        }
        var buffer = Array(bytes[start..<position])
        while let byte {
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: buffer, as: UTF8.self) else {
                    throw failure("json-invalid-utf8", "the string is not valid UTF-8")
                }
                position += 1
                return text
            case UInt8(ascii: "\\"):
                position += 1
                try escape(into: &buffer)
            case 0..<0x20:
                throw failure("json-syntax", "control characters in a string are written as escapes")
            default:
                buffer.append(byte)
                position += 1
            }
        }
        throw failure("json-syntax", "the string does not end")
    }

    mutating func escape(into buffer: inout [UInt8]) throws(JSONSyntaxError) {
        guard let byte else { throw failure("json-syntax", "the string does not end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): buffer.append(byte)
        case UInt8(ascii: "b"): buffer.append(0x08)
        case UInt8(ascii: "f"): buffer.append(0x0C)
        case UInt8(ascii: "n"): buffer.append(0x0A)
        case UInt8(ascii: "r"): buffer.append(0x0D)
        case UInt8(ascii: "t"): buffer.append(0x09)
        case UInt8(ascii: "u"):
            var scalar = UInt32(try fourDigits())
            if scalar >= 0xD800 && scalar < 0xDC00 {
                guard self.byte == UInt8(ascii: "\\"), position + 1 < bytes.count,
                    bytes[position + 1] == UInt8(ascii: "u")
                else { throw failure("json-syntax", "a high surrogate must be followed by a low one") }
                position += 2
                let low = UInt32(try fourDigits())
                guard low >= 0xDC00 && low < 0xE000 else {
                    throw failure("json-syntax", "a high surrogate must be followed by a low one")
                }
                scalar = 0x10000 + ((scalar - 0xD800) << 10) + (low - 0xDC00)
            }
            guard let unicode = Unicode.Scalar(scalar) else {
                throw failure("json-syntax", "a low surrogate stands alone")
            }
            buffer.append(contentsOf: Array(String(Character(unicode)).utf8))
        default:
            position -= 1
            throw failure("json-syntax", "unknown escape in a string")
        }
    }

    mutating func fourDigits() throws(JSONSyntaxError) -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard let byte, let digit = hexadecimalDigit(byte) else {
                throw failure("json-syntax", "four hexadecimal digits are expected")
            }
            value = value << 4 | UInt16(digit)
            position += 1
        }
        return value
    }

    func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    mutating func digits() -> Int {
        let start = position
        while let byte, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { position += 1 }
        return position - start
    }

    mutating func number() throws(JSONSyntaxError) -> JSON {
        let start = position
        if byte == UInt8(ascii: "-") { position += 1 }
        let leadsWithZero = byte == UInt8(ascii: "0")
        let count = digits()
        if count == 0 || (leadsWithZero && count > 1) {
            throw failure("json-syntax", "a number has digits and no leading zero")
        }
        var isInteger = true
        if byte == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            if digits() == 0 { throw failure("json-syntax", "digits are expected after the decimal point") }
        }
        if byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") {
            isInteger = false
            position += 1
            if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { position += 1 }
            if digits() == 0 { throw failure("json-syntax", "digits are expected in the exponent") }
        }
        if isInteger && count <= 18 {
            // The common case: no text in between, and too short to overflow.
            var value: Int64 = 0
            for digit in bytes[(position - count)..<position] { value = value * 10 + Int64(digit - UInt8(ascii: "0")) }
            return .integer(bytes[start] == UInt8(ascii: "-") ? -value : value)
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let value = Int64(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else {
            throw failure("json-number-range", "the number is out of range")
        }
        return .number(value)
    }
}

/// The names of one object's members, to find those that stand there twice.
///
/// By bytes: names that Unicode calls equivalent are two names (RFC 8259, 8.3).
private struct MemberNames {
    /// Of an object with more members than are looked through one by one.
    private var seen: Set<[UInt8]> = []
    private static let few = 16

    /// Adds a name behind those of `members`; false when it is among them.
    mutating func insert(_ name: String, after members: [JSON.Member]) -> Bool {
        if members.count < Self.few {
            return !members.contains { $0.key.utf8.elementsEqual(name.utf8) }
        }
        if seen.isEmpty { seen = Set(members.map { Array($0.key.utf8) }) }
        return seen.insert(Array(name.utf8)).inserted
    }
}
