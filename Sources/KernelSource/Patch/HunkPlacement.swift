/// Puts a hunk into a text as `patch` does: where it says, else nearby, else with less context.
struct HunkPlacement: Sendable, Equatable {
    /// Index of the first line that the hunk replaces, and how many it does.
    var start = 0
    var count = 0
    /// Lines of context left out at the beginning and at the end.
    var fuzz = 0
    /// Lines by which the place differs from the header's, after earlier hunks.
    var offset = 0
    /// Blanks were taken for equal, whatever their number.
    var ignoresBlanks = false

    /// Context lines that may be left out at either end.
    static let fuzzLimit = 2

    /// - Parameters:
    ///   - shift: Lines by which earlier hunks have moved the rest of the text.
    ///   - lowest: Hunks of one file do not overlap: lines before this one are done.
    static func find(
        _ hunk: Hunk, in lines: [ArraySlice<UInt8>], shift: Int, lowest: Int, ignoresBlanks: Bool
    ) -> HunkPlacement? {
        let old = hunk.text(of: [.context, .removed])
        let leading = hunk.lines.prefix { $0.kind == .context }.count
        let trailing = hunk.lines.reversed().prefix { $0.kind == .context }.count
        // A hunk without old lines goes behind the line that its header names.
        let expected = (hunk.oldCount == 0 ? hunk.oldStart : hunk.oldStart - 1) + shift
        for blanks in ignoresBlanks ? [false, true] : [false] {
            for fuzz in 0...fuzzLimit {
                let before = min(fuzz, leading)
                let after = min(fuzz, max(0, min(trailing, old.count - before)))
                if fuzz > 0 && max(before, after) < fuzz { break }
                let wanted = old[before..<(old.count - after)]
                if wanted.isEmpty && !(hunk.oldCount == 0 && fuzz == 0) { break }
                if let place = nearest(
                    Array(wanted), in: lines, at: expected + before, lowest: lowest, blanks: blanks)
                {
                    return HunkPlacement(
                        start: place, count: wanted.count, fuzz: fuzz, offset: place - expected - before,
                        ignoresBlanks: blanks)
                }
            }
        }
        return nil
    }

    private static func nearest(
        _ wanted: [ArraySlice<UInt8>], in lines: [ArraySlice<UInt8>], at expected: Int, lowest: Int, blanks: Bool
    ) -> Int? {
        let highest = lines.count - wanted.count
        guard highest >= lowest else { return nil }
        func fits(_ start: Int) -> Bool {
            guard start >= lowest, start <= highest else { return false }
            for (index, line) in wanted.enumerated() where !same(line, lines[start + index], blanks: blanks) {
                return false
            }
            return true
        }
        let expected = min(max(expected, lowest), highest)
        for distance in 0...max(expected - lowest, highest - expected) {
            if fits(expected + distance) { return expected + distance }
            if distance > 0, fits(expected - distance) { return expected - distance }
        }
        return nil
    }

    static func same(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>, blanks: Bool) -> Bool {
        if !blanks { return left.elementsEqual(right) }
        var one = left.trimmed
        var other = right.trimmed
        while let first = one.first, let second = other.first {
            if Ascii.isBlank(first) && Ascii.isBlank(second) {
                one = one.drop(while: Ascii.isBlank)
                other = other.drop(while: Ascii.isBlank)
            } else if first == second {
                one.removeFirst()
                other.removeFirst()
            } else {
                return false
            }
        }
        return one.isEmpty && other.isEmpty
    }

    /// The lines that take the place of those that were found.
    func replacement(_ hunk: Hunk, in lines: [ArraySlice<UInt8>]) -> [ArraySlice<UInt8>] {
        let leading = min(fuzz, hunk.lines.prefix { $0.kind == .context }.count)
        let trailing = min(fuzz, hunk.lines.reversed().prefix { $0.kind == .context }.count)
        var result: [ArraySlice<UInt8>] = []
        var place = start
        for line in hunk.lines.dropFirst(leading).dropLast(trailing) {
            switch line.kind {
            // The text's own line: a mail may have changed its blanks.
            case .context:
                if place < lines.count { result.append(lines[place]) }
                place += 1
            case .removed: place += 1
            case .added: result.append(line.text)
            }
        }
        return result
    }
}
