/// A named piece of assembly text, as UTF-8 bytes.
///
/// The assembler never decodes the bytes: identifiers are ASCII, everything else passes through strings and comments.
package struct SourceText: Sendable, Hashable {
    /// What diagnostics and `Program.files` call it.
    package var name: String
    /// The bytes, valid UTF-8 or not.
    package var text: [UInt8]

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
