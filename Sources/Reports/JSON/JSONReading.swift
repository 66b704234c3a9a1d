import EntryCode

/// A document that is not what this program writes.
package struct ReportReadError: Error, Sendable, Hashable {
    /// JSON pointer of the value at fault (RFC 6901).
    package var pointer: String
    /// What was expected and what is there.
    package var message: String
}

/// A value of a document with the pointer that leads to it, so that a fault says where it is.
struct JSONCursor: Sendable {
    /// Where a value stands; spelled out only for a fault, of which most documents have none.
    private indirect enum Place: Sendable {
        case root
        case member(Place, String)
        case element(Place, Int)

        var pointer: String {
            switch self {
            case .root: ""
            case .member(let parent, let key): EntryCode.pointer(parent.pointer, key)
            case .element(let parent, let index): "\(parent.pointer)/\(index)"
            }
        }
    }

    let value: JSON
    private let place: Place

    /// The whole document.
    init(_ value: JSON) { self.init(value, .root) }

    private init(_ value: JSON, _ place: Place) {
        self.value = value
        self.place = place
    }

    /// JSON pointer of the value.
    var path: String { place.pointer }

    private func fault(_ expected: String) -> ReportReadError {
        ReportReadError(pointer: path, message: "expected \(expected), found \(value.kindName)")
    }

    /// The member with a key; its absence is a fault.
    func required(_ key: String) throws(ReportReadError) -> JSONCursor {
        if let member = try optional(key) { return member }
        throw ReportReadError(pointer: Place.member(place, key).pointer, message: "is missing")
    }

    /// The member with a key; nil where it is absent or null.
    func optional(_ key: String) throws(ReportReadError) -> JSONCursor? {
        guard value.objectValue != nil else { throw fault("an object") }
        guard let member = value[key], member != .null else { return nil }
        return JSONCursor(member, .member(place, key))
    }

    func string(_ key: String) throws(ReportReadError) -> String { try required(key).string() }

    func optionalString(_ key: String) throws(ReportReadError) -> String? { try optional(key)?.string() }

    func integer(_ key: String) throws(ReportReadError) -> Int { try required(key).integer() }

    func bool(_ key: String) throws(ReportReadError) -> Bool {
        let member = try required(key)
        guard let bool = member.value.boolValue else { throw member.fault("a boolean") }
        return bool
    }

    func number(_ key: String) throws(ReportReadError) -> Double {
        let member = try required(key)
        switch member.value {
        case .number(let value): return value
        case .integer(let value): return Double(value)
        default: throw member.fault("a number")
        }
    }

    func string() throws(ReportReadError) -> String {
        guard let text = value.stringValue else { throw fault("a string") }
        return text
    }

    func integer() throws(ReportReadError) -> Int {
        guard let integer = value.integerValue else { throw fault("a whole number") }
        return Int(integer)
    }

    func elements<Element>(
        _ key: String, _ read: (JSONCursor) throws(ReportReadError) -> Element
    ) throws(ReportReadError) -> [Element] {
        let list = try required(key)
        guard let values = list.value.arrayValue else { throw list.fault("an array") }
        var result: [Element] = []
        result.reserveCapacity(values.count)
        for (index, value) in values.enumerated() {
            result.append(try read(JSONCursor(value, .element(list.place, index))))
        }
        return result
    }

    func strings(_ key: String) throws(ReportReadError) -> [String] {
        try elements(key) { (cursor) throws(ReportReadError) in try cursor.string() }
    }
}
