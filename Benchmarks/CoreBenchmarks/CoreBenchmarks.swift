import Assembler
import Benchmark
import EntryCode
import Glibc
import Machine
import Reports
import Store
import Verification

/// A loop of what entry code is made of: pushes, pops, moves, arithmetic, a test, a branch, a call and its return.
private let loopText = """
    ENTRY(loop)
    1:
    \tpushq %rdi
    \tpushq %rsi
    \tmovq 8(%rsp), %rsi
    \txorl %edx, %edx
    \ttestb $3, 8(%rsp)
    \tjnz 2f
    \tmovq %gs:0x10, %rcx
    2:
    \tcall subroutine
    \taddq $1, %rax
    \tpopq %rsi
    \tpopq %rdi
    \tjmp 1b
    END(loop)
    ENTRY(subroutine)
    \tpushq $-1
    \tmovq %rsp, %rbp
    \taddq $8, %rsp
    \tret
    END(subroutine)
    """

private func loopMachine() throws -> (Machine, Program) {
    let program = try assemble(AssemblyInput(sources: [SourceText(name: "loop", text: loopText)]))
    var memory = Memory()
    memory.map(
        Region(name: "stack", kind: .taskStack, base: 0xFFFF_8880_0000_0000, size_bytes: 16_384),
        [.kernelMap, .writable])
    memory.map(
        Region(name: "data", kind: .perCPU, base: 0xFFFF_8880_1000_0000, size_bytes: 4096), [.kernelMap, .writable])
    memory.freeze()
    var machine = Machine(traits: ProcessorTraits(vendor: .intel), memory: memory)
    machine.cpu[.rsp] = 0xFFFF_8880_0000_3000
    machine.cpu.gsBase = 0xFFFF_8880_1000_0000
    machine.jump(to: program.address(of: "loop") ?? 0, program)
    return (machine, program)
}

private func shippedTable(_ name: String) throws -> EntryTable {
    guard let kernel = KernelLibrary.shipped.kernel(named: name) else { throw MissingKernel(name: name) }
    return try EntryTable.read(kernel.document)
}

struct MissingKernel: Error { let name: String }

let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = .init(
        metrics: [.wallClock, .throughput, .peakMemoryResident], maxDuration: .seconds(3), maxIterations: 1_000)

    Benchmark(
        "Machine: 1,000,000 instructions (checks and owners on, tracing off)",
        configuration: .init(metrics: [.wallClock, .throughput], maxDuration: .seconds(4), maxIterations: 400)
    ) { benchmark in
        var (machine, program) = try loopMachine()
        benchmark.startMeasurement()
        for _ in benchmark.scaledIterations {
            machine.stepNumber = 0
            blackHole(machine.run(program, stepLimit: 1_000_000))
        }
    }

    for name in ["linux-5.2", "linux-5.3"] {
        Benchmark("Simulate \(name), all platforms, expansion included") { benchmark in
            let table = try shippedTable(name)
            benchmark.startMeasurement()
            for _ in benchmark.scaledIterations { blackHole(table.simulate(SimulationRequest())) }
        }
    }

    Benchmark("Expand linux-5.2 for three platforms") { benchmark in
        let table = try shippedTable("linux-5.2")
        benchmark.startMeasurement()
        for _ in benchmark.scaledIterations {
            for platform in Platform.allCases { blackHole(try table.expand(for: platform)) }
        }
    }

    Benchmark("Run the scenarios of linux-5.2 on three expanded platforms") { benchmark in
        let table = try shippedTable("linux-5.2")
        let images = try Platform.allCases.map { try table.expand(for: $0) }
        let runs = images.map { ($0.scenarios(), ScenarioRun(image: $0)) }
        benchmark.startMeasurement()
        for _ in benchmark.scaledIterations {
            for (scenarios, run) in runs {
                var run = run
                for scenario in scenarios { blackHole(run.execute(scenario)) }
            }
        }
    }

    // The parts of POST /v1/checks, to be read as shares of their sum.
    Benchmark("Check, part: report and scenario records of linux-5.2") { benchmark in
        let result = try shippedTable("linux-5.2").simulate(SimulationRequest())
        benchmark.startMeasurement()
        for _ in benchmark.scaledIterations {
            let report = Report(
                result: result, request: SimulationRequest(), configuration: Report.Configuration(id: "", name: nil),
                kernel: "linux-5.2", id: "01abcdefghijklmnopqrstuvwx")
            blackHole(report.bytes)
            for row in result.results { blackHole(ScenarioRecord(row, simulation: "01abcdefghijklmnopqrstuvwx").bytes) }
        }
    }

    Benchmark("Check, part: storing the simulation of linux-5.2") { benchmark in
        let table = try shippedTable("linux-5.2")
        let result = table.simulate(SimulationRequest())
        let report = Report(
            result: result, request: SimulationRequest(), configuration: Report.Configuration(id: "", name: nil),
            kernel: "linux-5.2")
        let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "."
        let path = "\(folder)/gatehouse-benchmark-\(UInt64.random(in: 0 ... .max)).sqlite"
        let now = Timestamp(milliseconds: 0)
        let store = try ResultStore.open(.file(path), now: now)
        defer {
            try? store.close()
            for suffix in ["", "-wal", "-shm", ".lock"] { unlink(path + suffix) }
        }
        let inserted = try store.perform(
            .insertConfiguration(
                NewConfiguration(
                    document: table.document.text, name: nil, kernel: table.kernel, invalidReason: nil, createdAt: now))
        )
        let rows = result.results.map { row in
            NewScenario(
                name: row.scenario.name, platform: row.scenario.platform.rawValue,
                verdict: StoredVerdict(rawValue: row.verdict.rawValue) ?? .undecided, rule: row.violations.first?.rule,
                record: ScenarioRecord(row).bytes)
        }
        let bytes = report.bytes
        benchmark.startMeasurement()
        for _ in benchmark.scaledIterations {
            var generator = SystemRandomNumberGenerator()
            let outcome = SimulationOutcome(
                verdict: .violated,
                summary: SimulationSummary(
                    scenarios: rows.count, holds: 0, violated: rows.count, undecided: 0, instructions: 0),
                elapsedSeconds: 0, report: bytes, scenarios: rows, finishedAt: now)
            try store.perform(
                .insertSimulation(
                    NewSimulation(
                        id: SimulationID(at: now, using: &generator), configuration: inserted.configuration.digest,
                        request: "{}", modelVersion: modelVersion, createdAt: now), outcome: outcome))
        }
    }

    Benchmark("Read linux-5.2 as JSON") { benchmark in
        let bytes = KernelLibrary.shipped.kernel(named: "linux-5.2")?.document.bytes ?? []
        benchmark.startMeasurement()
        for _ in benchmark.scaledIterations { blackHole(try EntryTable.read(bytes)) }
    }
}
