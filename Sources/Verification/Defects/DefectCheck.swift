package import EntryCode

/// An edit of a defect's file that does not fit the kernel it names.
package struct DefectFault: Error, Sendable, Hashable {
    /// JSON pointer into the defect's file.
    package var pointer: String
    package var message: String
}

/// Which of a defect's two tables.
package enum DefectSide: String, Sendable, Hashable, CaseIterable {
    case broken
    case fixed
}

extension Defect {
    /// The broken or the fixed table, as a document that anybody could submit; nil where it is not modelled.
    package func document(
        _ side: DefectSide, kernels: KernelLibrary = .shipped
    ) throws(DefectFault) -> JSON? {
        guard let model = modelled else { return nil }
        guard let kernel = kernels.kernel(named: model.kernel) else {
            throw DefectFault(pointer: "/model/kernel", message: "no kernel '\(model.kernel)' ships with the program")
        }
        var editor = TableEditor(kernel, kernels: kernels)
        for (key, edits) in [("both", model.both), (side.rawValue, side == .broken ? model.broken : model.fixed)] {
            for (index, edit) in edits.enumerated() {
                do throws(EditFault) {
                    try editor.apply(edit)
                } catch {
                    throw DefectFault(pointer: "/model/\(key)/\(index)", message: "\(error.message) [\(error.code)]")
                }
            }
        }
        return editor.document(name: "\(id)-\(side.rawValue)", description: "\(title) (\(side.rawValue))")
    }
}

/// What became of a defect's two tables in its scenarios.
package struct DefectCheck: Sendable {
    /// Scenarios that ran on the broken table.
    package var scenarios: Int
    /// Those that its rule finds broken, for the reason that its file gives.
    package var found: [String]
    /// What speaks against the entry; empty where the broken table is found and the fixed one holds.
    package var faults: [String]

    package var isConfirmed: Bool { faults.isEmpty }

    package init(scenarios: Int, found: [String], faults: [String]) {
        self.scenarios = scenarios
        self.found = found
        self.faults = faults
    }
}

extension DefectModel {
    /// The scenarios that both tables run.
    package var request: SimulationRequest {
        SimulationRequest(
            selection: ScenarioSelection(platforms: platforms, patterns: scenarios), xen: xen,
            nesting: nesting)
    }
}

extension Defect {
    /// Runs both tables; nil where the defect is not modelled.
    package func check(
        kernels: KernelLibrary = .shipped, runner: some PartRunner = SerialRunner()
    ) -> DefectCheck? {
        guard let model = modelled else { return nil }
        var check = DefectCheck(scenarios: 0, found: [], faults: [])
        for side in DefectSide.allCases {
            do throws(DefectFault) {
                guard let document = try document(side, kernels: kernels) else { return nil }
                do throws(TableFaults) {
                    let table = try EntryTable.read(document, kernels: kernels)
                    let result = table.simulate(model.request, kernels: kernels, runner: runner)
                    switch side {
                    case .broken: model.judgeBroken(result, &check)
                    case .fixed: model.judgeFixed(result, &check)
                    }
                } catch {
                    check.faults += error.faults.map {
                        "\(side.rawValue): the table has a fault at \($0.pointer): \($0.message)"
                    }
                }
            } catch {
                check.faults.append("\(error.pointer): \(error.message)")
            }
        }
        return check
    }
}

extension DefectModel {
    fileprivate func judgeBroken(_ result: SimulationResult, _ check: inout DefectCheck) {
        check.scenarios = result.results.count
        if result.verdict == .invalid {
            for finding in result.findings where finding.rule == rule && finding.message.contains(evidence) {
                check.found.append(finding.pointer)
            }
            if check.found.isEmpty {
                check.faults.append(
                    "broken: cannot be run: \(result.findings.map { "\($0.rule): \($0.message)" }.joined(separator: "; "))"
                )
            }
            return
        }
        if result.results.isEmpty {
            check.faults.append("broken: no scenario matches \(scenarios.joined(separator: ", "))")
            return
        }
        var others: [String] = []
        for scenario in result.results {
            // Each is a cause of its own; what follows from one is its consequence.
            let isMeant = glob(foundIn, matches: scenario.scenario.name)
            if isMeant, scenario.violations.contains(where: { $0.rule == rule && $0.explanation.contains(evidence) }) {
                check.found.append(scenario.scenario.name)
            } else if let other = scenario.violations.first(where: { $0.severity == .violation }) {
                others.append("\(scenario.scenario.name): \(other.rule): \(other.explanation)")
            }
        }
        if check.found.isEmpty {
            check.faults.append(
                others.isEmpty
                    ? "broken: holds in all of \(result.results.count) scenarios"
                    : "broken: not found by \(rule) for the reason given, but \(others.first ?? "")")
        }
    }

    fileprivate func judgeFixed(_ result: SimulationResult, _ check: inout DefectCheck) {
        if result.verdict == .invalid {
            check.faults.append(
                "fixed: cannot be run: \(result.findings.map(\.message).joined(separator: "; "))")
            return
        }
        if result.results.isEmpty { check.faults.append("fixed: no scenario matches") }
        for scenario in result.results {
            if scenario.verdict != .holds {
                let first = scenario.violations.first
                check.faults.append(
                    "fixed: \(scenario.scenario.name): \(first.map { "\($0.rule): \($0.explanation)" } ?? scenario.verdict.rawValue)"
                )
            } else if let warning = scenario.violations.first(where: { $0.rule == rule }) {
                check.faults.append("fixed: \(scenario.scenario.name): \(warning.rule): \(warning.explanation)")
            }
        }
    }
}
