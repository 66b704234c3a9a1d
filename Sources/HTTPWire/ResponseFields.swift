import CNghttp2
import HTTPTypes

/// The header list of a response, laid out in one buffer that is used again for the next.
///
/// libnghttp2 copies names and values when the response is submitted, so nothing outlives the call. Not thread-safe;
/// its properties are `@exclusivity(unchecked)` for the reason given at `HTTP2Connection`.
final class ResponseFields {
    /// A header list of more bytes cannot be sent: libnghttp2 gives up at 64 KiB, and the peer sooner.
    static let largestBytes = 48 * 1024

    private struct Entry {
        var start: Int
        var nameCount: Int
        var valueCount: Int
    }

    @exclusivity(unchecked) private var bytes: [UInt8] = []
    @exclusivity(unchecked) private var entries: [Entry] = []
    @exclusivity(unchecked) private var list: [nghttp2_nv] = []
    private(set) var hasContentLength = false
    private(set) var hasDate = false

    /// Whether the list is small enough to be sent.
    var fits: Bool { bytes.count <= Self.largestBytes }

    /// Starts the list of `response`, whose status is `status`.
    ///
    /// Connection-specific fields are left out: HTTP/2 forbids them (RFC 9113 section 8.2.2).
    func begin(_ response: HTTPResponse, status: Int) {
        begin(status: status)
        for field in response.headerFields {
            let name = field.name.canonicalName
            // The length alone clears most names; comparing Strings for each of these is measurable.
            switch name.utf8.count {
            case 4: if name == "date" { hasDate = true }
            case 7: if name == "upgrade" { continue }
            case 10: if name == "connection" || name == "keep-alive" { continue }
            case 14: if name == "content-length" { hasContentLength = true }
            case 16: if name == "proxy-connection" { continue }
            case 17: if name == "transfer-encoding" { continue }
            default: break
            }
            let start = bytes.count
            bytes.append(contentsOf: name.utf8)
            let nameCount = bytes.count - start
            field.withUnsafeBytesOfValue { bytes.append(contentsOf: $0) }
            entries.append(Entry(start: start, nameCount: nameCount, valueCount: bytes.count - start - nameCount))
        }
    }

    /// Starts a list that has only a status.
    func begin(status: Int) {
        bytes.removeAll(keepingCapacity: true)
        entries.removeAll(keepingCapacity: true)
        hasContentLength = false
        hasDate = false
        let code = min(999, max(100, status))
        bytes.append(contentsOf: ":status".utf8)
        bytes.append(UInt8(ascii: "0") + UInt8(code / 100))
        bytes.append(UInt8(ascii: "0") + UInt8(code / 10 % 10))
        bytes.append(UInt8(ascii: "0") + UInt8(code % 10))
        entries.append(Entry(start: 0, nameCount: 7, valueCount: 3))
    }

    /// Adds a field; the name is lower-case.
    func add(_ name: StaticString, _ value: some Collection<UInt8>) {
        let start = bytes.count
        name.withUTF8Buffer { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: value)
        let nameCount = name.utf8CodeUnitCount
        entries.append(Entry(start: start, nameCount: nameCount, valueCount: bytes.count - start - nameCount))
    }

    /// Adds `content-length`.
    func addContentLength(_ count: Int) {
        add("content-length", String(count).utf8)
    }

    /// Calls `body` with the list as libnghttp2 wants it; valid during the call only.
    func withList<Result>(_ body: (UnsafePointer<nghttp2_nv>?, Int) -> Result) -> Result {
        list.removeAll(keepingCapacity: true)
        return bytes.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return body(nil, 0) }
            for entry in entries {
                list.append(
                    nghttp2_nv(
                        name: base + entry.start, value: base + entry.start + entry.nameCount,
                        namelen: entry.nameCount, valuelen: entry.valueCount,
                        flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue)))
            }
            return list.withUnsafeBufferPointer { body($0.baseAddress, $0.count) }
        }
    }
}
