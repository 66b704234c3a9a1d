/// Finds unified diffs in text: patches, mails, replies that quote a patch to any depth. Everything else is passed over.
struct PatchReader {
    private let limits: SourceLimits
    private(set) var result = PatchText()
    private var mail = 0
    private var lineNumber = 0

    // The file that hunks belong to, and the depth at which its header stood.
    private var oldName: String?
    private var newName: String?
    private var gitNames: (old: String, new: String)?
    private var fileDepth = 0
    private var minusLine = 0

    // The hunk that is being read.
    private var hunk: Hunk?
    private var oldLeft = 0
    private var newLeft = 0
    /// Empty lines that belong to the hunk only if it goes on behind them.
    private var pendingEmpty = 0

    init(limits: SourceLimits) { self.limits = limits }

    /// All hunks of some mails.
    static func read(_ mails: [Mail], limits: SourceLimits = SourceLimits()) -> PatchText {
        var reader = PatchReader(limits: limits)
        for (index, mail) in mails.enumerated() {
            for text in mail.texts { reader.read(text, mail: index) }
        }
        return reader.result
    }

    private mutating func read(_ text: ArraySlice<UInt8>, mail number: Int) {
        mail = number
        lineNumber = 0
        forgetFile()
        var start = text.startIndex
        while start < text.endIndex, !result.isCut {
            let stop = text[start...].firstIndex(of: Ascii.newline) ?? text.endIndex
            var last = stop
            while last > start, text[last - 1] == Ascii.carriageReturn { last -= 1 }
            lineNumber += 1
            line(text[start..<last])
            start = stop + 1
        }
        endHunk()
    }

    private mutating func forgetFile() {
        oldName = nil
        newName = nil
        gitNames = nil
        minusLine = 0
    }

    private mutating func line(_ whole: ArraySlice<UInt8>) {
        if let open = hunk {
            let quoted = QuotedLine(whole, atMost: open.quoteDepth)
            if quoted.depth == open.quoteDepth {
                if continues(QuotedLine.cleaned(quoted.content)) { return }
                endHunk(at: whole)
            } else {
                // What a reviewer wrote between the lines.
                return
            }
        }
        // Most lines of a long mail are prose: nothing below can start with another byte.
        switch whole.first {
        case UInt8(ascii: ">"), UInt8(ascii: "@"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "d"),
            UInt8(ascii: "B"), UInt8(ascii: "G"), UInt8(ascii: "r"), UInt8(ascii: "n"), UInt8(ascii: "I"):
            break
        default: return
        }
        let quoted = QuotedLine(whole)
        let content = quoted.content
        if content.hasPrefix("@@ ") {
            startHunk(QuotedLine.cleaned(content), depth: quoted.depth)
        } else if content.hasPrefix("diff --git ") {
            forgetFile()
            fileDepth = quoted.depth
            gitNames = PatchReader.gitNames(content.dropFirst(11))
        } else if content.hasPrefix("diff ") || content.hasPrefix("Index: ") {
            forgetFile()
            fileDepth = quoted.depth
        } else if content.hasPrefix("--- ") {
            // Behind another hunk this is the next file; the line `+++` has to follow at once.
            oldName = PatchReader.name(content.dropFirst(4))
            newName = nil
            minusLine = lineNumber
            fileDepth = quoted.depth
        } else if content.hasPrefix("+++ "), minusLine == lineNumber - 1, minusLine > 0 {
            newName = PatchReader.name(content.dropFirst(4))
        } else if content.hasPrefix("rename from ") || content.hasPrefix("rename to ") {
            remark("the file gets another name", isLoss: false)
        } else if content.hasPrefix("Binary files ") || content.hasPrefix("GIT binary patch") {
            remark("a binary patch is not read", isLoss: true)
        }
    }

    private mutating func remark(_ text: String, isLoss: Bool) {
        guard gitNames != nil || oldName != nil, result.remarks.count < 256 else { return }
        let path = PatchReader.stripped(newName ?? gitNames?.new ?? oldName ?? "")
        let found = PatchRemark(path: path, mail: mail, line: lineNumber, isLoss: isLoss, text: text)
        if result.remarks.last?.path != path || result.remarks.last?.text != text { result.remarks.append(found) }
    }

    // MARK: Hunks

    private mutating func startHunk(_ content: ArraySlice<UInt8>, depth: Int) {
        guard let (ranges, rest) = PatchReader.ranges(content) else {
            if content.count > 4, content.dropFirst(3).first == UInt8(ascii: "-") {
                remark("a hunk header that cannot be read: \(String(content.prefix(60).text))", isLoss: true)
            }
            return
        }
        if result.hunks.count >= limits.hunks {
            result.isCut = true
            return
        }
        var new = Hunk()
        (new.oldStart, new.oldCount, new.newStart, new.newCount) = ranges
        new.section = String(rest.trimmed.text.prefix(100))
        new.quoteDepth = depth
        new.mail = mail
        new.line = lineNumber
        let isNull = { (name: String?) in name == "/dev/null" }
        if fileDepth == depth || oldName != nil || gitNames != nil {
            new.isNewFile = isNull(oldName)
            new.isDeletedFile = isNull(newName)
            let name = (isNull(newName) ? oldName : newName) ?? gitNames?.new ?? oldName ?? ""
            new.path = PatchReader.stripped(name)
            let before = PatchReader.stripped((isNull(oldName) ? nil : oldName) ?? gitNames?.old ?? name)
            if before != new.path { new.oldPath = before }
        }
        hunk = new
        oldLeft = ranges.1
        newLeft = ranges.3
        pendingEmpty = 0
        if oldLeft == 0 && newLeft == 0 { endHunk() }
    }

