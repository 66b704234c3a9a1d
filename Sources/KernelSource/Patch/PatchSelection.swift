/// Which hunks of some mails are to be applied, in which order.
struct PatchSelection {
    var hunks: [Hunk] = []
    var ignored: [HunkOutcome] = []
    var notes: [String] = []

    /// - A series is applied in its order, of several versions the newest.
    /// - Hunks that a reply quotes count only where no mail has a patch of its own, and each once.
    init(_ text: PatchText, _ mails: [Mail]) {
        let own = text.hunks.filter { $0.quoteDepth == 0 }
        if own.isEmpty {
            selectQuoted(text.hunks)
        } else {
            for hunk in text.hunks where hunk.quoteDepth > 0 {
                ignored.append(HunkOutcome(hunk, .ignored, "quoted; the patch itself is here"))
            }
            selectSeries(own, mails)
        }
        if text.isCut { notes.append("more hunks than the limit: the rest was not read") }
        for (number, mail) in mails.enumerated() {
            for reason in mail.skipped.prefix(8) {
                notes.append(mails.count > 1 ? "mail \(number + 1): \(reason)" : reason)
            }
        }
    }

    private mutating func selectQuoted(_ found: [Hunk]) {
        for hunk in found {
            if let first = hunks.first(where: { PatchSelection.same($0, hunk) }) {
                ignored.append(
                    HunkOutcome(hunk, .ignored, "the same as the hunk of mail \(first.mail + 1), line \(first.line)"))
            } else {
                hunks.append(hunk)
            }
        }
    }

    private mutating func selectSeries(_ own: [Hunk], _ mails: [Mail]) {
        func series(_ hunk: Hunk) -> (number: Int, count: Int, version: Int)? {
            mails.indices.contains(hunk.mail) ? mails[hunk.mail].series : nil
        }
        let newest = own.compactMap { series($0)?.version }.max() ?? 1
        for hunk in own {
            if let version = series(hunk)?.version, version < newest {
                ignored.append(
                    HunkOutcome(hunk, .ignored, "version \(version) of the patch; version \(newest) is here too"))
            } else {
                hunks.append(hunk)
            }
        }
        let numbers = hunks.map { series($0)?.number ?? 0 }
        if zip(numbers, numbers.dropFirst()).contains(where: { $0 > $1 }) {
            notes.append("the mails of the series are not in its order; it was applied in its order")
            // The sort is stable: hunks of one mail keep their order.
            hunks = hunks.indices.sorted { (numbers[$0], $0) < (numbers[$1], $1) }.map { hunks[$0] }
        }
    }

    private static func same(_ one: Hunk, _ other: Hunk) -> Bool {
        guard one.path == other.path, one.lines.count == other.lines.count, one.oldStart == other.oldStart else {
            return false
        }
        return zip(one.lines, other.lines).allSatisfy {
            $0.kind == $1.kind && HunkPlacement.same($0.text, $1.text, blanks: true)
        }
    }
}
