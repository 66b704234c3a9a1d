import Synchronization
import Testing

@testable import Service

@Suite struct MemoryTests {
    private final class Process: Sendable {
        let isIdle = Atomic<Bool>(false)
        let resident_bytes = Atomic<Int>(30 << 20)
        let trims = Atomic<Int>(0)
        let looks = Atomic<Int>(0)
    }

    /// Waits for some looks of the trimmer; false if it does not look.
    private func looks(_ count: Int, at process: Process) async throws -> Bool {
        let wanted = process.looks.load(ordering: .relaxed) + count
        for _ in 0..<1000 {
            if process.looks.load(ordering: .relaxed) >= wanted { return true }
            try await Task.sleep(for: .milliseconds(10))
        }
        return false
    }

    @Test func idleServicesGiveMemoryBack() async throws {
        let process = Process()
        let trimmer = MemoryTrimmer(
            milliseconds: 5, resident_bytes: { process.resident_bytes.load(ordering: .relaxed) },
            trim: {
                process.trims.wrappingAdd(1, ordering: .relaxed)
                process.resident_bytes.store(40 << 20, ordering: .relaxed)
            },
            isIdle: {
                process.looks.wrappingAdd(1, ordering: .relaxed)
                return process.isIdle.load(ordering: .relaxed)
            })
        defer { trimmer.stop() }
        try #require(try await looks(1, at: process))
        process.resident_bytes.store(500 << 20, ordering: .relaxed)
        #expect(try await looks(3, at: process))
        #expect(process.trims.load(ordering: .relaxed) == 0, "not while something is in work")
        process.isIdle.store(true, ordering: .relaxed)
        #expect(try await looks(3, at: process))
        #expect(process.trims.load(ordering: .relaxed) == 1, "once, for nothing has grown since")
        process.resident_bytes.store(44 << 20, ordering: .relaxed)
        #expect(try await looks(3, at: process))
        #expect(process.trims.load(ordering: .relaxed) == 1, "not for a little")
    }

    /// Answers that waited at the last trim, and were read or dropped since: nothing has grown, and yet there is much to give back.
    @Test func answersThatWereReadGiveMemoryBack() async throws {
        let process = Process()
        process.isIdle.store(true, ordering: .relaxed)
        let held = Atomic<Int>(200 << 20)
        let trimmer = MemoryTrimmer(
            milliseconds: 5, resident_bytes: { 300 << 20 }, held_bytes: { held.load(ordering: .relaxed) },
            trim: { process.trims.wrappingAdd(1, ordering: .relaxed) },
            isIdle: {
                process.looks.wrappingAdd(1, ordering: .relaxed)
                return process.isIdle.load(ordering: .relaxed)
            })
        defer { trimmer.stop() }
        #expect(try await looks(3, at: process))
        #expect(process.trims.load(ordering: .relaxed) == 0)
        held.store(199 << 20, ordering: .relaxed)
        #expect(try await looks(3, at: process))
        #expect(process.trims.load(ordering: .relaxed) == 0, "not for a little")
        held.store(1 << 20, ordering: .relaxed)
        #expect(try await looks(3, at: process))
        #expect(process.trims.load(ordering: .relaxed) == 1, "once")
    }

    /// What the system says of the process, and what the allocator gives back, are there.
    @Test func theProcessIsMeasured() { #expect(ProcessMetrics.residentBytes > 1 << 20) }
}