    /// Takes a line into the open hunk; false where it cannot belong to it.
    private mutating func continues(_ content: ArraySlice<UInt8>) -> Bool {
        guard let first = content.first else {
            // Mailers take the blank of an empty context line away; but an empty line may also be the end.
            pendingEmpty += 1
            let room = min(oldLeft, newLeft)
            if pendingEmpty > room {
                pendingEmpty -= 1
                return false
            }
            if oldLeft == newLeft && pendingEmpty == room { takePending() }
            return true
        }
        let kind: Hunk.LineKind
        switch first {
        case Ascii.space, Ascii.tab: kind = .context
        case UInt8(ascii: "-"):
            if oldLeft - pendingEmpty <= 0 { return false }
            // The next file, or the signature below a patch that was cut off.
            if content.hasPrefix("--- a/") || content.elementsEqual("-- ".utf8) { return false }
            kind = .removed
        case UInt8(ascii: "+"):
            if newLeft - pendingEmpty <= 0 { return false }
            kind = .added
        case UInt8(ascii: "\\"): return content.hasPrefix("\\ No newline")
        default: return false
        }
        if kind == .context && (oldLeft - pendingEmpty <= 0 || newLeft - pendingEmpty <= 0) { return false }
        takePending()
        // A mailer may have taken the blank of a context line that starts with a tab.
        take(kind, first == Ascii.tab ? content : content.dropFirst())
        return true
    }

    private mutating func takePending() {
        while pendingEmpty > 0 {
            pendingEmpty -= 1
            take(.context, [])
        }
    }

    private mutating func take(_ kind: Hunk.LineKind, _ text: ArraySlice<UInt8>) {
        guard hunk != nil else { return }
        if kind != .added { oldLeft -= 1 }
        if kind != .removed { newLeft -= 1 }
        hunk?.lines.append(Hunk.Line(kind: kind, text: text))
        if oldLeft <= 0 && newLeft <= 0 && pendingEmpty == 0 {
            endHunk()
        } else if (hunk?.lines.count ?? 0) >= limits.hunkLines {
            hunk?.damage = "longer than \(limits.hunkLines) lines; the rest was not read"
            endHunk()
        }
    }

    /// - Parameter line: What stands where the hunk should go on.
    private mutating func endHunk(at line: ArraySlice<UInt8>? = nil) {
        guard var done = hunk else { return }
        hunk = nil
        pendingEmpty = 0
        if oldLeft > 0 || newLeft > 0, done.damage == nil {
            let wanted = done.oldCount + done.newCount
            let found = wanted - oldLeft - newLeft
            done.damage =
                "its header counts \(done.oldCount) lines before and \(done.newCount) after, "
                + "\(done.oldCount - oldLeft) and \(done.newCount - newLeft) are there"
            if found == 0 { done.damage = "nothing stands below its header" }
            if let line, !line.trimmed.isEmpty, done.quoteDepth == 0 {
                done.damage? += "; line \(lineNumber) is no line of a patch (wrapped?)"
            }
        }
        result.hunks.append(done)
    }

    // MARK: Headers

    /// `@@ -12,7 +12,6 @@ section`.
    static func ranges(_ line: ArraySlice<UInt8>) -> (ranges: (Int, Int, Int, Int), rest: ArraySlice<UInt8>)? {
        var position = line.startIndex
        func peek() -> UInt8 { position < line.endIndex ? line[position] : 0 }
        func expect(_ text: StaticString) -> Bool {
            guard line[position...].hasPrefix(text) else { return false }
            position += text.utf8CodeUnitCount
            return true
        }
        func number() -> Int? {
            var value = 0
            let start = position
            while Ascii.isDigit(peek()) {
                value = value * 10 + Int(peek() - 0x30)
                position += 1
                if value > 100_000_000 { return nil }
            }
            return position > start ? value : nil
        }
        func range() -> (Int, Int)? {
            guard let start = number() else { return nil }
            guard peek() == UInt8(ascii: ",") else { return (start, 1) }
            position += 1
            return number().map { (start, $0) }
        }
        guard expect("@@ -"), let old = range(), expect(" +"), let new = range(), expect(" @@") else { return nil }
        return ((old.0, old.1, new.0, new.1), line[position...])
    }

    /// The file of a `---` or `+++` line: without the date behind a tab, unquoted.
    private static func name(_ text: ArraySlice<UInt8>) -> String {
        var name = text.prefix { $0 != Ascii.tab }.trimmed
        if name.first == UInt8(ascii: "\""), name.last == UInt8(ascii: "\""), name.count > 1 {
            name = name.dropFirst().dropLast()
        }
        // `diff -u` of old times separates the date by blanks.
        if let range = name.firstRange(of: "  ") { name = name[..<range.lowerBound] }
        return String(name.text.prefix(512))
    }

    private static func gitNames(_ text: ArraySlice<UInt8>) -> (old: String, new: String)? {
        let words = text.trimmed.split(separator: Ascii.space)
        guard words.count == 2 else { return nil }
        return (String(words[0].text.prefix(512)), String(words[1].text.prefix(512)))
    }

    /// The path below the root of the tree: `a/arch/x86/…`, `old/linux-6.1/arch/x86/…` and `arch/x86/…` are one.
    static func stripped(_ name: String) -> String {
        if name == "/dev/null" { return "" }
        if let range = name.firstRange(of: "arch/x86/"),
            range.lowerBound == name.startIndex || name[name.index(before: range.lowerBound)] == "/"
        {
            let head = name[..<range.lowerBound]
            if !head.hasPrefix("/") && !head.split(separator: "/").contains("..") {
                return String(name[range.lowerBound...])
            }
            return name
        }
        for prefix in ["a/", "b/"] where name.hasPrefix(prefix) { return String(name.dropFirst(2)) }
        return name
    }
}
