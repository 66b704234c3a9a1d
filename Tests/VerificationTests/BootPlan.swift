import EntryCode
import Foundation
import Testing
import Verification

/// What a boot of a broken kernel came to, and what a run of the model comes to, in the same words.
enum BootClass: String, Comparable, CaseIterable {
    case survives
    /// Goes on with something wrong that may or may not be seen.
    case wrongState = "wrong state"
    /// A program gets a signal that nothing asked for.
    case killed = "program killed"
    case bug = "BUG"
    case oops
    case protectionFault = "#GP in the kernel"
    case doubleFault = "double fault"
    case stackGuard = "stack guard page"
    case hang
    case domainCrash = "domain crash"
    case tripleFault = "triple fault"

    static func < (one: BootClass, other: BootClass) -> Bool {
        allCases.firstIndex(of: one)! < allCases.firstIndex(of: other)!
    }

    /// The class of a row, from the words of its outcome and the first line of its console.
    init?(row: BootRow) {
        let outcome = row.outcome
        let first = row.console.first ?? ""
        let words: [(String, BootClass)] = [
            ("wrong state", .wrongState), ("survives, no difference", .survives),
            // A stack of the kernel's own: harmless at this instruction.
            ("handler on the task stack", .survives), ("handler on the entry stack", .survives),
            ("latent", .wrongState),
            ("nothing to restore", .survives), ("survives", .survives), ("SIGILL with shifted", .wrongState),
            ("frame read two words off", .oops), ("SIGSEGV", .killed), ("init killed", .killed), ("guest BUG", .bug),
            ("stack guard page", .stackGuard), ("double fault panic", .doubleFault), ("triple fault", .tripleFault),
            ("domain crash", .domainCrash), ("hang", .hang), ("#GP", .protectionFault),
            ("general protection fault", .protectionFault), ("oops", .oops),
        ]
        if outcome.hasPrefix("early panic") {
            self = first.contains("exception 0x0d") ? .protectionFault : .oops
            return
        }
        guard let found = words.first(where: { outcome.contains($0.0) }) else { return nil }
        self = found.1
    }

    init(_ result: ScenarioResult) {
        let console = result.violations.first { !$0.console.isEmpty }?.console ?? []
        switch result.ending {
        case _ where result.verdict == .holds: self = .survives
        case .resumed, .expectedOops: self = .wrongState
        case .wrongHandler:
            let isFault = console.contains { $0.contains("general protection fault") }
            self = console.isEmpty ? .wrongState : isFault ? .protectionFault : .bug
        case .oops(let vector, _):
            switch vector {
            case 13: self = .protectionFault
            case 8: self = console.contains { $0.contains("stack guard page was hit") } ? .stackGuard : .doubleFault
            default: self = .oops
            }
        case .processKilled: self = .killed
        case .domainCrash: self = .domainCrash
        case .tripleFault: self = .tripleFault
        case .endlessRecursion, .endlessLoop, .halted, .stepLimit, .notUnderstood, .notRun: self = .hang
        }
    }
}

/// A row of the recorded boots.
struct BootRow {
    let file: String
    let index: Int
    let variant: String
    let change: String
    let platform: String
    let trigger: String
    let outcome: String
    let console: [String]

    var name: String { "\(file) \(index)" }
}

/// How a row is tried: the edits of the kernel and the scenarios that are its trigger.
struct BootPlan {
    var edits: [BootEdit] = []
    /// `platform/event/context/probe`, then `+event@symbol+0xoffset` for each nested event.
    var runs: [String] = []
    /// The code is that of a kernel before alternatives are applied.
    var isEarly = false
    /// Pieces of the row's console lines that follow from entry code: the model prints them as well.
    var console: [String] = []
    /// Why the row's outcome says nothing about entry code.
    var outOfScope: String?
    /// The boot shows damage that code outside does afterwards: the model ends with the wrong state that leads to it.
    var later: String?
    /// Why the model differs, where it does and is right.
    var differs: String?
    /// The model's class where it differs.
    var model: BootClass?
    /// The rule that the model reports first.
    var rule: String?
    var note: String?
}

