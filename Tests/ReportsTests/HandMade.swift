@testable import Reports

/// A report made by hand, so that what tests expect does not come from the core.
enum HandMade {
    static func violation(
        _ scenario: String, rule: String = "live-frame-overwritten", severity: String = "violation",
        routine: String = "do_int3", consequence: Report.Consequence? = nil, console: String = ""
    ) -> Report.Violation {
        Report.Violation(
            scenario: scenario, rule: rule, severity: severity,
            at: Report.Location(routine: routine, step: 57, instruction: "pushq %rax", source: "entry.s:3"),
            explanation: "8 bytes land on SS … of the frame → the return reads it", consequence: consequence,
            console: console, trace: "/v1/simulations/s/scenarios/\(scenario)/trace")
    }

    static let gp = Report.Consequence(
        rule: "unexpected-fault", vector: "general_protection", errorCode: "0x0", text: "the task dies")

    static func cost(_ scenario: String, _ instructions: Int) -> Report.Cost {
        Report.Cost(
            scenario: scenario, instructions: instructions, memoryWords: 40, hypervisorEntries: 1, msrAccesses: 2,
            cr3Writes: 3, serialisingInstructions: 4)
    }

    static var report: Report {
        let names = [
            "xen-pv/int3/kernel/return", "xen-pv/int3/kernel/oops", "xen-pv/debug/user/return",
            "xen-pv/nmi/user/return",
        ]
        var summary = Report.Summary()
        summary.scenarios = 4
        summary.holds = 1
        summary.violated = 2
        summary.undecided = 1
        summary.instructions = 61_234
        summary.states = 61_234
        summary.elapsed_seconds = 0.004
        return Report(
            id: "s", configuration: Report.Configuration(id: "0123456789abcdef", name: "mine"), kernel: "linux-5.2",
            xen: "4.6", state: "finished", verdict: "violated",
            request: Report.Request(platforms: ["xen-pv"], scenarios: ["xen-pv/*"], nesting: 0, stopAtFirst: false),
            summary: summary,
            violations: [
                violation(names[0], consequence: gp, console: "general protection fault: 0000\nRIP: e030:x+0x0/0x7"),
                violation(names[1], consequence: gp),
            ],
            warnings: [violation(names[2], rule: "needless-hypervisor-entry", severity: "warning")],
            undecided: [Report.Undecided(scenario: names[3], limit: "steps")],
            reasons: [
                Report.Reason(
                    rule: "unreachable-entry", pointer: "/entries/3", message: "nothing leads here", location: "")
            ],
            costs: zip(names, [10, 20, 30, 40]).map { cost($0, $1) }, modelVersion: "1.0.0",
            limits: [Report.Limit(name: "steps", value: 20_000)], created: "2019-07-11T09:00:00Z")
    }
}
