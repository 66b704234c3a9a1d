import API
import ArgumentParser
import EntryCode
import Glibc
import Synchronization
import Verification

/// Set by the first Ctrl-C while something is simulated.
private let isInterrupted = Atomic<Bool>(false)

/// Seconds on a clock that only goes forward.
func uptime_seconds() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
}

/// A number of nested events that a budget may have.
func checkedNestedRuns(_ number: Int) throws -> UInt64 {
    guard (1...1_000_000_000_000).contains(number) else { throw ValidationError("nested-runs is 1 to 10^12") }
    return UInt64(number)
}

extension SelectionOptions {
    /// Simulates, shows how far it is, and ends at the time limit or at Ctrl-C with what was found until then.
    ///
    /// A second Ctrl-C ends the program.
    func simulate(_ table: EntryTable, _ library: KernelLibrary) -> SimulationResult {
        isInterrupted.store(false, ordering: .relaxed)
        let earlier = signal(SIGINT) { _ in
            isInterrupted.store(true, ordering: .relaxed)
            _ = signal(SIGINT, SIG_DFL)
        }
        defer { _ = signal(SIGINT, earlier) }
        // Whoever started the program from a thread that takes no signals has passed that on.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGINT)
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        let line = ProgressLine(isWanted: progress, nesting: nesting)
        let start = uptime_seconds()
        let end = timeLimit.map { start + Double($0) }
        let control = SimulationControl { progress in
            if isInterrupted.load(ordering: .relaxed) { return .cancelled }
            let now = uptime_seconds()
            line.show(progress, seconds: now - start)
            if let end, now >= end { return .time }
            return nil
        }
        let result = table.simulate(request, kernels: library, runner: ConcurrentRunner(), control: control)
        line.clear()
        return result
    }
}

/// How far a simulation is, on standard error, once a second.
private final class ProgressLine: Sendable {
    private let isTerminal: Bool
    private let isShown: Bool
    /// When the line was written last, in seconds since the start; nil before.
    private let written = Mutex<Double?>(nil)

    /// - Parameter isWanted: Also where standard error is no terminal, and where it takes no time.
    init(isWanted: Bool, nesting: Int) {
        isTerminal = isatty(STDERR_FILENO) == 1
        isShown = isWanted || (isTerminal && nesting > 0)
    }

    func show(_ progress: SimulationProgress, seconds: Double) {
        guard isShown else { return }
        written.withLock { last in
            guard seconds - (last ?? 0) >= 1 else { return }
            last = seconds
            let nested = progress.nestedRuns > 0 ? ", \(progress.nestedRuns) nested events tried" : ""
            let text = "\(progress.scenariosDone) of \(progress.scenarios) scenarios\(nested), \(Int(seconds)) s"
            Self.write(isTerminal ? "\r\u{1B}[K\(text)" : "\(text)\n")
        }
    }

    /// Leaves a terminal as it was.
    func clear() {
        if isTerminal, written.withLock({ $0 != nil }) { Self.write("\r\u{1B}[K") }
    }

    /// What cannot be written is not missed.
    private static func write(_ text: String) {
        let bytes = [UInt8](text.utf8)
        _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
    }
}

/// The forms of a table, a comparison or a list.
enum DocumentFormat: String, CaseIterable, ExpressibleByArgument {
    case json, text
}

/// The forms of a trace.
enum TraceFormat: String, CaseIterable, ExpressibleByArgument {
    case json, text, ndjson
}
