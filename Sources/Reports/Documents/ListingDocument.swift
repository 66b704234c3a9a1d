import Assembler
package import EntryCode

/// The entry code of one image: one platform in one state. What users get is `TableListing`.
package enum ListingDocument {
    /// The listing of an image in AT&T syntax, one routine after another.
    package static func text(of image: EntryImage) -> String { listing(of: image.program) }

    /// The listing of one routine; nil where the image has no routine of that name.
    package static func text(of image: EntryImage, routine name: String) -> String? {
        image.listing(ofRoutine: name)
    }

    /// Routine names of an image, in the order of the listing.
    package static func routines(of image: EntryImage) -> [String] { image.program.routines.map(\.name) }
}
