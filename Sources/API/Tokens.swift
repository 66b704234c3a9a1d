package import Store

/// A token as a client shows it: `gh_<id>_<secret>`. The id names it in logs; the secret is never kept.
struct PresentedToken {
    var id: String
    var digest: Digest

    /// The token of an `Authorization` field; nil where it is none of ours.
    init?(authorization: String) {
        guard let (token, id) = Self.taken(apart: authorization) else { return nil }
        self.id = id
        digest = Digest(of: token.utf8)
    }

    /// The public part of the same, whose secret was looked at before.
    static func id(authorization: String) -> String? { taken(apart: authorization)?.id }

    private static func taken(apart authorization: String) -> (token: Substring, id: String)? {
        let parts = authorization.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
        let token = parts[1].drop { $0 == " " }
        let pieces = token.split(separator: "_", maxSplits: 2)
        guard token.utf8.count <= 128, pieces.count == 3, pieces[0] == "gh" else { return nil }
        return (token, String(pieces[1]))
    }
}

/// A new token: what its owner gets, and the line for the file.
package struct NewToken: Sendable {
    package var token: String
    package var line: String

    /// A token of 256 random bits, so that a plain digest of it cannot be guessed back.
    package init(scope: Scope, name: String, random: () -> UInt64) {
        let digits = Array("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
        let id = String(decoding: (0..<8).map { _ in digits[Int(random() % 36)] }, as: UTF8.self)
        // 43 characters of 62 are 256 bits.
        let secret = String(decoding: (0..<43).map { _ in digits[Int(random() % UInt64(digits.count))] }, as: UTF8.self)
        token = "gh_\(id)_\(secret)"
        let shown = name.map { $0.isLetter || $0.isNumber || "-._@".contains($0) ? $0 : "-" }
        line = "\(id) \(scope.rawValue) \(Digest(of: token.utf8).hex) \(String(shown.prefix(64)))"
    }
}

/// The tokens that a service knows, from a file of lines `id scope digest name`.
package struct TokenList: Sendable {
    package struct Entry: Sendable, Equatable {
        package var id: String
        package var scope: Scope
        package var digest: Digest
        package var name: String
    }

    /// What is wrong with a file; names the line and nothing of what is in it.
    package struct Fault: Error, Equatable, CustomStringConvertible {
        package var line: Int
        package var message: String
        package var description: String { "line \(line): \(message)" }
    }

    /// Bytes of a file; more are no list of tokens.
    package static let fileBytes = 1 << 20

    package let entries: [Entry]
    private let byID: [String: Entry]

    /// Reads a file's text: comments begin with `#`.
    package init(_ text: String) throws(Fault) {
        var entries: [Entry] = []
        var byID: [String: Entry] = [:]
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let words = line.split { $0 == " " || $0 == "\t" || $0 == "\r" }
            guard let first = words.first, first.first != "#" else { continue }
            let number = index + 1
            guard words.count == 3 || words.count == 4 else {
                throw Fault(line: number, message: "expected: id scope digest name")
            }
            guard let scope = Scope(rawValue: String(words[1])) else {
                throw Fault(line: number, message: "the scope is one of read, submit, admin")
            }
            guard let digest = Digest(hex: String(words[2])) else {
                throw Fault(line: number, message: "the digest is no SHA-256 of 64 hexadecimal digits")
            }
            let entry = Entry(
                id: String(first), scope: scope, digest: digest, name: words.count == 4 ? String(words[3]) : "")
            if byID.updateValue(entry, forKey: entry.id) != nil {
                throw Fault(line: number, message: "this id stands twice")
            }
            entries.append(entry)
        }
        self.entries = entries
        self.byID = byID
    }

    /// The entry of a token; the digests are compared in constant time, and one is compared for unknown ids as well.
    func find(_ token: PresentedToken) -> Entry? {
        let entry = byID[token.id]
        let isEqual = Self.isEqual(token.digest.bytes, entry?.digest.bytes ?? Self.nobody)
        return isEqual ? entry : nil
    }

    private static let nobody = [UInt8](repeating: 0, count: Digest.byteCount)

    /// Looks at every byte, wherever the first difference is.
    static func isEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        var difference: UInt8 = 0
        for index in left.indices { difference |= left[index] ^ right[index] }
        return difference == 0
    }
}
