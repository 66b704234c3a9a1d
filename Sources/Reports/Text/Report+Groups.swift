/// Violations with one cause: same platform, rule, place and consequence.
package struct ViolationGroup: Sendable, Equatable {
    /// First part of the names of its scenarios.
    package var platform: String
    /// Stands for all: that of the table's own self test, whose addresses are a real machine's; else the first.
    package var example: Report.Violation
    /// Names, each once, in scenario order.
    package var scenarios: [String]
    /// Events of the scenarios, each once, in scenario order.
    package var events: [String]
}

/// All violations that one defect of the kernel explains.
struct KnownGroup: Sendable {
    var known: Report.KnownDefect
    /// Example, names and events of all of them.
    var all: ViolationGroup
    /// The groups by cause that it is made of.
    private(set) var parts: [ViolationGroup]
    private var names: Set<String>

    init(known: Report.KnownDefect, group: ViolationGroup) {
        self.known = known
        all = group
        parts = [group]
        names = Set(group.scenarios)
    }

    mutating func add(_ group: ViolationGroup) {
        parts.append(group)
        if group.example.isOfSelfTest && !all.example.isOfSelfTest { all.example = group.example }
        // A scenario may break several rules by one defect.
        for name in group.scenarios where names.insert(name).inserted { all.scenarios.append(name) }
        for event in group.events where !all.events.contains(event) { all.events.append(event) }
    }

    /// `rule on platform: 6`, for each rule and platform.
    var counts: [String] {
        var order: [String] = []
        var scenarios: [String: Set<String>] = [:]
        for part in parts {
            let key = "\(part.example.rule) on \(part.platform)"
            if scenarios[key] == nil { order.append(key) }
            scenarios[key, default: []].formUnion(part.scenarios)
        }
        return order.map { "\($0): \(scenarios[$0]?.count ?? 0)" }
    }
}

extension Report {
    /// Violations by cause: first those that something follows from, then the latent ones; both in scenario order.
    package var violationGroups: [ViolationGroup] {
        let groups = Self.groups(violations)
        // What a user sees crash comes before what stays silent.
        return groups.filter { $0.example.isNoticed } + groups.filter { !$0.example.isNoticed }
    }

    /// What an unmodified kernel is known for, each defect once, in the order of the groups; then the groups that are none.
    var knownDefects: (defects: [KnownGroup], rest: [ViolationGroup]) {
        var defects: [KnownGroup] = []
        var rest: [ViolationGroup] = []
        for group in violationGroups {
            guard let known = group.example.known else {
                rest.append(group)
                continue
            }
            if let place = defects.firstIndex(where: { $0.known == known }) {
                defects[place].add(group)
            } else {
                defects.append(KnownGroup(known: known, group: group))
            }
        }
        return (defects, rest)
    }

    /// Warnings by cause, in the order of the first of each.
    package var warningGroups: [ViolationGroup] { Self.groups(warnings) }

    static func groups(_ violations: [Violation]) -> [ViolationGroup] {
        struct Key: Hashable {
            var platform: Substring
            var rule: String
            var routine: String
            var instruction: String
            var source: String
            var next: [String?]
            var known: KnownDefect?
        }
        var places: [Key: Int] = [:]
        var groups: [ViolationGroup] = []
        for violation in violations {
            let parts = scenarioParts(violation.scenario)
            let key = Key(
                platform: parts.platform, rule: violation.rule, routine: violation.at.routine,
                instruction: violation.at.instruction, source: violation.at.source,
                next: violation.consequence.map { [$0.rule, $0.vector, $0.errorCode] } ?? [],
                known: violation.known)
            let event = String(parts.event)
            if let place = places[key] {
                if groups[place].scenarios.last != violation.scenario {
                    groups[place].scenarios.append(violation.scenario)
                }
                if !groups[place].events.contains(event) { groups[place].events.append(event) }
                if violation.isOfSelfTest && !groups[place].example.isOfSelfTest {
                    groups[place].example = violation
                }
            } else {
                places[key] = groups.count
                groups.append(
                    ViolationGroup(
                        platform: String(parts.platform), example: violation, scenarios: [violation.scenario],
                        events: [event]))
            }
        }
        return groups
    }
}

/// Splits a scenario's name into `platform/event/context/probe…`; missing parts are empty.
func scenarioParts(_ name: String) -> (platform: Substring, event: Substring, context: Substring, probe: Substring) {
    // By bytes: that is several times as fast as by characters.
    let parts = name.utf8.split(separator: UInt8(ascii: "/"), maxSplits: 3, omittingEmptySubsequences: false)
    func part(_ index: Int) -> Substring { index < parts.count ? Substring(parts[index]) : "" }
    return (part(0), part(1), part(2), part(3))
}

extension Report.Violation {
    /// Somebody notices: an exception that nobody asked for, or lines on a console.
    var isNoticed: Bool { consequence?.vector != nil || !console.isEmpty }

    /// Its scenario is the table's own self test.
    var isOfSelfTest: Bool { scenarioParts(scenario).probe == "self-test" }
}
