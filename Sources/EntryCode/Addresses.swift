/// Addresses of the user side, which no table changes.
enum Addresses {
    static let userCode: UInt64 = 0x0040_1000
    static let userInterrupts: UInt64 = 0x0040_2000
    static let userSignalHandler: UInt64 = 0x0040_4000
    static let userMovSS: UInt64 = 0x0040_5000
    static let userAccess: UInt64 = 0x0040_6000
    static let userOtherInterrupts: UInt64 = 0x0040_7000
    static let userPrefixed: UInt64 = 0x0040_8000

    /// Where INT n stands for each n that no gate of the kernel has: two bytes each, one after the other.
    static func otherInterrupts(
        vectors: Set<UInt8>, _ standIns: Set<UInt8>
    ) -> [(vector: UInt8, address: UInt64)] {
        let others = (0...255).map { UInt8($0) }.filter { !vectors.contains($0) || standIns.contains($0) }
        return others.enumerated().map { ($1, userOtherInterrupts + UInt64($0) * 2) }
    }
    static let userStackPage: UInt64 = 0x7FFC_1234_5000
    static let userStackPointer: UInt64 = 0x7FFC_1234_5E58
    /// Of 32-bit programs: their stack, and the vDSO.
    static let userStackPage32: UInt64 = 0xFFFB_3000
    static let userStackPointer32: UInt64 = 0xFFFB_3E5C
    static let userVDSO32: UInt64 = 0xF7FC_8560
    static let kernelData: UInt64 = 0xFFFF_FFFF_82F0_0000
    /// Data that the sources of a tree access and nothing models: a page of words that decide nothing, and behind it
    /// pages that are not mapped. Per-CPU variables have offsets from the base.
    static let gapWords: UInt64 = 0xFFFF_FFFF_82F4_0000
    static let gapData: UInt64 = 0xFFFF_FFFF_82F4_1000
    static let gapWordsPerCPU: UInt64 = 0x0010_0000
    static let gapDataPerCPU: UInt64 = 0x0010_1000
    static let current: UInt64 = 0xFFFF_FFFF_8221_2780
}
