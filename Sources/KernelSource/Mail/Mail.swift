/// A mail as far as a patch needs it: who, what, and its texts.
package struct Mail: Sendable {
    package var subject = ""
    package var messageID: String?
    /// Decoded texts in their order: bodies and attached patches.
    package var texts: [ArraySlice<UInt8>] = []
    /// Parts that were not read, and why.
    package var skipped: [String] = []
    /// Number and length of its series and its version, as the subject says: `[PATCH v2 3/7]`.
    package var series: (number: Int, count: Int, version: Int)?

    /// A text that came without a mail around it.
    init(plain text: ArraySlice<UInt8>) { texts = [text] }

    private init() {}
}

extension Mail {
    /// What an input is.
    package enum Form: Sendable, Hashable {
        /// A patch, or text saved from a mail.
        case text
        case mail, mbox
    }

    /// Looks at the first lines.
    package static func form(of bytes: ArraySlice<UInt8>) -> Form {
        if isSeparator(bytes.prefix { $0 != Ascii.newline }) { return .mbox }
        let (fields, _) = HeaderFields.read(bytes.prefix(65_536))
        let known = ["from", "subject", "message-id", "date", "received", "mime-version", "content-type"]
        return known.count { fields[$0] != nil } >= 2 ? .mail : .text
    }

    /// The mails of an input in their order.
    package static func read(
        _ bytes: [UInt8], form: Form? = nil, limits: SourceLimits = SourceLimits()
    ) -> [Mail] {
        switch form ?? Mail.form(of: bytes[...]) {
        case .text: return [Mail(plain: bytes[...])]
        case .mail: return [message(bytes[...], limits)]
        case .mbox:
            var mails: [Mail] = []
            for part in messages(bytes[...], limits) { mails.append(message(part, limits)) }
            return mails
        }
    }

    /// Cuts an mbox at lines that start with `From ` and end with a date, at its beginning or behind an empty line.
    private static func messages(_ bytes: ArraySlice<UInt8>, _ limits: SourceLimits) -> [ArraySlice<UInt8>] {
        var found: [ArraySlice<UInt8>] = []
        var start: Int?
        var isBehindEmpty = true
        var position = bytes.startIndex
        while position < bytes.endIndex, found.count < limits.messages {
            let stop = bytes[position...].firstIndex(of: Ascii.newline) ?? bytes.endIndex
            let line = bytes[position..<stop]
            if isBehindEmpty, line.first == UInt8(ascii: "F"), isSeparator(line) {
                if let start { found.append(bytes[start..<position]) }
                start = min(stop + 1, bytes.endIndex)
            }
            isBehindEmpty = line.isEmpty || (line.count == 1 && line.first == Ascii.carriageReturn)
            position = stop + 1
        }
        if let start, found.count < limits.messages { found.append(bytes[start...]) }
        return found
    }

    /// `From somebody Mon Jul 15 09:09:49 2019`: a date with a time and a year at the end.
    private static func isSeparator(_ line: ArraySlice<UInt8>) -> Bool {
        guard line.hasPrefix("From "), line.count < 512 else { return false }
        let words = line.trimmed.split(separator: Ascii.space, omittingEmptySubsequences: true)
        guard words.count >= 6 else { return false }
        let year = words[words.count - 1].drop { !Ascii.isDigit($0) }
        let times = words.suffix(3).filter { $0.count { $0 == UInt8(ascii: ":") } >= 1 }
        return year.count == 4 && year.allSatisfy(Ascii.isDigit) && !times.isEmpty
    }

    private static func message(_ bytes: ArraySlice<UInt8>, _ limits: SourceLimits) -> Mail {
        var mail = Mail()
        let (fields, body) = HeaderFields.read(bytes)
        mail.subject = String((fields["subject"] ?? []).text.prefix(256))
        mail.messageID = fields["message-id"].map { String($0.text.prefix(256)) }
        mail.series = series(mail.subject)
        var parts = 0
        mail.addPart(fields, body, depth: 0, &parts, limits)
        return mail
    }

    /// Reads `[PATCH v2 3/7]`.
    private static func series(_ subject: String) -> (number: Int, count: Int, version: Int)? {
        guard let open = subject.firstIndex(of: "["), let close = subject[open...].firstIndex(of: "]") else {
            return nil
        }
        let words = subject[subject.index(after: open)..<close].split(separator: " ")
        guard words.contains(where: { $0.uppercased().hasPrefix("PATCH") || $0.uppercased() == "RFC" }) else {
            return nil
        }
        var result = (number: 1, count: 1, version: 1)
        for word in words {
            if word.first == "v" || word.first == "V", let version = Int(word.dropFirst()), (1...999).contains(version)
            {
                result.version = version
            }
            let sides = word.split(separator: "/")
            if sides.count == 2, let number = Int(sides[0]), let count = Int(sides[1]), (0...9999).contains(number),
                (0...9999).contains(count)
            {
                result.number = number
                result.count = count
            }
        }
        return result
    }

