/// The outcome of one simulation as clients, files and terminals see it.
///
/// A value of strings and numbers, independent of the core's types: a report that was stored reads back and renders
/// with any later version. Its JSON form is the contract (`Report (JSON)` of the interface); every other format is
/// made from this value alone.
package struct Report: Sendable, Equatable {
    /// Which entry table was simulated.
    package struct Configuration: Sendable, Equatable {
        /// Digest of the document.
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
        package var platforms: [String]
        /// Patterns of scenario names; empty for all.
        package var scenarios: [String]
        package var nesting: Int
        package var stopAtFirst: Bool

        /// Describes a request for simulation.
        package init(platforms: [String], scenarios: [String], nesting: Int = 0, stopAtFirst: Bool = false) {
            self.platforms = platforms
            self.scenarios = scenarios
            self.nesting = nesting
            self.stopAtFirst = stopAtFirst
        }
    }

    /// The counts of a report.
    package struct Summary: Sendable, Equatable {
        package var scenarios = 0
        package var holds = 0
        package var violated = 0
        package var undecided = 0
        package var instructions = 0
        package var states = 0
        package var nesting = 0
        package var elapsed_seconds = 0.0
        package var warnings = 0

        /// Counts nothing yet.
        package init() {}
    }

    /// One broken rule of one scenario: first cause, then consequence.
    package struct Violation: Sendable, Equatable {
        package var scenario: String
        package var rule: String
        /// `violation` or `warning`.
        package var severity: String
        package var at: Location
        package var explanation: String
        package var consequence: Consequence?
        /// Lines joined by newlines; empty where the machine prints nothing.
        package var console: String
        /// Path of the scenario's trace; nil for a report that no service keeps.
        package var trace: String?
    }

    /// The instruction that is the cause.
    package struct Location: Sendable, Equatable {
        package var routine: String
        package var step: Int
        package var instruction: String
        /// `file:line`.
        package var source: String
    }

    /// What the machine did next.
    package struct Consequence: Sendable, Equatable {
        package var rule: String
        package var vector: String?
        /// As the interface writes it: `0x0`.
        package var errorCode: String?
        package var text: String
    }

    /// A finding about the configuration: why it cannot be run, or a warning.
    package struct Reason: Sendable, Equatable {
        package var rule: String
        /// JSON pointer into the document; may be empty.
        package var pointer: String
        package var message: String
        /// `file:line:column` in a listing; may be empty.
        package var location: String
    }

    /// A scenario without a verdict, and the limit that it reached.
    package struct Undecided: Sendable, Equatable {
        package var scenario: String
        package var limit: String
    }

    /// What one scenario executed. Counts, no invented cycles.
    package struct Cost: Sendable, Equatable {
        package var scenario: String
        package var instructions: Int
        package var memoryWords: Int
        package var hypervisorEntries: Int
        package var msrAccesses: Int
        package var cr3Writes: Int
        package var serialisingInstructions: Int
    }

    /// One bound of the run.
    package struct Limit: Sendable, Equatable {
        package var name: String
        package var value: Int
    }

    /// Id of the simulation; nil for one that no service keeps.
    package var id: String?
    package var configuration: Configuration
    /// The kernel whose entry code it is.
    package var kernel: String
    /// Release of Xen that was simulated.
    package var xen: String
    package var state: String
    package var verdict: String
    package var request: Request
    package var summary: Summary
    package var violations: [Violation]
    package var warnings: [Violation]
    package var undecided: [Undecided]
    /// With verdict `invalid`: why; otherwise warnings about the table.
    package var reasons: [Reason]
    /// One for each scenario that ran, in scenario order.
    package var costs: [Cost]
    package var modelVersion: String
    package var limits: [Limit]
    /// RFC 3339; nil where no clock was asked.
    package var created: String?
}

extension Report {
    /// What people call the table: its name, else the start of its id, else its kernel.
    package var title: String {
        if let name = configuration.name { return name }
        return configuration.id.isEmpty ? kernel : String(configuration.id.prefix(12))
    }
}
