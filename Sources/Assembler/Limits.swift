/// Bounds on what one assembly may consume: sources come from outside.
package struct Limits: Sendable, Hashable {
    /// Bytes of all sources and overrides together.
    package var source_bytes = 2 << 20
    /// Bytes that macro and repeat expansion may produce; arguments can double at every level.
    package var expanded_bytes = 8 << 20
    /// Lines read, expanded ones included.
    package var lines = 200_000
    /// Depth of macros, repeats and overrides within each other; bounds the use of the stack.
    package var macro_depth = 64
    /// Iterations of one `.rept`, `.irp` or `.irpc`.
    package var repeat_count = 10_000
    /// Depth of operators and parentheses; bounds the use of the stack.
    package var expression_depth = 128
    /// Instructions of the program.
    package var instructions = 65_535
    /// Bytes of one identifier.
    package var identifier_bytes = 255
    /// Faults reported before the assembler gives up.
    package var diagnostics = 100
    /// Things in the sources of a kernel that were not understood.
    package var gaps = 500

    /// The limits of production use.
    package init() {}
}