    private mutating func addPart(
        _ fields: HeaderFields, _ body: ArraySlice<UInt8>, depth: Int, _ parts: inout Int, _ limits: SourceLimits
    ) {
        parts += 1
        guard depth < limits.mimeDepth, parts <= limits.mimeParts else {
            if skipped.count < 16 { skipped.append("parts nested or listed beyond the limit are not read") }
            return
        }
        let type = fields["content-type"] ?? []
        if type.hasPrefix(ignoringCase: "multipart/") {
            guard let boundary = HeaderFields.parameter("boundary", of: type), !boundary.isEmpty, boundary.count <= 70
            else {
                skipped.append("a part of several parts without a boundary")
                return
            }
            for part in Mail.parts(body, boundary: Array(boundary), limit: limits.mimeParts) {
                let (inner, content) = HeaderFields.read(part)
                addPart(inner, content, depth: depth + 1, &parts, limits)
            }
            return
        }
        let decoded = TransferEncoding(fields["content-transfer-encoding"] ?? []).decoded(body)
        if type.hasPrefix(ignoringCase: "message/rfc822") {
            let (inner, content) = HeaderFields.read(decoded)
            addPart(inner, content, depth: depth + 1, &parts, limits)
            return
        }
        let name =
            fields["content-disposition"].flatMap { HeaderFields.parameter("filename", of: $0) }
            ?? HeaderFields.parameter("name", of: type) ?? []
        let isPatch = [".patch", ".diff", ".txt"].contains { name.text.lowercased().hasSuffix($0) }
        if type.isEmpty || (type.hasPrefix(ignoringCase: "text/") && !type.hasPrefix(ignoringCase: "text/html"))
            || (isPatch && !decoded.prefix(4096).contains(0))
        {
            let isFlowed = HeaderFields.parameter("format", of: type)?.hasPrefix(ignoringCase: "flowed") ?? false
            let deletes = HeaderFields.parameter("delsp", of: type)?.hasPrefix(ignoringCase: "yes") ?? false
            let charset = (HeaderFields.parameter("charset", of: type) ?? []).text.lowercased()
            if charset.hasPrefix("utf-16") {
                texts.append(Mail.fromUTF16(decoded, isLittleEndian: charset.hasSuffix("le"))[...])
                return
            }
            texts.append(isFlowed ? FlowedText.unfolded(decoded, deletesSpace: deletes)[...] : decoded)
        } else {
            let kind = String(type.prefix { $0 != UInt8(ascii: ";") }.text.prefix(64))
            skipped.append(
                "a part of type \(kind) is not read\(name.isEmpty ? "" : " (\(String(name.text.prefix(64))))")")
        }
    }

    /// UTF-16 as UTF-8; a byte order mark says more than the name of the character set.
    private static func fromUTF16(_ bytes: ArraySlice<UInt8>, isLittleEndian: Bool) -> [UInt8] {
        var little = isLittleEndian
        var rest = bytes
        if rest.starts(with: [0xFF, 0xFE]) || rest.starts(with: [0xFE, 0xFF]) {
            little = rest.first == 0xFF
            rest = rest.dropFirst(2)
        }
        var units: [UInt16] = []
        units.reserveCapacity(rest.count / 2)
        while rest.count >= 2 {
            let (first, second) = (UInt16(rest[rest.startIndex]), UInt16(rest[rest.startIndex + 1]))
            units.append(little ? second << 8 | first : first << 8 | second)
            rest = rest.dropFirst(2)
        }
        return Array(String(decoding: units, as: UTF16.self).utf8)
    }

    /// What stands between lines `--boundary` (RFC 2046, 5.1.1).
    private static func parts(_ body: ArraySlice<UInt8>, boundary: [UInt8], limit: Int) -> [ArraySlice<UInt8>] {
        var found: [ArraySlice<UInt8>] = []
        var start: Int?
        var position = body.startIndex
        let dash = UInt8(ascii: "-")
        while position < body.endIndex, found.count < limit {
            let stop = body[position...].firstIndex(of: Ascii.newline) ?? body.endIndex
            let line = body[position..<stop]
            if line.count >= boundary.count + 2, line.hasPrefix("--"),
                line[(line.startIndex + 2)..<(line.startIndex + 2 + boundary.count)].elementsEqual(boundary)
            {
                let rest = line[(line.startIndex + 2 + boundary.count)...].trimmed
                if rest.isEmpty || rest.elementsEqual([dash, dash]) {
                    if let start { found.append(body[start..<max(start, position - 1)]) }
                    if !rest.isEmpty { return found }
                    start = min(stop + 1, body.endIndex)
                }
            }
            position = stop + 1
        }
        // A mail that was cut off has no last boundary.
        if let start, found.count < limit { found.append(body[start...]) }
        return found
    }
}
