/// The lines of a text with a digest of each, so that a hunk is looked for without comparing bytes.
struct LineTable: Sendable {
    private(set) var lines: [ArraySlice<UInt8>]
    /// Digests of the lines as they are, and with blanks taken for equal.
    private var exact: [UInt64]
    private var loose: [UInt64]
    private var exactCounts: [UInt64: Int] = [:]
    private var looseCounts: [UInt64: Int] = [:]

    init(_ text: [UInt8]) {
        lines = text[...].lines
        exact = lines.map { LineTable.digest($0, blanks: false) }
        loose = lines.map { LineTable.digest($0, blanks: true) }
        for digest in exact { exactCounts[digest, default: 0] += 1 }
        for digest in loose { looseCounts[digest, default: 0] += 1 }
    }

    /// The text again, every line with its end.
    var text: [UInt8] {
        var joined: [UInt8] = []
        joined.reserveCapacity(lines.reduce(0) { $0 + $1.count + 1 })
        for line in lines {
            joined.append(contentsOf: line)
            joined.append(Ascii.newline)
        }
        return joined
    }

    mutating func replace(_ range: Range<Int>, with new: [ArraySlice<UInt8>]) {
        for index in range {
            exactCounts[exact[index], default: 0] -= 1
            looseCounts[loose[index], default: 0] -= 1
        }
        let (newExact, newLoose) = (
            new.map { LineTable.digest($0, blanks: false) }, new.map { LineTable.digest($0, blanks: true) }
        )
        for digest in newExact { exactCounts[digest, default: 0] += 1 }
        for digest in newLoose { looseCounts[digest, default: 0] += 1 }
        lines.replaceSubrange(range, with: new)
        exact.replaceSubrange(range, with: newExact)
        loose.replaceSubrange(range, with: newLoose)
    }

    /// Every line is somewhere in the text.
    func mayContain(_ digests: ArraySlice<UInt64>, blanks: Bool) -> Bool {
        digests.allSatisfy { (blanks ? looseCounts[$0] : exactCounts[$0]) ?? 0 > 0 }
    }

    func fits(_ digests: ArraySlice<UInt64>, at start: Int, blanks: Bool) -> Bool {
        guard start >= 0, start + digests.count <= lines.count else { return false }
        return (blanks ? loose : exact)[start..<(start + digests.count)].elementsEqual(digests)
    }

    /// Where the lines stand one after the other, in one pass (Knuth, Morris, Pratt).
    func places(of digests: ArraySlice<UInt64>, from lowest: Int, blanks: Bool) -> [Int] {
        let wanted = Array(digests)
        guard !wanted.isEmpty else { return [] }
        var borders = [0]
        var length = 0
        for index in wanted.indices.dropFirst() {
            while length > 0, wanted[index] != wanted[length] { length = borders[length - 1] }
            if wanted[index] == wanted[length] { length += 1 }
            borders.append(length)
        }
        let text = blanks ? loose : exact
        var found: [Int] = []
        length = 0
        var index = max(0, lowest)
        while index < text.count {
            while length > 0, text[index] != wanted[length] { length = borders[length - 1] }
            if text[index] == wanted[length] { length += 1 }
            index += 1
            if length == wanted.count {
                found.append(index - length)
                length = borders[length - 1]
            }
        }
        return found
    }

    /// FNV-1a; with `blanks`, of what `HunkPlacement.same` compares.
    static func digest(_ line: ArraySlice<UInt8>, blanks: Bool) -> UInt64 {
        var value: UInt64 = 0xCBF2_9CE4_8422_2325
        var isBehindBlank = false
        for byte in blanks ? line.trimmed : line {
            var byte = byte
            if blanks, Ascii.isBlank(byte) {
                if isBehindBlank { continue }
                isBehindBlank = true
                byte = Ascii.space
            } else {
                isBehindBlank = false
            }
            value = (value ^ UInt64(byte)) &* 0x0000_0100_0000_01B3
        }
        return value
    }
}
