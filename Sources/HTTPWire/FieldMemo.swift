import CNghttp2
import HTTPTypes

/// The regular fields of one request, with the strings of libnghttp2 that they were built from.
///
/// Owns a reference to each string, so that an address stands for one content as long as the memo lives. Its properties are
/// `@exclusivity(unchecked)` for the reason given at `HTTP2Connection`.
final class FieldMemo {
    /// A memo of more bytes than this is not kept: a connection must not hold 16 KiB for a client's cookies.
    private static let largestBytes = 2048
    private static let largestPseudoBytes = 512

    @exclusivity(unchecked) private var strings: [(name: OpaquePointer, value: OpaquePointer)] = []
    @exclusivity(unchecked) private var bytes = 0
    @exclusivity(unchecked) private(set) var fields = HTTPFields()
    @exclusivity(unchecked) private(set) var contentLength: Int?
    @exclusivity(unchecked) private(set) var expectsContinue = false
    @exclusivity(unchecked) private(set) var host: String?
    /// The last request with these fields, and the pseudo fields that it was made from.
    @exclusivity(unchecked) private(set) var received: ReceivedHead?
    @exclusivity(unchecked) private(set) var pseudo = PseudoFields()

    /// A copy of the first `count` fields of `memo`, ready to record those that differ.
    init(prefixOf memo: FieldMemo?, count: Int) {
        guard let memo else { return }
        for (entry, field) in zip(memo.strings, memo.fields).prefix(count) {
            record(name: entry.name, value: entry.value, bytes: 0)
            fields.append(field)
            switch field.name.canonicalName {
            case "content-length": contentLength = memo.contentLength
            case "expect": expectsContinue = memo.expectsContinue
            case "host": host = memo.host
            default: break
            }
        }
        bytes = memo.bytes
    }

    deinit {
        for entry in strings {
            nghttp2_rcbuf_decref(entry.name)
            nghttp2_rcbuf_decref(entry.value)
        }
    }

    var count: Int { strings.count }

    var isWorthKeeping: Bool { bytes <= Self.largestBytes }

    func matches(at index: Int, name: OpaquePointer, value: OpaquePointer) -> Bool {
        let entry = strings[index]
        return entry.value == value && entry.name == name
    }

    func record(name: OpaquePointer, value: OpaquePointer, bytes: Int) {
        nghttp2_rcbuf_incref(name)
        nghttp2_rcbuf_incref(value)
        strings.append((name, value))
        self.bytes += bytes
    }

    /// Keeps `received`, which was made from `pseudo` and the fields.
    func remember(_ received: ReceivedHead, _ pseudo: PseudoFields) {
        let isSmall = pseudo.size <= Self.largestPseudoBytes
        self.received = isSmall ? received : nil
        self.pseudo = isSmall ? pseudo : PseudoFields()
    }

    func finish(fields: HTTPFields, contentLength: Int?, expectsContinue: Bool, host: String?) {
        self.fields = fields
        self.contentLength = contentLength
        self.expectsContinue = expectsContinue
        self.host = host
    }
}
