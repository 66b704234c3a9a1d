package import EntryCode
package import KernelSource
package import Store
package import Verification

/// Runs work away from the event loop: a bounded queue of some threads.
package protocol WorkQueue: AnyObject, Sendable {
    /// Queues work that is nobody's in particular; false when the queue is full or closed.
    func submit(_ work: @escaping @Sendable () -> Void) -> Bool

    /// Queues work of a client; false when the queue is full or closed, or holds the client's share already.
    func submit(for client: String, _ work: @escaping @Sendable () -> Void) -> Bool

    /// Pieces of work that wait.
    var waiting: Int { get }

    /// Whether what is submitted now has to wait.
    var isBusy: Bool { get }
}

extension WorkQueue {
    package func submit(for client: String, _ work: @escaping @Sendable () -> Void) -> Bool { submit(work) }

    package var waiting: Int { 0 }
    package var isBusy: Bool { false }
}

/// One answered request, for whoever keeps an access log. Nothing of it is a secret: no query, no body, no token.
package struct RequestRecord: Sendable {
    package var id: String
    package var method: String
    /// Without the query.
    package var path: String
    /// The template of the route; `(none)` where there was none, `(denied)` and `(refused)` where it was not asked.
    package var route: String
    package var status: Int
    package var bytes: Int
    package var seconds: Double
    package var peer: String
    /// The public part of the token.
    package var token: String?
}

/// What the application takes from outside, so that a failing test is a seed.
package struct Environment: Sendable {
    /// Wall clock.
    package var now: @Sendable () -> Timestamp
    /// Seconds on a clock that only goes forward.
    package var uptime_seconds: @Sendable () -> Double
    /// Bits for ids.
    package var random: @Sendable () -> UInt64
    /// One line per event worth keeping; never a body, a token or a document.
    package var log: @Sendable (String) -> Void
    /// Called for every answer that a handler gave; nil where nobody wants to know.
    package var logRequest: (@Sendable (RequestRecord) -> Void)?
    /// What is measured outside of the application.
    package var metrics: @Sendable () -> [MetricFamily] = { [] }
    /// What else must be well for the service to be ready.
    package var readiness: @Sendable () -> [(name: String, isGood: Bool)] = { [] }

    package init(
        now: @escaping @Sendable () -> Timestamp, uptime_seconds: @escaping @Sendable () -> Double,
        random: @escaping @Sendable () -> UInt64, log: @escaping @Sendable (String) -> Void
    ) {
        self.now = now
        self.uptime_seconds = uptime_seconds
        self.random = random
        self.log = log
    }
}

/// Bounds of the interface.
package struct APILimits: Sendable, Hashable {
    package var table = TableLimits()
    package var run = RunLimits()
    /// Patches, mails and trees.
    package var source = SourceLimits()
    /// Bytes of a form or an archive with files of a kernel tree, as it comes and expanded.
    package var tree_bytes = 8 << 20
    /// Rows of a page, unless asked for fewer or more.
    package var pageRows = 50
    package var pageRowsMaximum = 1000
    /// Rows that a streamed list reads at once: what each of its readers costs, however slow, is two pages of some 1 KiB a row.
    package var streamRows = 32
    /// Patterns in one `scenarios` parameter.
    package var patterns = 32
    /// A request that waited longer for a thread is answered 503: whoever sent it has given up, or will.
    package var queue_seconds = 60.0
    /// What a simulation may take; what it has not decided by then is undecided.
    package var simulation_seconds = 120
    /// Bytes of finished answers kept in memory for repeated GETs.
    package var cache_bytes = 8 << 20
    /// Bytes of finished answers that the process holds for peers that do not read them, the kept ones included. Beyond: 503.
    ///
    /// One address or network gets half of what the others leave.
    package var heldAnswers_bytes = 256 << 20
    /// Smaller bodies are not counted.
    package var countedAnswer_bytes = 1024
    /// Requests of one client that wait for the answer of another to the same GET.
    package var joinedRequests = 1024

    package init() {}
}
