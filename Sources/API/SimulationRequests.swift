import EntryCode
import HTTPTypes
import Store
import Verification
import XenPV

/// What a client asks to be simulated, read from a body or from query parameters.
struct SimulationOrder: Sendable {
    var request = SimulationRequest()
    /// As it is stored and shown.
    var json: JSON {
        var members: [JSON.Member] = [
            JSON.Member("platforms", .array(request.selection.platforms.map { .string($0.rawValue) })),
            JSON.Member("scenarios", .array(request.selection.patterns.map { .string($0) })),
            JSON.Member("nesting", .integer(Int64(request.nesting))),
            JSON.Member("stop_at_first", .bool(request.stopAtFirst)),
        ]
        if let xen = request.xen { members.append(JSON.Member("xen", .string(xen.rawValue))) }
        return .object(members)
    }

    /// The order as it was stored.
    init(stored text: String, limits: RunLimits) {
        request.limits = limits
        guard let value = try? JSON.parse([UInt8](text.utf8)).value else { return }
        request.selection.platforms = (value["platforms"]?.arrayValue ?? []).compactMap {
            $0.stringValue.flatMap(Platform.init)
        }
        request.selection.patterns = (value["scenarios"]?.arrayValue ?? []).compactMap(\.stringValue)
        request.stopAtFirst = value["stop_at_first"]?.boolValue ?? false
        request.nesting = Int(clamping: value["nesting"]?.integerValue ?? 0)
        request.xen = value["xen"]?.stringValue.flatMap(XenVersion.init)
    }

    init() {}

    static let parameters = ["platforms", "scenarios", "nesting", "xen", "stop_at_first"]

    /// Reads `?platforms=a,b&scenarios=glob&xen=4.6&nesting=0&stop_at_first=false`.
    init(query request: Request, limits: APILimits) throws(Problem) {
        self.request.limits = limits.run
        var reader = TableReader(limits: limits.table)
        if let text = try request.parameter("platforms") {
            let names = text.split(separator: ",").map { JSON.string(String($0.trimmingSpaces)) }
            readPlatforms(.array(names), "?platforms", &reader)
        }
        if let text = try request.parameter("scenarios") { readScenarios(.string(text), "?scenarios", limits, &reader) }
        if let text = try request.parameter("xen") { readXen(.string(text), "?xen", &reader) }
        if let text = try request.parameter("nesting") {
            readNesting(Int64(text).map { .integer($0) } ?? .string(text), "?nesting", &reader)
        }
        switch try request.parameter("stop_at_first") {
        case nil, "false", "0": break
        case "true", "1", "": self.request.stopAtFirst = true
        default: reader.fault("?stop_at_first", "wrong-type", "true or false is expected")
        }
        if let first = reader.faults.first {
            throw Problem(
                .invalidParameter, first.message,
                items: reader.faults.map {
                    Problem.Item(
                        parameter: String($0.pointer.drop { $0 == "?" }), code: $0.code, message: $0.message)
                })
        }
    }

    static let bodyKeys = ["configuration", "platforms", "scenarios", "xen", "nesting", "stop_at_first"]

    /// Reads the members of a `POST /v1/simulations` body.
    init(members: [String: JSON], limits: APILimits, _ reader: inout TableReader) {
        request.limits = limits.run
        if let value = members["platforms"] { readPlatforms(value, "/platforms", &reader) }
        if let value = members["scenarios"] { readScenarios(value, "/scenarios", limits, &reader) }
        if let value = members["xen"] { readXen(value, "/xen", &reader) }
        if let value = members["nesting"] { readNesting(value, "/nesting", &reader) }
        switch members["stop_at_first"] {
        case nil: break
        case .bool(let stops): request.stopAtFirst = stops
        case .some(let value):
            reader.fault("/stop_at_first", "wrong-type", "expected true or false, found \(value.kindName)")
        }
    }

