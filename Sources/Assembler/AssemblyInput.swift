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
