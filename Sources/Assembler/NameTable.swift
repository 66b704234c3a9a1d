/// Interned identifiers: equal bytes in the same scope have the same number.
///
/// One hash and one comparison per token replace a dictionary of strings, which cost about ten times as much.
struct NameTable: Sendable {
    private var arena: [UInt8] = []
    private var starts: [Int] = []
    private var lengths: [Int] = []
    private var hashes: [UInt32] = []
    private var scopes: [Int32] = []
    /// Open addressing: slot holds number + 1.
    private var slots: [Int32] = [Int32](repeating: 0, count: 2048)

    static let seed: UInt32 = 2_166_136_261

    /// One step of FNV-1a, so that scanning an identifier also hashes it.
    @inline(__always)
    static func step(_ hash: UInt32, _ byte: UInt8) -> UInt32 {
        (hash ^ UInt32(byte)) &* 16_777_619
    }

    var count: Int { starts.count }

    /// The number of the identifier in `bytes[start..<end]`, whose hash the caller has computed.
    mutating func intern(_ bytes: [UInt8], _ start: Int, _ end: Int, hash: UInt32, scope: Int32 = 0) -> Int {
        let mixed = hash ^ UInt32(truncatingIfNeeded: scope &* 0x9E3779B)
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: mixed ^ (mixed >> 15)) & mask
        while slots[slot] != 0 {
            let number = Int(slots[slot]) - 1
            if hashes[number] == mixed, scopes[number] == scope, matches(number, bytes, start, end) { return number }
            slot = (slot + 1) & mask
        }
        let number = starts.count
        starts.append(arena.count)
        lengths.append(end - start)
        arena.append(contentsOf: bytes[start..<end])
        hashes.append(mixed)
        scopes.append(scope)
        slots[slot] = Int32(truncatingIfNeeded: number + 1)
        if starts.count * 2 > slots.count { grow() }
        return number
    }

    /// The number of a string, for the tables and for predefined symbols.
    mutating func intern(_ string: String, scope: Int32 = 0) -> Int {
        let bytes = [UInt8](string.utf8)
        var hash = NameTable.seed
        for byte in bytes { hash = NameTable.step(hash, byte) }
        return intern(bytes, 0, bytes.count, hash: hash, scope: scope)
    }

    /// The number of a name in another scope.
    mutating func intern(_ number: Int, scope: Int32) -> Int {
        intern(string(number), scope: scope)
    }

    /// Bytes of an identifier.
    func length(_ number: Int) -> Int { lengths[number] }

    /// The text of an identifier; invalid UTF-8 cannot occur, identifiers are ASCII.
    func string(_ number: Int) -> String {
        String(decoding: arena[starts[number]..<starts[number] + lengths[number]], as: UTF8.self)
    }

    /// Whether the identifier starts with the two bytes that make a label local to its file.
    func isLocal(_ number: Int) -> Bool {
        lengths[number] >= 2 && arena[starts[number]] == Byte.dot && arena[starts[number] + 1] == UInt8(ascii: "L")
    }

    private func matches(_ number: Int, _ bytes: [UInt8], _ start: Int, _ end: Int) -> Bool {
        guard lengths[number] == end - start else { return false }
        var from = starts[number]
        var position = start
        while position < end {
            if arena[from] != bytes[position] { return false }
            from += 1
            position += 1
        }
        return true
    }

    private mutating func grow() {
        slots = [Int32](repeating: 0, count: slots.count * 2)
        let mask = slots.count - 1
        for (number, mixed) in hashes.enumerated() {
            var slot = Int(truncatingIfNeeded: mixed ^ (mixed >> 15)) & mask
            while slots[slot] != 0 { slot = (slot + 1) & mask }
            slots[slot] = Int32(truncatingIfNeeded: number + 1)
        }
    }
}

/// Bytes that the scanner compares with.
enum Byte {
    static let newline = UInt8(ascii: "\n")
    static let space = UInt8(ascii: " ")
    static let tab = UInt8(ascii: "\t")
    static let carriageReturn = UInt8(ascii: "\r")
    static let semicolon = UInt8(ascii: ";")
    static let colon = UInt8(ascii: ":")
    static let comma = UInt8(ascii: ",")
    static let dot = UInt8(ascii: ".")
    static let quote = UInt8(ascii: "\"")
    static let apostrophe = UInt8(ascii: "'")
    static let backslash = UInt8(ascii: "\\")
    static let hash = UInt8(ascii: "#")
    static let slash = UInt8(ascii: "/")
    static let star = UInt8(ascii: "*")
    static let dollar = UInt8(ascii: "$")
    static let percent = UInt8(ascii: "%")
    static let open = UInt8(ascii: "(")
    static let close = UInt8(ascii: ")")
    static let equal = UInt8(ascii: "=")
    static let plus = UInt8(ascii: "+")
    static let minus = UInt8(ascii: "-")
    static let zero = UInt8(ascii: "0")

    @inline(__always)
    static func isBlank(_ byte: UInt8) -> Bool { byte == space || byte == tab || (byte < 14 && byte > 10) }

    @inline(__always)
    static func isDigit(_ byte: UInt8) -> Bool { byte &- zero < 10 }

    @inline(__always)
    static func isNameStart(_ byte: UInt8) -> Bool {
        (byte | 0x20) &- UInt8(ascii: "a") < 26 || byte == UInt8(ascii: "_") || byte == dot
    }

    @inline(__always)
    static func isName(_ byte: UInt8) -> Bool { isNameStart(byte) || isDigit(byte) || byte == dollar }
}
