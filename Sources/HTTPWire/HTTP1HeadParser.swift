import CHTTPParser
import CNghttp2
import HTTPTypes

/// A request head of HTTP/1, and what it says about the message.
struct HTTP1Head {
    /// How the end of the body is known (RFC 9112 section 6.3).
    enum Body: Equatable {
        case none
        case length(Int)
        case chunked
    }

    var request: HTTPRequest
    var body = Body.none
    /// The connection may carry another request.
    var keepsAlive = true
    var expectsContinue = false
    /// HTTP/1.0 knows neither chunks nor interim answers.
    var isVersion10 = false
}

/// Reads a complete head, which `HTTP1HeadScanner` let through, with libhttp-parser.
///
/// Names and values then pass the validators of libnghttp2, so that both protocols accept the same language.
enum HTTP1HeadParser {
    /// The head in `bytes`, which end with its empty line, or the answer to what is wrong with it.
    static func parse(
        _ bytes: UnsafeRawBufferPointer, fields expected: Int, isSecure: Bool
    ) -> Result<HTTP1Head, Fault> {
        let found = Found(base: bytes.baseAddress)
        var parser = http_parser()
        http_parser_init(&parser, HTTP_REQUEST)
        parser.data = Unmanaged.passUnretained(found).toOpaque()
        let consumed = withUnsafePointer(to: settings) {
            http_parser_execute(&parser, $0, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
        }
        let error = http_errno(gatehouse_parser_error(&parser))
        if error == HPE_INVALID_METHOD { return .failure(Fault(.methodUnknown)) }
        guard error == HPE_OK, found.isComplete, consumed == bytes.count, found.fields.count == expected else {
            return .failure(Fault(.malformedRequest))
        }
        guard parser.http_major == 1 else { return .failure(Fault(.versionNotSupported)) }
        do throws(Fault) {
            let number = http_method(gatehouse_parser_method(&parser))
            return .success(try head(bytes, found, number, minor: Int(parser.http_minor), isSecure: isSecure))
        } catch { return .failure(error) }
    }

    /// Why a head is refused.
    struct Fault: Error {
        var answer: StandardAnswer

        init(_ answer: StandardAnswer) { self.answer = answer }
    }

    /// Where the parts of a head lie.
    private final class Found {
        let base: UnsafeRawPointer?
        var target = 0..<0
        var fields: [(name: Range<Int>, value: Range<Int>)] = []
        var isComplete = false

        init(base: UnsafeRawPointer?) { self.base = base }

        func range(_ at: UnsafePointer<CChar>?, _ count: Int) -> Range<Int> {
            guard let base, let at else { return 0..<0 }
            let start = UnsafeRawPointer(at) - base
            return start..<(start + count)
        }
    }

    // The whole head is there at once, so each part comes in one call.
    private static let settings: http_parser_settings = {
        var settings = http_parser_settings()
        settings.on_url = { parser, at, count in
            guard let found = found(parser) else { return -1 }
            found.target = found.range(at, count)
            return 0
        }
        settings.on_header_field = { parser, at, count in
            guard let found = found(parser) else { return -1 }
            found.fields.append((found.range(at, count), 0..<0))
            return 0
        }
        settings.on_header_value = { parser, at, count in
            guard let found = found(parser), !found.fields.isEmpty else { return -1 }
            found.fields[found.fields.count - 1].value = found.range(at, count)
            return 0
        }
        settings.on_headers_complete = { parser in
            found(parser)?.isComplete = true
            // The body is read here and not by the parser, which takes any two bytes for the end of a chunk.
            return 1
        }
        return settings
    }()

    private static func found(_ parser: UnsafeMutablePointer<http_parser>?) -> Found? {
        guard let data = parser?.pointee.data else { return nil }
        return Unmanaged<Found>.fromOpaque(data).takeUnretainedValue()
    }

    /// The methods that the parser knows; HTTP/2 takes the same, so that a request has one answer over both.
    static let methods = Set((0..<34).map { String(cString: http_method_str(http_method($0))) })

    private static func head(
        _ bytes: UnsafeRawBufferPointer, _ found: Found, _ number: http_method, minor: Int, isSecure: Bool
    ) throws(Fault) -> HTTP1Head {
        guard let method = HTTPRequest.Method(rawValue: String(cString: http_method_str(number))) else {
            throw Fault(.methodUnknown)
        }
        var fields = HTTP1Fields()
        for part in found.fields {
            try fields.add(
                name: UnsafeRawBufferPointer(rebasing: bytes[part.name]),
                value: UnsafeRawBufferPointer(rebasing: bytes[part.value]))
        }
        let isVersion10 = minor == 0
        // Exactly one Host with HTTP/1.1, at most one with HTTP/1.0 (RFC 9112 section 3.2).
        guard fields.hosts == 1 || (isVersion10 && fields.hosts == 0) else { throw Fault(.malformedRequest) }
        var head = HTTP1Head(
            request: HTTPRequest(
                method: method, scheme: isSecure ? "https" : "http", authority: fields.host, path: nil,
                headerFields: fields.fields))
        head.isVersion10 = isVersion10
        head.keepsAlive = !isVersion10 && !fields.closes && method != .connect
        head.body = try fields.body(isVersion10: isVersion10)
        head.expectsContinue = !isVersion10 && fields.expectsContinue && head.body != .none
        try setTarget(UnsafeRawBufferPointer(rebasing: bytes[found.target]), of: &head.request)
        return head
    }

    /// Takes the request target apart (RFC 9112 section 3.2).
    private static func setTarget(_ target: UnsafeRawBufferPointer, of request: inout HTTPRequest) throws(Fault) {
        let bytes = target.bindMemory(to: UInt8.self)
        guard Authority.isPath(bytes) else { throw Fault(.malformedRequest) }
        let text = String(decoding: bytes, as: UTF8.self)
        if request.method == .connect {
            guard Authority.isValid(bytes) else { throw Fault(.malformedRequest) }
            request.authority = text
            request.scheme = nil
        } else if bytes.first == UInt8(ascii: "/") || (text == "*" && request.method == .options) {
            request.path = text
        } else {
            // The absolute form, whose authority counts and not that of Host (section 3.2.2).
            guard let colon = text.range(of: "://") else { throw Fault(.malformedRequest) }
            let scheme = text[..<colon.lowerBound].lowercased()
            guard scheme == "http" || scheme == "https" else { throw Fault(.malformedRequest) }
            let rest = text[colon.upperBound...]
            let authority = rest.prefix { $0 != "/" && $0 != "?" }
            guard Authority.isValid(authority.utf8) else { throw Fault(.malformedRequest) }
            let path = rest[authority.endIndex...]
            request.scheme = scheme
            request.authority = String(authority)
            request.path = path.first == "/" ? String(path) : "/" + path
        }
    }
}

extension String {
    /// The first place of some ASCII text.
    fileprivate func range(of text: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}

/// The fields of a request of HTTP/1, without those that concern only the connection (RFC 9110 section 7.6.1).
private struct HTTP1Fields {
    private(set) var fields = HTTPFields()
    private(set) var hosts = 0
    private(set) var host: String?
    private(set) var closes = false
    private(set) var expectsContinue = false
    private var lengths = 0
    private var length: Int?
    private var codings = 0
    private var isChunked = false

