package import EntryCode
import Machine
package import XenPV

/// What to simulate.
package struct SimulationRequest: Sendable, Hashable {
    package var selection: ScenarioSelection
    /// Release of Xen; nil for the table's own.
    package var xen: XenVersion?
    /// Stop after the first violated scenario.
    package var stopAtFirst: Bool
    package var limits: RunLimits

    package init(
        selection: ScenarioSelection = ScenarioSelection(), xen: XenVersion? = nil, stopAtFirst: Bool = false,
        limits: RunLimits = RunLimits()
    ) {
        self.selection = selection
        self.xen = xen
        self.stopAtFirst = stopAtFirst
        self.limits = limits
    }
}

/// Every verdict of one table, in scenario order.
package struct SimulationResult: Sendable {
    package var verdict: Verdict
    package var results: [ScenarioResult]
    /// Warnings of the configuration; with verdict `invalid` also the reasons.
    package var findings: [ConfigurationFinding]
    /// Release of Xen that was simulated.
    package var xen: XenVersion

    package var instructions: UInt64 { results.reduce(0) { $0 + $1.cost.instructions } }
}

/// Runs independent parts of a simulation; the caller of the core decides on which threads.
package protocol PartRunner: Sendable {
    /// Transforms every element; results in the order of the elements.
    func map<Element: Sendable, Result: Sendable>(
        _ elements: [Element], _ transform: @Sendable (Element) -> Result
    ) -> [Result]
}

/// One part after the other, on the caller's thread.
package struct SerialRunner: PartRunner {
    package init() {}

    package func map<Element: Sendable, Result: Sendable>(
        _ elements: [Element], _ transform: @Sendable (Element) -> Result
    ) -> [Result] { elements.map(transform) }
}

/// A table expanded for one platform, or why that is not possible.
private struct PlatformPart: Sendable {
    var image: EntryImage?
    /// The kernel before alternatives are applied, for the scenarios that run then.
    var bootImage: EntryImage?
    /// Those that the request selects.
    var scenarios: [Scenario] = []
    var findings: [ConfigurationFinding] = []
    /// The table cannot be run on this platform.
    var isInvalid = false
    /// The table's options include this platform.
    var isConfigured = true
}

/// What can be done on a thread of its own.
private enum Part: Sendable {
    case expansion(Platform)
    case scenarios(PlatformPart)
}

/// What came of it.
private enum Product: Sendable {
    case expansion(PlatformPart)
    case scenarios([ScenarioResult])
}

/// Version of the model: changes whenever a verdict, an explanation or a scenario may change.
package let modelVersion = "1.1.0"

extension EntryTable {
    /// The release of Xen that a request without one gets.
    package var defaultXen: XenVersion { xen.version.flatMap(XenVersion.init) ?? .v4_17 }

    /// Scenarios of one part: small enough to share a platform out, large enough that its memory is worth a copy.
    private static var scenariosOfPart: Int { 192 }
    /// Platforms that are expanded before there is anything else to do.
    private static var expansionsAtFirst: Int { 2 }

    /// Expands the table and runs every selected scenario.
    ///
    /// Pure: same table, same request, same result, on one thread or several; parts merge in scenario order.
    package func simulate(
        _ request: SimulationRequest, kernels: KernelLibrary = .shipped, runner: some PartRunner = SerialRunner()
    ) -> SimulationResult {
        var waiting = Platform.allCases.filter { request.selection.platforms.contains($0) }
        var platforms: [PlatformPart] = []
        var ready: [PlatformPart] = []
        var results: [ScenarioResult] = []
        while !waiting.isEmpty || !ready.isEmpty {
            // Scenarios of one platform run beside the expansion of the next, which is the longest part and comes first.
            let expansions = waiting.prefix(ready.isEmpty ? EntryTable.expansionsAtFirst : 1)
            waiting.removeFirst(expansions.count)
            let parts = expansions.map(Part.expansion) + ready.map(Part.scenarios)
            ready.removeAll()
            for product in runner.map(parts, { make($0, request, kernels: kernels) }) {
                switch product {
                case .expansion(let platform):
                    platforms.append(platform)
                    if !request.stopAtFirst { ready += platform.split(by: EntryTable.scenariosOfPart) }
                case .scenarios(let part): results += part
                }
            }
        }
        // The first violation ends everything: what comes after it is not to be run at all.
        for platform in platforms where request.stopAtFirst && results.last?.verdict != .violated {
            results += platform.run(request)
        }
        var findings: [ConfigurationFinding] = []
        for finding in platforms.flatMap(\.findings) where !findings.contains(finding) { findings.append(finding) }
        let verdict: Verdict
        if platforms.contains(where: \.isInvalid) || !platforms.contains(where: \.isConfigured) {
            verdict = .invalid
        } else if results.contains(where: { $0.verdict == .violated }) {
            verdict = .violated
        } else if results.contains(where: { $0.verdict == .undecided }) {
            verdict = .undecided
        } else {
            verdict = .holds
        }
        return SimulationResult(
            verdict: verdict, results: results, findings: findings, xen: request.xen ?? defaultXen)
    }

