/// `text/plain; format=flowed` (RFC 3676): lines that end with a space go on in the next one.
enum FlowedText {
    /// Fixed lines with their quote marks; of a line that was broken softly, the parts are joined.
    ///
    /// A line of blanks alone is never joined: in a patch it is an empty line of context.
    static func unfolded(_ text: ArraySlice<UInt8>, deletesSpace: Bool) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(text.count)
        var open: Int?
        let isStuffed = isStuffed(text)
        text.forEachLine { line in
            var position = line.startIndex
            while position < line.endIndex, line[position] == UInt8(ascii: ">") { position += 1 }
            let depth = position - line.startIndex
            if position < line.endIndex, line[position] == Ascii.space, depth > 0 || isStuffed { position += 1 }
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

    /// Lines that start with a blank have one more in front (RFC 3676, 4.4). Some programs send patches without.
    ///
    /// A line ` x` needs no blank more than `x`: where one stands beside bare `+` and `-`, it is a line of context as it is.
    private static func isStuffed(_ text: ArraySlice<UInt8>) -> Bool {
        var isInHunk = false
        var hasContext = false
        var hasChange = false
        text.forEachLine { line in
            if line.hasPrefix("@@ -") { isInHunk = true }
            guard isInHunk, line.count > 1, let first = line.first else { return }
            if first == UInt8(ascii: "+") || first == UInt8(ascii: "-") { hasChange = true }
            guard first == Ascii.space, let second = line.dropFirst().first else { return }
            switch second {
            case Ascii.space, UInt8(ascii: "F"), UInt8(ascii: ">"), UInt8(ascii: "+"), UInt8(ascii: "-"),
                UInt8(ascii: "@"):
                break
            default: hasContext = true
            }
        }
        return !(hasContext && hasChange)
    }
}
