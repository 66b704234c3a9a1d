import EntryCode
import Foundation
import HTTPTransport
import Logging
import Service
import Store
import Synchronization
import Testing

@testable import API

/// What carries the requests of a case.
enum Carrier: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case router, live

    var testDescription: String { rawValue }
}

/// Does work at once, on the caller's thread.
final class ImmediateQueue: WorkQueue {
    func submit(_ work: @escaping @Sendable () -> Void) -> Bool {
        work()
        return true
    }
}

/// Keeps work until it is told to do it, up to a limit.
final class HeldQueue: WorkQueue {
    private let waiting = Mutex<[@Sendable () -> Void]>([])
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    func submit(_ work: @escaping @Sendable () -> Void) -> Bool {
        waiting.withLock { waiting in
            guard waiting.count < limit else { return false }
            waiting.append(work)
            return true
        }
    }

    /// Does what waits, in its order.
    func drain() {
        for work in waiting.withLock({ waiting in
            defer { waiting = [] }
            return waiting
        }) { work() }
    }
}

/// A clock that stands still and random bits that count up.
func fixedEnvironment(log: @escaping @Sendable (String) -> Void = { _ in }) -> Environment {
    let counter = Mutex<UInt64>(0)
    return Environment(
        now: { Timestamp(milliseconds: 1_558_085_400_000) }, uptime_seconds: { 1 },
        random: {
            counter.withLock { value in
                value += 1
                return value &* 0x9E37_79B9_7F4A_7C15
            }
        }, log: log)
}

/// An application on a database in memory.
func makeApplication(queue: any WorkQueue = ImmediateQueue(), limits: APILimits = APILimits()) throws -> Application {
    let store = try ResultStore.open(.memory, now: Timestamp(milliseconds: 1_558_085_400_000))
    return Application(
        store: store, queue: queue, environment: fixedEnvironment(), limits: limits, version: "0.0.0-test")
}

/// One service with an empty database, and a client of it.
final class Stage: Sendable {
    private let application: Application
    private let service: GatehouseService?
    private let folder: URL?
    private let client: any APIClient

    init(_ carrier: Carrier, _ change: (inout APILimits) -> Void = { _ in }) throws {
        var limits = APILimits()
        change(&limits)
        switch carrier {
        case .router:
            application = try makeApplication(limits: limits)
            client = RouterClient(application: application)
            service = nil
            folder = nil
        case .live:
            let folder = FileManager.default.temporaryDirectory
                .appendingPathComponent("gatehouse-api-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            var configuration = ServiceConfiguration(
                addresses: [try #require(SocketAddress("127.0.0.1:0"))],
                database: folder.appendingPathComponent("gatehouse.sqlite").path)
            configuration.workers = 2
            configuration.limits = limits
            let service = try GatehouseService(
                configuration, logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
            self.folder = folder
            self.service = service
            application = service.application
            let address = try #require(service.addresses.first)
            client = CurlClient(port: try #require(UInt16("\(address)".split(separator: ":").last ?? "")))
        }
    }

    deinit {
        if let service { service.stop() } else { try? application.store.close() }
        if let folder { try? FileManager.default.removeItem(at: folder) }
    }

    /// Sends a request, and checks what holds of every answer.
    @discardableResult
    func send(
        _ method: String, _ path: String, _ fields: [(name: String, value: String)] = [], _ body: [UInt8] = [],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Reply {
        let reply = try client.send(method, path, fields, body)
        expectDiscipline(reply, method, path, sourceLocation)
        return reply
    }

    /// GET.
    func get(
        _ path: String, accept: String? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Reply {
        try send("GET", path, accept.map { [("Accept", $0)] } ?? [], sourceLocation: sourceLocation)
    }

    /// POST of JSON.
    @discardableResult
    func post(
        _ path: String, _ body: String, _ fields: [(name: String, value: String)] = [],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Reply {
        try send(
            "POST", path, [("Content-Type", "application/json")] + fields, [UInt8](body.utf8),
            sourceLocation: sourceLocation)
    }

    /// What every answer of the interface keeps to: parts of an error, JSON that parses, no error with 200.
    private func expectDiscipline(_ reply: Reply, _ method: String, _ path: String, _ place: SourceLocation) {
        let type = reply.fields["content-type"] ?? ""
        if method == "HEAD" {
            #expect(reply.body.isEmpty, "HEAD \(path) had a body", sourceLocation: place)
            return
        }
        if type.hasPrefix("application/") && type.contains("json") && !type.contains("ndjson") {
            #expect(reply.json != nil, "\(method) \(path): no JSON", sourceLocation: place)
        }
        if reply.status < 400 {
            #expect(!type.contains("problem"), "\(method) \(path)", sourceLocation: place)
            #expect(reply.json?.text("type")?.hasPrefix("/problems#") != true, sourceLocation: place)
            return
        }
        #expect(reply.status != 500, "\(method) \(path): \(reply.text)", sourceLocation: place)
        if type.hasPrefix("text/plain") {
            let lines = reply.text.split(separator: "\n", omittingEmptySubsequences: false)
            #expect(lines.count >= 3 && lines[0].hasPrefix("\(reply.status) "), "\(reply.text)", sourceLocation: place)
            #expect(lines.dropFirst(2).dropLast().allSatisfy { $0.hasPrefix("  ") }, sourceLocation: place)
            #expect(lines.last == "", sourceLocation: place)
            return
        }
        #expect(type == "application/problem+json", "\(method) \(path): \(type)", sourceLocation: place)
        for member in ["type", "title", "detail", "instance"] {
            #expect(reply.json?.text(member)?.isEmpty == false, "\(member) of \(reply.text)", sourceLocation: place)
        }
        #expect(reply.json?.at("status") == .integer(Int64(reply.status)), sourceLocation: place)
        let path = String(path.prefix { $0 != "?" }.prefix(512))
        #expect(reply.json?.text("instance") == path, sourceLocation: place)
    }
}

/// A small valid table: a shipped kernel's own, told apart by a description.
func table(_ description: String, _ members: String = "") -> String {
    #"{"kernel": "linux-5.2", "description": "\#(description)"\#(members.isEmpty ? "" : ", " + members)}"#
}

/// A table that is well formed and cannot be run: a row whose handler nobody has.
let danglingTable = table("dangling", #""idt": [{"vector": 3, "entry": "no_such_entry", "dpl": 3}]"#)

/// One scenario, so that a simulation costs little.
let selfTest = "xen-pv/int3/kernel/self-test"