    private mutating func readPlatforms(_ value: JSON, _ place: String, _ reader: inout TableReader) {
        let known = Platform.allCases.map(\.rawValue)
        guard let elements = reader.array(value, place, limit: 16) else { return }
        var platforms: [Platform] = []
        for (index, element) in elements.enumerated() {
            let here = place.hasPrefix("?") ? place : "\(place)/\(index)"
            guard let name = reader.string(element, here) else { continue }
            if let platform = Platform(rawValue: name) {
                if !platforms.contains(platform) { platforms.append(platform) }
            } else {
                reader.unknown(name, here, "platform", among: known)
            }
        }
        if elements.isEmpty { reader.fault(place, "empty", "at least one of: \(known.joined(separator: ", "))") }
        request.selection.platforms = platforms
    }

    private mutating func readScenarios(
        _ value: JSON, _ place: String, _ limits: APILimits, _ reader: inout TableReader
    ) {
        let elements: [JSON]
        if case .array(let patterns) = value { elements = patterns } else { elements = [value] }
        if elements.count > limits.patterns {
            reader.fault(place, "too-many", "at most \(limits.patterns) patterns")
            return
        }
        for element in elements {
            guard let pattern = reader.string(element, place, limit_bytes: 256) else { continue }
            if !pattern.isEmpty { request.selection.patterns.append(pattern) }
        }
    }

    private mutating func readXen(_ value: JSON, _ place: String, _ reader: inout TableReader) {
        guard let name = reader.string(value, place) else { return }
        request.xen = XenVersion(rawValue: name)
        if request.xen == nil {
            reader.fault(
                place, "unknown-xen-version",
                "modelled are \(XenVersion.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: " and "))")
        }
    }

    private mutating func readNesting(_ value: JSON, _ place: String, _ reader: inout TableReader) {
        guard let depth = reader.integer(value, place, in: 0...Int64(SimulationRequest.nestingLimit)) else { return }
        request.nesting = Int(depth)
    }
}

extension SimulationOrder {
    /// Whether the table has a scenario that the order selects, or cannot be run, which its verdict then says.
    func selectsAny(of table: EntryTable, kernels: KernelLibrary) -> Bool {
        var isConfigured = false
        for platform in request.selection.platforms where !platform.isXen || table.options["XEN_PV"] != false {
            isConfigured = true
            do throws(InvalidConfiguration) {
                let image = try table.expand(for: platform, xen: request.xen ?? table.defaultXen, kernels: kernels)
                if image.scenarios().contains(where: { request.selection.includes($0.name) }) { return true }
            } catch { return true }
        }
        return !isConfigured
    }
}

extension Problem {
    /// Nothing was selected: a verdict would be about nothing. `scenarios` is where the request has its patterns.
    static func noScenario(_ order: SimulationOrder, scenarios: Item.Place) -> Problem {
        let patterns = order.request.selection.patterns
        guard !patterns.isEmpty else {
            return Problem(
                .noScenario, "the table has no scenario on these platforms: no gate that is modelled leads anywhere")
        }
        let shown = patterns.prefix(4).map { "'\($0.prefix(64))'" }.joined(separator: ", ")
        return Problem(
            .noScenario,
            "no scenario of the table matches \(shown)\(patterns.count > 4 ? ", ..." : "") on these platforms; "
                + "GET /v1/simulations/{id}/scenarios lists the names after a simulation without 'scenarios'",
            items: [
                Item(
                    scenarios, code: "no-match",
                    message: "names are platform/event/context/probe, such as xen-pv/int3/*")
            ])
    }
}

/// The wishes of a `Prefer` field (RFC 7240).
struct Preferences: Sendable {
    var respondsAsync = false
    var wait_seconds: Int?

    init(_ field: String?) {
        for part in (field ?? "").split(whereSeparator: { $0 == "," || $0 == ";" }) {
            let text = part.trimmingSpaces.lowercased()
            if text == "respond-async" { respondsAsync = true }
            if text.hasPrefix("wait="), let seconds = Int(text.dropFirst(5)), (0...3600).contains(seconds) {
                wait_seconds = seconds
            }
        }
    }
}
