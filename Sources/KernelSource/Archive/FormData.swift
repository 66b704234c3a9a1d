/// Reads `multipart/form-data` (RFC 7578).
package enum FormData {
    package struct Part: Sendable {
        package var name: String
        package var filename: String?
        package var content: ArraySlice<UInt8>
    }

    /// - Parameter contentType: The whole field, with its boundary.
    package static func read(
        _ bytes: [UInt8], contentType: String, limits: SourceLimits = SourceLimits()
    ) throws(TreeFault) -> [Part] {
        guard let boundary = HeaderFields.parameter("boundary", of: Array(contentType.utf8)[...]), !boundary.isEmpty,
            boundary.count <= 70
        else {
            throw TreeFault(code: "no-boundary", message: "the Content-Type names no boundary of 1 to 70 characters")
        }
        let mark = Array("--".utf8) + Array(boundary)
        var parts: [Part] = []
        guard var position = next(mark, in: bytes, from: 0, atStart: true) else {
            throw TreeFault(
                code: "damaged-form", message: "the boundary of the Content-Type does not stand in the body")
        }
        while true {
            var start = position + mark.count
            if bytes[start...].hasPrefix("--") { return parts }
            if start < bytes.count, bytes[start] == Ascii.carriageReturn { start += 1 }
            guard start < bytes.count, bytes[start] == Ascii.newline,
                let end = next(mark, in: bytes, from: start, atStart: false)
            else { throw TreeFault(code: "damaged-form", message: "the body is cut off, or a boundary is damaged") }
            var stop = end - 1
            if stop > start, bytes[stop - 1] == Ascii.carriageReturn { stop -= 1 }
            let (fields, content) = HeaderFields.read(bytes[(start + 1)..<max(stop, start + 1)])
            let disposition = fields["content-disposition"] ?? []
            guard disposition.hasPrefix(ignoringCase: "form-data"),
                let name = HeaderFields.parameter("name", of: disposition)
            else { throw TreeFault(code: "damaged-form", message: "a part of the form has no name") }
            parts.append(
                Part(
                    name: name.text, filename: HeaderFields.parameter("filename", of: disposition)?.text,
                    content: content))
            if parts.count > limits.files * 4 {
                throw TreeFault(code: "too-large", message: "the form has more than \(limits.files * 4) parts")
            }
            position = end
        }
    }

    /// Where a boundary stands at the beginning of a line.
    private static func next(_ mark: [UInt8], in bytes: [UInt8], from: Int, atStart: Bool) -> Int? {
        var position = from
        while let found = bytes[position...].firstIndex(of: mark[0]) {
            let isLineStart = found == 0 ? atStart : bytes[found - 1] == Ascii.newline
            if isLineStart, found + mark.count <= bytes.count, bytes[found..<(found + mark.count)].elementsEqual(mark) {
                return found
            }
            position = found + 1
        }
        return nil
    }
}

extension KernelTree {
    /// The files of a tar archive.
    package static func tar(_ bytes: [UInt8], limits: SourceLimits = SourceLimits()) throws(TreeFault) -> KernelTree {
        var tree = KernelTree()
        var places = Places()
        try TarReader.read(
            bytes, limits: limits, wants: { wanted(plain($0)) != nil || KernelFile.isMakefile(plain($0)) }
        ) { name, content in
            places.note(plain(name))
            tree.add(plain(name), Array(content))
        }
        try places.check()
        return tree
    }

    /// Where the files of a tree stood: two roots in one archive are two kernels.
    private struct Places {
        private var names: [String: String] = [:]
        private var twice: (path: String, first: String, second: String)?

        mutating func note(_ name: String) {
            guard let path = KernelTree.wanted(name) else { return }
            if let known = names[path], known != name, twice == nil { twice = (path, known, name) }
            names[path] = name
        }

        func check() throws(TreeFault) {
            guard let twice else { return }
            throw TreeFault(
                code: "two-trees",
                message:
                    "\(twice.first.prefix(100)) and \(twice.second.prefix(100)) are both \(twice.path): one tree only")
        }
    }

    private static func plain(_ name: String) -> String { name.hasPrefix("./") ? String(name.dropFirst(2)) : name }

    /// The files of a form, and its choices: `option` (`CONFIG_X=y`), `kernel`. A part's own name may be the path.
    package static func form(
        _ parts: [FormData.Part], limits: SourceLimits = SourceLimits()
    ) throws(TreeFault) -> (tree: KernelTree, config: [String: Bool], kernel: String?) {
        var tree = KernelTree()
        var config: [String: Bool] = [:]
        var kernel: String?
        var places = Places()
        for part in parts {
            guard let filename = part.filename else {
                let value = part.content.trimmed.text
                switch part.name {
                case "option":
                    guard let (symbol, isOn) = KconfigChoice.read(value) else {
                        throw TreeFault(
                            code: "invalid-option",
                            message: "'\(value.prefix(100))' is no choice; write CONFIG_X=y or CONFIG_X=n")
                    }
                    config[symbol] = isOn
                case "kernel": kernel = value
                default:
                    throw TreeFault(
                        code: "unknown-field",
                        message: "the field '\(part.name.prefix(64))' is not known; known are option and kernel")
                }
                continue
            }
            if part.content.count > limits.file_bytes {
                throw TreeFault(
                    code: "too-large", message: "\(filename.prefix(100)) has more than \(limits.file_bytes) bytes")
            }
            let name = wanted(part.name) != nil && part.name.contains("/") ? part.name : filename
            places.note(name)
            if !tree.add(name, Array(part.content)) {
                throw TreeFault(code: "unsafe-path", message: "\(name.prefix(100)) leads out of the tree")
            }
        }
        try places.check()
        return (tree, config, kernel)
    }
}
