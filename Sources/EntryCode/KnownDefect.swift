/// A real defect of a shipped kernel, which its unmodified table shows: what it is, where it is found, who mended it.
package struct KnownDefect: Sendable, Hashable {
    package var title: String
    /// How it comes about.
    package var why: String
    /// Ids of the rules that it breaks.
    package var rules: [String]
    /// Patterns of the scenarios that it breaks, nested events included.
    package var scenarios: [String]
    /// Patterns of the routines that findings name; empty for any.
    package var routines: [String] = []
    /// Nested events that it takes.
    package var nesting = 0
    /// Commits of Linux, the first twelve digits or more.
    package var fixedBy: [String] = []
    /// Those of them that were taken from memory: no repository or change log at hand names them.
    package var unverified: [String] = []
    /// First version with the fix.
    package var fixedIn: String?
    package var cve: [String] = []
}

extension KnownDefect {
    static let fileName = "known-defects.json"

    /// Reads one element of the file; what is wrong with it, or nil, in the second place.
    static func read(_ value: JSON) -> (defect: KnownDefect?, fault: String?) {
        let keys = [
            "title", "why", "rules", "scenarios", "routines", "nesting", "fixed_by", "unverified", "fixed_in", "cve",
        ]
        guard let members = value.objectValue else { return (nil, "is no object") }
        if let stranger = members.first(where: { !keys.contains($0.key) }) {
            return (nil, "has the unknown key '\(stranger.key)'")
        }
        guard let title = value["title"]?.stringValue, !title.isEmpty, let why = value["why"]?.stringValue,
            !why.isEmpty
        else { return (nil, "has no title or no reason") }
        func list(_ key: String) -> [String]? {
            guard let value = value[key] else { return [] }
            guard let elements = value.arrayValue else { return nil }
            let texts = elements.compactMap(\.stringValue)
            return texts.count == elements.count ? texts : nil
        }
        guard let rules = list("rules"), let scenarios = list("scenarios"), !rules.isEmpty, !scenarios.isEmpty,
            let routines = list("routines"), let fixedBy = list("fixed_by"), let cve = list("cve"),
            let unverified = list("unverified"), unverified.allSatisfy(fixedBy.contains)
        else { return (nil, "('\(title)') lacks a list of names") }
        return (
            KnownDefect(
                title: title, why: why, rules: rules, scenarios: scenarios, routines: routines,
                nesting: Int(clamping: value["nesting"]?.integerValue ?? 0), fixedBy: fixedBy,
                unverified: unverified, fixedIn: value["fixed_in"]?.stringValue, cve: cve),
            nil
        )
    }
}
