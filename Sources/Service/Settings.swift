import EntryCode
import Foundation

/// Settings of `gatehouse serve` by name, from a file and the environment; flags go before both.
///
/// A file has lines `name = value`, with the names of the flags; the environment has `GATEHOUSE_NAME`. A name that may have
/// several values takes them separated by commas, in the file also on a line each; any other stands once.
package struct Settings: Sendable {
    private var values: [String: (value: String, place: String)] = [:]

    /// Reads `file`, or the one that `GATEHOUSE_CONFIG` names, then the environment; `names` are those that exist, `lists`
    /// those that may have several values.
    package init(
        file: String?, environment: [String: String], names: [String], lists: Set<String> = []
    ) throws(ServiceError) {
        if let path = file ?? environment["GATEHOUSE_CONFIG"] {
            guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
                throw ServiceError("the configuration \(path) cannot be read")
            }
            for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
                let trimmed = line.trimmingCharacters(in: .whitespaces)
                if trimmed.isEmpty || trimmed.hasPrefix("#") { continue }
                let place = "\(path), line \(index + 1)"
                let parts = trimmed.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                let name = parts[0].trimmingCharacters(in: .whitespaces)
                guard parts.count == 2, names.contains(name) else {
                    throw ServiceError("\(place): expected 'name = value'; names are \(names.joined(separator: ", "))")
                }
                let value = parts[1].trimmingCharacters(in: .whitespaces)
                if let earlier = values[name] {
                    guard lists.contains(name) else {
                        throw ServiceError("\(place): '\(name)' stands already at \(earlier.place)")
                    }
                    values[name] = (earlier.value + "," + value, place)
                } else {
                    values[name] = (value, place)
                }
            }
        }
        for name in names {
            let key = Self.variable(name)
            if let value = environment[key] { values[name] = (value, key) }
        }
        strangers = Self.strangers(in: environment, names: names)
    }

    private static func variable(_ name: String) -> String {
        "GATEHOUSE_" + name.uppercased().replacingOccurrences(of: "-", with: "_")
    }

    /// A line for each variable of the environment that looks like a setting and is none.
    package private(set) var strangers: [String] = []

    /// They are told and not refused: an environment has variables for others too, as Kubernetes sets for every service
    /// (`GATEHOUSE_SERVICE_HOST`, `GATEHOUSE_PORT_8080_TCP`).
    private static func strangers(in environment: [String: String], names: [String]) -> [String] {
        let known = names.map(variable) + ["GATEHOUSE_CONFIG"]
        return environment.keys.sorted().compactMap { key in
            guard key.hasPrefix("GATEHOUSE_"), !known.contains(key) else { return nil }
            if key.hasPrefix("GATEHOUSE_SERVICE_") || key.hasPrefix("GATEHOUSE_PORT") { return nil }
            let nearest = nearestName(to: key, among: known)
            return "the environment variable \(key) is no setting and has no effect"
                + (nearest.map { "; did you mean \($0)?" } ?? "")
        }
    }

    package func text(_ name: String) -> String? { values[name]?.value }

    package func list(_ name: String) -> [String]? {
        values[name].map { $0.value.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) } }
    }

    package func number(_ name: String) throws(ServiceError) -> Int? {
        guard let entry = values[name] else { return nil }
        guard let number = Int(entry.value) else {
            throw ServiceError("\(entry.place): \(name) is a number")
        }
        return number
    }

    package func flag(_ name: String) throws(ServiceError) -> Bool? {
        guard let entry = values[name] else { return nil }
        switch entry.value.lowercased() {
        case "1", "true", "yes", "on": return true
        case "0", "false", "no", "off", "": return false
        default: throw ServiceError("\(entry.place): \(name) is yes or no")
        }
    }
}
