import EntryCode
import Testing
import Verification
import XenPV

/// A shipped table with changes: what a user would submit to try something.
struct Variant {
    let kernel: String
    private(set) var document: JSON
    private var routines: [(name: String, text: String)] = []

    init(_ kernel: String) throws {
        self.kernel = kernel
        document = try #require(KernelLibrary.shipped.kernel(named: kernel)).document
    }

    // MARK: Changes

    mutating func entry(_ symbol: String, _ column: String, _ value: JSON) throws {
        try change("entries", where: "symbol", is: .string(symbol), column, value)
    }

    mutating func gate(_ vector: Int64, _ column: String, _ value: JSON) throws {
        try change("idt", where: "vector", is: .integer(vector), column, value)
    }

    mutating func addGate(_ vector: Int64, _ entry: String, dpl: Int64) throws {
        let rows = try #require(document["idt"]?.arrayValue)
        let row = JSON.object([
            JSON.Member("vector", .integer(vector)), JSON.Member("entry", .string(entry)),
            JSON.Member("ist", 0), JSON.Member("dpl", .integer(dpl)), JSON.Member("type", "interrupt"),
        ])
        document.set("idt", .array(rows + [row]))
    }

    mutating func trap(_ native: String, _ column: String, _ value: JSON) throws {
        var xen = try #require(document["xen"])
        try xen.change("traps", where: "native", is: .string(native), column, value)
        document.set("xen", xen)
    }

    mutating func removeGate(_ vector: Int64) throws {
        let rows = try #require(document["idt"]?.arrayValue)
        document.set("idt", .array(rows.filter { $0["vector"] != .integer(vector) }))
    }

    mutating func removeEntry(_ symbol: String) throws {
        let rows = try #require(document["entries"]?.arrayValue)
        document.set("entries", .array(rows.filter { $0["symbol"] != .string(symbol) }))
    }

    mutating func changeXen(_ list: String, _ body: ([JSON]) -> [JSON]) throws {
        var xen = try #require(document["xen"])
        xen.set(list, .array(body(try #require(xen[list]?.arrayValue))))
        document.set("xen", xen)
    }

    mutating func setXen(_ key: String, _ value: JSON) throws {
        var xen = try #require(document["xen"])
        xen.set(key, value)
        document.set("xen", xen)
    }

    mutating func callback(_ name: String, _ value: JSON) throws {
        var xen = try #require(document["xen"])
        var callbacks = try #require(xen["callbacks"])
        callbacks.set(name, value)
        xen.set("callbacks", callbacks)
        document.set("xen", xen)
    }

    mutating func option(_ name: String, _ value: Bool) throws {
        var options = try #require(document["options"])
        options.set(name, .bool(value))
        document.set("options", options)
    }

    mutating func selfTest(_ key: String, _ value: JSON) throws {
        var machine = try #require(document["machine"])
        var test = try #require(machine["self_test"])
        test.set(key, value)
        machine.set("self_test", test)
        document.set("machine", machine)
    }

    /// Writes a routine anew.
    mutating func write(_ name: String, _ lines: String...) {
        routines.append((name, "ENTRY(\(name))\n" + lines.map { "\t\($0)\n" }.joined() + "END(\(name))\n"))
    }

    /// Replaces a piece of a routine of the kernel's listings; the piece must be there.
    mutating func edit(_ name: String, _ old: String, _ new: String, sourceLocation: SourceLocation = #_sourceLocation)
        throws
    {
        let own = routines.first { $0.name == name }?.text
        let text = try own ?? #require(try listing(of: name), sourceLocation: sourceLocation)
        let range = try #require(
            text.range(of: old), "'\(old)' does not stand in \(name)", sourceLocation: sourceLocation)
        routines.removeAll { $0.name == name }
        routines.append((name, text[..<range.lowerBound] + new + text[range.upperBound...]))
    }

    /// Replaces the first use of a macro in a routine by a changed copy of the macro.
    mutating func editMacro(_ macro: String, in name: String, _ change: (String) -> String) throws {
        let calling = try source("calling.s")
        let start = try #require(calling.range(of: ".macro \(macro)"))
        let rest = calling[start.lowerBound...]
        let end = try #require(rest.range(of: ".endm\n"))
        let text = String(rest[..<end.upperBound])
        let changed = change(text)
        #expect(changed != text, "the change of \(macro) changes nothing")
        try edit(name, macro, "CHANGED_\(macro)")
        let index = try #require(routines.firstIndex { $0.name == name })
        routines[index].text =
            changed.replacing(".macro \(macro)", with: ".macro CHANGED_\(macro)") + routines[index].text
    }

    private func source(_ file: String) throws -> String {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: kernel))
        let listing = try #require(kernel.generation.listings.first { $0.name.hasSuffix("/" + file) })
        return String(decoding: listing.text, as: UTF8.self)
    }

    private func listing(of name: String) throws -> String? {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: kernel))
        for listing in kernel.generation.listings {
            let text = String(decoding: listing.text, as: UTF8.self)
            guard let start = text.range(of: "\nENTRY(\(name))"),
                let end = text[start.upperBound...].range(of: "END(\(name))")
            else { continue }
            return text[start.lowerBound..<end.upperBound].dropFirst() + "\n"
        }
        return nil
    }

    private mutating func change(
        _ list: String, where key: String, is wanted: JSON, _ column: String, _ value: JSON
    ) throws {
        try document.change(list, where: key, is: wanted, column, value)
    }

    // MARK: Runs

    func table() throws -> EntryTable {
        var whole = document
        if !routines.isEmpty {
            whole.set("routines", .object(routines.map { JSON.Member($0.name, .string($0.text)) }))
        }
        do {
            return try EntryTable.read(whole)
        } catch {
            Issue.record("\(error.faults)")
            throw error
        }
    }

    func simulate(_ patterns: String..., platforms: [Platform] = Platform.allCases, xen: XenVersion? = nil) throws
        -> SimulationResult
    {
        let result = try table().simulate(
            SimulationRequest(selection: ScenarioSelection(platforms: platforms, patterns: patterns), xen: xen))
        // A loop over no scenarios expects nothing.
        #expect(!result.results.isEmpty || result.verdict == .invalid, "no scenario matches \(patterns)")
        return result
    }

    /// The one scenario of a name.
    func run(_ scenario: String, xen: XenVersion? = nil) throws -> ScenarioResult {
        let result = try simulate(scenario, xen: xen)
        #expect(result.results.count == 1, "\(result.findings)")
        return try #require(result.results.first)
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

    mutating func change(_ list: String, where key: String, is wanted: JSON, _ column: String, _ value: JSON) throws {
        var rows = try #require(self[list]?.arrayValue)
        let index = try #require(rows.firstIndex { $0[key] == wanted })
        rows[index].set(column, value)
        set(list, .array(rows))
    }
}

extension String {
    func range(of text: String) -> Range<String.Index>? { firstRange(of: text) }
}

extension Substring {
    func range(of text: String) -> Range<String.Index>? { firstRange(of: text) }
}
