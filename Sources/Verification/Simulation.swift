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
    /// Events that may come while others are being handled, at every instruction: 0 to 3.
    package var nesting: Int
    /// Try every nested event at every boundary, even where a state was seen before: for comparisons.
    package var isExhaustive = false

    package static let nestingLimit = 3

    package init(
        selection: ScenarioSelection = ScenarioSelection(), xen: XenVersion? = nil, stopAtFirst: Bool = false,
        nesting: Int = 0, limits: RunLimits = RunLimits()
    ) {
        self.selection = selection
        self.xen = xen
        self.stopAtFirst = stopAtFirst
        self.nesting = min(max(nesting, 0), SimulationRequest.nestingLimit)
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
    /// Nested events that were tried, and boundaries at which they might have come.
    package var nestedRuns: UInt64 = 0
    package var boundaries: UInt64 = 0

    /// Instructions of nested events that were undone.
    var exploredInstructions: UInt64 = 0

    /// Something was not tried because a limit was reached or the simulation was stopped.
    package var isCutShort: Bool { results.contains { $0.cutShortBy != nil } }

    /// Instructions that were executed in all.
    package var instructions: UInt64 {
        exploredInstructions > 0 ? exploredInstructions : results.reduce(0) { $0 + $1.cost.instructions }
    }
}

/// Runs independent parts of a simulation; the caller of the core decides on which threads.
package protocol PartRunner: Sendable {
    /// Transforms every element; results in the order of the elements.
    func map<Element: Sendable, Result: Sendable>(
        _ elements: [Element], _ transform: @escaping @Sendable (Element) -> Result
    ) -> [Result]
}

