/// Every bound the store enforces; what exceeds one is refused with `too-large` or `busy`.
package struct Limits: Sendable, Equatable {
    /// Writes that may wait for the writer; more are refused with `busy`.
    package var queuedWrites = 1024
    /// Bytes of all waiting writes together.
    package var queuedBytes = 64 << 20
    /// Writes that share one commit.
    package var groupedWrites = 128
    /// Reader connections, each a file handle or three and a page cache.
    package var readers = 4
    /// Milliseconds a read waits for a free reader before `busy`.
    package var readerWaitMilliseconds = 5000
    /// Rows of one page of a list; a larger wish is cut to this.
    package var pageRows = 1000
    /// Candidates named for an ambiguous prefix.
    package var candidates = 10
    /// Bytes of one configuration document.
    package var documentBytes = 8 << 20
    /// Bytes of one report.
    package var reportBytes = 32 << 20
    /// Bytes of any other text: a request, a reason, headers.
    package var textBytes = 1 << 20
    /// Scenarios of one simulation.
    package var scenarios = 100_000
    /// Bytes of all scenario records of one simulation.
    package var scenarioBytes = 32 << 20
    /// Bytes of an answer kept for an idempotency key.
    package var answerBytes = 4 << 20
    /// Simulations or keys one pruning write removes, to keep its commit short.
    package var prunedRows = 200
    /// Bytes of the write-ahead log beyond which the writer forces a truncating checkpoint.
    package var writeAheadLogBytes = 64 << 20
    /// Milliseconds a forced checkpoint waits for readers; the writer stands still meanwhile.
    package var checkpointWaitMilliseconds = 100
    /// Pages of the database file (4096 bytes each); more is `disk-full`. Nil for SQLite's own limit.
    package var databasePages: Int?
    /// Milliseconds for the check of the file at start; zero leaves it out.
    package var startCheckMilliseconds = 2000

    /// The limits of a service on a small machine.
    package init() {}
}
