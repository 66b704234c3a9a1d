import Dispatch
import EntryCode
import Glibc
import Synchronization
import TestSupport
import Testing
import Verification

/// Tables and routines changed at random: whatever they do, the tool answers, and answers the same every time.
///
/// `GATEHOUSE_SEEDS=1000 swift test --filter RandomTableTests` tries more of them.
struct RandomTableTests {
    private static let seeds = UInt64(getenv("GATEHOUSE_SEEDS").flatMap { UInt64(String(cString: $0)) } ?? 40)

    /// Runs parts on two threads, the last part first.
    private struct BackwardRunner: PartRunner {
        func map<Element: Sendable, Result: Sendable>(
            _ elements: [Element], _ transform: @Sendable (Element) -> Result
        ) -> [Result] {
            let results = Mutex([Result?](repeating: nil, count: elements.count))
            DispatchQueue.concurrentPerform(iterations: elements.count) { turn in
                let index = elements.count - 1 - turn
                let result = transform(elements[index])
                results.withLock { $0[index] = result }
            }
            return results.withLock { $0.compactMap { $0 } }
        }
    }

    private func describe(_ result: SimulationResult) -> [String] {
        ["\(result.verdict)"] + result.findings.map { "\($0)" }
            + result.results.map { "\($0.scenario.name) \($0.verdict) \($0.steps) \($0.ending) \($0.violations)" }
    }

    @Test("changed tables: an answer for each, the same on one thread and on two", arguments: 0..<seeds)
    func answers(seed: UInt64) throws {
        var change = RandomChange(seed: seed)
        let document = try change.document()
        let table: EntryTable
        do {
            table = try EntryTable.read(document)
        } catch {
            #expect(!error.faults.isEmpty, "a table that is refused without a reason, seed \(seed)")
            return
        }
        let again = try EntryTable.read(JSON.parse([UInt8](document.text.utf8)).value)
        #expect(again.document == table.document, "seed \(seed)")
        let request = SimulationRequest(selection: ScenarioSelection(patterns: RandomChange.patterns))
        let result = table.simulate(request)
        let description = describe(result)
        #expect(describe(table.simulate(request, runner: BackwardRunner())) == description, "seed \(seed)")
        #expect(
            (result.verdict == .invalid) == result.findings.contains { $0.rule != "unreachable-entry" }, "seed \(seed)")
        for scenario in result.results where scenario.verdict == .violated {
            #expect(
                scenario.violations.contains { $0.severity == .violation && !$0.explanation.isEmpty }, "seed \(seed)")
        }
        guard result.verdict != .invalid, let first = result.results.first(where: { $0.verdict != .holds }) else {
            return
        }
        let traced = try #require(try table.trace(scenario: first.scenario.name, request), "seed \(seed)")
        #expect(traced.result.verdict == first.verdict, "seed \(seed)")
        #expect(traced.result.violations == first.violations, "seed \(seed)")
    }
}

/// A shipped table with some columns and lines of its routines changed.
private struct RandomChange {
    private var random: SeededRandom
    /// One event of each way in.
    static let patterns = [
        "*/divide_error/*", "*/int3/kernel*", "*/nmi/*/return", "*/page_fault/user/*", "*/debug/kernel/*",
        "*/entry_SYSCALL_64/*", "*/irq_entries_start/*/return", "*/xen_hypervisor_callback/*",
        "*/entry_INT80_compat/user/return",
    ]

