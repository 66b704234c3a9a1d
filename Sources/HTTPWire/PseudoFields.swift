import Glibc
import HTTPTypes

/// The pseudo fields of a request as they came, in their order.
struct PseudoFields {
    enum Kind: UInt8 {
        case method, scheme, authority, path

        /// Nil for a name that is none of a request.
        init?(_ name: UnsafeBufferPointer<UInt8>) {
            switch name.count {
            case 5 where name[1] == UInt8(ascii: "p"): self = .path
            case 7: self = name[1] == UInt8(ascii: "m") ? .method : .scheme
            case 10: self = .authority
            // Only names that libnghttp2 allows in a request arrive here; the last is `:protocol`, which is not enabled.
            default: return nil
            }
        }
    }

    private struct Entry {
        var kind: Kind
        var end: Int
    }

    private var bytes: [UInt8] = []
    private var entries: [Entry] = []

    var count: Int { entries.count }

    /// Bytes of all values.
    var size: Int { bytes.count }

    /// Whether the field at `index` is this one.
    func matches(at index: Int, _ kind: Kind, _ value: UnsafeBufferPointer<UInt8>) -> Bool {
        guard index < entries.count, entries[index].kind == kind else { return false }
        let start = index == 0 ? 0 : entries[index - 1].end
        guard entries[index].end - start == value.count else { return false }
        guard let base = value.baseAddress else { return true }
        return bytes.withUnsafeBufferPointer { own in
            own.baseAddress.map { memcmp($0 + start, base, value.count) == 0 } ?? true
        }
    }

    /// The first `count` of them.
    func prefix(_ count: Int) -> PseudoFields {
        var fields = PseudoFields()
        guard count > 0, count <= entries.count else { return fields }
        fields.entries = Array(entries[..<count])
        fields.bytes = Array(bytes[..<entries[count - 1].end])
        return fields
    }

    mutating func add(_ kind: Kind, _ value: UnsafeBufferPointer<UInt8>) {
        bytes.append(contentsOf: value)
        entries.append(Entry(kind: kind, end: bytes.count))
    }

    /// The value of one, where it came.
    func text(of kind: Kind) -> String? {
        withValue(of: kind) { String(decoding: $0, as: UTF8.self) }
    }

    var method: HTTPRequest.Method? {
        withValue(of: .method) { FieldNames.method(for: $0) } ?? nil
    }

    private func withValue<Result>(of kind: Kind, _ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result? {
        var start = 0
        for entry in entries {
            if entry.kind == kind {
                return bytes.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[start..<entry.end])) }
            }
            start = entry.end
        }
        return nil
    }
}
