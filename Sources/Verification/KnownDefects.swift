package import EntryCode

extension KnownDefect {
    /// Whether a violation is one that this defect explains.
    package func covers(_ violation: Violation, of scenario: Scenario) -> Bool {
        rules.contains(violation.rule) && scenario.injections.count >= nesting
            && (routines.isEmpty || routines.contains { glob($0, matches: violation.routine) })
            && scenarios.contains { glob($0, matches: scenario.name) }
    }
}

extension EntryTable {
    /// Names the defects that the kernel of an unmodified table is known for; a changed table breaks what it breaks.
    func markKnownDefects(in results: inout [ScenarioResult], kernels: KernelLibrary) {
        guard let kernel = kernels.kernel(named: kernel), !kernel.knownDefects.isEmpty,
            results.contains(where: { $0.verdict == .violated }), isUnmodified(kernel, kernels)
        else { return }
        for index in results.indices where results[index].verdict == .violated {
            let scenario = results[index].scenario
            for place in results[index].violations.indices {
                let violation = results[index].violations[place]
                guard violation.severity == .violation else { continue }
                results[index].violations[place].known = kernel.knownDefects.first {
                    $0.covers(violation, of: scenario)
                }
            }
        }
    }

    /// All that decides what is executed is as it ships: the document may say so in fewer words or in another order.
    private func isUnmodified(_ kernel: Kernel, _ kernels: KernelLibrary) -> Bool {
        guard let shipped = try? EntryTable.read(kernel.document, kernels: kernels) else { return false }
        return ["entries", "idt", "xen", "machine", "options", "routines"].allSatisfy {
            document[$0] == shipped.document[$0]
        }
    }
}
