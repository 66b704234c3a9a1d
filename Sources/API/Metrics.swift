import HTTPTypes
import Synchronization
import Verification

/// One family of the Prometheus text format (version 0.0.4).
package struct MetricFamily: Sendable {
    package enum Kind: String, Sendable { case counter, gauge, histogram }

    /// One sample; `suffix` is `_bucket`, `_sum` or `_count` of a histogram.
    package struct Sample: Sendable {
        package var suffix: String
        package var labels: [(name: String, value: String)]
        package var value: Double
    }

    package var name: String
    package var help: String
    package var kind: Kind
    package var samples: [Sample] = []

    package init(_ name: String, _ kind: Kind, _ help: String) {
        self.name = name
        self.kind = kind
        self.help = help
    }

    /// The family with one sample more.
    package func with(
        _ value: Double, _ labels: [(name: String, value: String)] = [], suffix: String = ""
    ) -> MetricFamily {
        var family = self
        family.samples.append(Sample(suffix: suffix, labels: labels, value: value))
        return family
    }

    /// The lines of the family.
    var text: String {
        var text = "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
        for sample in samples {
            text += name + sample.suffix
            if !sample.labels.isEmpty {
                let list = sample.labels.map { "\($0.name)=\"\(Self.escaped($0.value))\"" }
                text += "{\(list.joined(separator: ","))}"
            }
            text += " \(Self.number(sample.value))\n"
        }
        return text
    }

    private static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : "\(value)"
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.unicodeScalars.append(character)
            }
        }
        return result
    }
}

/// A distribution of durations.
struct DurationHistogram: Sendable {
    /// Upper bounds, seconds.
    static let bounds: [Double] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

    private(set) var counts = [Int](repeating: 0, count: bounds.count)
    private(set) var count = 0
    private(set) var sum_seconds = 0.0

    mutating func add(_ seconds: Double) {
        count += 1
        sum_seconds += seconds
        if let index = Self.bounds.firstIndex(where: { seconds <= $0 }) { counts[index] += 1 }
    }

    /// Adds the samples of the histogram, with `quick` durations below every bound besides.
    func samples(_ family: inout MetricFamily, _ labels: [(name: String, value: String)], quick: Int = 0) {
        var total = quick
        for (bound, count) in zip(Self.bounds, counts) {
            total += count
            family = family.with(Double(total), labels + [("le", "\(bound)")], suffix: "_bucket")
        }
        family = family.with(Double(count + quick), labels + [("le", "+Inf")], suffix: "_bucket")
        family = family.with(sum_seconds, labels, suffix: "_sum")
        family = family.with(Double(count + quick), labels, suffix: "_count")
    }
}

