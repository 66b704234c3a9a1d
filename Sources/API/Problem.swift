package import EntryCode
package import HTTPTypes
package import Store

/// What went wrong with a request, as RFC 9457 problem details.
package struct Problem: Error, Sendable {
    /// One fault of the request's content.
    package struct Item: Sendable, Hashable {
        /// Where it is.
        package enum Place: Sendable, Hashable {
            /// JSON pointer into the body; empty for the body itself.
            case pointer(String)
            /// Name of a query parameter.
            case parameter(String)
        }

        package var place: Place
        package var code: String
        package var message: String

        package init(pointer: String, code: String, message: String) {
            self.init(.pointer(pointer), code: code, message: message)
        }

        package init(parameter: String, code: String, message: String) {
            self.init(.parameter(parameter), code: code, message: message)
        }

        package init(_ place: Place, code: String, message: String) {
            self.place = place
            self.code = code
            self.message = message
        }

        fileprivate var json: JSON {
            let place =
                switch place {
                case .pointer(let pointer): JSON.Member("pointer", .string(pointer))
                case .parameter(let name): JSON.Member("parameter", .string(name))
                }
            return .object([
                place, JSON.Member("code", .string(code)), JSON.Member("message", .string(message)),
            ])
        }

        fileprivate var line: String {
            let place =
                switch place {
                case .pointer(""): "(document)"
                case .pointer(let pointer): pointer
                case .parameter(let name): "?" + name
                }
            return "\(place): \(message)"
        }
    }

    package var kind: ProblemKind
    package var detail: String
    package var items: [Item]
    /// Fields that the answer carries besides, such as Allow or Retry-After.
    package var fields: HTTPFields

    package init(_ kind: ProblemKind, _ detail: String, items: [Item] = [], fields: HTTPFields = [:]) {
        self.kind = kind
        self.detail = detail
        self.items = items
        self.fields = fields
    }

    /// The body as `application/problem+json`.
    package func json(instance: String, id: String? = nil) -> JSON {
        var members: [JSON.Member] = [
            JSON.Member("type", .string("/problems#\(kind.rawValue)")), JSON.Member("title", .string(kind.title)),
            JSON.Member("status", .integer(Int64(kind.status))), JSON.Member("detail", .string(detail)),
            JSON.Member("instance", .string(instance)), JSON.Member("code", .string(kind.rawValue)),
        ]
        if let id { members.append(JSON.Member("request_id", .string(id))) }
        if !items.isEmpty {
            members.append(JSON.Member("errors", .array(items.map(\.json))))
        }
        return .object(members)
    }

    /// The same for `Accept: text/plain`: the title, then what happened.
    package var text: String {
        var lines = "\(kind.status) \(kind.title)\n\(Problem.line(detail))\n"
        for item in items {
            lines += "  \(Problem.line(item.line)) [\(item.code)]\n"
        }
        return lines
    }

    /// Text that may repeat what a client sent, as one line of printable ASCII: text answers have nothing else, and a
    /// terminal takes control characters for orders.
    private static func line(_ text: String) -> String {
        var line = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case " "..."~": line.unicodeScalars.append(scalar)
            case "\u{2026}": line += "..."
            default: line += "?"
            }
        }
        return line
    }
}

