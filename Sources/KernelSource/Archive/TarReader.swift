/// Reads tar archives (POSIX.1-1988 ustar, pax and GNU long names) without writing anything: names are looked at, and
/// content is taken of regular files that are asked for.
package enum TarReader {
    private static let block = 512

    /// - Parameter wants: Whether a file of this name is of interest.
    package static func read(
        _ bytes: [UInt8], limits: SourceLimits = SourceLimits(), wants: (String) -> Bool = { _ in true },
        take: (_ name: String, _ content: ArraySlice<UInt8>) -> Void
    ) throws(TreeFault) {
        var position = 0
        var longName: String?
        var entries = 0
        while position + block <= bytes.count {
            let header = bytes[position..<(position + block)]
            if header.allSatisfy({ $0 == 0 }) { return }
            guard isSound(header) else {
                throw TreeFault(
                    code: "damaged-archive", message: "the header at byte \(position) is no header of a tar archive")
            }
            guard let size = number(header[(position + 124)..<(position + 136)]) else {
                throw TreeFault(code: "damaged-archive", message: "the size at byte \(position + 124) cannot be read")
            }
            entries += 1
            if entries > 200_000 {
                throw TreeFault(code: "too-large", message: "the archive has more than 200000 entries")
            }
            let start = position + block
            guard size <= bytes.count - start else {
                throw TreeFault(code: "damaged-archive", message: "the archive ends in the middle of an entry")
            }
            let content = bytes[start..<(start + size)]
            let kind = bytes[position + 156]
            position = start + (size + block - 1) / block * block
            switch kind {
            case UInt8(ascii: "L"): longName = String(content.prefix { $0 != 0 }.prefix(4096).text)
            case UInt8(ascii: "x"): longName = paxPath(content) ?? longName
            case UInt8(ascii: "0"), 0, UInt8(ascii: "7"):
                let name = longName ?? plainName(header)
                longName = nil
                try check(name)
                guard wants(name) else { continue }
                if size > limits.file_bytes {
                    throw TreeFault(
                        code: "too-large",
                        message: "\(shown(name)) has \(size) bytes; at most \(limits.file_bytes) are read")
                }
                take(name, content)
            case UInt8(ascii: "1"), UInt8(ascii: "2"):
                let name = longName ?? plainName(header)
                longName = nil
                try check(name)
                if wants(name) {
                    throw TreeFault(code: "link", message: "\(shown(name)) is a link; links are not followed")
                }
            case UInt8(ascii: "3"), UInt8(ascii: "4"), UInt8(ascii: "6"):
                let name = longName ?? plainName(header)
                longName = nil
                try check(name)
                if wants(name) {
                    throw TreeFault(
                        code: "not-a-file",
                        message: "\(shown(name)) is a \(kind == UInt8(ascii: "6") ? "FIFO" : "device"), not a file")
                }
            default: longName = kind == UInt8(ascii: "g") || kind == UInt8(ascii: "K") ? longName : nil
            }
        }
        if position == 0 { throw TreeFault(code: "damaged-archive", message: "the archive is empty or cut off") }
    }

    /// A name that leads out of the archive's own folder is a trick, whether or not its file is wanted.
    private static func check(_ name: String) throws(TreeFault) {
        var path = name[...]
        if path.hasPrefix("./") { path = path.dropFirst(2) }
        if path.hasPrefix("/") || path.split(separator: "/").contains("..") {
            throw TreeFault(code: "unsafe-path", message: "\(shown(name)) leads out of the archive")
        }
    }

    private static func shown(_ name: String) -> String { String(name.prefix(100)) }

    /// The checksum is the sum of all bytes, with blanks for its own.
    private static func isSound(_ header: ArraySlice<UInt8>) -> Bool {
        let place = header.startIndex + 148
        guard let wanted = number(header[place..<(place + 8)]) else { return false }
        var sum = 8 * 0x20
        for (index, byte) in zip(header.indices, header) where index < place || index >= place + 8 { sum += Int(byte) }
        return sum == wanted
    }

    /// An octal number with blanks or zero bytes around it; nil for negative, binary or senseless ones.
    private static func number(_ field: ArraySlice<UInt8>) -> Int? {
        var value = 0
        var sawDigit = false
        for byte in field {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "7"):
                value = value * 8 + Int(byte - 0x30)
                sawDigit = true
                if value > 1 << 40 { return nil }
            case 0, Ascii.space: if sawDigit { return value }
            default: return nil
            }
        }
        return sawDigit ? value : nil
    }

    private static func plainName(_ header: ArraySlice<UInt8>) -> String {
        let start = header.startIndex
        let name = header[start..<(start + 100)].prefix { $0 != 0 }.text
        let isUstar = header[(start + 257)...].hasPrefix("ustar")
        let prefix = isUstar ? header[(start + 345)..<(start + 500)].prefix { $0 != 0 }.text : ""
        return prefix.isEmpty || header[(start + 257)...].hasPrefix("ustar  ") ? name : prefix + "/" + name
    }

    /// The `path` of a pax header: records `LENGTH KEY=VALUE\n`.
    private static func paxPath(_ content: ArraySlice<UInt8>) -> String? {
        var rest = content
        while let blank = rest.prefix(12).firstIndex(of: Ascii.space), let length = Int(rest[..<blank].text),
            length > 3,
            length <= rest.count
        {
            let record = rest[(blank + 1)..<(rest.startIndex + length)]
            if record.hasPrefix("path=") { return String(record.dropFirst(5).dropLast().prefix(4096).text) }
            rest = rest[(rest.startIndex + length)...]
        }
        return nil
    }
}
