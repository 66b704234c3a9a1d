/// Everything an assembly depends on: same input, same program.
package struct AssemblyInput: Sendable {
    /// Texts assembled one after the other; macros and global symbols carry over, `.L` labels do not.
    package var sources: [SourceText]
    /// Predefined absolute symbols: options as 0 or 1, table columns, structure offsets.
    package var constants: [String: Int64]
    /// Symbols with a known address outside the code.
    package var externals: [String: UInt64]
    /// Routines with a fixed address; names that no routine has are ignored.
    package var placements: [String: UInt64]
    /// Declared sizes of routines, in bytes; the larger of this and the code counts.
    package var sizes: [String: UInt64]
    /// Where routines without a placement start, 16-byte aligned, in source order.
    package var origin: UInt64
    /// Replacements of routines: the name of each is the routine that it replaces or adds.
    package var overrides: [SourceText]
    /// Bounds on this assembly.
    package var limits: Limits
    /// A routine: references of the sources of a kernel to what nothing defines lead there, and are noted.
    package var gapRoutine: String?
    /// Where data lies that those sources access and nothing defines.
    package var gapData = GapData()
    /// Labels of jumps that the kernel rewrites as it boots, and where they lead then.
    package var rewrittenJumps: [String: String] = [:]

    /// Gathers the input of one assembly.
    package init(
        sources: [SourceText], constants: [String: Int64] = [:], externals: [String: UInt64] = [:],
        placements: [String: UInt64] = [:], sizes: [String: UInt64] = [:], origin: UInt64 = 0xffff_ffff_8100_0000,
        overrides: [SourceText] = [], limits: Limits = Limits()
    ) {
        self.sources = sources
        self.constants = constants
        self.externals = externals
        self.placements = placements
        self.sizes = sizes
        self.origin = origin
        self.overrides = overrides
        self.limits = limits
    }
}

/// Places for data without a definition: for per-CPU variables offsets from the base, for others addresses.
package struct GapData: Sendable {
    /// Where words are that decide nothing, `word_bytes` apart, on one page.
    package var words: (perCPU: UInt64, other: UInt64) = (0, 0)
    /// Where data is that decides something, a page for each symbol.
    package var unknown: (perCPU: UInt64, other: UInt64) = (0, 0)

    package static let word_bytes: UInt64 = 64
    /// Symbols of one kind that get a place of their own; further ones share the last.
    package static let words_count = 64
    package static let unknown_count = 256
    package static let page_bytes: UInt64 = 4096

    package init() {}
}
