import Foundation

/// Settings of `gatehouse serve` by name, from a file and the environment; flags go before both.
///
/// A file has lines `name = value`, with the names of the flags; the environment has `GATEHOUSE_NAME`. A name that may stand
/// several times takes its values separated by commas.
package struct Settings: Sendable {
    private var values: [String: (value: String, place: String)] = [:]

    /// Reads `file`, or the one that `GATEHOUSE_CONFIG` names, then the environment; `names` are those that exist.
    package init(file: String?, environment: [String: String], names: [String]) throws(ServiceError) {
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
                values[name] = (parts[1].trimmingCharacters(in: .whitespaces), place)
            }
        }
        for name in names {
            let key = "GATEHOUSE_" + name.uppercased().replacingOccurrences(of: "-", with: "_")
            if let value = environment[key] { values[name] = (value, key) }
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