/// Every kind of problem that the interface answers with; `/problems` explains them.
package enum ProblemKind: String, Sendable, CaseIterable {
    case malformedRequest = "malformed-request"
    case malformedJSON = "malformed-json"
    case unknownParameter = "unknown-parameter"
    case invalidParameter = "invalid-parameter"
    case unauthorized
    case forbidden
    case notFound = "not-found"
    case methodNotAllowed = "method-not-allowed"
    case notAcceptable = "not-acceptable"
    case conflict
    case preconditionFailed = "precondition-failed"
    case requestTimeout = "request-timeout"
    case contentTooLarge = "content-too-large"
    case targetTooLong = "target-too-long"
    case fieldsTooLarge = "fields-too-large"
    case unsupportedMediaType = "unsupported-media-type"
    case invalidDocument = "invalid-document"
    case ambiguousReference = "ambiguous-reference"
    case idempotencyMismatch = "idempotency-mismatch"
    case notRunnable = "not-runnable"
    case noScenario = "no-scenario"
    case patchNotApplied = "patch-not-applied"
    case invalidTree = "invalid-tree"
    case rateLimited = "rate-limited"
    case overloaded
    case storageFull = "storage-full"
    case storageFailed = "storage-failed"
    case internalError = "internal-error"
    case notImplemented = "not-implemented"
    case versionNotSupported = "version-not-supported"

    package var status: Int {
        switch self {
        case .malformedRequest, .malformedJSON, .unknownParameter, .invalidParameter: 400
        case .unauthorized: 401
        case .forbidden: 403
        case .notFound: 404
        case .methodNotAllowed: 405
        case .notAcceptable: 406
        case .conflict, .ambiguousReference: 409
        case .preconditionFailed: 412
        case .requestTimeout: 408
        case .contentTooLarge: 413
        case .targetTooLong: 414
        case .fieldsTooLarge: 431
        case .unsupportedMediaType: 415
        case .invalidDocument, .idempotencyMismatch, .notRunnable, .noScenario, .patchNotApplied, .invalidTree:
            422
        case .rateLimited: 429
        case .internalError: 500
        case .notImplemented: 501
        case .versionNotSupported: 505
        case .overloaded: 503
        case .storageFull: 507
        case .storageFailed: 503
        }
    }

    package var title: String {
        switch self {
        case .malformedRequest: "The request is malformed"
        case .malformedJSON: "The body is not JSON"
        case .unknownParameter: "Unknown query parameter"
        case .invalidParameter: "Invalid query parameter or field"
        case .unauthorized: "A token is needed"
        case .forbidden: "The token does not allow this"
        case .notFound: "Not found"
        case .methodNotAllowed: "Method not allowed"
        case .notAcceptable: "No acceptable format"
        case .conflict: "Conflict with the present state"
        case .preconditionFailed: "Precondition failed"
        case .requestTimeout: "Request timeout"
        case .contentTooLarge: "Content too large"
        case .targetTooLong: "Request target too long"
        case .fieldsTooLarge: "Header fields too large"
        case .unsupportedMediaType: "Unsupported media type"
        case .invalidDocument: "The document has faults"
        case .ambiguousReference: "Ambiguous reference"
        case .idempotencyMismatch: "Idempotency key used for another request"
        case .notRunnable: "The table cannot be run"
        case .noScenario: "No scenario matches"
        case .patchNotApplied: "The patch was not applied"
        case .invalidTree: "The files make no entry table"
        case .rateLimited: "Too many requests"
        case .overloaded: "Overloaded"
        case .storageFull: "Storage is full"
        case .storageFailed: "Storage failed"
        case .internalError: "Internal error"
        case .notImplemented: "Not implemented"
        case .versionNotSupported: "HTTP version not supported"
        }
    }

    /// What the user can do about it.
    package var advice: String {
        switch self {
        case .malformedRequest: "Check the request line and the fields against /openapi.json."
        case .malformedJSON: "The error names line, column and byte where parsing stopped."
        case .unknownParameter: "The error names the parameters that the resource knows."
        case .invalidParameter: "The error names the values that the parameter takes."
        case .unauthorized: "Send Authorization: Bearer with a token that the service knows."
        case .forbidden: "The WWW-Authenticate field names the scope that is needed."
        case .notFound: "Lists under /v1/configurations and /v1/simulations show what is there."
        case .methodNotAllowed: "The Allow field lists the methods of the resource."
        case .notAcceptable: "Ask for a format that the error lists, by Accept or ?format=."
        case .conflict: "Wait until what runs has ended, or cancel it."
        case .preconditionFailed: "Fetch the resource again and use its ETag."
        case .requestTimeout: "The body came too slowly; send it again."
        case .contentTooLarge: "An entry table has at most 1 MiB, a tree 8 MiB, a patch or mailbox 16 MiB."
        case .targetTooLong: "Send a shorter path and query."
        case .fieldsTooLarge: "Send fewer or shorter fields."
        case .unsupportedMediaType: "The Accept-Post field lists what the resource takes."
        case .invalidDocument:
            "errors[] has a JSON pointer for every fault; the schema is at /schemas/entry-table.json."
        case .ambiguousReference: "Use more digits of the id."
        case .idempotencyMismatch: "Use a new key for a new request."
        case .notRunnable: "The configuration's reasons say what is missing."
        case .patchNotApplied: "errors[] lists every hunk; code needs a configuration that keeps its sources."
        case .invalidTree: "The error's code and message say which file or part it is."
        case .noScenario: "Ask without 'scenarios' and list the names under /v1/simulations/{id}/scenarios."
        case .rateLimited: "Wait for the seconds that Retry-After names."
        case .overloaded: "Try again after the seconds that Retry-After names."
        case .storageFull: "Free space on the disk of the database."
        case .storageFailed: "See the service's log; the write was not acknowledged and may be tried again."
        case .notImplemented: "See the Allow field of a 405, and send bodies whole or with the transfer coding chunked."
        case .versionNotSupported: "Speak HTTP/1.1 or HTTP/2."
        case .internalError: "A defect of the service: report it with the instance."
        }
    }
}

extension Problem {
    /// A failure of the store in the interface's terms.
    package init(_ error: StoreError) {
        switch error.code {
        case .notFound: self.init(.notFound, error.message)
        case .ambiguousReference:
            self.init(
                .ambiguousReference, error.message,
                items: error.candidates.map { Item(pointer: "", code: "candidate", message: $0.hex) })
        case .referenceTooShort: self.init(.notFound, error.message)
        case .invalidName, .invalidCursor, .invalidValue:
            self.init(.invalidParameter, error.message)
        case .tooLarge: self.init(.contentTooLarge, error.message)
        case .duplicate, .simulationRunning, .simulationEnded: self.init(.conflict, error.message)
        case .busy, .closed, .interrupted:
            self.init(.overloaded, error.message, fields: [.retryAfter: "1"])
        case .diskFull: self.init(.storageFull, error.message)
        default: self.init(.storageFailed, error.message, fields: [.retryAfter: "5"])
        }
    }

    /// Faults of a document; `prefix` is where the document stands in the body.
    package init(_ faults: TableFaults, prefix: String = "") {
        let items = faults.faults.map { Item(pointer: prefix + $0.pointer, code: $0.code, message: $0.message) }
        let listed = faults.count > items.count ? ", the first \(items.count) of them listed" : ""
        let count = faults.count == 1 ? "1 fault" : "\(faults.count) faults\(listed)"
        let first = faults.faults.first?.message ?? ""
        if faults.isTooLarge {
            self.init(.contentTooLarge, first, items: items)
        } else if faults.isSyntax {
            self.init(.malformedJSON, first, items: items)
        } else {
            self.init(.invalidDocument, "\(count); the first: \(first)", items: items)
        }
    }
}
