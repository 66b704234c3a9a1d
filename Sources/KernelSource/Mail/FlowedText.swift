/// `text/plain; format=flowed` (RFC 3676): lines that end with a space go on in the next one.
enum FlowedText {
    /// Fixed lines with their quote marks; of a line that was broken softly, the parts are joined.
    ///
    /// A line of blanks alone is never joined: in a patch it is an empty line of context.
    static func unfolded(_ text: ArraySlice<UInt8>, deletesSpace: Bool) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(text.count)
        var open: Int?
        text.forEachLine { line in
            var position = line.startIndex
            while position < line.endIndex, line[position] == UInt8(ascii: ">") { position += 1 }
            let depth = position - line.startIndex
            if position < line.endIndex, line[position] == Ascii.space { position += 1 }
            var content = line[position...]
            if let depthBefore = open, depthBefore != depth {
                out.append(Ascii.newline)
                open = nil
            }
            if open == nil {
                out.append(contentsOf: repeatElement(UInt8(ascii: ">"), count: depth))
                if depth > 0 { out.append(Ascii.space) }
            }
            let isSignature = content.elementsEqual("-- ".utf8)
            let flows = content.last == Ascii.space && !isSignature && content.contains { !Ascii.isBlank($0) }
            if flows && deletesSpace { content.removeLast() }
            out.append(contentsOf: content)
            if flows {
                open = depth
            } else {
                out.append(Ascii.newline)
                open = nil
            }
        }
        if open != nil { out.append(Ascii.newline) }
        return out
    }
}
