import EntryCode
import Testing
import Verification

/// What a group of scenarios must come to.
struct Expectation {
    /// Glob of scenario names.
    var scenarios: String
    /// The first cause.
    var rule: String
    /// What the machine did next; nil where that is not looked at.
    var consequence: Consequence?

    enum Consequence: Equatable {
        /// Nothing crashes: the state is wrong without a message.
        case silent
        /// Rule, then the symbol of the vector and its error code where there are any.
        case rule(String, String? = nil, UInt64? = nil)
    }

    /// Also an INT n that is refused: it comes as #GP, not as the event of its vector.
    var includesRefused: Bool

    init(_ scenarios: String, _ rule: String, _ consequence: Consequence? = nil, includesRefused: Bool = false) {
        self.scenarios = scenarios
        self.rule = rule
        self.consequence = consequence
        self.includesRefused = includesRefused || scenarios.hasSuffix("/software-interrupt")
    }

    func covers(_ scenario: Scenario) -> Bool {
        (glob(scenarios, matches: scenario.name) || glob(scenarios, matches: plainName(scenario)))
            && (includesRefused || scenario.probe != .softwareInterrupt)
    }

    /// The name in the plain context of the same mode: what breaks there breaks in the special ones.
    private func plainName(_ scenario: Scenario) -> String {
        var plain = scenario
        let context = scenario.context
        if context.isUser {
            plain.context = .user
        } else if context.isOnInterruptStack || context.isInNMI {
            plain.context =
                context.eventsOn
                ? (context.isMisaligned ? .kernelRSP8 : .kernel)
                : (context.isMisaligned ? .kernelEventsOffRSP8 : .kernelEventsOff)
        }
        return plain.name
    }
}

extension Scenario {
    /// More than the event that it is named for happens in it, or on a stack where a fault ends otherwise.
    var isCompound: Bool {
        switch probe {
        case .singleStep, .setTrapFlag, .movSS, .movSSStep, .watchpoint, .sigreturnNullSS, .sigreturnBogusSS,
            .sigreturnAbsentCS, .sigreturnLDTStack64, .paravirtCall, .paravirtCallMasking:
            true
        case .softwareInterrupt: vector >= 32
        default: context.isInNMI
        }
    }
}

/// The events whose scenarios stand for all: one of each way in.
let sample = [
    "*/divide_error/*", "*/debug/*", "*/nmi/*", "*/int3/*", "*/invalid_op/*", "*/double_fault/*",
    "*/segment_not_present/*", "*/general_protection/*", "*/page_fault/*", "*/machine_check/*",
    "*/entry_INT80_compat/*", "*/irq_entries_start/*", "*/xen_hypervisor_callback/*",
]

/// Runs a variant and checks that exactly the expected scenarios are violated, each by the expected first cause.
func expect(
    _ variant: Variant, _ expectations: [Expectation], xen: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let table = try variant.table()
    var request = SimulationRequest(selection: ScenarioSelection(patterns: sample))
    request.xen = xen == "4.17" ? .v4_17 : nil
    let result = table.simulate(request)
    #expect(result.verdict != .invalid, "\(result.findings)", sourceLocation: sourceLocation)
    var isUsed = [Bool](repeating: false, count: expectations.count)
    for scenario in result.results {
        let name = scenario.scenario.name
        let first = scenario.violations.first { $0.severity == .violation }
        if scenario.scenario.isCompound {
            // Another event is part of it, with an expectation of its own: no other rule may break.
            for index in expectations.indices where expectations[index].covers(scenario.scenario) {
                isUsed[index] = true
            }
            #expect(
                first == nil || expectations.contains { $0.rule == first?.rule },
                "\(name): \(first?.rule ?? ""): \(first?.explanation ?? "")", sourceLocation: sourceLocation)
            continue
        }
        guard let index = expectations.firstIndex(where: { $0.covers(scenario.scenario) }) else {
            #expect(
                scenario.verdict == .holds, "\(name): \(first?.rule ?? "undecided"): \(first?.explanation ?? "")",
                sourceLocation: sourceLocation)
            continue
        }
        isUsed[index] = true
        let expectation = expectations[index]
        #expect(
            first?.rule == expectation.rule, "\(name): \(first?.explanation ?? "holds")", sourceLocation: sourceLocation
        )
        switch expectation.consequence {
        case nil: break
        case .silent: #expect(first?.consequence?.vector == nil, "\(name)", sourceLocation: sourceLocation)
        case .rule(let rule, let vector, let code):
            let found = first?.consequence
            #expect(found?.rule == rule, "\(name): \(found?.text ?? "")", sourceLocation: sourceLocation)
            if let vector { #expect(found?.vector == vector, "\(name)", sourceLocation: sourceLocation) }
            if let code { #expect(found?.errorCode == code, "\(name)", sourceLocation: sourceLocation) }
        }
    }
    for (index, expectation) in expectations.enumerated() where !isUsed[index] {
        Issue.record("no scenario matches \(expectation.scenarios)", sourceLocation: sourceLocation)
    }
}
