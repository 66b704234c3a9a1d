/// A named piece of assembly text, as UTF-8 bytes.
///
/// The assembler never decodes the bytes: identifiers are ASCII, everything else passes through strings and comments.
package struct SourceText: Sendable, Hashable {
    /// What diagnostics and `Program.files` call it.
    package var name: String
    /// The bytes, valid UTF-8 or not.
    package var text: [UInt8]
    /// How the text is taken.
    package var role = Role.listing
    /// Where each line was written, for a text that the preprocessor made; empty for a text that is its own origin.
    package var origins: [SourceOrigin] = []
    /// The files that `origins` refers to.
    package var originFiles: [String] = []

    package enum Role: Sendable, Hashable {
        /// Every fault counts.
        case listing
        /// Of a kernel tree. What is not understood is noted in `Program.gaps`, and an instruction that calls
        /// `Program.gapModel` stands for it; macros of texts before may be defined anew.
        case kernel
        /// Only symbols and macros are taken, those that nothing has defined yet, without the names that are given.
        case definitions(without: Set<String>)
        /// The rest of such a text: routines, but for the names that are given.
        case remainder(without: Set<String>)

        var isRemainder: Bool {
            if case .remainder = self { return true }
            return false
        }
    }

    /// Takes bytes as they are.
    package init(name: String, bytes: [UInt8]) {
        self.name = name
        self.text = bytes
    }

    /// Takes the UTF-8 of a string.
    package init(name: String, text: String) {
        self.name = name
        self.text = [UInt8](text.utf8)
    }

    /// Copies the bytes of a text embedded in the binary.
    package init(name: String, staticText: StaticString) {
        self.name = name
        self.text = staticText.withUTF8Buffer { [UInt8]($0) }
    }
}