/// What the interface counts.
///
/// Labels have a bounded number of values: the route's template and never the path, and no method that is unknown.
package final class APIMetrics: Sendable {
    private struct Key: Hashable {
        var method: String
        var route: String
        var status: Int
    }

    private struct State {
        var requests: [Key: Int] = [:]
        var durations: [String: DurationHistogram] = [:]
        var writes = DurationHistogram()
        var scenarios: [String: Int] = [:]
    }

    /// GETs of one route that were answered from memory.
    final class Cached: Sendable {
        fileprivate let count = Atomic<Int>(0)
        func add() { count.wrappingAdd(1, ordering: .relaxed) }
    }

    private let state = Mutex(State())
    private let cached = Mutex<[String: Cached]>([:])
    private let unread = Atomic<Int>(0)

    private static func name(_ method: HTTPRequest.Method) -> String {
        switch method {
        case .get, .head, .post, .put, .patch, .delete, .options, .connect, .trace: method.rawValue
        default: "OTHER"
        }
    }

    /// The counter of GETs of a route that need no handler.
    func cached(_ route: String) -> Cached {
        cached.withLock { table in
            if let counter = table[route] { return counter }
            let counter = Cached()
            table[route] = counter
            return counter
        }
    }

    /// Counts an answer that took no time worth measuring.
    func count(_ method: HTTPRequest.Method, _ route: String, _ status: Int) {
        let key = Key(method: Self.name(method), route: route, status: status)
        state.withLock { $0.requests[key, default: 0] += 1 }
    }

    /// Counts an answer and how long it took from request to answer, waiting included.
    func count(_ method: HTTPRequest.Method, _ route: String, _ status: Int, seconds: Double) {
        let key = Key(method: Self.name(method), route: route, status: status)
        state.withLock { state in
            state.requests[key, default: 0] += 1
            state.durations[route, default: DurationHistogram()].add(seconds)
        }
    }

    /// Counts a request that was refused because its network holds too many answers.
    func countUnread() { unread.wrappingAdd(1, ordering: .relaxed) }

    func countWrite(seconds: Double) { state.withLock { $0.writes.add(seconds) } }

    func countScenarios(_ counts: [String: Int]) {
        state.withLock { $0.scenarios.merge(counts, uniquingKeysWith: +) }
    }

    /// Everything counted so far.
    var families: [MetricFamily] {
        let state = self.state.withLock { $0 }
        let cached = self.cached.withLock { table in table.mapValues { $0.count.load(ordering: .relaxed) } }
        var totals = state.requests
        for (route, count) in cached where count > 0 {
            totals[Key(method: "GET", route: route, status: 200), default: 0] += count
        }
        var requests = MetricFamily("gatehouse_http_requests_total", .counter, "Answers by method, route and status.")
        for (key, count) in totals.sorted(by: {
            ($0.key.route, $0.key.method, $0.key.status) < ($1.key.route, $1.key.method, $1.key.status)
        }) {
            requests = requests.with(
                Double(count), [("method", key.method), ("route", key.route), ("status", "\(key.status)")])
        }
        var durations = MetricFamily(
            "gatehouse_http_request_duration_seconds", .histogram,
            "Time from a complete request to its answer; answers from memory count as no time.")
        for route in Set(state.durations.keys).union(cached.keys).sorted() {
            (state.durations[route] ?? DurationHistogram()).samples(
                &durations, [("route", route)], quick: cached[route] ?? 0)
        }
        var writes = MetricFamily(
            "gatehouse_db_write_seconds", .histogram, "Time of a committed write, waiting included.")
        state.writes.samples(&writes, [])
        var scenarios = MetricFamily("gatehouse_scenarios_total", .counter, "Simulated scenarios by verdict.")
        for (verdict, count) in state.scenarios.sorted(by: { $0.key < $1.key }) {
            scenarios = scenarios.with(Double(count), [("verdict", verdict)])
        }
        let unread = MetricFamily(
            "gatehouse_unread_refusals_total", .counter,
            "Requests refused because their network reads too little of its answers."
        ).with(Double(unread.load(ordering: .relaxed)))
        return [requests, durations, writes, scenarios, unread]
    }
}

extension Application {
    /// The `Content-Type` of the Prometheus text format.
    static let metricsType = "text/plain; version=0.0.4; charset=utf-8"

    func metricsAnswer(_ request: Request) throws(Problem) -> Answer {
        try request.allow([])
        let build = MetricFamily("gatehouse_build_info", .gauge, "The program.").with(
            1, [("version", version), ("model", modelVersion)])
        let queues = [
            MetricFamily("gatehouse_queue_depth", .gauge, "Requests that wait for a thread.")
                .with(Double(queue.waiting), [("queue", "computing")])
                .with(Double(shortQueue.waiting), [("queue", "short")])
                .with(Double(longQueue.waiting), [("queue", "long")]),
            MetricFamily("gatehouse_simulations_running", .gauge, "Simulations that run.").with(Double(running.count)),
            MetricFamily("gatehouse_requests_joined", .gauge, "Requests that wait for the answer of another.")
                .with(Double(flights.joined)),
            MetricFamily(
                "gatehouse_held_answer_bytes", .gauge, "Bytes of answers in memory, kept or not yet read."
            ).with(Double(answers.held_bytes)),
            MetricFamily("gatehouse_cached_bytes", .gauge, "Finished answers in memory.").with(
                Double(cache.size_bytes)),
        ]
        let families = [build] + metrics.families + queues + environment.metrics()
        var answer = Answer(.ok, .text, [UInt8](families.map(\.text).joined().utf8))
        answer.fields[.contentType] = Self.metricsType
        answer.fields[.cacheControl] = "no-store"
        return answer
    }
}