    private static let lines = [
        "pushq %rax", "popq %rbx", "addq $8, %rsp", "subq $8, %rsp", "swapgs", "cli", "sti", "std", "cld", "iretq",
        "hlt",
        "ud2", "int3", "jmp error_exit", "call error_entry", "movq %rsp, %rdi", "movq %rdi, %rsp", "movq %rax, %cr3",
        "xorl %eax, %eax", "movl %eax, %ss", "popfq", "pushfq", "sysretq", "ret", "syscall", "movq $0, %gs:0x1004",
        "movq (%rsp), %rsp", "xchgq %rsp, %rbp", "leaq -48(%rsp), %rsp", "testb $3, 0x88(%rsp)", "call do_int3",
        "wrmsr", "rdmsr", "int $0x80", "1: jmp 1b", "movq $-1, (%rsp)", "popq %rsp", "lfence", "verw (%rsp)",
    ]
    private static let registers = ["%rax", "%rbx", "%rcx", "%rdx", "%rsi", "%rdi", "%rbp", "%rsp", "%r11", "%r12"]

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    mutating func document() throws -> JSON {
        let name = random.chance(50) ? "linux-5.2" : "linux-5.3"
        let kernel = try #require(KernelLibrary.shipped.kernel(named: name))
        var document = kernel.document
        for _ in 0..<random.next() % 4 { changeColumn(of: &document) }
        var routines: [JSON.Member] = []
        for _ in 0..<random.next() % 3 {
            guard let (routine, text) = self.routine(kernel), !routines.contains(where: { $0.key == routine }) else {
                continue
            }
            routines.append(JSON.Member(routine, .string(mutate(text))))
        }
        if !routines.isEmpty { document.set("routines", .object(routines)) }
        return document
    }

    private mutating func changeColumn(of document: inout JSON) {
        let list = random.chance(60) ? "entries" : "idt"
        guard var rows = document[list]?.arrayValue, !rows.isEmpty else { return }
        let index = Int(random.next() % UInt64(rows.count))
        if list == "entries" {
            switch random.next() % 5 {
            case 0: rows[index].set("has_error_code", .bool(random.chance(50)))
            case 1: rows[index].set("create_gap", .bool(random.chance(50)))
            case 2: rows[index].set("paranoid", .integer(Int64(random.next() % 3)))
            case 3: rows[index].set("read_cr2", .bool(random.chance(50)))
            default: rows.remove(at: index)
            }
        } else {
            switch random.next() % 4 {
            case 0: rows[index].set("ist", .integer(Int64(random.next() % 8)))
            case 1: rows[index].set("dpl", .integer(random.chance(50) ? 0 : 3))
            case 2: rows[index].set("entry", rows[Int(random.next() % UInt64(rows.count))]["entry"] ?? "int3")
            default: rows.remove(at: index)
            }
        }
        document.set(list, .array(rows))
    }

    /// A routine of the listings: its name and text.
    private mutating func routine(_ kernel: Kernel) -> (String, String)? {
        let listing = random.pick(kernel.generation.listings)
        let text = String(decoding: listing.text, as: UTF8.self)
        var found: [(String, String)] = []
        var rest = text[...]
        while let start = rest.firstRange(of: "\nENTRY("), let close = rest[start.upperBound...].firstIndex(of: ")") {
            let name = String(rest[start.upperBound..<close])
            guard let end = rest[close...].firstRange(of: "END(\(name))") else { break }
            found.append((name, rest[start.lowerBound..<end.upperBound].dropFirst() + "\n"))
            rest = rest[end.upperBound...]
        }
        return found.isEmpty ? nil : random.pick(found)
    }

    private mutating func mutate(_ text: String) -> String {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        for _ in 0..<1 + random.next() % 3 {
            let places = lines.indices.filter { lines[$0].hasPrefix("\t") }
            guard !places.isEmpty else { break }
            let place = random.pick(places)
            switch random.next() % 6 {
            case 0: lines.remove(at: place)
            case 1: lines.insert(lines[place], at: place)
            case 2: lines.swapAt(place, random.pick(places))
            case 3:
                lines[place] = lines[place].replacing(
                    random.pick(Self.registers), with: random.pick(Self.registers), maxReplacements: 1)
            default: lines.insert("\t" + random.pick(Self.lines), at: place)
            }
        }
        return lines.joined(separator: "\n")
    }
}
