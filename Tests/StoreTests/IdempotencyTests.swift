import Testing

@testable import Store

@Suite struct IdempotencyTests {
    private let request = Digest(of: "request".utf8)
    private let answer = StoredAnswer(status: 201, headers: #"{"location":"/v1/simulations/x"}"#, body: [1, 0, 255])

    @Test func claimedAnsweredReplayed() throws {
        let store = try memoryStore()
        func claim(_ fingerprint: Digest) throws -> IdempotencyClaim {
            try store.perform(.claimIdempotencyKey("key", fingerprint: fingerprint, at: epoch))
        }
        #expect(try claim(request) == .claimed)
        #expect(try claim(request) == .inProgress)
        #expect(try claim(Digest(of: [])) == .mismatch)
        try store.perform(.completeIdempotencyKey("key", answer))
        #expect(try claim(request) == .answered(answer))
        #expect(try claim(Digest(of: [])) == .mismatch)
        expectError(.notFound) { try store.perform(.completeIdempotencyKey("key", answer)) }
        // An answered key is not given back.
        try store.perform(.releaseIdempotencyKey("key"))
        #expect(try claim(request) == .answered(answer))
    }

    @Test func releasedKeysAreNew() throws {
        let store = try memoryStore()
        let claim = try Write.claimIdempotencyKey("key", fingerprint: request, at: epoch)
        try store.perform(claim)
        try store.perform(.releaseIdempotencyKey("key"))
        #expect(try store.perform(claim) == .claimed)
    }

    @Test func emptyBodiesComeBack() throws {
        let store = try memoryStore()
        let claim = try Write.claimIdempotencyKey("key", fingerprint: request, at: epoch)
        try store.perform(claim)
        let empty = StoredAnswer(status: 204, headers: "{}", body: [])
        try store.perform(.completeIdempotencyKey("key", empty))
        #expect(try store.perform(claim) == .answered(empty))
    }

    @Test func oldKeysAreForgotten() throws {
        var limits = Limits()
        limits.prunedRows = 2
        let store = try memoryStore()
        for number in 0..<5 {
            try store.perform(.claimIdempotencyKey("key-\(number)", fingerprint: request, at: moment(Int64(number))))
        }
        let prune = Write.pruneIdempotencyKeys(createdBefore: moment(3), limits: limits)
        #expect(try [store.perform(prune), store.perform(prune), store.perform(prune)] == [2, 1, 0])
        #expect(try store.perform(.claimIdempotencyKey("key-2", fingerprint: request, at: epoch)) == .claimed)
        #expect(try store.perform(.claimIdempotencyKey("key-3", fingerprint: request, at: epoch)) == .inProgress)
    }

    @Test func refusesWhatIsTooLargeOrNotJSON() throws {
        var limits = Limits()
        limits.answerBytes = 3
        limits.textBytes = 40
        _ = try Write.completeIdempotencyKey("key", answer, limits: limits)
        limits.answerBytes = 2
        expectError(.tooLarge) { try Write.completeIdempotencyKey("key", answer, limits: limits) }
        limits = Limits()
        limits.textBytes = 10
        expectError(.tooLarge) { try Write.completeIdempotencyKey("key", answer, limits: limits) }
        expectError(.invalidValue) { try Write.claimIdempotencyKey("", fingerprint: request, at: epoch) }
        let long = String(repeating: "k", count: 256)
        expectError(.invalidValue) { try Write.claimIdempotencyKey(long, fingerprint: request, at: epoch) }
        let store = try memoryStore()
        try store.perform(.claimIdempotencyKey("key", fingerprint: request, at: epoch))
        var odd = answer
        odd.headers = "x"
        expectError(.invalidValue) { try store.perform(.completeIdempotencyKey("key", odd)) }
        odd = answer
        odd.status = 42
        expectError(.invalidValue) { try store.perform(.completeIdempotencyKey("key", odd)) }
    }
}
