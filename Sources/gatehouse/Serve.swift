import ArgumentParser
import Foundation
import HTTPTransport
import Logging
import Reports
import Service
import Verification

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve the HTTP interface until SIGTERM.",
        discussion: """
            HTTP/1.1 and HTTP/2 on every port. Each option can also stand in a file (--config) as 'name = value', or in the \
            environment as GATEHOUSE_NAME; options go before the environment, and that before the file. SIGHUP reads \
            tokens and certificates again. Sockets of systemd are taken where nothing else is to be listened on.
            """)

    /// What a file and the environment may set.
    static let names = [
        "listen", "tls-listen", "certificate", "key", "client-ca", "tokens", "allow-open", "rate-per-token",
        "rate-per-address", "database", "loops", "workers", "queue", "grace", "drain", "max-connections",
        "max-connections-per-address", "max-body-memory", "max-answer-memory", "log", "log-requests",
        "nested-workers", "time-limit", "nested-runs",
    ]
    /// Of these, what may have several values.
    static let lists: Set = ["listen", "tls-listen"]

    @Option(
        help: ArgumentHelp(
            "Address and port; may be repeated. Port 0 takes a free one. (default: 127.0.0.1:8080)",
            valueName: "address:port"))
    var listen: [String] = []

    @Option(help: ArgumentHelp("The same with TLS.", valueName: "address:port"))
    var tlsListen: [String] = []

    @Option(help: ArgumentHelp("Certificate in PEM, and those up to its authority.", valueName: "file"))
    var certificate: String?

    @Option(help: ArgumentHelp("Key of the certificate.", valueName: "file"))
    var key: String?

    @Option(help: ArgumentHelp("Clients must show a certificate of these authorities.", valueName: "file"))
    var clientCa: String?

    @Option(help: ArgumentHelp("Tokens that are known; see 'gatehouse token new'.", valueName: "file"))
    var tokens: String?

    @Flag(help: "Serve other addresses than loopback without tokens or in the clear.")
    var allowOpen = false

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Requests per second of one token. (default: any number)", valueName: "n"))
    var ratePerToken: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Requests per second of one address. (default: any number)", valueName: "n"))
    var ratePerAddress: Int?

    @Option(
        help: ArgumentHelp(
            "Database file; made if it is not there. (default: gatehouse.sqlite)", valueName: "file"))
    var database: String?

    @Option(parsing: .unconditional, help: ArgumentHelp("Event loops. (default: 1)", valueName: "n"))
    var loops: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Threads for simulations; short requests have their own. (default: 4)", valueName: "n"))
    var workers: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Simulations with nested events that run at once; more wait. (default: 2)", valueName: "n"))
    var nestedWorkers: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Seconds that a simulation may take; what is not decided by then is undecided. (default: 120)",
            valueName: "s"))
    var timeLimit: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Nested events that a simulation tries. (default: \(RunLimits().nestedRuns))", valueName: "n"))
    var nestedRuns: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Requests that wait for a thread; more are answered 503. (default: 1024)", valueName: "n"))
    var queue: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Seconds that a stop waits for requests in work. (default: 10)", valueName: "s"))
    var grace: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Seconds before that in which /readyz says 503 and all is served. (default: 0)", valueName: "s"))
    var drain: Int?

    @Option(parsing: .unconditional, help: ArgumentHelp("Connections open at once. (default: 1024)", valueName: "n"))
    var maxConnections: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Connections open at once from one address. (default: 256)", valueName: "n"))
    var maxConnectionsPerAddress: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "MiB of request bodies in memory, half of it for one address; more are answered 503. (default: 256)",
            valueName: "n"))
    var maxBodyMemory: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "MiB of answers in memory that wait to be read, half of it for one address; then more are refused with 503. (default: 256)",
            valueName: "n"))
    var maxAnswerMemory: Int?

    @Option(help: ArgumentHelp("Form of the log: text or json. (default: text)", valueName: "form"))
    var log: String?

    @Flag(help: "Log every request.")
    var logRequests = false

    @Option(help: ArgumentHelp("File of settings.", valueName: "file"))
    var config: String?

    /// Where the parser looks for faults: it shows the usage of the command then.
    func validate() throws {
        try Self.check(listen + tlsListen)
        try Self.check(loops: loops ?? 1, workers: workers ?? 1, grace: grace ?? 0)
    }

    private static func check(_ addresses: [String]) throws {
        var seen: Set<SocketAddress> = []
        for text in addresses {
            guard let address = SocketAddress(text) else {
                throw ValidationError("'\(text)' is not an address and port such as 127.0.0.1:8080")
            }
            if address.port != 0 && !seen.insert(address).inserted {
                throw ValidationError("'\(text)' is given twice")
            }
        }
    }

    private static func check(loops: Int, workers: Int, grace: Int) throws {
        guard (1...64).contains(loops), (1...256).contains(workers), (0...3600).contains(grace) else {
            throw ValidationError("loops is 1 to 64, workers 1 to 256, grace 0 to 3600")
        }
    }

    /// What the options, the environment and the file say together.
    private func gathered() throws -> (configuration: ServiceConfiguration, logsJSON: Bool, warnings: [String]) {
        let environment = ProcessInfo.processInfo.environment
        let settings = try Settings(file: config, environment: environment, names: Self.names, lists: Self.lists)
        func number(_ option: Int?, _ name: String) throws -> Int? { try option ?? settings.number(name) }
        let sockets = Supervisor.sockets(environment)
        let tlsTexts = tlsListen.isEmpty ? settings.list("tls-listen") ?? [] : tlsListen
        var texts = listen.isEmpty ? settings.list("listen") ?? [] : listen
        if texts.isEmpty && tlsTexts.isEmpty && sockets.isEmpty { texts = ["127.0.0.1:8080"] }
        try Self.check(texts + tlsTexts)
        var configuration = ServiceConfiguration(
            addresses: texts.compactMap { SocketAddress($0) },
            database: database ?? settings.text("database") ?? "gatehouse.sqlite")
        configuration.tlsAddresses = tlsTexts.compactMap { SocketAddress($0) }
        configuration.sockets = sockets
        let certificate = certificate ?? settings.text("certificate")
        let key = key ?? settings.text("key")
        if let certificate, let key {
            configuration.tls = TLSFiles(
                certificate: certificate, key: key, clientAuthorities: clientCa ?? settings.text("client-ca"))
        } else if certificate != nil || key != nil {
            throw ValidationError("--certificate and --key go together")
        } else if clientCa ?? settings.text("client-ca") != nil {
            throw ValidationError("--client-ca needs --tls-listen, --certificate and --key")
        }
        configuration.tokens = tokens ?? settings.text("tokens")
        configuration.allowsOpenAddresses = try allowOpen || settings.flag("allow-open") ?? false
        configuration.rates.perToken = try number(ratePerToken, "rate-per-token")
        configuration.rates.perAddress = try number(ratePerAddress, "rate-per-address")
        configuration.eventLoops = try number(loops, "loops") ?? 1
        configuration.workers = try number(workers, "workers") ?? 4
        configuration.grace_seconds = try number(grace, "grace") ?? 10
        try Self.check(
            loops: configuration.eventLoops, workers: configuration.workers, grace: configuration.grace_seconds)
        configuration.drain_seconds = try number(drain, "drain") ?? 0
        guard (0...3600).contains(configuration.drain_seconds) else { throw ValidationError("drain is 0 to 3600") }
        if let size_mebibytes = try number(maxBodyMemory, "max-body-memory") {
            // Half of it must take the largest body, or none of that size ever fits.
            guard (32...1_048_576).contains(size_mebibytes) else {
                throw ValidationError("max-body-memory is 32 to 1048576")
            }
            configuration.transport.heldBodyBytes = size_mebibytes << 20
        }
        if let size_mebibytes = try number(maxAnswerMemory, "max-answer-memory") {
            // What is kept for repeated GETs is part of it.
            guard (32...1_048_576).contains(size_mebibytes) else {
                throw ValidationError("max-answer-memory is 32 to 1048576")
            }
            configuration.limits.heldAnswers_bytes = size_mebibytes << 20
        }
        configuration.nestedWorkers = try number(nestedWorkers, "nested-workers") ?? configuration.nestedWorkers
        configuration.limits.simulation_seconds =
            try number(timeLimit, "time-limit") ?? configuration.limits.simulation_seconds
        guard (1...64).contains(configuration.nestedWorkers),
            (1...86_400).contains(configuration.limits.simulation_seconds)
        else { throw ValidationError("nested-workers is 1 to 64, time-limit 1 to 86400") }
        if let runs = try number(nestedRuns, "nested-runs") {
            configuration.limits.run.nestedRuns = try checkedNestedRuns(runs)
        }
        configuration.queueLimit = try number(queue, "queue") ?? 1024
        let connections = try number(maxConnections, "max-connections") ?? configuration.transport.connections
        configuration.transport.connections = connections
        configuration.transport.connectionsPerAddress =
            try number(maxConnectionsPerAddress, "max-connections-per-address")
            ?? configuration.transport.connectionsPerAddress
        for value in [
            configuration.queueLimit, connections, configuration.transport.connectionsPerAddress,
            configuration.rates.perToken ?? 1, configuration.rates.perAddress ?? 1,
        ] where !(1...1_000_000).contains(value) {
            throw ValidationError("numbers of requests and connections are 1 to 1000000")
        }
        configuration.logsRequests = try logRequests || settings.flag("log-requests") ?? false
        let form = log ?? settings.text("log") ?? "text"
        guard form == "text" || form == "json" else { throw ValidationError("log is text or json") }
        return (configuration, form == "json", settings.strangers)
    }

    func run() throws {
        // A peer that is gone is an error of a call, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        let signals = StopSignals()
        let (configuration, logsJSON, warnings) = try gathered()
        // Before a database is made for a service that does not start.
        try configuration.checkProtection()
        for address in configuration.addresses + configuration.tlsAddresses {
            try checkIsFree(address, isShared: configuration.eventLoops > 1)
        }
        raiseDescriptorLimit(connections: configuration.transport.connections)
        let lock = LockFile(of: configuration.database)
        let logger = Logger(
            label: "gatehouse",
            factory: { label -> any LogHandler in
                if logsJSON { return JSONLogHandler(label: label) }
                return StreamLogHandler.standardError(label: label)
            })
        for warning in warnings { logger.warning("\(warning)") }
        let service: GatehouseService
        do {
            service = try GatehouseService(configuration, logger: logger)
        } catch {
            lock.removeIfMadeInVain()
            throw error
        }
        do {
            let isTLS =
                configuration.addresses.map { _ in false } + configuration.tlsAddresses.map { _ in true }
                + configuration.sockets.map(\.isTLS)
            for (address, isTLS) in zip(service.addresses, isTLS) {
                try writeOutput("listening on \(isTLS ? "https" : "http")://\(address)\n")
            }
            let shown = printable(configuration.database)
            if let tokens = configuration.tokens {
                try writeOutput("tokens of \(printable(tokens)); database \(shown)\n")
            } else if configuration.allowsOpenAddresses {
                try writeOutput("no tokens: whoever reaches these addresses may do everything; database \(shown)\n")
            } else {
                try writeOutput("no tokens: only loopback addresses are served; database \(shown)\n")
            }
        } catch {
            // Whoever started it would wait for that line for ever.
            service.stop()
            throw error
        }
        service.run(until: signals)
    }
}

/// Takes as many file descriptors as the connections need, where the system lets it.
private func raiseDescriptorLimit(connections: Int) {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    let wanted = rlim_t(clamping: connections + 256)
    guard limit.rlim_cur < wanted else { return }
    limit.rlim_cur = min(wanted, limit.rlim_max)
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}
