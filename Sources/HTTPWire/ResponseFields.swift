import CNghttp2
import HTTPTypes

/// A header list as one run of bytes and where each name and value lies in it.
struct FlatFields: Sendable {
    /// A header list of more bytes cannot be sent: libnghttp2 gives up at 64 KiB, and the peer sooner.
    static let largestBytes = 48 * 1024

    struct Entry: Sendable {
        var start: Int
        var nameCount: Int
        var valueCount: Int
        /// Its value does not come again: in the table of HPACK it would push out what does.
        var isUnique = false

        /// The flags of libnghttp2 for it.
        var flags: UInt32 { (isUnique ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE).rawValue }
    }

    fileprivate(set) var bytes: [UInt8] = []
    fileprivate(set) var entries: [Entry] = []
    private(set) var hasContentLength = false
    private(set) var hasDate = false

    init() {}

    /// The list of `response`, whose status is `status`.
    init(_ response: HTTPResponse, status: Int) { begin(response, status: status) }

    /// Whether the list is small enough to be sent.
    var fits: Bool { bytes.count <= Self.largestBytes }

    /// Starts the list of `response`, whose status is `status`.
    ///
    /// Connection-specific fields are left out: HTTP/2 forbids them (RFC 9113 section 8.2.2).
    mutating func begin(_ response: HTTPResponse, status: Int) {
        begin(status: status)
        for field in response.headerFields {
            let name = field.name.canonicalName
            // The length alone clears most names; comparing Strings for each of these is measurable.
            var isUnique = false
            switch name.utf8.count {
            case 4: if name == "date" { hasDate = true }
            case 7: if name == "upgrade" { continue }
            case 10: if name == "connection" || name == "keep-alive" { continue }
            case 12: isUnique = name == "x-request-id"
            case 14: if name == "content-length" { hasContentLength = true }
            case 16: if name == "proxy-connection" { continue }
            case 17: if name == "transfer-encoding" { continue }
            default: break
            }
            let start = bytes.count
            bytes.append(contentsOf: name.utf8)
            let nameCount = bytes.count - start
            field.withUnsafeBytesOfValue { bytes.append(contentsOf: $0) }
            entries.append(
                Entry(
                    start: start, nameCount: nameCount, valueCount: bytes.count - start - nameCount,
                    isUnique: isUnique))
        }
    }

    /// Starts a list that has only a status.
    mutating func begin(status: Int) {
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
    mutating func add(_ name: StaticString, _ value: some Collection<UInt8>) {
        let start = bytes.count
        name.withUTF8Buffer { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: value)
        let nameCount = name.utf8CodeUnitCount
        entries.append(Entry(start: start, nameCount: nameCount, valueCount: bytes.count - start - nameCount))
    }

    /// Adds `content-length`.
    mutating func addContentLength(_ count: Int) {
        add("content-length", String(count).utf8)
        hasContentLength = true
    }
}

/// What the connections of one thread share: their limits, and buffers that are used within one call only.
package final class WireScratch {
    let limits: WireLimits
    let responseFields = ResponseFields()

    package init(limits: WireLimits = WireLimits()) { self.limits = limits }
}

/// The header list of the response that is being submitted, in buffers that are used again for the next.
///
/// libnghttp2 copies names and values when the response is submitted, so nothing outlives the call. Not thread-safe;
/// its properties are `@exclusivity(unchecked)` for the reason given at `HTTP2Connection`.
final class ResponseFields {
    @exclusivity(unchecked) private var own = FlatFields()
    @exclusivity(unchecked) private var list: [nghttp2_nv] = []

    var hasContentLength: Bool { own.hasContentLength }
    var hasDate: Bool { own.hasDate }
    var fits: Bool { own.fits }

    func begin(_ response: HTTPResponse, status: Int) { own.begin(response, status: status) }
    func begin(status: Int) { own.begin(status: status) }
    func add(_ name: StaticString, _ value: some Collection<UInt8>) { own.add(name, value) }
    func addContentLength(_ count: Int) { own.addContentLength(count) }

    /// Calls `body` with the list as libnghttp2 wants it; valid during the call only.
    func withList<Result>(_ body: (UnsafePointer<nghttp2_nv>?, Int) -> Result) -> Result {
        list.removeAll(keepingCapacity: true)
        return own.bytes.withUnsafeMutableBufferPointer { bytes in
            guard let base = bytes.baseAddress else { return body(nil, 0) }
            append(own.entries, base)
            return list.withUnsafeBufferPointer { body($0.baseAddress, $0.count) }
        }
    }

    /// Calls `body` with the list of `answer`, and `date` behind it where there is one.
    func withList<Result>(
        _ answer: PreparedAnswer, date: [UInt8]?, _ body: (UnsafePointer<nghttp2_nv>?, Int) -> Result
    ) -> Result {
        guard let date, !answer.hasDate else {
            return answer.list.withUnsafeBufferPointer { body($0.baseAddress, $0.count) }
        }
        list.removeAll(keepingCapacity: true)
        list.append(contentsOf: answer.list)
        return Self.dateName.withUTF8Buffer { name in
            date.withUnsafeBufferPointer { value in
                list.append(
                    nghttp2_nv(
                        name: UnsafeMutablePointer(mutating: name.baseAddress),
                        value: UnsafeMutablePointer(mutating: value.baseAddress), namelen: name.count,
                        valuelen: value.count, flags: UInt8(NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue)))
                return list.withUnsafeBufferPointer { body($0.baseAddress, $0.count) }
            }
        }
    }

    private static let dateName: StaticString = "date"

    private func append(_ entries: some Sequence<FlatFields.Entry>, _ base: UnsafeMutablePointer<UInt8>) {
        for entry in entries {
            list.append(
                nghttp2_nv(
                    name: base + entry.start, value: base + entry.start + entry.nameCount,
                    namelen: entry.nameCount, valuelen: entry.valueCount,
                    flags: UInt8(entry.flags)))
        }
    }
}

extension FlatFields {
    /// The list as libnghttp2 wants it, over a copy of its bytes that outlives it.
    ///
    /// libnghttp2 only reads names and values, although its type says otherwise.
    func list(at text: SharedBytes) -> [nghttp2_nv] {
        let base = text.bytes.bindMemory(to: UInt8.self).baseAddress
        let flags = NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue | NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue
        return entries.map { entry in
            let name = base.map { UnsafeMutablePointer(mutating: $0 + entry.start) }
            return nghttp2_nv(
                name: name, value: name.map { $0 + entry.nameCount }, namelen: entry.nameCount,
                valuelen: entry.valueCount, flags: UInt8(flags | entry.flags))
        }
    }

    /// Status line and fields as HTTP/1.1 writes them (RFC 9112 sections 4 and 5), without the empty line.
    func http1Head(_ status: HTTPResponse.Status) -> [UInt8] {
        var head = Array("HTTP/1.1 \(min(999, max(100, status.code))) \(status.reasonPhrase)\r\n".utf8)
        head.reserveCapacity(head.count + bytes.count + entries.count * 4)
        // Without the status that every list begins with.
        for entry in entries.dropFirst() {
            let value = entry.start + entry.nameCount
            head += bytes[entry.start..<value]
            head += [UInt8(ascii: ":"), UInt8(ascii: " ")]
            head += bytes[value..<(value + entry.valueCount)]
            head += [0x0D, 0x0A]
        }
        return head
    }
}