/// One part after the other, on the caller's thread.
package struct SerialRunner: PartRunner {
    package init() {}

    package func map<Element: Sendable, Result: Sendable>(
        _ elements: [Element], _ transform: @escaping @Sendable (Element) -> Result
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

/// The nested events that a simulation may try, shared out by numbers of scenarios: so that what is found does not
/// depend on which part runs first.
private struct Budget: Sendable {
    var limits: RunLimits
    /// Scenarios of the whole simulation.
    var scenarios: Int

    init(_ request: SimulationRequest, scenarios: Int) {
        limits = request.limits
        self.scenarios = scenarios
    }

    /// The limits of a part with some of the scenarios.
    func share(of count: Int) -> RunLimits {
        guard count < scenarios else { return limits }
        var limits = limits
        let (high, low) = limits.nestedRuns.multipliedFullWidth(by: UInt64(count))
        limits.nestedRuns = max(1, UInt64(scenarios).dividingFullWidth((high, low)).quotient)
        return limits
    }
}

/// Results of some scenarios of one platform.
struct PartResult: Sendable {
    var results: [ScenarioResult] = []
    var nestedRuns: UInt64 = 0
    var boundaries: UInt64 = 0
    var instructions: UInt64 = 0
}

/// What came of it.
private enum Product: Sendable {
    case expansion(PlatformPart)
    case scenarios(PartResult)
}

/// Version of the model: changes whenever a verdict, an explanation or a scenario may change.
package let modelVersion = "1.4.0"

extension EntryTable {
    /// The release of Xen that a request without one gets.
    package var defaultXen: XenVersion { xen.version.flatMap(XenVersion.init) ?? .v4_17 }

    /// Scenarios of one part: small enough to share a platform out, large enough that its memory is worth a copy.
    private static var scenariosOfPart: Int { 192 }
    /// Platforms that are expanded before there is anything else to do.
    private static var expansionsAtFirst: Int { 2 }

    /// Expands the table and runs every selected scenario.
    ///
    /// Pure: same table, same request, same result, on one thread or several; parts merge in scenario order. Only where
    /// `control` ends it does the result depend on how fast the machine is.
    package func simulate(
        _ request: SimulationRequest, kernels: KernelLibrary = .shipped, runner: some PartRunner = SerialRunner(),
        control: SimulationControl? = nil
    ) -> SimulationResult {
        var waiting = Platform.allCases.filter { request.selection.platforms.contains($0) }
        var platforms: [PlatformPart] = []
        var ready: [PlatformPart] = []
        var total = PartResult()
        var scenarios = 0
        while !waiting.isEmpty || !ready.isEmpty {
            // Scenarios of one platform run beside the expansion of the next, which is the longest part and comes first.
            // With nested events expansion is nothing beside them: all parts are there to share out.
            let first = request.nesting > 0 ? waiting.count : EntryTable.expansionsAtFirst
            let expansions = waiting.prefix(ready.isEmpty ? first : 1)
            waiting.removeFirst(expansions.count)
            let budget = Budget(request, scenarios: scenarios)
            let parts = expansions.map(Part.expansion) + ready.map(Part.scenarios)
            ready.removeAll()
            for product in runner.map(parts, { make($0, request, budget, kernels: kernels, control) }) {
                switch product {
                case .expansion(let platform):
                    platforms.append(platform)
                    scenarios += platform.scenarios.count
                    control?.add(scenarios: platform.scenarios.count)
                    if !request.stopAtFirst { ready += platform.split(by: EntryTable.scenariosOfPart, request) }
                case .scenarios(let part): total.add(part)
                }
            }
        }
        // The first violation ends everything: what comes after it is not to be run at all.
        for platform in platforms where request.stopAtFirst && total.results.last?.verdict != .violated {
            total.add(platform.run(request, Budget(request, scenarios: scenarios), control))
        }
        markKnownDefects(in: &total.results, kernels: kernels)
        let results = request.nesting > 0 ? EntryTable.inOrder(total.results, of: platforms) : total.results
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
            verdict: verdict, results: results, findings: findings, xen: request.xen ?? defaultXen,
            nestedRuns: total.nestedRuns, boundaries: total.boundaries, exploredInstructions: total.instructions)
    }

    /// Results in the order of the scenarios, those with nested events behind their own.
    private static func inOrder(_ results: [ScenarioResult], of platforms: [PlatformPart]) -> [ScenarioResult] {
        var places: [Scenario: Int] = [:]
        for scenario in platforms.flatMap(\.scenarios) { places[scenario] = places.count }
        func place(_ result: ScenarioResult) -> Int {
            var scenario = result.scenario
            scenario.injections = []
            return places[scenario] ?? .max
        }
        return results.enumerated().map { (place($0.element), $0.offset, $0.element) }
            .sorted { ($0.0, $0.1) < ($1.0, $1.1) }.map(\.2)
    }

    private func make(
        _ part: Part, _ request: SimulationRequest, _ budget: Budget, kernels: KernelLibrary,
        _ control: SimulationControl?
    ) -> Product {
        switch part {
        case .expansion(let platform): .expansion(prepare(platform, request, kernels: kernels))
        case .scenarios(let part): .scenarios(part.run(request, budget, control))
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
        guard let parts = image.injections(of: name),
            var scenario = image.scenarios().first(where: { $0.name == parts.base })
        else { return nil }
        scenario.injections = parts.injections
        if image.runsUnpatched(scenario) {
            image = try expand(for: platform, xen: request.xen ?? defaultXen, kernels: kernels, isPatched: false)
        }
        var run = ScenarioRun(image: image, limits: request.limits)
        run.recorder = TraceRecorder(image: image, limit: request.limits.traceSteps)
        run.machine.memory.recordsGivenUpWords = !scenario.injections.isEmpty
        var results = [run.execute(scenario)]
        if !run.missedInjections.isEmpty { return nil }
        let picture = run.picture("at the end")
        run.recorder?.pictures.append(picture)
        markKnownDefects(in: &results, kernels: kernels)
        guard let recorder = run.recorder, let result = results.first else { return nil }
        return (result, recorder)
    }
}

extension PartResult {
    mutating func add(_ other: PartResult) {
        results += other.results
        nestedRuns += other.nestedRuns
        boundaries += other.boundaries
        instructions += other.instructions
    }
}

extension PlatformPart {
    /// The same platform in parts: at most `limit` scenarios each, in order; with nesting those from user mode and those
    /// from the kernel, which share most of their paths.
    func split(by limit: Int, _ request: SimulationRequest) -> [PlatformPart] {
        // Paths from user mode and from the kernel have little in common; what each has in common is tried once.
        if request.nesting > 0 {
            return [true, false].compactMap { isUser in
                let part = scenarios.filter { $0.context.isUser == isUser }
                return part.isEmpty ? nil : PlatformPart(image: image, bootImage: bootImage, scenarios: part)
            }
        }
        let count = (scenarios.count + limit - 1) / limit
        return (0..<count).map { index in
            let range = scenarios.count * index / count..<scenarios.count * (index + 1) / count
            return PlatformPart(image: image, bootImage: bootImage, scenarios: Array(scenarios[range]))
        }
    }

    /// Runs its scenarios in order.
    fileprivate func run(_ request: SimulationRequest, _ budget: Budget, _ control: SimulationControl?) -> PartResult {
        guard let image else { return PartResult() }
        let unpatched = bootImage == nil ? 0 : scenarios.count(where: image.runsUnpatched)
        var run = ScenarioRun(
            image: image, limits: budget.share(of: scenarios.count - unpatched), control: control)
        if request.nesting > 0 { run.explore(exhaustively: request.isExhaustive) }
        var boot: ScenarioRun?
        var part = PartResult()
        part.results.reserveCapacity(scenarios.count)
        for scenario in scenarios {
            if let limit = control?.ask() {
                part.results.append(scenario.notRun(because: limit))
                continue
            }
            if let bootImage, image.runsUnpatched(scenario) {
                if boot == nil {
                    boot = ScenarioRun(image: bootImage, limits: budget.share(of: unpatched), control: control)
                    if request.nesting > 0 { boot?.explore(exhaustively: request.isExhaustive) }
                }
                if let results = boot?.execute(scenario, nesting: request.nesting) { part.results += results }
            } else {
                part.results += run.execute(scenario, nesting: request.nesting)
            }
            control?.addScenarioDone()
            if request.stopAtFirst && part.results.last?.verdict == .violated { break }
        }
        for var explorer in [run.explorer, boot?.explorer].compactMap({ $0 }) {
            if let control { explorer.tell(control) }
            part.nestedRuns += explorer.runs
            part.boundaries += explorer.boundaries
            part.instructions += explorer.instructions
        }
        return part
    }
}

extension EntryImage {
    /// The scenario belongs to the time before alternatives are applied.
    func runsUnpatched(_ scenario: Scenario) -> Bool { bootsUnpatched && scenario.probe == .selfTest }
}
