import EntryCode
import Verification
func tryIt(_ name: String, xen: String?, pattern: String?) {
    let library = KernelLibrary.shipped
    for f in library.faults { print("FAULT", f) }
    guard let kernel = library.kernel(named: name) else { print("no kernel", library.names); return }
    do {
        let table = try EntryTable.read(kernel.document)
        var request = SimulationRequest()
        if let pattern { request.selection.patterns = [pattern] }
        let clock = ContinuousClock()
        let start = clock.now
        let result = table.simulate(request)
        print(result.verdict, result.results.count, result.instructions, clock.now - start)
        for f in result.findings.prefix(30) { print(f) }
        var groups: [String: (Int, ScenarioResult, Violation)] = [:]
        for r in result.results { for v in r.violations {
            let key = r.scenario.platform.rawValue + " " + v.rule + (v.severity == .warning ? " (warning)" : "")
            if let g = groups[key] { groups[key] = (g.0 + 1, g.1, g.2) } else { groups[key] = (1, r, v) }
        } }
        for (k, g) in groups.sorted(by: { $0.key < $1.key }) {
            print("==", k, g.0, "first:", g.1.scenario.name); print("   ", g.2.explanation)
            print("    at", g.2.routine, g.2.step, g.2.instruction, "->", g.2.consequence.map { "\($0)" } ?? "-")
            for l in g.2.console { print("    |", l) }
        }
    } catch { print(error) }
}
