import Foundation
import HTTPTestSupport
import HTTPTypes
import HTTPWire
import Testing

@testable import HTTPTransport

/// Readers that take an answer of 10 MiB as slowly as they may, beside one that does not.
@Suite(.serialized) struct SlowReaderTests {
    private func residentMiB() -> Double {
        let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
        return (text.split(separator: " ").dropFirst().first.flatMap { Double($0) } ?? 0) * 4096 / 1_048_576
    }

    /// A hundred in the tests, a thousand in the soak.
    @Test func memoryIsBoundedAndOthersAreServed() async throws {
        let isSoak = ProcessInfo.processInfo.environment["GATEHOUSE_SOAK"] != nil
        let count = isSoak ? 1000 : 100
        let large = [UInt8](repeating: 65, count: 10 << 20)
        let harness = try ServerHarness(limits: {
            $0.connections = 2000
            $0.connectionsPerAddress = 2000
        }) { request, responder in
            let body: [UInt8] = request.head.path == "/large" ? large : [65]
            responder.respond(HTTPResponse(status: .ok), body: .bytes(body))
        }
        let quiet = Bystander(port: harness.port)
        try await Task.sleep(for: .milliseconds(500))
        let before = quiet.stop()
        let memory = residentMiB()
        var clients: [SocketClient] = []
        for number in 0..<count {
            let client = try #require(SocketClient(port: harness.port, receiveBytes: 4096))
            if number % 2 == 0 {
                client.send(Array("GET /large HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
            } else {
                client.open([(4, 1 << 30)])
                client.send(.windowUpdate(0, by: 1 << 30), .get(1, path: "/large"))
            }
            clients.append(client)
        }
        #expect(await eventually { harness.server.counters.requests >= count })
        let bystander = Bystander(port: harness.port)
        try await Task.sleep(for: .milliseconds(isSoak ? 5000 : 500))
        let seen = bystander.stop()
        let growth = residentMiB() - memory
        print(
            "\(count) slow readers: \(growth) MiB more, p99 of others \(seen.quantile(0.99)) ms, \(before.quantile(0.99)) ms without them"
        )
        // A quarter of a MiB for each of 10, and what the tests beside this one take meanwhile.
        #expect(growth < Double(count) * 0.25 + 100)
        #expect(seen.failures == 0)
        #expect(seen.quantile(0.5) < 50)
        #expect(harness.server.counters.connectionsOpen >= count)
    }
}
