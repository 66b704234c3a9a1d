import Assembler
import Machine

/// The entry code of a table as text that can be edited and sent back as `routines`: unchanged, it changes nothing.
///
/// Without a platform the text serves all of them, and where alternatives matter both states of the kernel. What differs
/// stands in conditionals on `PLATFORM_XEN_PV`, `CPU_VENDOR_INTEL`, `CPU_VENDOR_AMD` and `ALTERNATIVES_APPLIED`.
package struct TableListing: Sendable {
    /// What the text is of: a platform, or none for all.
    package let platform: Platform?
    /// Why the table has no code on the platforms that the text leaves out.
    package let obstacles: [(platform: Platform, invalid: InvalidConfiguration)]
    private let listing: CommonListing

    /// Names in the order of the text.
    package var routines: [String] { listing.routines }

    /// All routines.
    package var text: String { head + listing.text }

    /// One routine; nil where there is none of that name.
    package func text(of routine: String) -> String? { listing.text(of: routine).map { head + $0 } }

    private var head: String {
        if let platform {
            return """
                /*
                 * Expanded for \(platform.rawValue) alone, addresses as they are once alternatives are applied.
                 * Sent back as routines, it replaces code on \(platform.rawValue) and nowhere else.
                 */

                """
        }
        return obstacles.map { "/* Without \($0.platform.rawValue), where the table cannot be run. */\n" }.joined()
    }

    fileprivate init(
        _ variants: [Variant], programs: [Program], platform: Platform?,
        obstacles: [(platform: Platform, invalid: InvalidConfiguration)]
    ) {
        self.platform = platform
        self.obstacles = obstacles
        let style = CommonListing.Style(
            enclosing: platform.map { Variant.condition([$0], among: Platform.allCases) },
            showsAddresses: platform != nil
        ) { set in
            Variant.condition(set.indices.compactMap { $0 < variants.count ? variants[$0] : nil }, among: variants)
        }
        listing = CommonListing(programs, style: style)
    }
}

extension EntryTable {
    /// Lists the table's code for one platform or for all on which it can be run; throws if there is none.
    package func listing(
        for platform: Platform? = nil, kernels: KernelLibrary = .shipped
    ) throws(InvalidConfiguration) -> TableListing {
        var obstacles: [(platform: Platform, invalid: InvalidConfiguration)] = []
        var found: [(variant: Variant, program: Program)] = []
        let generation = kernels.kernel(named: kernel)?.generation
        for wanted in platform.map({ [$0] }) ?? Platform.allCases {
            do throws(InvalidConfiguration) {
                let image = try expand(for: wanted, kernels: kernels)
                found.append((Variant(platform: wanted, isPatched: true), image.program))
                if generation?.bootsUnpatched ?? false {
                    let boot = try expand(for: wanted, kernels: kernels, isPatched: false)
                    found.append((Variant(platform: wanted, isPatched: false), boot.program))
                }
            } catch {
                found.removeAll { $0.variant.platform == wanted }
                obstacles.append((wanted, error))
            }
        }
        if found.isEmpty, let first = obstacles.first { throw first.invalid }
        return TableListing(
            found.map(\.variant), programs: found.map(\.program), platform: platform, obstacles: obstacles)
    }
}

/// What one expansion is for.
private struct Variant: Sendable, Hashable {
    var platform: Platform
    var isPatched: Bool

    /// The condition that holds for some of those that there are.
    static func condition(_ wanted: [Variant], among all: [Variant]) -> String {
        func platforms(_ variants: [Variant], _ isPatched: Bool) -> [Platform] {
            variants.filter { $0.isPatched == isPatched }.map(\.platform)
        }
        let (after, before) = (platforms(wanted, true), platforms(wanted, false))
        let (allAfter, allBefore) = (platforms(all, true), platforms(all, false))
        if allBefore.isEmpty { return condition(after, among: allAfter) }
        if after == before, allAfter == allBefore { return condition(after, among: allAfter) }
        let (isAfter, isBefore) = ("ALTERNATIVES_APPLIED", "!ALTERNATIVES_APPLIED")
        func both(_ state: String, _ platforms: [Platform], _ all: [Platform]) -> String {
            platforms == all ? state : "\(state) && \(term(condition(platforms, among: all), in: "&&"))"
        }
        if before.isEmpty { return both(isAfter, after, allAfter) }
        if after.isEmpty { return both(isBefore, before, allBefore) }
        if before == allBefore { return "\(isBefore) || \(term(condition(after, among: allAfter), in: "||"))" }
        if after == allAfter { return "\(isAfter) || \(term(condition(before, among: allBefore), in: "||"))" }
        return "(\(both(isAfter, after, allAfter))) || (\(both(isBefore, before, allBefore)))"
    }

    /// The same of platforms. A PV guest's processor counts as Intel's (`Platform.traits`).
    static func condition(_ wanted: [Platform], among all: [Platform]) -> String {
        let known: [(String, Set<Platform>)] = [
            ("PLATFORM_XEN_PV", [.xenPV]), ("!PLATFORM_XEN_PV", [.bareMetalIntel, .bareMetalAMD]),
            ("CPU_VENDOR_AMD", [.bareMetalAMD]), ("CPU_VENDOR_INTEL", [.bareMetalIntel, .xenPV]),
            ("CPU_VENDOR_INTEL && !PLATFORM_XEN_PV", [.bareMetalIntel]),
            ("CPU_VENDOR_AMD || PLATFORM_XEN_PV", [.bareMetalAMD, .xenPV]),
        ]
        let set = Set(wanted)
        return known.first { $0.1.intersection(all) == set }?.0 ?? (set.isEmpty ? "0" : "1")
    }

    /// What has the other operator stands in parentheses, as compilers ask for it.
    private static func term(_ condition: String, in operation: String) -> String {
        condition.contains(operation == "&&" ? "||" : "&&") ? "(\(condition))" : condition
    }
}
