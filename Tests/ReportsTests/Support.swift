import EntryCode
import Testing
import Verification

@testable import Reports

/// Tables and reports that several tests look at; each simulated once.
enum Fixture {
    static let linux52 = Sample("linux-5.2")
    static let linux53 = Sample("linux-5.3")
    /// Linux 5.3 without the gap that call emulation needs: broken on bare metal as well.
    static let withoutGap = Sample("linux-5.3", name: "without gap") {
        $0.replacing(entry: "int3", "create_gap", false)
    }
    /// A handler that does not exist.
    static let dangling = Sample("linux-5.3", name: "dangling") {
        $0.replacing(entry: "int3", "handler", "do_nothing_at_all")
    }
    static let all = [linux52, linux53, withoutGap, dangling]
}

/// One table, its result and its report.
struct Sample: Sendable, CustomTestStringConvertible {
    let name: String
    let table: EntryTable
    let request: SimulationRequest
    let result: SimulationResult
    let report: Report

    var testDescription: String { name }

    init(_ kernel: String, name: String? = nil, _ change: (JSON) -> JSON = { $0 }) {
        let document = KernelLibrary.shipped.kernel(named: kernel)?.document ?? .null
        do {
            table = try EntryTable.read(change(document))
        } catch {
            preconditionFailure("the sample \(name ?? kernel) is not a table: \(error)")
        }
        self.name = name ?? kernel
        request = SimulationRequest()
        result = table.simulate(request)
        report = Report(
            result: result, request: request, configuration: Report.Configuration(id: "0123abcd", name: self.name),
            kernel: kernel, id: "sim-1", elapsed_seconds: 0.0041, created: "2019-07-11T09:00:00Z")
    }

    func trace(_ scenario: String) throws -> TraceReport {
        let (result, recorder) = try #require(try table.trace(scenario: scenario, request))
        return TraceReport(result, recorder, simulation: "sim-1")
    }
}

extension JSON {
    /// The table's document with one column of one entry changed.
    func replacing(entry symbol: String, _ column: String, _ value: JSON) -> JSON {
        guard case .object(let members) = self else { return self }
        return .object(
            members.map { member in
                guard member.key == "entries", case .array(let rows) = member.value else { return member }
                return Member(
                    "entries",
                    .array(rows.map { $0["symbol"] == .string(symbol) ? $0.setting(column, value) : $0 }))
            })
    }

    func setting(_ key: String, _ value: JSON) -> JSON {
        guard case .object(let members) = self else { return self }
        return .object(members.filter { $0.key != key } + [Member(key, value)])
    }

    var keys: [String] { objectValue?.map(\.key) ?? [] }
}
