/// Reads values out of a JSON tree and notes every fault with its pointer instead of stopping at the first.
package struct TableReader {
    /// Every fault noted so far, in the order of the document.
    package private(set) var faults: [TableFault] = []
    /// Faults found, also those beyond `TableLimits.faults`, which are counted only.
    package private(set) var faultCount = 0
    package let limits: TableLimits

    /// Starts with no faults.
    package init(limits: TableLimits) { self.limits = limits }

    /// Notes a fault, up to `TableLimits.faults`.
    package mutating func fault(_ pointer: String, _ code: String, _ message: String) {
        faultCount += 1
        if faults.count < limits.faults { faults.append(TableFault(pointer, code, message)) }
    }

    /// Notes the faults of a document that stands inside this one at `pointer`.
    package mutating func adopt(_ inner: TableFaults, at pointer: String) {
        for fault in inner.faults { self.fault(pointer + fault.pointer, fault.code, fault.message) }
        faultCount += inner.count - inner.faults.count
    }

    /// What the reader found, to be thrown.
    package var found: TableFaults { TableFaults(faults: faults, count: faultCount) }

    private mutating func wrongKind(_ value: JSON, _ pointer: String, _ expected: String) {
        fault(pointer, "wrong-type", "expected \(expected), found \(value.kindName)")
    }

    /// The members of an object; unknown keys are faults that name the nearest known one.
    package mutating func object(_ value: JSON, _ pointer: String, keys: [String]) -> [String: JSON]? {
        guard case .object(let members) = value else {
            wrongKind(value, pointer, "an object")
            return nil
        }
        var result: [String: JSON] = [:]
        for member in members {
            if keys.contains(member.key) {
                if result[member.key] == nil { result[member.key] = member.value }
            } else {
                unknown(member.key, place(pointer, member.key), "key", among: keys)
            }
        }
        return result
    }

    /// The place of a member; of the object around it where the key is too long to be told.
    package func place(_ pointer: String, _ key: String) -> String {
        key.utf8.count > limits.nameLength_bytes ? pointer : EntryCode.pointer(pointer, key)
    }

    /// Notes an unknown name and the nearest known one.
    package mutating func unknown(_ name: String, _ pointer: String, _ what: String, among known: [String]) {
        // Names beyond those that are listed are counted and not compared with all that are known.
        guard faults.count < limits.faults else {
            faultCount += 1
            return
        }
        let shown = String(name.prefix(64))
        if let nearest = nearestName(to: name, among: known) {
            fault(pointer, "unknown-\(what)", "unknown \(what) '\(shown)'; did you mean '\(nearest)'?")
        } else {
            let list = known.sorted().prefix(24).joined(separator: ", ")
            fault(pointer, "unknown-\(what)", "unknown \(what) '\(shown)'; known are: \(list)")
        }
    }

    /// The elements of an array of at most `limit`.
    package mutating func array(_ value: JSON, _ pointer: String, limit: Int) -> [JSON]? {
        guard case .array(let elements) = value else {
            wrongKind(value, pointer, "an array")
            return nil
        }
        if elements.count > limit {
            fault(pointer, "too-many", "\(elements.count) elements; at most \(limit) are accepted")
            return Array(elements.prefix(limit))
        }
        return elements
    }

    /// A string of at most `limit_bytes`.
    package mutating func string(_ value: JSON?, _ pointer: String, limit_bytes: Int? = nil) -> String? {
        guard let value else { return nil }
        guard case .string(let text) = value else {
            wrongKind(value, pointer, "a string")
            return nil
        }
        let limit = limit_bytes ?? limits.nameLength_bytes
        if text.utf8.count > limit {
            fault(pointer, "too-long", "\(text.utf8.count) bytes; at most \(limit) are accepted")
            return nil
        }
        return text
    }

    /// A symbol: letters, digits, `_`, `.`, `$`, not starting with a digit.
    package mutating func symbol(_ value: JSON?, _ pointer: String) -> String? {
        guard let text = string(value, pointer) else { return nil }
        if !isSymbol(text) {
            fault(pointer, "not-a-symbol", "an assembler symbol is expected: letters, digits, '_', '.' and '$'")
            return nil
        }
        return text
    }

    /// A boolean; 0 and 1 are accepted, as the columns of kernel sources have them.
    package mutating func bool(_ value: JSON?, _ pointer: String, default standard: Bool) -> Bool {
        guard let value else { return standard }
        switch value {
        case .bool(let flag): return flag
        case .integer(0): return false
        case .integer(1): return true
        default:
            wrongKind(value, pointer, "true or false")
            return standard
        }
    }

    /// An integer within a range.
    package mutating func integer(_ value: JSON?, _ pointer: String, in range: ClosedRange<Int64>) -> Int64? {
        guard let value else { return nil }
        guard case .integer(let number) = value else {
            wrongKind(value, pointer, "an integer")
            return nil
        }
        if !range.contains(number) {
            fault(pointer, "out-of-range", "\(number) is not in \(range.lowerBound)…\(range.upperBound)")
            return nil
        }
        return number
    }

    /// `"0x…"`, or a number that JSON carries exactly.
    mutating func address(_ value: JSON?, _ pointer: String) -> UInt64? {
        guard let value else { return nil }
        switch value {
        case .integer(let number) where number >= 0: return UInt64(number)
        case .string(let text):
            if text.hasPrefix("0x"), let number = UInt64(text.dropFirst(2), radix: 16) { return number }
            fault(pointer, "not-an-address", "expected a hexadecimal address as \"0x…\" of at most 16 digits")
            return nil
        default:
            wrongKind(value, pointer, "an address as \"0x…\"")
            return nil
        }
    }

    /// The name or decimal number of an assembler constant.
    mutating func constant(_ value: JSON?, _ pointer: String) -> String? {
        guard let value else { return nil }
        switch value {
        case .integer(let number): return String(number)
        case .string: return symbol(value, pointer)
        default:
            wrongKind(value, pointer, "a number or the name of a constant")
            return nil
        }
    }

    /// Notes a missing key.
    package mutating func require<T>(_ value: T?, _ present: Bool, _ pointer: String, _ key: String) -> T? {
        if !present { fault(pointer, "missing-key", "the key '\(key)' is required here") }
        return value
    }
}

func isSymbol(_ text: String) -> Bool {
    guard let first = text.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else { return false }
    return text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "$"):
            true
        default: false
        }
    }
}

/// The known name with the smallest edit distance, if it is close enough to be a slip.
package func nearestName(to name: String, among known: [String]) -> String? {
    let target = Array(name.utf8.prefix(64))
    var best: (name: String, distance: Int)?
    for candidate in known {
        let distance = editDistance(target, Array(candidate.utf8.prefix(64)))
        if distance < (best?.distance ?? .max) { best = (candidate, distance) }
    }
    guard let best, best.distance <= max(2, target.count / 3) else { return nil }
    return best.name
}

/// Insertions, deletions and replacements that make one name of another.
package func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var row = Array(0...right.count)
    for (i, a) in left.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, b) in right.enumerated() {
            let cost = min(row[j] + 1, row[j + 1] + 1, diagonal + (a == b ? 0 : 1))
            diagonal = row[j + 1]
            row[j + 1] = cost
        }
    }
    return row[right.count]
}
