import HTTPTypes

/// The answers that the wire itself gives, as problem documents (RFC 9457).
enum StandardAnswer {
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

    /// The response and its body.
    var response: (HTTPResponse, ResponseBody) {
        var response = HTTPResponse(status: status)
        response.headerFields.append(HTTPField(name: .contentType, value: "application/problem+json"))
        let text = """
            {"type":"about:blank","title":"\(status.reasonPhrase)","status":\(status.code),\
            "code":"\(code)","detail":"\(detail)"}

            """
        return (response, .bytes(Array(text.utf8)))
    }

    private var status: HTTPResponse.Status {
        switch self {
        case .conflictingAuthority: .badRequest
        case .bodyTimeout: .requestTimeout
        case .bodyTooLarge: .contentTooLarge
        case .headerListTooLarge: .requestHeaderFieldsTooLarge
        case .unanswered: .internalServerError
        case .tooMuchWaiting: .serviceUnavailable
        }
    }

    private var code: String {
        switch self {
        case .conflictingAuthority: "conflicting-authority"
        case .bodyTimeout: "body-timeout"
        case .bodyTooLarge: "body-too-large"
        case .headerListTooLarge: "header-list-too-large"
        case .unanswered: "no-answer"
        case .tooMuchWaiting: "too-much-waiting"
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
