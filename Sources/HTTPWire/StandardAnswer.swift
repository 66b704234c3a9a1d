import HTTPTypes

/// The answers that the wire itself gives, as problem documents (RFC 9457) like those of the application.
enum StandardAnswer: CaseIterable {
    /// 400: `host` and `:authority` disagree.
    case conflictingAuthority
    /// 408: the request body came too slowly.
    case bodyTimeout
    /// 413: the body is over `WireLimits.requestBodyBytes`.
    case bodyTooLarge
    /// 431: the header list is over its limit.
    case headerListTooLarge
    /// 500: the handler gave no answer, or one that cannot be sent.
    case unanswered
    /// 503: too much waits for this peer.
    case tooMuchWaiting

    /// The response and its body; the instance is the path, where it is known.
    func response(path: String?) -> (HTTPResponse, ResponseBody) {
        var response = HTTPResponse(status: status)
        response.headerFields.append(HTTPField(name: .contentType, value: "application/problem+json"))
        let instance =
            path.map { #","instance":"\#(Self.escaped(String($0.prefix { $0 != "?" }.prefix(512))))""# } ?? ""
        let text = """
            {"type":"/problems#\(code)","title":"\(title)","status":\(status.code),"detail":"\(detail)"\
            \(instance),"code":"\(code)"}

            """
        return (response, .bytes(Array(text.utf8)))
    }

    var status: HTTPResponse.Status {
        switch self {
        case .conflictingAuthority: .badRequest
        case .bodyTimeout: .requestTimeout
        case .bodyTooLarge: .contentTooLarge
        case .headerListTooLarge: .requestHeaderFieldsTooLarge
        case .unanswered: .internalServerError
        case .tooMuchWaiting: .serviceUnavailable
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
        case .conflictingAuthority: "malformed-request"
        case .bodyTimeout: "request-timeout"
        case .bodyTooLarge: "content-too-large"
        case .headerListTooLarge: "fields-too-large"
        case .unanswered: "internal-error"
        case .tooMuchWaiting: "overloaded"
        }
    }

    /// The title that goes with the word.
    private var title: String {
        switch self {
        case .conflictingAuthority: "The request is malformed"
        case .bodyTimeout: "Request timeout"
        case .bodyTooLarge: "Content too large"
        case .headerListTooLarge: "Header fields too large"
        case .unanswered: "Internal error"
        case .tooMuchWaiting: "Overloaded"
        }
    }

    private var detail: String {
        switch self {
        case .conflictingAuthority: "The host field and the :authority pseudo-header field differ; send one of them."
        case .bodyTimeout: "The request body came too slowly; send it again."
        case .bodyTooLarge: "The request body is larger than this service reads; send less."
        case .headerListTooLarge: "The header fields are larger than this service reads; send fewer."
        case .unanswered: "The service gave no answer to this request."
        case .tooMuchWaiting: "Responses wait on this connection; read them, then ask again."
        }
    }
}
