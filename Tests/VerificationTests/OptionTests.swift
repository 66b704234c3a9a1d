import EntryCode
import Testing
import Verification

/// Each option the other way round: nothing may alarm but what the option is for.
struct OptionTests {
    static let options = [
        "XEN_PV", "PTI", "X86_MCE", "SMAP", "PCID", "VMAP_STACK", "IA32_EMULATION", "TRACE_IRQFLAGS",
        "CONTEXT_TRACKING",
        "X86_16BIT", "X86_ESPFIX64", "DYNAMIC_FTRACE", "PREEMPT", "FRAME_POINTER", "KVM_GUEST", "FENCE_SWAPGS",
        "READ_CR2_IN_ENTRY", "FSGSBASE", "SYSRET_SS_ATTRS",
    ]

    @Test("the list above is that of the table")
    func complete() throws {
        let names = try #require(try Variant("linux-5.3").document["options"]?.objectValue).map(\.key)
        #expect(names.sorted() == Self.options.sorted())
    }

    @Test("one option flipped in 5.3", arguments: options)
    func flipped(option: String) throws {
        var variant = try Variant("linux-5.3")
        let value: Bool = try #require(variant.document["options"]?[option]?.boolValue)
        try variant.option(option, !value)
        let result = try variant.simulate()
        for scenario in result.results where scenario.verdict != .holds {
            let name = scenario.scenario.name
            let rules = scenario.violations.filter { $0.severity == .violation }.map(\.rule)
            switch option {
            case "FENCE_SWAPGS":
                // CVE-2019-1125: that is what the fences are for. AMD with SMAP needs none (Linux 5.3 bugs.c).
                #expect(rules == ["speculation-barrier"] && name.hasPrefix("bare-metal-intel/"), "\(name): \(rules)")
            case "READ_CR2_IN_ENTRY":
                // Handlers then read CR2 themselves, after code that may fault: Linux commit a0d14b8909de.
                #expect(rules == ["error-code"] && name.contains("/page_fault/"), "\(name): \(rules)")
            case "FSGSBASE":
                // Programs then set a negative base, and paranoid_entry takes it for the kernel's.
                #expect(
                    rules.first == "kernel-gs-base" && name.contains("/user-gs-base-negative/mov-ss"),
                    "\(name): \(rules)")
            case "SYSRET_SS_ATTRS":
                // AMD, 32-bit code: Linux commit 61f01dd941ba.
                #expect(
                    rules == ["resumption"] && name == "bare-metal-amd/entry_SYSCALL_compat/user-32/other-task",
                    "\(name): \(rules)")
            case "X86_ESPFIX64":
                // 16-bit segments without espfix: F31.
                #expect(rules == ["information-leak"] && name.hasSuffix("/sigreturn-16-bit-ss"), "\(name): \(rules)")
            default: Issue.record("\(name): \(rules)")
            }
        }
        let isReal = ["FENCE_SWAPGS", "FSGSBASE", "READ_CR2_IN_ENTRY", "SYSRET_SS_ATTRS", "X86_ESPFIX64"]
            .contains(option)
        #expect(result.verdict == (isReal ? .violated : .holds), "\(result.findings)")
        #expect(result.findings.map(\.rule) == (option == "XEN_PV" ? ["platform-not-configured"] : []))
    }

    @Test("a kernel without XEN_PV asked for on Xen PV alone")
    func withoutXen() throws {
        var variant = try Variant("linux-5.3")
        try variant.option("XEN_PV", false)
        let result = try variant.simulate(platforms: [.xenPV])
        #expect(result.verdict == .invalid)
        #expect(result.findings.map(\.pointer) == ["/options/XEN_PV"])
    }

    @Test("fences without SMAP and without PTI: still enough")
    func fences() throws {
        var variant = try Variant("linux-5.3")
        try variant.option("SMAP", false)
        try variant.option("PTI", false)
        try variant.option("PREEMPT", true)
        #expect(try variant.simulate().verdict == .holds)
        // Without them AMD is exposed as well: nothing binds its speculation.
        try variant.option("FENCE_SWAPGS", false)
        let result = try variant.run("bare-metal-amd/divide_error/user/return")
        #expect(result.violations.map(\.rule) == ["speculation-barrier"])
    }

    @Test("all tracing off: CR2 survives until the handler of 5.2 reads it")
    func tracing() throws {
        var variant = try Variant("linux-5.2")
        try variant.option("TRACE_IRQFLAGS", false)
        try variant.option("CONTEXT_TRACKING", false)
        let result = try variant.simulate("*/page_fault/*", platforms: [.bareMetalAMD, .xenPV])
        #expect(result.verdict == .holds)
        #expect(!result.results.isEmpty)
    }
}
