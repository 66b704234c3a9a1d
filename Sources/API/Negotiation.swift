package import HTTPTypes
import HTTPWire

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

/// One element of `Accept`.
private struct MediaRange {
    var type: String
    /// From 0, not acceptable, to 1; 0 for what is no weight.
    var weight = 1.0

    init(_ text: Substring) {
        let parts = text.split(separator: ";").map { $0.trimmingSpaces.lowercased() }
        type = parts.first ?? ""
        for parameter in parts.dropFirst() where parameter.hasPrefix("q=") {
            let value = Double(parameter.dropFirst(2)) ?? 0
            weight = (0...1).contains(value) ? value : 0
        }
    }

    /// 2 for the type itself, 1 for `type/*`, 0 for `*/*`; nil where the range does not include the form.
    func specificity(for format: Format) -> Int? {
        if format.accepted.contains(type) { return 2 }
        if type == "*/*" { return 0 }
        guard type.hasSuffix("/*") else { return nil }
        return format.accepted.contains { $0.hasPrefix(type.dropLast(1)) } ? 1 : nil
    }
}

extension Request {
    /// Chooses among the forms of a resource: `?format=` first, then `Accept` by weight; the first form for `*/*`
    /// (RFC 9110, 12.5.1).
    package func format(among offered: [Format]) throws(Problem) -> Format {
        let list = offered.map(\.rawValue).joined(separator: ", ")
        if let name = try parameter("format") {
            guard let format = Format(rawValue: name), offered.contains(format) else {
                throw Problem(
                    .notAcceptable, "the format '\(String(name.prefix(32)))' is not offered here; offered are: \(list)")
            }
            return format
        }
        guard let accept = fields[.accept] else { return offered.first ?? .json }
        let ranges = accept.split(separator: ",").prefix(32).map(MediaRange.init)
        var best: (format: Format, weight: Double, specificity: Int)?
        for format in offered where !format.accepted.isEmpty {
            // The most specific range decides about a form, even where a wider one has more weight.
            var found: (specificity: Int, weight: Double)?
            for range in ranges {
                guard let specificity = range.specificity(for: format), specificity > (found?.specificity ?? -1) else {
                    continue
                }
                found = (specificity, range.weight)
            }
            guard let found, found.weight > 0 else { continue }
            if found.weight > (best?.weight ?? 0)
                || (found.weight == best?.weight && found.specificity > (best?.specificity ?? -1))
            {
                best = (format, found.weight, found.specificity)
            }
        }
        guard let best else {
            throw Problem(
                .notAcceptable,
                "none of the accepted types is offered; offered are: \(offered.map(\.mediaType).joined(separator: ", "))"
            )
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
    /// What comes after `body`, made while it is sent.
    var stream: RecordStream?
    /// The body where it was made before; `body` is empty then.
    var shared: SharedBytes?
    /// What it is a rendering of, where others may ask for the same in other ways.
    var rendering: String?

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
