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

extension Report {
    /// Violations by cause: first those that something follows from, then the latent ones; both in scenario order.
    package var violationGroups: [ViolationGroup] {
        let groups = Self.groups(violations)
        // What a user sees crash comes before what stays silent.
        return groups.filter { $0.example.isNoticed } + groups.filter { !$0.example.isNoticed }
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
                if parts.probe == "self-test" && scenarioParts(groups[place].example.scenario).probe != "self-test" {
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
    let parts = name.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
    func part(_ index: Int) -> Substring { index < parts.count ? parts[index] : "" }
    return (part(0), part(1), part(2), part(3))
}

extension Report.Violation {
    /// Somebody notices: an exception that nobody asked for, or lines on a console.
    var isNoticed: Bool { consequence?.vector != nil || !console.isEmpty }
}