    mutating func add(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) throws(HTTP1HeadParser.Fault) {
        let malformed = HTTP1HeadParser.Fault(.malformedRequest)
        // The names of HTTP/2 are in lower case, and so are those that its validator takes.
        let lower = name.map { UInt8(ascii: "A")...UInt8(ascii: "Z") ~= $0 ? $0 | 0x20 : $0 }
        let trimmed = UnsafeRawBufferPointer(rebasing: Self.trimmed(value)).bindMemory(to: UInt8.self)
        guard nghttp2_check_header_name(lower, lower.count) != 0,
            nghttp2_check_header_value_rfc9113(trimmed.baseAddress, trimmed.count) != 0,
            let fieldName = lower.withUnsafeBufferPointer({ FieldNames.name(for: $0) })
        else { throw malformed }
        let field = HTTPField(name: fieldName, value: trimmed)
        switch fieldName.canonicalName {
        case "host":
            hosts += 1
            guard field.value.isEmpty || Authority.isValid(field.value.utf8) else { throw malformed }
            host = field.value.isEmpty ? nil : field.value
            return
        case "content-length":
            lengths += 1
            guard lengths == 1, !trimmed.isEmpty, trimmed.count <= 18, trimmed.allSatisfy({ 0x30...0x39 ~= $0 }) else {
                throw malformed
            }
            length = Int(field.value)
        case "transfer-encoding":
            codings += 1
            isChunked = field.value.lowercased() == "chunked"
            return
        case "connection":
            for option in field.value.lowercased().split(separator: ",") {
                if option.filter({ $0 != " " && $0 != "\t" }) == "close" { closes = true }
            }
            return
        // An upgrade to h2c may be ignored, and is: who wants HTTP/2 sends its preface.
        case "keep-alive", "proxy-connection", "upgrade", "http2-settings", "te": return
        case "expect": expectsContinue = field.value.lowercased() == "100-continue"
        default: break
        }
        fields.append(field)
    }

    /// How the body ends; both ways at once, or a coding that is not `chunked` alone, is how requests are smuggled.
    func body(isVersion10: Bool) throws(HTTP1HeadParser.Fault) -> HTTP1Head.Body {
        if codings > 0 {
            guard codings == 1, lengths == 0, !isVersion10 else { throw HTTP1HeadParser.Fault(.malformedRequest) }
            guard isChunked else { throw HTTP1HeadParser.Fault(.codingUnknown) }
            return .chunked
        }
        guard let length, length > 0 else { return .none }
        return .length(length)
    }

    /// Without spaces and tabs at both ends.
    private static func trimmed(_ bytes: UnsafeRawBufferPointer) -> Slice<UnsafeRawBufferPointer> {
        var slice = bytes[...]
        while let first = slice.first, first == 0x20 || first == 0x09 { slice = slice.dropFirst() }
        while let last = slice.last, last == 0x20 || last == 0x09 { slice = slice.dropLast() }
        return slice
    }
}
