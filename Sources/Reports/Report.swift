/// The outcome of one simulation as clients, files and terminals see it.
///
/// A value of strings and numbers, independent of the core's types: a report that was stored reads back and renders
/// with any later version. Its JSON form is the contract (`Report (JSON)` of the interface); every other format is
/// made from this value alone.
package struct Report: Sendable, Equatable {
    /// Which entry table was simulated.
    package struct Configuration: Sendable, Equatable {
        /// Digest of the document, whether or not anybody keeps it.
        package var id: String
        /// What its owner calls it; nil where it has no name.
        package var name: String?

        /// Names a table by digest and, where there is one, by name.
        package init(id: String, name: String?) {
            self.id = id
            self.name = name
        }
    }

    /// What was asked for.
    package struct Request: Sendable, Equatable {
        /// Ids such as `xen-pv`, in the order of the interface.
        package var platforms: [String]
        /// Patterns of scenario names; empty for all.
        package var scenarios: [String]
        /// Depth of nested events, 0 to 3.
        package var nesting: Int
        /// The run ended at the first violated scenario.
        package var stopAtFirst: Bool

        /// Describes a request for simulation.
        package init(platforms: [String], scenarios: [String], nesting: Int = 0, stopAtFirst: Bool = false) {
            self.platforms = platforms
            self.scenarios = scenarios
            self.nesting = nesting
            self.stopAtFirst = stopAtFirst
        }
    }

    /// The command that made a report, in the words that a user repeats to go on from it.
    package struct Command: Sendable, Equatable {
        /// The table as it was named: a file, `-` for standard input, or a shipped table.
        package var table: String
        /// Options that say which machine is simulated, such as `--xen 4.17`.
        package var machine: [String]
        /// Options that choose scenarios.
        package var selection: [String]

        /// Keeps the words of a command line.
        package init(table: String, machine: [String] = [], selection: [String] = []) {
            self.table = table
            self.machine = machine
            self.selection = selection
        }
    }

    /// The counts of a report.
    package struct Summary: Sendable, Equatable {
        /// Scenarios that ran; the next three add up to it.
        package var scenarios = 0
        /// Scenarios without a violation; warnings do not count.
        package var holds = 0
        /// Scenarios with one violation or more.
        package var violated = 0
        /// Scenarios that reached a limit.
        package var undecided = 0
        /// Executed in all scenarios together.
        package var instructions = 0
        /// Machine states that were looked at; one per instruction without nesting.
        package var states = 0
        /// Depth of nested events that was explored.
        package var nesting = 0
        /// Nested events that were tried.
        package var nestedRuns = 0
        /// Wall time as the caller measured it.
        package var elapsed_seconds = 0.0
        /// Warnings of scenarios, without those about the table.
        package var warnings = 0

        /// Counts nothing yet.
        package init() {}
    }

    /// One broken rule of one scenario: first cause, then consequence.
    package struct Violation: Sendable, Equatable {
        /// `platform/event/context/probe` and nested events.
        package var scenario: String
        /// Stable id of the rule.
        package var rule: String
        /// `violation` or `warning`.
        package var severity: String
        /// The first cause.
        package var at: Location
        /// Names addresses, slots and activations; may hold signs beyond ASCII.
        package var explanation: String
        /// What came of it; nil for what stays latent.
        package var consequence: Consequence?
        /// Lines joined by newlines; empty where the machine prints nothing.
        package var console: String
        /// Path of the scenario's trace; nil for a report that no service keeps.
        package var trace: String?
        /// The defect of the shipped kernel that this is; nil where it is none, or the table is not the kernel's own.
        package var known: KnownDefect?
    }

    /// A defect that the kernel of the table is known for.
    package struct KnownDefect: Sendable, Hashable {
        /// What it is, in one line.
        package var title: String
        /// How it comes about.
        package var why: String
        /// Commits of Linux.
        package var fixedBy: [String]
        /// The first version with the fix; nil where there is none.
        package var fixedIn: String?
        /// Numbers such as `CVE-2019-1125`.
        package var cve: [String]
    }

    /// The instruction that is the cause.
    package struct Location: Sendable, Equatable {
        /// Symbol of the code; empty where RIP pointed nowhere.
        package var routine: String
        /// Number of the instruction in its scenario, from 0.
        package var step: Int
        /// AT&T text, or `(C function)`.
        package var instruction: String
        /// `file:line`.
        package var source: String
    }

    /// What the machine did next.
    package struct Consequence: Sendable, Equatable {
        /// Stable id of the rule that this breaks in turn.
        package var rule: String
        /// Symbol of the entry that the fault came to; nil where there is none.
        package var vector: String?
        /// As the interface writes it: `0x0`.
        package var errorCode: String?
        /// What people would see, in words.
        package var text: String
    }

    /// A finding about the configuration: why it cannot be run, or a warning.
    package struct Reason: Sendable, Equatable {
        /// Id of a rule, or a diagnostic code of the assembler.
        package var rule: String
        /// JSON pointer into the document; may be empty.
        package var pointer: String
        /// What is wrong and with which name.
        package var message: String
        /// `file:line:column` in a listing; may be empty.
        package var location: String
    }

    /// A scenario without a verdict, and the limit that it reached.
    package struct Undecided: Sendable, Equatable {
        /// Name of the scenario.
        package var scenario: String
        /// Name of the limit, as in `limits`.
        package var limit: String
    }

    /// Scenarios of which not everything was tried, whatever was found in them, and the limit that was reached.
    package struct CutShort: Sendable, Equatable {
        /// Name of the limit: `nested-runs`, `time` or `cancelled`.
        package var limit: String
        /// How many scenarios.
        package var scenarios: Int
    }

    /// What one scenario executed. Counts, no invented cycles.
    package struct Cost: Sendable, Equatable {
        /// Name of the scenario.
        package var scenario: String
        /// Instructions executed, C functions as one.
        package var instructions: Int
        /// Words read or written.
        package var memoryWords: Int
        /// Entries into Xen: deliveries, hypercalls, emulated instructions.
        package var hypervisorEntries: Int
        /// RDMSR and WRMSR.
        package var msrAccesses: Int
        /// Switches of page tables.
        package var cr3Writes: Int
        /// Instructions that wait for all before them.
        package var serialisingInstructions: Int
    }

    /// One bound of the run.
    package struct Limit: Sendable, Equatable {
        /// Stable name such as `steps`.
        package var name: String
        /// The bound itself.
        package var value: Int
    }

    /// Id of the simulation; nil, in JSON null, for one that no service keeps.
    package var id: String?
    /// The table.
    package var configuration: Configuration
    /// The kernel whose entry code it is.
    package var kernel: String
    /// Release of Xen that was simulated.
    package var xen: String
    /// `finished` once there is a verdict.
    package var state: String
    /// `holds`, `violated`, `undecided` or `invalid`.
    package var verdict: String
    /// What was asked for.
    package var request: Request
    /// The counts.
    package var summary: Summary
    /// In scenario order.
    package var violations: [Violation]
    /// Broken rules that do not change a verdict, in scenario order.
    package var warnings: [Violation]
    /// Scenarios without a verdict.
    package var undecided: [Undecided]
    /// Not everything was tried: by which limit, and in how many scenarios; empty where everything was.
    package var cutShort: [CutShort] = []
    /// With verdict `invalid`: why; otherwise warnings about the table.
    package var reasons: [Reason]
    /// One for each scenario that ran, in scenario order.
    package var costs: [Cost]
    /// Reports of one model version and one table agree.
    package var modelVersion: String
    /// Bounds of the run, so that `undecided` can be understood.
    package var limits: [Limit]
    /// RFC 3339; nil where no clock was asked.
    package var created: String?
    /// The command that made it; nil for a report that a service keeps. Texts alone show it: no JSON has it.
    package var command: Command?
}

extension Report {
    /// What people call the table: its name, else what the command called it, else the start of its id, else its kernel.
    package var title: String {
        if let name = configuration.name ?? command?.table { return name }
        return configuration.id.isEmpty ? kernel : String(configuration.id.prefix(12))
    }
}
