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

/// What one platform contributes to a simulation.
package struct PlatformPart: Sendable {
    var results: [ScenarioResult] = []
    var findings: [ConfigurationFinding] = []
    /// The table cannot be run on this platform.
    var isInvalid = false
    /// The table's options include this platform.
    var isConfigured = true
}

/// Version of the model: changes whenever a verdict, an explanation or a scenario may change.
package let modelVersion = "1.0.0"

extension EntryTable {
    /// The release of Xen that a request without one gets.
    package var defaultXen: XenVersion { xen.version.flatMap(XenVersion.init) ?? .v4_17 }

    /// Expands the table and runs every selected scenario.
    ///
    /// Pure: same table, same request, same result, on one thread or several; parts merge in the order of the platforms.
    ///
    /// - Parameter map: Runs the parts, one per platform, and returns them in order; the caller decides on which threads.
    package func simulate(
        _ request: SimulationRequest, kernels: KernelLibrary = .shipped,
        map: ([Platform], @Sendable (Platform) -> PlatformPart) -> [PlatformPart] = { $0.map($1) }
    ) -> SimulationResult {
        let platforms = Platform.allCases.filter { request.selection.platforms.contains($0) }
        let run: @Sendable (Platform) -> PlatformPart = { simulate(on: $0, request, kernels: kernels) }
        var results: [ScenarioResult] = []
        var findings: [ConfigurationFinding] = []
        var isInvalid = false
        var platformsRun = 0
        // The first violation ends everything: what comes after it is not to be run at all.
        let parts = request.stopAtFirst ? firstViolated(platforms, run) : map(platforms, run)
        for part in parts {
            for finding in part.findings where !findings.contains(finding) { findings.append(finding) }
            results += part.results
            isInvalid = isInvalid || part.isInvalid
            if part.isConfigured { platformsRun += 1 }
        }
        let verdict: Verdict
        if isInvalid || platformsRun == 0 {
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

    private func firstViolated(
        _ platforms: [Platform], _ run: (Platform) -> PlatformPart
    ) -> [PlatformPart] {
        var parts: [PlatformPart] = []
        for platform in platforms {
            let part = run(platform)
            parts.append(part)
            if part.results.last?.verdict == .violated { break }
        }
        return parts
    }

    /// The part of a simulation that runs on one platform.
    private func simulate(
        on platform: Platform, _ request: SimulationRequest, kernels: KernelLibrary
    ) -> PlatformPart {
        var part = PlatformPart()
        if platform.isXen && options["XEN_PV"] == false {
            part.isConfigured = false
            part.findings = [EntryTable.withoutXen]
            return part
        }
        let image: EntryImage
        do throws(InvalidConfiguration) {
            image = try expand(for: platform, xen: request.xen ?? defaultXen, kernels: kernels)
        } catch {
            part.isInvalid = true
            part.findings = error.findings
            return part
        }
        part.findings = image.findings
        var run = ScenarioRun(image: image, limits: request.limits)
        for scenario in image.scenarios() where request.selection.includes(scenario.name) {
            let result = run.execute(scenario)
            part.results.append(result)
            if request.stopAtFirst && result.verdict == .violated { break }
        }
        return part
    }

    /// Runs one scenario and keeps every step; nil where the table has no such scenario.
    package func trace(
        scenario name: String, _ request: SimulationRequest, kernels: KernelLibrary = .shipped
    ) throws(InvalidConfiguration) -> (result: ScenarioResult, trace: TraceRecorder)? {
        guard let platform = Platform.allCases.first(where: { name.hasPrefix($0.rawValue + "/") }) else { return nil }
        let image = try expand(for: platform, xen: request.xen ?? defaultXen, kernels: kernels)
        guard let scenario = image.scenarios().first(where: { $0.name == name }) else { return nil }
        var run = ScenarioRun(image: image, limits: request.limits)
        run.recorder = TraceRecorder(image: image, limit: request.limits.traceSteps)
        let result = run.execute(scenario)
        let picture = run.picture("at the end")
        run.recorder?.pictures.append(picture)
        guard let recorder = run.recorder else { return nil }
        return (result, recorder)
    }
}
