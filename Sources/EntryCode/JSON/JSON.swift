/// A JSON value whose objects keep their order (RFC 8259).
package enum JSON: Sendable, Hashable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSON])
    case object([Member])

    /// One name and value of an object.
    package struct Member: Sendable, Hashable {
        package var key: String
        package var value: JSON

        package init(_ key: String, _ value: JSON) {
            self.key = key
            self.value = value
        }
    }

    /// The first member with a key; nil for other kinds of value.
    package subscript(key: String) -> JSON? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.key == key }?.value
    }

    /// What kind of value it is, in the words of an error message.
    package var kindName: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .integer, .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }

    package var stringValue: String? {
        if case .string(let text) = self { return text }
        return nil
    }

    package var integerValue: Int64? {
        if case .integer(let value) = self { return value }
        return nil
    }

    package var boolValue: Bool? {
        if case .bool(let value) = self { return value }
        return nil
    }

    package var arrayValue: [JSON]? {
        if case .array(let values) = self { return values }
        return nil
    }

    package var objectValue: [Member]? {
        if case .object(let members) = self { return members }
        return nil
    }

    /// An address as the interface writes it: `"0xffffffff82203ea0"`, always 16 digits.
    package static func address(_ value: UInt64) -> JSON { .string(hexadecimal(value)) }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral {
    package init(stringLiteral value: String) { self = .string(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
}

/// `0x` and 16 hexadecimal digits.
package func hexadecimal(_ value: UInt64, digits: Int = 16) -> String {
    "0x" + hexadecimalDigits(value, digits: digits)
}

/// Lower-case hexadecimal digits, at least as many as asked for.
package func hexadecimalDigits(_ value: UInt64, digits: Int) -> String {
    let text = String(value, radix: 16)
    return text.utf8.count >= digits ? text : String(repeating: "0", count: digits - text.utf8.count) + text
}

/// One reference token of a JSON pointer appended to a pointer (RFC 6901, section 3).
package func pointer(_ parent: String, _ token: String) -> String {
    var escaped = ""
    for character in token.unicodeScalars {
        switch character {
        case "~": escaped += "~0"
        case "/": escaped += "~1"
        default: escaped.unicodeScalars.append(character)
        }
    }
    return parent + "/" + escaped
}
