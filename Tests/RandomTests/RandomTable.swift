import EntryCode
import TestSupport
import Testing
import Verification
import XenPV

/// A shipped table with random changes: rows, routing, options, addresses and routines.
struct RandomTable {
    var random: SeededRandom
    let code: ShippedCode
    private(set) var document: JSON
    /// Routines that were replaced or added.
    private(set) var routines: [(name: String, text: String)] = []

    /// - Parameter seed: Also chooses the kernel and the platform, so that any run of seeds comes by all of them.
    init(seed: UInt64) throws {
        random = SeededRandom(seed: seed)
        let names = KernelLibrary.shipped.names
        let kernel = names[Int(seed % UInt64(names.count))]
        let platform = Platform.allCases[Int(seed / UInt64(names.count) % UInt64(Platform.allCases.count))]
        code = try ShippedCode.of(kernel, platform)
        document = code.kernel.document
    }

    var platform: Platform { code.image.platform }

    /// The document with the routines in it.
    var whole: JSON {
        var whole = document
        if !routines.isEmpty {
            whole.set("routines", .object(routines.map { JSON.Member($0.name, .string($0.text)) }))
        }
        return whole
    }

    /// Scenarios of this platform: their names are patterns that match nothing else.
    mutating func scenarios(_ count: Int, where isWanted: (Scenario) -> Bool = { _ in true }) -> [Scenario] {
        let all = code.scenarios.filter(isWanted)
        return (0..<count).map { _ in random.pick(all) }
    }

    // MARK: Routines

    mutating func changeRoutine(among candidates: [(name: String, text: String)], times: Int) {
        guard !candidates.isEmpty else { return }
        let (name, shipped) = random.pick(candidates)
        var generator = RandomRoutine(random: SeededRandom(seed: random.next()), symbols: code.routines.map(\.name))
        let text = routines.first { $0.name == name }?.text ?? shipped
        let donor = random.chance(50) ? random.pick(candidates).text : random.pick(code.routines).text
        replace(name, generator.change(text, times: times, donor: donor))
    }

    mutating func inventRoutine(among candidates: [(name: String, text: String)]) {
        var generator = RandomRoutine(random: SeededRandom(seed: random.next()), symbols: code.routines.map(\.name))
        let name = random.chance(90) && !candidates.isEmpty ? random.pick(candidates).name : "invented"
        replace(name, generator.make(name))
    }

    /// A routine as the kernel's listings have it, macros and all, with its lines changed.
    mutating func changeSource(times: Int) {
        let text = String(decoding: random.pick(code.kernel.generation.listings).text, as: UTF8.self)
        var found: [(String, String)] = []
        var rest = text[...]
        while let start = rest.firstRange(of: "\nENTRY("), let close = rest[start.upperBound...].firstIndex(of: ")") {
            let name = String(rest[start.upperBound..<close])
            guard let end = rest[close...].firstRange(of: "END(\(name))") else { break }
            found.append((name, rest[start.lowerBound..<end.upperBound].dropFirst() + "\n"))
            rest = rest[end.upperBound...]
        }
        guard !found.isEmpty else { return }
        let (name, routine) = random.pick(found)
        var generator = RandomRoutine(random: SeededRandom(seed: random.next()), symbols: code.routines.map(\.name))
        replace(name, generator.change(routine, times: times, donor: routine))
    }

    private mutating func replace(_ name: String, _ text: String) {
        routines.removeAll { $0.name == name }
        routines.append((name, text))
    }

    // MARK: Rows

    /// Changes something of the document outside its routines.
    mutating func changeTable() {
        switch random.next() % 20 {
        case 0...6: changeRows("entries")
        case 7...11: changeRows("idt")
        case 12...15: changeXen()
        case 16, 17: changeOption()
        default:
            if var machine = document["machine"] {
                changeAddresses(&machine, depth: 0)
                document.set("machine", machine)
            }
        }
    }

    private mutating func changeRows(_ key: String) {
        guard var rows = document[key]?.arrayValue, !rows.isEmpty else { return }
        change(&rows)
        document.set(key, .array(rows))
    }

    private mutating func change(_ rows: inout [JSON]) {
        let place = Int(random.next() % UInt64(rows.count))
        let other = random.pick(rows)
        switch random.next() % 12 {
        case 0: rows.remove(at: place)
        case 1:
            // Twice the same is refused; twice with another name or vector may not be.
            var copy = rows[place]
            for key in ["symbol", "vector", "native"] {
                if copy[key]?.integerValue != nil { copy.set(key, .integer(Int64(random.next() % 256))) }
                if copy[key]?.stringValue != nil, key != "vector" { copy.set(key, .string("twice")) }
            }
            rows.append(random.chance(80) ? copy : rows[place])
        case 2:
            rows.swapAt(place, Int(random.next() % UInt64(rows.count)))
        default: changeColumn(of: &rows[place], like: other)
        }
    }

