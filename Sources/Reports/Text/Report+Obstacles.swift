import EntryCode
import Verification

extension Report {
    /// What keeps the table from being run, and what is only worth knowing.
    var obstaclesAndWarnings: (obstacles: [Reason], warnings: [Reason]) {
        guard verdict == Verdict.invalid.rawValue else { return ([], reasons) }
        let obstacles = reasons.filter { !$0.isWarning && !$0.isAboutConfiguration }
        // Only where nothing else is wrong was the table asked to run where it is not meant to.
        if obstacles.isEmpty { return (reasons.filter { !$0.isWarning }, reasons.filter(\.isWarning)) }
        return (obstacles, reasons.filter { $0.isWarning || $0.isAboutConfiguration })
    }

    /// ` on xen-pv`, as far as the report knows: a finding does not say its platform, but where scenarios ran it is not.
    var placeOfObstacles: String {
        let ran = Set(costs.map { String(scenarioParts($0.scenario).platform) })
        var idle = request.platforms.filter { !ran.contains($0) }
        if obstaclesAndWarnings.obstacles.contains(where: { !$0.isAboutConfiguration }),
            reasons.contains(where: \.isAboutConfiguration)
        {
            idle.removeAll { Platform(rawValue: $0)?.isXen == true }
        }
        if idle.count == 1 { return " on \(idle[0])" }
        if idle.isEmpty || idle.count == request.platforms.count { return "" }
        // A platform can be idle because nothing of it was selected, or because the run ended before.
        let isCertain = request.scenarios.isEmpty && !request.stopAtFirst
        return isCertain
            ? " on \(idle.joined(separator: " and "))" : " on one or more of \(idle.joined(separator: ", "))"
    }
}

extension Report.Reason {
    /// No obstacle: the table runs all the same.
    var isWarning: Bool { Rule.named(rule)?.severity == .warning }

    /// The table leaves a platform out, which is no fault of it.
    var isAboutConfiguration: Bool { rule == EntryTable.withoutXen.rule }
}

extension ConfigurationFinding {
    /// No obstacle: the table runs all the same.
    package var isWarning: Bool { Rule.named(rule)?.severity == .warning }
}
