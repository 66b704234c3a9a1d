import Foundation
import Synchronization
import Testing

@testable import Store

/// A folder that goes with the test.
final class Folder: Sendable {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-store-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var database: String { path + "/gatehouse.sqlite" }

    /// Copies the database and its log as they are on disk now, as a crash would leave them.
    func crashCopy() throws -> Folder {
        let copy = try Folder()
        for suffix in ["", "-wal"] {
            try FileManager.default.copyItem(atPath: database + suffix, toPath: copy.database + suffix)
        }
        return copy
    }
}

/// A value shared between a test and the writer's thread.
final class Shared<Value: Sendable>: Sendable {
    private let value: Mutex<Value>
    init(_ value: Value) { self.value = Mutex(value) }
    func update(_ body: (inout sending Value) -> Void) { value.withLock { body(&$0) } }
    var now: Value { value.withLock { $0 } }
}

/// A write that holds the writer until it is told to go on, so that what follows queues up behind it.
struct Gate {
    private let entered = DispatchSemaphore(value: 0)
    private let released = DispatchSemaphore(value: 0)

    var write: Write<Void> {
        Write { [entered, released] _ in
            entered.signal()
            released.wait()
        }
    }
    func waitUntilEntered() { entered.wait() }
    func open() { released.signal() }
}

let epoch = Timestamp(milliseconds: 1_558_085_400_000)

func moment(_ seconds: Int64) -> Timestamp { Timestamp(milliseconds: epoch.milliseconds + seconds * 1000) }

func memoryStore(_ limits: Limits = Limits()) throws -> ResultStore {
    try ResultStore.open(.memory, now: epoch, limits: limits)
}

func fileStore(_ folder: Folder, _ limits: Limits = Limits()) throws -> ResultStore {
    try ResultStore.open(.file(folder.database), now: epoch, limits: limits)
}

func table(_ number: Int, name: String? = nil, kernel: String = "linux-5.2") -> NewConfiguration {
    NewConfiguration(document: "{\"n\":\(number)}", name: name, kernel: kernel, createdAt: moment(Int64(number)))
}

func simulationID(_ number: Int) -> SimulationID {
    guard let id = SimulationID("simulation-\(100_000 + number)") else {
        preconditionFailure("a simulation id of the tests is not one")
    }
    return id
}

func simulation(_ number: Int, of configuration: Digest) -> NewSimulation {
    NewSimulation(
        id: simulationID(number), configuration: configuration, request: #"{"platforms":["xen-pv"]}"#,
        modelVersion: "1",
        createdAt: moment(Int64(number)))
}

/// Scenario 0 and every hundredth are violated; platforms take turns.
func scenarios(_ count: Int, recordBytes: Int = 20) -> [NewScenario] {
    let platforms = ["bare-metal-intel", "bare-metal-amd", "xen-pv"]
    return (0..<count).map { (number: Int) -> NewScenario in
        var record = [UInt8]("record \(number)".utf8)
        record.append(contentsOf: [UInt8](repeating: 0, count: recordBytes))
        return NewScenario(
            name: "\(platforms[number % 3])/int3/kernel/probe-\(number)", platform: platforms[number % 3],
            verdict: number % 100 == 0 ? .violated : .holds,
            rule: number % 100 == 0 ? "live-frame-overwritten" : nil,
            record: record)
    }
}

func outcome(_ scenarios: [NewScenario], verdict: StoredVerdict = .violated) -> SimulationOutcome {
    SimulationOutcome(
        verdict: verdict,
        summary: SimulationSummary(
            scenarios: scenarios.count, holds: 3, violated: 2, undecided: 1, instructions: 61_234),
        elapsedSeconds: 0.004, report: Array("{\"report\":true}".utf8), scenarios: scenarios, finishedAt: moment(50))
}

/// Expects a body to throw a store error of one code, and returns it.
@discardableResult
func expectError<Value>(
    _ code: StoreError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Value
) -> StoreError? {
    let error = #expect(throws: StoreError.self, sourceLocation: sourceLocation) { _ = try body() }
    #expect(error?.code == code, sourceLocation: sourceLocation)
    return error
}
