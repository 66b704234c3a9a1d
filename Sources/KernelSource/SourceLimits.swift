/// Bounds of what is read from outside.
package struct SourceLimits: Sendable, Hashable {
    /// Bytes of one input: a mail, an mbox, a patch, an archive after it was expanded.
    package var input_bytes = 16 << 20
    /// Mails of one mbox.
    package var messages = 2000
    /// MIME parts within parts.
    package var mimeDepth = 8
    /// MIME parts of one mail.
    package var mimeParts = 100
    /// Hunks of one input.
    package var hunks = 5000
    /// Lines of one hunk.
    package var hunkLines = 20_000
    /// Lines that are compared while the places of the hunks of one input are looked for.
    package var comparedLines = 50_000_000
    /// Files of one tree.
    package var files = 64
    /// Bytes of one file of a tree.
    package var file_bytes = 512 << 10
    /// Bytes of all files of a tree.
    package var tree_bytes = 1536 << 10

    package init() {}
}
