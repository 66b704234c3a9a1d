package import HTTPTypes

/// The forms in which a resource can be answered.
package enum Format: String, Sendable, CaseIterable {
    case json, text, wide, csv, ndjson

    package var mediaType: String {
        switch self {
        case .json: "application/json"
        case .text, .wide: "text/plain; charset=utf-8"
        case .csv: "text/csv; charset=utf-8"
        case .ndjson: "application/x-ndjson"
        }
    }

    /// Types in `Accept` that mean this form.
    fileprivate var accepted: [String] {
        switch self {
        case .json: ["application/json"]
        case .text: ["text/plain"]
        case .wide: []
        case .csv: ["text/csv"]
        case .ndjson: ["application/x-ndjson", "application/jsonl"]
        }
    }
}

extension Request {
    /// Chooses among the forms of a resource: `?format=` first, then `Accept` by weight; the first form for `*/*`
    /// (RFC 9110, 12.5.1).
    package func format(among offered: [Format]) throws(Problem) -> Format {
        let list = offered.map(\.rawValue).joined(separator: ", ")
        if let name = try parameter("format") {
            guard let format = Format(rawValue: name), offered.contains(format) else {
                throw Problem(.notAcceptable, "the format '\(String(name.prefix(32)))' is not offered here; offered are: \(list)")
            }
            return format
        }
        guard let accept = fields[.accept], let fallback = offered.first else { return offered.first ?? .json }
        var best: (format: Format, weight: Double, specificity: Int)?
        for range in accept.split(separator: ",").prefix(32) {
            let parts = range.split(separator: ";").map { $0.trimmingSpaces }
            guard let type = parts.first?.lowercased() else { continue }
            var weight = 1.0
            for parameter in parts.dropFirst() where parameter.lowercased().hasPrefix("q=") {
                weight = Double(parameter.dropFirst(2)) ?? 0
            }
            if weight <= 0 { continue }
            for format in offered {
                let specificity: Int
                if format.accepted.contains(type) {
                    specificity = 2
                } else if format.accepted.contains(where: { $0.hasPrefix(type.dropLast(1)) }) && type.hasSuffix("/*")
                    && type != "*/*"
                {
                    specificity = 1
                } else if type == "*/*" && format == fallback {
                    specificity = 0
                } else {
                    continue
                }
                if weight > (best?.weight ?? 0) || (weight == best?.weight && specificity > (best?.specificity ?? -1)) {
                    best = (format, weight, specificity)
                }
            }
        }
        guard let best else {
            throw Problem(.notAcceptable, "none of the accepted types is offered; offered are: \(offered.map(\.mediaType).joined(separator: ", "))")
        }
        return best.format
    }
}

extension Substring {
    var trimmingSpaces: Substring {
        var text = self
        while let first = text.first, first == " " || first == "\t" { text = text.dropFirst() }
        while let last = text.last, last == " " || last == "\t" { text = text.dropLast() }
        return text
    }
}

/// What a handler answers.
package struct Answer: Sendable {
    package var status: HTTPResponse.Status
    package var fields: HTTPFields
    package var body: [UInt8]

    package init(_ status: HTTPResponse.Status, fields: HTTPFields = [:], body: [UInt8] = []) {
        self.status = status
        self.fields = fields
        self.body = body
    }

    /// A body in a form; `Vary` names what chose it.
    package init(_ status: HTTPResponse.Status = .ok, _ format: Format, _ body: [UInt8], fields: HTTPFields = [:]) {
        self.status = status
        self.fields = fields
        self.fields[.contentType] = format.mediaType
        self.fields[.vary] = "Accept"
        self.body = body
    }
}

extension HTTPFields {
    /// Whether a list of entity tags has this one: weakly for `If-None-Match` (RFC 9110, 13.1.2), where `W/` makes no
    /// difference, strongly for `If-Match` (13.1.1).
    package static func matches(_ field: String?, _ tag: String, weakly: Bool = true) -> Bool {
        guard let field else { return false }
        return field.split(separator: ",").contains { candidate in
            let value = candidate.trimmingSpaces
            return value == "*" || value == tag || (weakly && value == "W/" + tag)
        }
    }

    /// Errors come as text where `Accept` asks for text and not for JSON.
    static func prefersTextErrors(_ accept: String?) -> Bool {
        guard let accept = accept?.lowercased() else { return false }
        return accept.contains("text/plain") && !accept.contains("json")
    }
}
