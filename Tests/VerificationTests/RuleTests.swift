import Testing
import Verification

struct RuleTests {
    /// The stable ids of the interface, in its order (API.md).
    static let published = [
        "kernel-gs-base", "user-gs-base", "kernel-page-table", "user-page-table", "stack-bounds",
        "live-frame-overwritten",
        "pt-regs-faithful", "error-code", "resumption", "unexpected-fault", "double-fault", "triple-fault",
        "nmi-masking",
        "interrupt-flag", "access-flag", "direction-flag", "nested-task-flag", "user-reachable-gate",
        "register-hygiene", "debug-registers",
        "speculation-barrier", "information-leak", "needless-hypervisor-entry", "dangling-reference",
        "unreachable-entry",
        "progress", "not-understood",
    ]

    @Test("every published rule exists once, in the published order")
    func complete() { #expect(Rule.all.map(\.id) == Self.published) }

    @Test("every rule says what must hold, why, and who says so", arguments: published)
    func documented(id: String) throws {
        let rule = try #require(Rule.named(id))
        #expect(rule.statement.hasSuffix("."))
        #expect(rule.why.hasSuffix("."))
        #expect(!rule.sources.isEmpty && rule.sources.allSatisfy { !$0.isEmpty })
        let isWarning = ["needless-hypervisor-entry", "unreachable-entry", "not-understood"].contains(id)
        #expect((rule.severity == .warning) == isWarning)
    }

    @Test("no other rule") func unknown() { #expect(Rule.named("int3-gap") == nil) }
}