    /// Gives a column another value: what another row has there, or one of those that the column knows.
    private mutating func changeColumn(of row: inout JSON, like other: JSON) {
        let keys = Set((row.objectValue ?? []).map(\.key) + (other.objectValue ?? []).map(\.key)).sorted()
        guard !keys.isEmpty else { return }
        var choices = keys
        if row["has_error_code"] != nil && row["kind"] == nil {
            choices += ["paranoid", "shift_ist", "ist_offset", "create_gap", "read_cr2"]
        }
        let key = random.pick(choices)
        let value: JSON
        switch key {
        case "has_error_code", "create_gap", "read_cr2", "ist_okay": value = .bool(random.chance(50))
        case "paranoid":
            value = .integer(Int64(random.next() % 3))
            if row["shift_ist"] != nil, random.chance(70) {
                row.remove("shift_ist")
                row.remove("ist_offset")
            }
        case "shift_ist":
            value = random.pick([.null, .integer(Int64(random.next() % 9) - 1), "IST_INDEX_DB"])
            row.set("paranoid", 1)
        case "ist_offset":
            value = random.pick([0, 4096, 8, -8, .integer(1 << 40), .integer(.max), .integer(.min), "DB_STACK_OFFSET"])
            row.set("paranoid", 1)
            if row["shift_ist"] == nil { row.set("shift_ist", .integer(Int64(random.next() % 8))) }
        case "ist": value = .integer(Int64(random.next() % 8))
        case "dpl": value = .integer(Int64(random.next() % 4))
        case "type": value = random.pick(["interrupt", "trap"])
        case "vector" where row["kind"] == nil: value = .integer(Int64(random.next() % 256))
        case "symbol": value = random.chance(50) ? "renamed" : (other["symbol"] ?? "renamed")
        default:
            value = random.chance(10) ? .string(random.pick(code.routines).name) : other[key] ?? "nowhere"
        }
        if random.chance(8) { row.remove(key) } else { row.set(key, value) }
    }

    // MARK: Xen, options, addresses

    private mutating func changeXen() {
        guard var xen = document["xen"] else { return }
        switch random.next() % 6 {
        case 0, 1:
            guard var rows = xen["traps"]?.arrayValue, !rows.isEmpty else { return }
            change(&rows)
            xen.set("traps", .array(rows))
        case 2:
            guard var names = xen["thunks"]?.arrayValue, !names.isEmpty else { return }
            let place = Int(random.next() % UInt64(names.count))
            switch random.next() % 3 {
            case 0: names.remove(at: place)
            case 1: names.append(.string(random.pick(code.routines).name))
            default: names[place] = .string(random.pick(code.routines).name)
            }
            xen.set("thunks", .array(names))
        case 3:
            guard var callbacks = xen["callbacks"], let keys = callbacks.objectValue, !keys.isEmpty else { return }
            let key = random.pick(keys).key
            if random.chance(30) {
                callbacks.remove(key)
            } else {
                callbacks.set(key, .string(random.pick(code.routines).name))
            }
            xen.set("callbacks", callbacks)
        case 4: xen.set("version", .string(random.pick(XenVersion.allCases).rawValue))
        default: xen.set("quirks", .array([.string(random.pick(Quirk.allCases).rawValue)]))
        }
        document.set("xen", xen)
    }

    private mutating func changeOption() {
        guard var options = document["options"], let members = options.objectValue, !members.isEmpty else { return }
        let member = random.pick(members)
        options.set(member.key, .bool(!(member.value.boolValue ?? false)))
        document.set("options", options)
    }

    /// Moves one address or size somewhere below `value`.
    private mutating func changeAddresses(_ value: inout JSON, depth: Int) {
        switch value {
        case .object(let members) where !members.isEmpty:
            let member = random.pick(members)
            var inner = member.value
            changeAddresses(&inner, depth: depth + 1)
            value.set(member.key, inner)
        case .array(var elements) where !elements.isEmpty:
            let place = Int(random.next() % UInt64(elements.count))
            changeAddresses(&elements[place], depth: depth + 1)
            value = .array(elements)
        case .integer(let number):
            value = .integer(random.pick([0, 1, number &+ 8, number &* 2, number &- 1, 4096, 65536, .max, -1]))
        case .string(let text) where text.hasPrefix("0x"):
            let number = UInt64(text.dropFirst(2), radix: 16) ?? 0
            let other = random.pick([
                number &+ 4096, number &- 4096, number &+ 8, 0, 0x1000, 0x40_1000, 0xFFFF_FFFF_FFFF_F000, .max,
                0x8000_0000_0000_0000, 0xFFFF_8000_0000_0000, number ^ 1 << (random.next() % 48),
                0xFFFF_FFFF_8000_0000, 0xFFFF_FFFF_FFFF_0000,
            ])
            value = .address(other)
        default: break
        }
    }
}

extension JSON {
    mutating func set(_ key: String, _ value: JSON) {
        guard case .object(var members) = self else { return }
        if let index = members.firstIndex(where: { $0.key == key }) {
            members[index].value = value
        } else {
            members.append(JSON.Member(key, value))
        }
        self = .object(members)
    }

    mutating func remove(_ key: String) {
        guard case .object(let members) = self else { return }
        self = .object(members.filter { $0.key != key })
    }
}
