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
    ///   - budget: Lines that may still be compared in searches; what is used up is taken off.
    static func find(
        _ hunk: Hunk, in text: LineTable, shift: Int, lowest: Int, ignoresBlanks: Bool, budget: inout Int
    ) -> HunkPlacement? {
        let old = hunk.text(of: [.context, .removed])
        let leading = hunk.lines.prefix { $0.kind == .context }.count
        let trailing = hunk.lines.reversed().prefix { $0.kind == .context }.count
        // A hunk without old lines goes behind the line that its header names.
        let expected = (hunk.oldCount == 0 ? hunk.oldStart : hunk.oldStart - 1) + shift
        for blanks in ignoresBlanks ? [false, true] : [false] {
            let digests = old.map { LineTable.digest($0, blanks: blanks) }
            for fuzz in 0...fuzzLimit {
                let before = min(fuzz, leading)
                let after = min(fuzz, max(0, min(trailing, old.count - before)))
                if fuzz > 0 && max(before, after) < fuzz { break }
                let range = before..<(old.count - after)
                if range.isEmpty && !(hunk.oldCount == 0 && fuzz == 0) { break }
                if let place = nearest(
                    old[range], digests[range], in: text, at: expected + before, lowest: lowest, blanks: blanks, &budget
                ) {
                    return HunkPlacement(
                        start: place, count: range.count, fuzz: fuzz, offset: place - expected - before,
                        ignoresBlanks: blanks)
                }
            }
        }
        return nil
    }

    private static func nearest(
        _ wanted: ArraySlice<ArraySlice<UInt8>>, _ digests: ArraySlice<UInt64>, in text: LineTable, at expected: Int,
        lowest: Int, blanks: Bool, _ budget: inout Int
    ) -> Int? {
        let highest = text.lines.count - wanted.count
        guard highest >= lowest else { return nil }
        // Digests tell most places apart; that lines are the same is seen from the lines.
        func isSame(_ start: Int) -> Bool {
            for (index, line) in wanted.enumerated() where !same(line, text.lines[start + index], blanks: blanks) {
                return false
            }
            return true
        }
        let expected = min(max(expected, lowest), highest)
        if text.fits(digests, at: expected, blanks: blanks), isSame(expected) { return expected }
        guard text.mayContain(digests, blanks: blanks), budget > 0 else { return nil }
        budget -= text.lines.count + wanted.count
        let places = text.places(of: digests, from: lowest, blanks: blanks)
        var behind = places.firstIndex { $0 >= expected } ?? places.count
        var before = behind - 1
        while before >= 0 || behind < places.count {
            let place: Int
            let isNextBehind =
                behind < places.count && (before < 0 || places[behind] - expected <= expected - places[before])
            if isNextBehind {
                place = places[behind]
                behind += 1
            } else {
                place = places[before]
                before -= 1
            }
            if isSame(place) { return place }
            budget -= wanted.count
            if budget <= 0 { return nil }
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
