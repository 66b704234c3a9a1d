import Foundation
import Synchronization
import Testing

@testable import Service

@Suite struct MemoryTests {
    private static let mebibyte = 1 << 20

    private final class Flag: Sendable { let isSet = Atomic<Bool>(false) }

    /// 200 MiB in blocks of 4 KiB, used and released but for the last; its address.
    private static func leaveFreeBlocks() -> Int {
        let blocks = (0..<51_200).map { _ in
            let block = malloc(4000)!
            memset(block, 1, 4000)
            return block
        }
        for block in blocks.dropLast() { free(block) }
        return Int(bitPattern: blocks[blocks.count - 1])
    }

    /// Blocks that are free below one that is not stay with the process until somebody trims.
    @Test func idleServicesGiveMemoryBack() async throws {
        let flag = Flag()
        let trimmer = MemoryTrimmer(seconds: 1) { flag.isSet.load(ordering: .relaxed) }
        defer { trimmer.stop() }
        let before = ProcessMetrics.residentBytes
        let pin = Self.leaveFreeBlocks()
        defer { free(UnsafeMutableRawPointer(bitPattern: pin)) }
        let after = ProcessMetrics.residentBytes
        try #require(after > before + Self.mebibyte * 150, "\(before) \(after)")
        try await Task.sleep(for: .seconds(3))
        #expect(ProcessMetrics.residentBytes > before + Self.mebibyte * 150, "not while something is in work")
        flag.isSet.store(true, ordering: .relaxed)
        var waits = 0
        while ProcessMetrics.residentBytes > before + Self.mebibyte * 100, waits < 100 {
            try await Task.sleep(for: .milliseconds(100))
            waits += 1
        }
        #expect(ProcessMetrics.residentBytes <= before + Self.mebibyte * 100, "after \(waits) looks")
    }
}