/// An exact piece of a kernel's file and what stands there instead.
struct BootEdit {
    let file: String
    let old: String
    let new: String
    /// How often the piece occurs; all are replaced.
    let count: Int
    /// The kernel may be as the edit makes it already.
    var isSettled = false
}

/// The recorded boots, the plans for them, and the kernels that they change.
struct BootBook {
    let rows: [BootRow]
    private let plans: JSON
    private let files: [(path: String, text: [UInt8])]

    static let shared = Result { try BootBook() }

    private static var tests: URL { URL(fileURLWithPath: #filePath).deletingLastPathComponent() }
    static var root: URL { tests.deletingLastPathComponent().deletingLastPathComponent() }

    private init() throws {
        let fixtures = Self.tests.appendingPathComponent("Fixtures")
        func json(_ name: String) throws -> JSON {
            try JSON.parse([UInt8](Data(contentsOf: fixtures.appendingPathComponent(name)))).value
        }
        var rows: [BootRow] = []
        for file in ["boots", "boots-nested"] {
            for (index, row) in (try json(file + ".json").arrayValue ?? []).enumerated() {
                func text(_ key: String) -> String { row[key]?.stringValue ?? "" }
                rows.append(
                    BootRow(
                        file: file, index: index, variant: text("variant"), change: text("change"),
                        platform: text("platform"), trigger: text("trigger"), outcome: text("outcome"),
                        console: (row["console"]?.arrayValue ?? []).compactMap(\.stringValue)))
            }
        }
        self.rows = rows
        plans = try json("boot-plans.json")
        let folder = Self.root.appendingPathComponent("kernels/declare-idtentry")
        files = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().map { name in
            (path: "declare-idtentry/" + name, text: [UInt8](try Data(contentsOf: folder.appendingPathComponent(name))))
        }
    }

    /// The plan of a row; nil where the plans do not know the row.
    func plan(for row: BootRow) throws -> BootPlan? {
        let found = (plans["rows"]?.arrayValue ?? []).first {
            $0["file"]?.stringValue == row.file && $0["index"]?.integerValue == Int64(row.index)
        }
        guard let found else { return nil }
        try #require(found["variant"]?.stringValue == row.variant, "\(row.name): the plan is for another variant")
        func texts(_ key: String) -> [String] { (found[key]?.arrayValue ?? []).compactMap(\.stringValue) }
        var plan = BootPlan()
        plan.runs = texts("runs")
        plan.console = texts("console")
        plan.outOfScope = found["out_of_scope"]?.stringValue
        plan.isEarly = found["early"]?.boolValue ?? false
        plan.later = found["later"]?.stringValue
        plan.differs = found["differs"]?.stringValue
        plan.model = found["model"]?.stringValue.flatMap(BootClass.init)
        plan.rule = found["rule"]?.stringValue
        plan.note = found["note"]?.stringValue
        for set in [row.variant] + texts("with") { plan.edits += try edits(set) }
        return plan
    }

    func edits(_ set: String) throws -> [BootEdit] {
        let list = try #require(plans["edits"]?[set]?.arrayValue, "no edits are called \(set)")
        return try list.flatMap { item in
            if let other = item.stringValue { return try edits(other) }
            func text(_ key: String) throws -> String {
                // Texts of several lines are lists of lines.
                if let lines = item[key]?.arrayValue { return lines.compactMap(\.stringValue).joined(separator: "\n") }
                return try #require(item[key]?.stringValue, "\(set) has an edit without \(key)")
            }
            return [
                BootEdit(
                    file: try text("file"), old: try text("old"), new: try text("new"),
                    count: Int(item["count"]?.integerValue ?? 1), isSettled: item["settled"]?.boolValue ?? false)
            ]
        }
    }

    /// The kernels with some pieces of text exchanged; every piece must be there.
    func kernels(_ edits: [BootEdit]) throws -> KernelLibrary {
        var changed = files
        for edit in edits {
            guard let index = changed.firstIndex(where: { $0.path == "declare-idtentry/" + edit.file }) else {
                throw BootError(description: "no \(edit.file)")
            }
            let text = String(decoding: changed[index].text, as: UTF8.self)
            let parts = text.components(separatedBy: edit.old)
            if edit.isSettled && parts.count == 1 && text.contains(edit.new) { continue }
            guard parts.count == edit.count + 1 else {
                throw BootError(description: "'\(edit.old)' stands \(parts.count - 1) times in \(edit.file)")
            }
            changed[index].text = [UInt8](parts.joined(separator: edit.new).utf8)
        }
        return KernelLibrary(files: changed)
    }
}

/// The 6.1 kernel with some edits, ready to run scenarios.
final class BootKernel {
    let library: KernelLibrary
    let table: EntryTable
    private var images: [String: EntryImage] = [:]
    private let limits = RunLimits()

    /// Every scenario runs on the code before alternatives are applied.
    private let isEarly: Bool

    init(_ library: KernelLibrary, isEarly: Bool = false) throws {
        self.isEarly = isEarly
        self.library = library
        try #require(library.faults.isEmpty, "\(library.faults)")
        let kernel = try #require(library.kernel(named: "linux-6.1"))
        do {
            table = try EntryTable.read(kernel.document, kernels: library)
        } catch {
            Issue.record("\(error.faults)")
            throw error
        }
    }

    func image(_ platform: Platform, isPatched: Bool = true) throws -> EntryImage {
        let key = "\(platform.rawValue) \(isPatched)"
        if let image = images[key] { return image }
        do {
            let image = try table.expand(
                for: platform, xen: table.defaultXen, kernels: library, isPatched: isPatched)
            images[key] = image
            return image
        } catch {
            Issue.record("\(error.findings)")
            throw error
        }
    }

    /// Runs a scenario whose nested events are placed by symbol and offset.
    func run(_ name: String) throws -> BootRun {
        let parts = name.components(separatedBy: "+asm_")
        var run = try execute(parts[0])
        for part in parts.dropFirst() {
            let at = try #require(part.firstIndex(of: "@"), "\(part) says no place")
            let injection = try place("asm_" + part[..<at], String(part[part.index(after: at)...]), in: run)
            run = try execute(run.name + "+" + injection)
        }
        return run
    }

    private func execute(_ name: String) throws -> BootRun {
        let platform = try #require(Platform.allCases.first { name.hasPrefix($0.rawValue + "/") })
        var image = try image(platform)
        guard let parts = image.injections(of: name) else {
            throw BootError(description: "\(name) has no such nested event")
        }
        var scenario = try #require(image.scenario(named: parts.base), "there is no scenario \(parts.base)")
        scenario.injections = parts.injections
        if isEarly || image.bootsUnpatched && scenario.probe == .selfTest {
            image = try self.image(platform, isPatched: false)
        }
        var run = ScenarioRun(image: image, limits: limits)
        run.recorder = TraceRecorder(image: image, limit: 20_000)
        run.machine.memory.recordsGivenUpWords = !scenario.injections.isEmpty
        let result = run.execute(scenario)
        try #require(run.missedInjections.isEmpty, "\(name): a nested event does not come")
        return BootRun(name: name, result: result, run: run, image: image)
    }

    /// A nested event at the first instruction after those before it whose address is `symbol+0xoffset`.
    private func place(_ event: String, _ place: String, in base: BootRun) throws -> String {
        guard let address = address(place, base.image) else { throw BootError(description: "no \(place) in the code") }
        let earlier = base.result.scenario.injections.map(\.step).max()
        let step = try #require(
            base.steps.first { step in
                step.address == address && !step.symbol.hasPrefix("(") && earlier.map { step.step > $0 } ?? true
            }, "\(base.name) does not come to \(place)")
        return "\(event)@\(step.symbol.prefix { $0 != "+" }):\(step.step)"
    }

    /// `symbol`, `symbol+0x12` or `symbol+0x12/0x34`.
    func address(_ text: String, _ image: EntryImage) -> UInt64? {
        let place = text.prefix { $0 != "/" }
        let parts = place.split(separator: "+", maxSplits: 1)
        guard let symbol = parts.first, let start = image.program.address(of: String(symbol)) else { return nil }
        guard parts.count == 2 else { return start }
        return UInt64(parts[1].dropFirst(2), radix: 16).map { start &+ $0 }
    }

    /// Whether a console has a piece of a line; places of the code may be named by another symbol.
    func prints(_ piece: String, _ console: [String], _ platform: Platform) throws -> Bool {
        if console.contains(where: { $0.contains(piece) }) { return true }
        guard piece.hasPrefix("RIP: "), let line = console.first(where: { $0.hasPrefix("RIP: ") }) else { return false }
        let image = try image(platform)
        let wanted = piece.dropFirst(5).split(separator: ":"), found = line.dropFirst(5).split(separator: ":")
        guard wanted.count == 2, found.count == 2, wanted[0] == found[0] else { return false }
        guard let one = address(String(wanted[1]), image), let other = address(String(found[1]), image) else {
            return false
        }
        return one == other
    }
}

/// One run with every step of it.
struct BootRun {
    /// The scenario, nested events by their steps.
    let name: String
    let result: ScenarioResult
    let run: ScenarioRun
    let image: EntryImage

