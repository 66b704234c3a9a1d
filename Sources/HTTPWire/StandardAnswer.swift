package import HTTPTypes

/// The answers that the wire itself gives, as problem documents (RFC 9457) like those of the application.
package enum StandardAnswer: CaseIterable {
    /// 400: `host` and `:authority` disagree.
    case conflictingAuthority
    /// 400: `host` or `:authority` is no host and port.
    case invalidAuthority
    /// 400: what came is not HTTP/1.
    case malformedRequest
    /// 408: the request body came too slowly.
    case bodyTimeout
    /// 408: the head came too slowly.
    case headTimeout
    /// 413: the body is over `WireLimits.requestBodyBytes`.
    case bodyTooLarge
    /// 414: the request line is over `WireLimits.requestLineBytes`.
    case targetTooLong
    /// 429: the body comes in more small pieces than `WireLimits.smallPieces`.
    case tooManyPieces
    /// 431: the header list is over its limit.
    case headerListTooLarge
    /// 500: the handler gave no answer, or one that cannot be sent.
    case unanswered
    /// 501: a method that HTTP/1 is not read with here.
    case methodUnknown
    /// 501: a transfer coding other than `chunked`.
    case codingUnknown
    /// 503: too much waits for this peer.
    case tooMuchWaiting
    /// 503: too many request bodies are held, or too many requests in work.
    case overloaded
    /// 503: the service ends before the request was answered.
    case stopping
    /// 505: a major version other than 1 in a request line.
    case versionNotSupported

    /// The response and its body; the instance is the path, where it is known.
    package func response(path: String?) -> (HTTPResponse, ResponseBody) {
        var response = HTTPResponse(status: status)
        response.headerFields.append(HTTPField(name: .contentType, value: "application/problem+json"))
        switch self {
        case .tooMuchWaiting, .overloaded, .stopping, .tooManyPieces: response.headerFields[.retryAfter] = "1"
        default: break
        }
        let instance =
            path.map {
                #","instance":"\#(Self.escaped(String(withoutTokens(String($0.prefix { $0 != "?" })).prefix(512))))""#
            } ?? ""
        let text = """
            {"type":"/problems#\(code)","title":"\(title)","status":\(status.code),"detail":"\(detail)"\
            \(instance),"code":"\(code)"}

            """
        return (response, .bytes(Array(text.utf8)))
    }

    var status: HTTPResponse.Status {
        switch self {
        case .conflictingAuthority, .invalidAuthority, .malformedRequest: .badRequest
        case .bodyTimeout, .headTimeout: .requestTimeout
        case .bodyTooLarge: .contentTooLarge
        case .targetTooLong: .uriTooLong
        case .tooManyPieces: .tooManyRequests
        case .headerListTooLarge: .requestHeaderFieldsTooLarge
        case .unanswered: .internalServerError
        case .methodUnknown, .codingUnknown: .notImplemented
        case .tooMuchWaiting, .overloaded, .stopping: .serviceUnavailable
        case .versionNotSupported: .httpVersionNotSupported
        }
    }

    /// The content of a JSON string.
    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\u{0}"..<" ": result += "?"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// Word of the kind of problem, as `/problems` lists it.
    var code: String {
        switch self {
        case .conflictingAuthority, .invalidAuthority, .malformedRequest: "malformed-request"
        case .bodyTimeout, .headTimeout: "request-timeout"
        case .bodyTooLarge: "content-too-large"
        case .targetTooLong: "target-too-long"
        case .headerListTooLarge: "fields-too-large"
        case .unanswered: "internal-error"
        case .methodUnknown, .codingUnknown: "not-implemented"
        case .tooManyPieces: "rate-limited"
        case .tooMuchWaiting, .overloaded, .stopping: "overloaded"
        case .versionNotSupported: "version-not-supported"
        }
    }

    /// The title that goes with the word.
    private var title: String {
        switch self {
        case .conflictingAuthority, .invalidAuthority, .malformedRequest: "The request is malformed"
        case .bodyTimeout, .headTimeout: "Request timeout"
        case .bodyTooLarge: "Content too large"
        case .targetTooLong: "Request target too long"
        case .headerListTooLarge: "Header fields too large"
        case .unanswered: "Internal error"
        case .methodUnknown, .codingUnknown: "Not implemented"
        case .tooManyPieces: "Too many requests"
        case .tooMuchWaiting, .overloaded, .stopping: "Overloaded"
        case .versionNotSupported: "HTTP version not supported"
        }
    }

    private var detail: String {
        switch self {
        case .conflictingAuthority: "The host field and the :authority pseudo-header field differ; send one of them."
        case .malformedRequest: "This is not a request of HTTP/1.1 as RFC 9112 has it; the connection is closed."
        case .headTimeout: "The request came too slowly; send it again."
        case .targetTooLong: "The request line is longer than this service reads."
        case .methodUnknown: "This method is not known here."
        case .codingUnknown: "The only transfer coding that is read here is chunked."
        case .versionNotSupported: "This port speaks HTTP/1.1 and HTTP/2."
        case .bodyTimeout: "The request body came too slowly; send it again."
        case .bodyTooLarge: "The request body is larger than this service reads; send less."
        case .headerListTooLarge: "The header fields are larger than this service reads; send fewer."
        case .unanswered: "The service gave no answer to this request."
        case .invalidAuthority:
            "The host field or the :authority pseudo-header field is no host with or without a port."
        case .tooManyPieces: "The request body comes in very many small pieces; send larger ones."
        case .overloaded: "The service holds as many requests as it may; send it again a little later."
        case .stopping: "The service is stopping; send the request again."
        case .tooMuchWaiting: "Responses wait on this connection; read them, then ask again."
        }
    }
}
