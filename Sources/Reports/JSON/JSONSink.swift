import EntryCode

/// What a value writes itself into as JSON: bytes for an answer, a tree for a program.
///
/// Each value describes its members once, to either. Specialised, the way to bytes allocates nothing but the answer.
protocol JSONSink {
    mutating func beginObject()
    mutating func endObject()
    mutating func beginArray()
    mutating func endArray()
    /// Names of members are literals without characters to escape, so they are copied as they are.
    mutating func key(_ name: StaticString)
    /// A name that comes from data.
    mutating func key(data name: String)
    mutating func string(_ text: String)
    mutating func integer(_ value: Int)
    mutating func number(_ value: Double)
    mutating func bool(_ value: Bool)
    mutating func null()
}

extension JSONSink {
    mutating func member(_ name: StaticString, _ text: String) {
        key(name)
        string(text)
    }

    mutating func member(_ name: StaticString, _ text: String?) {
        key(name)
        if let text { string(text) } else { null() }
    }

    mutating func member(_ name: StaticString, _ value: Int) {
        key(name)
        integer(value)
    }

    mutating func member(_ name: StaticString, _ value: Bool) {
        key(name)
        bool(value)
    }

    mutating func member(_ name: StaticString, _ values: [String]) {
        key(name)
        beginArray()
        for value in values { string(value) }
        endArray()
    }

    mutating func member<Element: JSONWritable>(_ name: StaticString, _ values: [Element]) {
        key(name)
        beginArray()
        for value in values { value.write(to: &self) }
        endArray()
    }

    mutating func member(_ name: StaticString, _ value: some JSONWritable) {
        key(name)
        value.write(to: &self)
    }
}

/// A value that has one form in JSON.
protocol JSONWritable {
    func write<Sink: JSONSink>(to sink: inout Sink)
}

extension JSONWritable {
    var jsonTree: JSON {
        var sink = JSONTreeSink()
        write(to: &sink)
        return sink.root
    }

    func jsonBytes(capacity_bytes: Int = 1024) -> [UInt8] {
        var sink = JSONByteSink(capacity_bytes: capacity_bytes)
        write(to: &sink)
        return sink.bytes
    }
}

/// Compact bytes: no spaces, members in the order in which they are written.
struct JSONByteSink: JSONSink {
    private(set) var bytes: [UInt8] = []
    /// A value has ended at this level: a comma comes before the next.
    private var needsComma = false

    init(capacity_bytes: Int) { bytes.reserveCapacity(capacity_bytes) }

    private mutating func comma() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }

    private mutating func open(_ byte: UInt8) {
        comma()
        bytes.append(byte)
        needsComma = false
    }

    private mutating func close(_ byte: UInt8) {
        bytes.append(byte)
        needsComma = true
    }

    mutating func beginObject() { open(UInt8(ascii: "{")) }
    mutating func endObject() { close(UInt8(ascii: "}")) }
    mutating func beginArray() { open(UInt8(ascii: "[")) }
    mutating func endArray() { close(UInt8(ascii: "]")) }

    mutating func key(_ name: StaticString) {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        bytes.append(UInt8(ascii: "\""))
        name.withUTF8Buffer { bytes.append(contentsOf: $0) }
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    mutating func key(data name: String) {
        comma()
        quote(name)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    mutating func string(_ text: String) {
        comma()
        quote(text)
    }

    mutating func integer(_ value: Int) {
        comma()
        if value >= 0 && value < 10 { return bytes.append(UInt8(ascii: "0") + UInt8(value)) }
        bytes.append(contentsOf: String(value).utf8)
    }

    mutating func number(_ value: Double) {
        comma()
        bytes.append(contentsOf: (value.isFinite ? String(value) : "null").utf8)
    }

    mutating func bool(_ value: Bool) {
        comma()
        bytes.append(contentsOf: (value ? "true" : "false").utf8)
    }

    mutating func null() {
        comma()
        bytes.append(contentsOf: "null".utf8)
    }

    /// Separates documents of a stream (newline-delimited JSON).
    mutating func newline() {
        bytes.append(0x0A)
        needsComma = false
    }

    /// Copies a string without escapes at once: nearly every string of a report is one. The test has no branches, so
    /// that it becomes vector instructions.
    private mutating func quote(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        var text = text
        text.withUTF8 { source in
            var dirty: UInt8 = 0
            for byte in source {
                dirty |=
                    (byte < 0x20 ? 1 : 0) | (byte == 0x22 ? 1 : 0) | (byte == 0x5C ? 1 : 0) | (byte == 0x7F ? 1 : 0)
            }
            if dirty == 0 { return bytes.append(contentsOf: source) }
            var start = 0
            for index in source.indices {
                let byte = source[index]
                guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte == 0x7F else {
                    continue
                }
                bytes.append(contentsOf: source[start..<index])
                escape(byte)
                start = index + 1
            }
            bytes.append(contentsOf: source[start...])
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func escape(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): bytes.append(contentsOf: "\\\"".utf8)
        case UInt8(ascii: "\\"): bytes.append(contentsOf: "\\\\".utf8)
        case 0x0A: bytes.append(contentsOf: "\\n".utf8)
        case 0x0D: bytes.append(contentsOf: "\\r".utf8)
        case 0x09: bytes.append(contentsOf: "\\t".utf8)
        default:
            bytes.append(contentsOf: "\\u00".utf8)
            bytes.append(contentsOf: hexadecimalDigits(UInt64(byte), digits: 2).utf8)
        }
    }
}

/// A tree of `JSON` values.
struct JSONTreeSink: JSONSink {
    private enum Level {
        case array([JSON])
        case object([JSON.Member], key: String?)
    }

    private(set) var root = JSON.null
    private var levels: [Level] = []

    private mutating func add(_ value: JSON) {
        switch levels.popLast() {
        case nil: root = value
        case .array(var elements):
            elements.append(value)
            levels.append(.array(elements))
        case .object(var members, let key):
            members.append(JSON.Member(key ?? "", value))
            levels.append(.object(members, key: nil))
        }
    }

    private mutating func end() {
        switch levels.popLast() {
        case nil: break
        case .array(let elements): add(.array(elements))
        case .object(let members, _): add(.object(members))
        }
    }

    mutating func beginObject() { levels.append(.object([], key: nil)) }
    mutating func endObject() { end() }
    mutating func beginArray() { levels.append(.array([])) }
    mutating func endArray() { end() }

    mutating func key(_ name: StaticString) { key(data: name.description) }

    mutating func key(data name: String) {
        if case .object(let members, _) = levels.popLast() { levels.append(.object(members, key: name)) }
    }

    mutating func string(_ text: String) { add(.string(text)) }
    mutating func integer(_ value: Int) { add(.integer(Int64(value))) }
    mutating func number(_ value: Double) { add(value.isFinite ? .number(value) : .null) }
    mutating func bool(_ value: Bool) { add(.bool(value)) }
    mutating func null() { add(.null) }
}