    var steps: [TraceStep] { run.recorder?.steps ?? [] }
}

extension EntryImage {
    /// A base scenario; besides those of the table a push onto a stack that has come to its end, on Xen PV.
    func scenario(named name: String) -> Scenario? {
        if let own = scenarios().first(where: { $0.name == name }) { return own }
        let parts = name.split(separator: "/").map(String.init)
        guard parts.count == 4, platform.isXen, let context = Context(rawValue: parts[2]), context == .kernelBadStack,
            let probe = Probe(rawValue: parts[3]), let vector = vectors.first(where: { $0.entry == parts[1] })?.vector
        else { return nil }
        var scenario = scenarios().first { $0.vector == vector }
        scenario?.context = context
        scenario?.probe = probe
        return scenario
    }
}

/// What came of one row.
struct BootComparison {
    let row: BootRow
    let plan: BootPlan
    let expected: BootClass?
    /// The worst of the runs.
    let found: BootClass?
    let scenario: String
    let rule: String
    let missing: [String]

    enum Agreement: String { case agrees, differs, outside = "out of scope" }

    var agreement: Agreement {
        if plan.outOfScope != nil { return .outside }
        if plan.later != nil { return found == .wrongState ? .agrees : .differs }
        return found == expected && missing.isEmpty ? .agrees : .differs
    }
}

extension BootBook {
    func compare(_ row: BootRow) throws -> BootComparison {
        let plan = try #require(try plan(for: row), "\(row.name) (\(row.variant), \(row.trigger)) has no plan")
        let expected = BootClass(row: row)
        guard !plan.runs.isEmpty else {
            return BootComparison(
                row: row, plan: plan, expected: expected, found: nil, scenario: "", rule: "", missing: [])
        }
        let kernel = try BootKernel(try kernels(plan.edits), isEarly: plan.isEarly)
        var worst: (result: ScenarioResult, found: BootClass, name: String)?
        func consider(_ result: ScenarioResult, _ name: String) {
            let found = BootClass(result)
            if worst.map({ found > $0.found }) ?? true { worst = (result, found, name) }
        }
        for run in plan.runs {
            if run.contains("*") {
                for result in try kernel.simulate(run) { consider(result, result.scenario.name) }
            } else {
                consider(try kernel.run(run).result, run)
            }
        }
        guard let worst else { throw BootError(description: "\(row.name): no scenario") }
        let console = worst.result.violations.first { !$0.console.isEmpty }?.console ?? []
        var missing: [String] = []
        for piece in plan.console {
            try #require(row.console.contains { $0.contains(piece) }, "\(row.name) does not print '\(piece)'")
            if try !kernel.prints(piece, console, worst.result.scenario.platform) { missing.append(piece) }
        }
        let first = worst.result.violations.first { $0.severity == .violation }
        return BootComparison(
            row: row, plan: plan, expected: expected, found: worst.found,
            scenario: worst.found == .survives ? plan.runs.joined(separator: ", ") : worst.name,
            rule: first?.rule ?? "", missing: missing)
    }
}

struct BootError: Error, CustomStringConvertible { let description: String }

extension BootKernel {
    /// The scenarios of a pattern.
    func simulate(_ pattern: String) throws -> [ScenarioResult] {
        let result = table.simulate(
            SimulationRequest(selection: ScenarioSelection(patterns: [pattern]), limits: limits), kernels: library)
        try #require(!result.results.isEmpty, "no scenario matches \(pattern): \(result.findings)")
        return result.results
    }
}
