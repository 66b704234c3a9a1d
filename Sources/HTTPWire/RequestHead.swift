import CNghttp2
import HTTPTypes

/// The header block that is being decoded; one at a time, since blocks cannot interleave (RFC 9113 section 4.3).
///
/// Remembers the regular fields of the previous request by the identity of libnghttp2's reference-counted strings:
/// a client that repeats its fields sends table indices, for which the same strings come back, and then the
/// finished `HTTPFields` of the previous request is used again without building a single String.
struct RequestHead {
    /// Bytes so far, counted as RFC 9113 section 10.5.1 does.
    private(set) var listBytes = 0
    private(set) var listFields = 0
    /// The list is over its limit; the rest is decoded and not kept.
    var isTooLarge = false
    /// A second block on the stream, whose fields are counted and dropped.
    private(set) var isTrailer = false
    private(set) var contentLength: Int?
    private(set) var expectsContinue = false

    private var host: String?
    /// The pseudo fields as they came, once one of them differs from the memo's.
    private var pseudo: PseudoFields?
    /// Pseudo fields of this block that equal the memo's, from the first on; valid while `pseudo` is nil.
    private var matchedPseudo = 0
    private var fields = HTTPFields()

    private var memo: FieldMemo?
    /// Fields of this block that equal the memo's, from the first on; valid while `recording` is nil.
    private var matched = 0
    private var recording: FieldMemo?

    /// Forgets the previous block, but not its memo.
    mutating func begin(isTrailer: Bool) {
        listBytes = 0
        listFields = 0
        isTooLarge = false
        self.isTrailer = isTrailer
        contentLength = nil
        expectsContinue = false
        pseudo = nil
        matchedPseudo = 0
        host = nil
        fields = HTTPFields()
        matched = 0
        recording = nil
    }

    /// Forgets the previous request as well.
    mutating func forget() {
        begin(isTrailer: false)
        memo = nil
    }

    /// Counts a field of these sizes against the limits.
    mutating func count(nameBytes: Int, valueBytes: Int) {
        listBytes += nameBytes + valueBytes + 32
        listFields += 1
    }

    /// Takes one field; false when it cannot be represented, which makes the request malformed.
    mutating func add(name: OpaquePointer, value: OpaquePointer) -> Bool {
        let nameBytes = UnsafeBufferPointer(nghttp2_rcbuf_get_buf(name))
        let valueBytes = UnsafeBufferPointer(nghttp2_rcbuf_get_buf(value))
        if nameBytes.first == UInt8(ascii: ":") { return addPseudo(nameBytes, valueBytes) }
        if recording == nil {
            if let memo, matched < memo.count, memo.matches(at: matched, name: name, value: value) {
                matched += 1
                return true
            }
            let recording = FieldMemo(prefixOf: memo, count: matched)
            fields = recording.fields
            contentLength = recording.contentLength
            expectsContinue = recording.expectsContinue
            host = recording.host
            self.recording = recording
        }
        guard let fieldName = FieldNames.name(for: nameBytes) else { return false }
        let field = HTTPField(name: fieldName, value: valueBytes)
        note(field)
        fields.append(field)
        recording?.record(name: name, value: value, bytes: nameBytes.count + valueBytes.count)
        return true
    }

    private mutating func addPseudo(_ name: UnsafeBufferPointer<UInt8>, _ value: UnsafeBufferPointer<UInt8>) -> Bool {
        guard let kind = PseudoFields.Kind(name) else { return false }
        if pseudo == nil, let memo, memo.pseudo.matches(at: matchedPseudo, kind, value) {
            matchedPseudo += 1
            return true
        }
        if kind == .path && !Authority.isPath(value) { return false }
        var fields = pseudoFields
        fields.add(kind, value)
        pseudo = fields
        return true
    }

    /// The pseudo fields so far.
    private var pseudoFields: PseudoFields {
        pseudo ?? memo?.pseudo.prefix(matchedPseudo) ?? PseudoFields()
    }

    /// The path, as far as the block was read.
    var path: String? { pseudoFields.text(of: .path) }

    private mutating func note(_ field: HTTPField) {
        switch field.name.canonicalName {
        case "content-length": contentLength = Int(field.value)
        case "expect": expectsContinue = field.value.lowercased() == "100-continue"
        // A space is in no host: two fields are not one.
        case "host": host = host.map { "\($0) \(field.value)" } ?? field.value
        default: break
        }
    }

    /// Whether `host` or `:authority` is no host and port.
    private(set) var hasInvalidAuthority = false
    /// The last that was found to be one; a client repeats itself.
    private var validAuthority: String?

    /// Whether the `host` field contradicts `:authority` (RFC 9113 section 8.3.1).
    private(set) var hasConflictingHost = false

    /// Whether the request that was finished last equals the one before it.
    private(set) var isRepeated = false

    /// The complete request; nil when a part cannot be represented, which makes it malformed.
    mutating func finish() -> ReceivedHead? {
        isRepeated = false
        if recording == nil, let memo, matched == memo.count, let received = memo.received, pseudo == nil,
            matchedPseudo == memo.pseudo.count
        {
            contentLength = memo.contentLength
            expectsContinue = memo.expectsContinue
            // Only what is in order is remembered.
            hasConflictingHost = false
            hasInvalidAuthority = false
            isRepeated = true
            return received
        }
        let pseudo = pseudoFields
        if let recording {
            recording.finish(
                fields: fields, contentLength: contentLength, expectsContinue: expectsContinue, host: host)
            memo = recording.isWorthKeeping ? recording : nil
            self.recording = nil
        } else {
            let known = memo.flatMap { matched == $0.count ? $0 : nil } ?? FieldMemo(prefixOf: memo, count: matched)
            fields = known.fields
            contentLength = known.contentLength
            expectsContinue = known.expectsContinue
            host = known.host
            memo = known
        }
        guard let method = pseudo.method else { return nil }
        let authority = pseudo.text(of: .authority)
        hasConflictingHost = host != nil && authority != nil && host != authority
        hasInvalidAuthority = false
        if let name = authority ?? host, name != validAuthority {
            hasInvalidAuthority = !Authority.isValid(name.utf8)
            if !hasInvalidAuthority && name.utf8.count <= 255 { validAuthority = name }
        }
        let received = ReceivedHead(
            HTTPRequest(
                method: method, scheme: pseudo.text(of: .scheme), authority: authority ?? host,
                path: pseudo.text(of: .path),
                headerFields: fields))
        if let memo, !hasConflictingHost, !hasInvalidAuthority,
            HTTP1HeadParser.methods.contains(method.rawValue)
        {
            memo.remember(received, pseudo)
        }
        return received
    }
}

extension UnsafeBufferPointer<UInt8> {
    fileprivate init(_ vector: nghttp2_vec) {
        self.init(start: UnsafePointer(vector.base), count: vector.len)
    }
}
