/// An entry table to be kept.
package struct NewConfiguration: Sendable {
    /// The canonical document, JSON; its digest is the identity.
    package var document: String
    /// A name for it, which means this content from then on.
    package var name: String?
    /// Whether the name is given to content that has one already, too.
    package var renames = true
    /// The kernel it describes, for lists.
    package var kernel: String
    /// Why the table cannot be run, JSON; nil for a valid one.
    package var invalidReason: String?
    /// When it came.
    package var createdAt: Timestamp

    package init(
        document: String, name: String? = nil, renames: Bool = true, kernel: String, invalidReason: String? = nil,
        createdAt: Timestamp
    ) {
        self.document = document
        self.name = name
        self.renames = renames
        self.kernel = kernel
        self.invalidReason = invalidReason
        self.createdAt = createdAt
    }
}

/// What the store knows of a configuration, without the document.
package struct StoredConfiguration: Sendable, Equatable {
    /// SHA-256 of the document.
    package let digest: Digest
    /// The name that it was found by; otherwise the last name given to this content, which may mean other content by now.
    package var name: String?
    package let kernel: String
    /// Why the table cannot be run, JSON; nil for a valid one.
    package let invalidReason: String?
    /// Bytes of the document.
    package let byteCount: Int
    package let createdAt: Timestamp

    /// Whether the table can be run.
    package var isValid: Bool { invalidReason == nil }
}

/// The answer to keeping a configuration.
package struct InsertedConfiguration: Sendable, Equatable {
    package let configuration: StoredConfiguration
    /// False when the content was there already; a name given with it counts all the same.
    package let created: Bool
}

/// The life of a simulation.
package enum StoredState: String, Sendable, CaseIterable {
    case queued, running, finished, failed, cancelled

    /// Whether nothing follows.
    package var isEnd: Bool { self != .queued && self != .running }
}

/// The verdict of a simulation or of a scenario.
package enum StoredVerdict: String, Sendable, CaseIterable {
    case holds, violated, undecided, invalid
}

/// A simulation to be kept.
package struct NewSimulation: Sendable {
    package var id: SimulationID
    /// The configuration it runs; it must be kept already or by an earlier write.
    package var configuration: Digest
    /// What was asked for, JSON.
    package var request: String
    /// The model that runs it.
    package var modelVersion: String
    package var createdAt: Timestamp

    package init(
        id: SimulationID, configuration: Digest, request: String, modelVersion: String, createdAt: Timestamp
    ) {
        self.id = id
        self.configuration = configuration
        self.request = request
        self.modelVersion = modelVersion
        self.createdAt = createdAt
    }
}

/// The counts of a finished simulation.
package struct SimulationSummary: Sendable, Equatable {
    package var scenarios = 0
    package var holds = 0
    package var violated = 0
    package var undecided = 0
    package var instructions = 0

    package init(scenarios: Int = 0, holds: Int = 0, violated: Int = 0, undecided: Int = 0, instructions: Int = 0) {
        self.scenarios = scenarios
        self.holds = holds
        self.violated = violated
        self.undecided = undecided
        self.instructions = instructions
    }
}

/// How a simulation came out; kept in one commit with its report and its scenarios.
package struct SimulationOutcome: Sendable {
    package var verdict: StoredVerdict
    package var summary: SimulationSummary
    package var elapsedSeconds: Double
    /// The report, opaque bytes.
    package var report: [UInt8]
    /// Every scenario in order; the ordinal is the position here.
    package var scenarios: [NewScenario]
    package var finishedAt: Timestamp

    package init(
        verdict: StoredVerdict, summary: SimulationSummary, elapsedSeconds: Double, report: [UInt8],
        scenarios: [NewScenario], finishedAt: Timestamp
    ) {
        self.verdict = verdict
        self.summary = summary
        self.elapsedSeconds = elapsedSeconds
        self.report = report
        self.scenarios = scenarios
        self.finishedAt = finishedAt
    }

    /// When it began.
    package var began: Timestamp {
        Timestamp(milliseconds: finishedAt.milliseconds - Int64((max(0, elapsedSeconds) * 1000).rounded(.up)))
    }
}

/// What the store knows of a simulation, without report and scenarios.
package struct StoredSimulation: Sendable, Equatable {
    package let id: SimulationID
    package let configuration: Digest
    /// The name its configuration has now, if any.
    package let configurationName: String?
    /// What was asked for, JSON.
    package let request: String
    package let state: StoredState
    /// Set if and only if the state is `finished`.
    package let verdict: StoredVerdict?
    /// Set if and only if the state is `failed`: a stable code, `interrupted` after a crash.
    package let failure: String?
    package let summary: SimulationSummary
    package let elapsedSeconds: Double?
    package let modelVersion: String
    package let createdAt: Timestamp
    package let startedAt: Timestamp?
    /// Set if and only if the state is an end.
    package let finishedAt: Timestamp?
}

/// One scenario's result to be kept.
package struct NewScenario: Sendable {
    /// `platform/event/context/probe` and nested events; unique in its simulation.
    package var name: String
    package var platform: String
    package var verdict: StoredVerdict
    /// The rule of its first cause, where one was violated.
    package var rule: String?
    /// Other rules that it violates or has a warning of; a list by rule finds it under each.
    package var furtherRules: [String]
    /// Whatever else there is to say, opaque bytes.
    package var record: [UInt8]

    package init(
        name: String, platform: String, verdict: StoredVerdict, rule: String? = nil, furtherRules: [String] = [],
        record: [UInt8]
    ) {
        self.name = name
        self.platform = platform
        self.verdict = verdict
        self.rule = rule
        self.furtherRules = furtherRules
        self.record = record
    }
}

/// One scenario's kept result.
package struct StoredScenario: Sendable, Equatable {
    /// The position in its simulation, from 0.
    package let ordinal: Int
    package let name: String
    package let platform: String
    package let verdict: StoredVerdict
    package let rule: String?
    /// The record; empty where a list was asked for without records.
    package let record: [UInt8]
}

/// A part of a list.
package struct Page<Element: Sendable>: Sendable {
    package let items: [Element]
    /// Where the next page begins, URL-safe; nil at the end.
    package let next: String?
}

extension Page: Equatable where Element: Equatable {}
