import EntryCode
import HTTPTypes
import KernelSource

/// What a body is, by its Content-Type.
enum BodyKind: Sendable, Hashable {
    case json
    /// A patch, a mail, an mbox; nil where the content has to say.
    case patch(Mail.Form?)
    case form, tar

    init?(_ contentType: String?) {
        let type = (contentType ?? "").split(separator: ";").first.map { $0.trimmingSpaces.lowercased() } ?? ""
        switch type {
        case "application/json": self = .json
        case "text/x-diff", "text/x-patch", "text/plain": self = .patch(nil)
        case "message/rfc822": self = .patch(.mail)
        case "application/mbox": self = .patch(.mbox)
        case "multipart/form-data": self = .form
        case "application/x-tar", "application/tar", "application/gzip", "application/x-gzip": self = .tar
        default:
            guard type.hasSuffix("+json") else { return nil }
            self = .json
        }
    }

    /// Media types of patches, for Accept-Post.
    static let patchTypes = "text/x-diff, text/plain, message/rfc822, application/mbox"

    /// What a resource takes that takes tables.
    static func acceptedTypes(_ path: String) -> String {
        switch path {
        case "/v1/configurations": "application/json, multipart/form-data, application/x-tar"
        case "/v1/checks": "application/json, \(patchTypes)"
        default: Application.jsonTypes
        }
    }
}

extension Application {
    /// The largest body of a request, as it is and expanded.
    func bodyLimit_bytes(path: Substring, contentType: String?) -> Int {
        let isPatchable = path.hasSuffix("/patches") || path == "/v1/checks"
        switch BodyKind(contentType) {
        case .patch? where isPatchable: return limits.source.input_bytes
        case .form?, .tar?: return path == "/v1/configurations" ? limits.tree_bytes : limits.table.json.size_bytes
        default: return limits.table.json.size_bytes
        }
    }

    /// Throws where a route does not take a body of the declared type.
    func checkType(_ request: Request, _ route: Route) throws(Problem) {
        guard route.method == .post else { return }
        switch (route.template, BodyKind(request.fields[.contentType])) {
        case ("/v1/configurations", .form), ("/v1/configurations", .tar), ("/v1/checks", .patch): return
        case ("/v1/configurations/{ref}/patches", _): try requirePatch(request)
        default: try requireJSON(request)
        }
    }

    /// The body without its content coding; a patch or an archive may be gzip data itself.
    func plainBody(_ request: Request, limit_bytes: Int) throws(Problem) -> [UInt8] {
        let isEncoded: Bool
        switch request.fields[.contentEncoding]?.lowercased() {
        case nil, "identity": isEncoded = false
        case "gzip", "x-gzip": isEncoded = true
        default:
            // RFC 9110, 15.5.16: what would have been accepted.
            throw Problem(
                .unsupportedMediaType, "a body is sent as it is, or with Content-Encoding: gzip",
                fields: [.acceptEncoding: "gzip, identity"])
        }
        if request.body.count > limit_bytes {
            throw Problem(.contentTooLarge, "the body has \(request.body.count) bytes; at most \(limit_bytes) are read")
        }
        guard isEncoded || request.body.starts(with: [0x1F, 0x8B]) else { return request.body }
        do throws(Gzip.Failure) {
            return try Gzip.expanded(request.body, limit_bytes: limit_bytes)
        } catch {
            switch error {
            case .damaged: throw Problem(.malformedRequest, "the body is not whole gzip data")
            case .tooLarge:
                throw Problem(.contentTooLarge, "the body expands to more than the \(limit_bytes) bytes that are read")
            }
        }
    }

    /// The table of a form or an archive with files of a kernel tree.
    func readTree(_ request: Request, _ kind: BodyKind) throws(Problem) -> (table: EntryTable, made: TreeImport) {
        let body = try plainBody(request, limit_bytes: limits.tree_bytes)
        let made: TreeImport
        do throws(TreeFault) {
            if kind == .form {
                let parts = try FormData.read(
                    body, contentType: request.fields[.contentType] ?? "", limits: limits.source)
                let form = try KernelTree.form(parts, limits: limits.source)
                made = try form.tree.makeTable(
                    kernel: form.kernel, config: form.config, kernels: kernels, limits: limits.source)
            } else {
                made = try KernelTree.tar(body, limits: limits.source).makeTable(
                    kernels: kernels, limits: limits.source)
            }
        } catch {
            throw Problem(
                error.code == "too-large" ? .contentTooLarge : .invalidTree, error.message,
                items: [Problem.Item(pointer: "", code: error.code, message: error.message)])
        }
        return (try readTable(made.document, prefix: ""), made)
    }
}
