import Assembler
package import EntryCode

/// The entry code that a table expands to, as `GET …/listing` and `gatehouse listing` print it.
package enum ListingDocument {
    /// The listing of an image in AT&T syntax, one routine after another.
    package static func text(of image: EntryImage) -> String { listing(of: image.program) }

    /// The listing of one routine; nil where the image has no routine of that name.
    ///
    /// A routine that falls through ends where the next one begins.
    package static func text(of image: EntryImage, routine name: String) -> String? {
        guard image.program.routines.contains(where: { $0.name == name }) else { return nil }
        var found: [Substring] = []
        for line in listing(of: image.program).split(separator: "\n", omittingEmptySubsequences: false) {
            if found.isEmpty {
                if line.hasPrefix("ENTRY(\(name))\t#") || line.hasPrefix("\(name):\t#") { found.append(line) }
            } else if isHeader(line) || line.isEmpty {
                break
            } else {
                found.append(line)
                if line.hasPrefix("END(") { break }
            }
        }
        return found.isEmpty ? nil : found.joined(separator: "\n") + "\n"
    }

    /// Routine names of an image, in the order of the listing.
    package static func routines(of image: EntryImage) -> [String] { image.program.routines.map(\.name) }

    private static func isHeader(_ line: Substring) -> Bool {
        line.hasPrefix("ENTRY(") || (!line.hasPrefix("\t") && line.contains(":\t# "))
    }
}