    private func make(_ part: Part, _ request: SimulationRequest, kernels: KernelLibrary) -> Product {
        switch part {
        case .expansion(let platform): .expansion(prepare(platform, request, kernels: kernels))
        case .scenarios(let part): .scenarios(part.run(request))
        }
    }

    private func prepare(_ platform: Platform, _ request: SimulationRequest, kernels: KernelLibrary) -> PlatformPart {
        var part = PlatformPart()
        if platform.isXen && options["XEN_PV"] == false {
            part.isConfigured = false
            part.findings = [EntryTable.withoutXen]
            return part
        }
        do throws(InvalidConfiguration) {
            let image = try expand(for: platform, xen: request.xen ?? defaultXen, kernels: kernels)
            part.findings = image.findings
            part.scenarios = image.scenarios().filter { request.selection.includes($0.name) }
            part.image = image
            if part.scenarios.contains(where: image.runsUnpatched) {
                part.bootImage = try expand(
                    for: platform, xen: request.xen ?? defaultXen, kernels: kernels, isPatched: false)
            }
        } catch {
            part.isInvalid = true
            part.findings = error.findings
        }
        return part
    }

    /// Runs one scenario and keeps every step; nil where the table has no such scenario.
    package func trace(
        scenario name: String, _ request: SimulationRequest, kernels: KernelLibrary = .shipped
    ) throws(InvalidConfiguration) -> (result: ScenarioResult, trace: TraceRecorder)? {
        guard let platform = Platform.allCases.first(where: { name.hasPrefix($0.rawValue + "/") }) else { return nil }
        var image = try expand(for: platform, xen: request.xen ?? defaultXen, kernels: kernels)
        guard let scenario = image.scenarios().first(where: { $0.name == name }) else { return nil }
        if image.runsUnpatched(scenario) {
            image = try expand(for: platform, xen: request.xen ?? defaultXen, kernels: kernels, isPatched: false)
        }
        var run = ScenarioRun(image: image, limits: request.limits)
        run.recorder = TraceRecorder(image: image, limit: request.limits.traceSteps)
        let result = run.execute(scenario)
        let picture = run.picture("at the end")
        run.recorder?.pictures.append(picture)
        guard let recorder = run.recorder else { return nil }
        return (result, recorder)
    }
}

extension PlatformPart {
    /// The same platform in parts of about one size, at most `limit` scenarios each.
    func split(by limit: Int) -> [PlatformPart] {
        let count = (scenarios.count + limit - 1) / limit
        return (0..<count).map { index in
            let range = scenarios.count * index / count..<scenarios.count * (index + 1) / count
            return PlatformPart(image: image, bootImage: bootImage, scenarios: Array(scenarios[range]))
        }
    }

    /// Runs its scenarios in order.
    func run(_ request: SimulationRequest) -> [ScenarioResult] {
        guard let image else { return [] }
        var run = ScenarioRun(image: image, limits: request.limits)
        var boot: ScenarioRun?
        var results: [ScenarioResult] = []
        results.reserveCapacity(scenarios.count)
        for scenario in scenarios {
            if let bootImage, image.runsUnpatched(scenario) {
                if boot == nil { boot = ScenarioRun(image: bootImage, limits: request.limits) }
                if let result = boot?.execute(scenario) { results.append(result) }
            } else {
                results.append(run.execute(scenario))
            }
            if request.stopAtFirst && results.last?.verdict == .violated { break }
        }
        return results
    }
}

extension EntryImage {
    /// The scenario belongs to the time before alternatives are applied.
    func runsUnpatched(_ scenario: Scenario) -> Bool { bootsUnpatched && scenario.probe == .selfTest }
}
