/// A line of a mail with its marks of quotation.
struct QuotedLine {
    var depth = 0
    var content: ArraySlice<UInt8>

    /// Counts every mark: `> > > text` and `>>> text` are of depth 3. One space behind the last mark belongs to it.
    init(_ line: ArraySlice<UInt8>, atMost limit: Int = .max) {
        content = line
        var position = line.startIndex
        while depth < limit {
            var next = position
            if next < line.endIndex, line[next] == Ascii.space { next += 1 }
            guard next < line.endIndex, line[next] == UInt8(ascii: ">") else { break }
            // A blank in front of the first mark: a patch may have a context line that starts with `>`.
            if depth == 0 && next != position { break }
            depth += 1
            position = next + 1
        }
        if depth > 0 {
            if position < line.endIndex, line[position] == Ascii.space { position += 1 }
            content = line[position...]
        }
    }

    /// Blanks that mailers make of tabs and spaces become spaces: no-break spaces of UTF-8 and Latin-1, and what is left
    /// of them where an archive took UTF-8 for Latin-1 (`Â`, once more in UTF-8).
    static func cleaned(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard line.contains(where: { $0 >= 0x80 }) else { return line }
        var out: [UInt8] = []
        out.reserveCapacity(line.count)
        var position = line.startIndex
        func byte(_ offset: Int) -> UInt8 { position + offset < line.endIndex ? line[position + offset] : 0 }
        while position < line.endIndex {
            if byte(0) == 0xC3, byte(1) == 0x82 {
                out.append(Ascii.space)
                position += byte(2) == 0xC2 && byte(3) == 0xA0 ? 4 : 2
            } else if byte(0) == 0xC2, byte(1) == 0xA0 {
                out.append(Ascii.space)
                position += 2
            } else if byte(0) == 0xA0,
                position == line.startIndex || line[position - 1] < 0x80 || out.last == Ascii.space
            {
                out.append(Ascii.space)
                position += 1
            } else {
                out.append(byte(0))
                position += 1
            }
        }
        return out[...]
    }
}
