import ArgumentParser
import Glibc
import HTTPTransport
import Logging
import Reports
import Service

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve the HTTP interface until SIGTERM.")

    @Option(
        help: ArgumentHelp("Address and port; may be repeated. Port 0 takes a free one.", valueName: "address:port"))
    var listen: [String] = ["127.0.0.1:8080"]

    @Option(help: ArgumentHelp("Database file; made if it is not there.", valueName: "file"))
    var database = "gatehouse.sqlite"

    @Option(help: "Event loops.")
    var loops = 1

    @Option(help: "Threads for simulations; short requests have their own.")
    var workers = 4

    @Option(help: "Seconds that a stop waits for requests in work.")
    var grace = 10

    /// Where the parser looks for faults: it shows the usage of the command then.
    func validate() throws {
        var seen: Set<SocketAddress> = []
        for text in listen {
            guard let address = SocketAddress(text) else {
                throw ValidationError("'\(text)' is not an address and port such as 127.0.0.1:8080")
            }
            if address.port != 0 && !seen.insert(address).inserted {
                throw ValidationError("'\(text)' is given twice")
            }
        }
        guard (1...64).contains(loops), (1...256).contains(workers), (0...3600).contains(grace) else {
            throw ValidationError("loops is 1 to 64, workers 1 to 256, grace 0 to 3600")
        }
    }

    func run() throws {
        let addresses = listen.compactMap { SocketAddress($0) }
        // A peer that is gone is an error of a call, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        let signals = StopSignals()
        var configuration = ServiceConfiguration(addresses: addresses, database: database)
        configuration.eventLoops = loops
        configuration.workers = workers
        configuration.grace_seconds = grace
        // Before a database is made for a service that does not start.
        for address in addresses where address.isLoopback { try checkIsFree(address, isShared: loops > 1) }
        let lock = LockFile(of: database)
        let logger = Logger(label: "gatehouse", factory: { StreamLogHandler.standardError(label: $0) })
        let service: GatehouseService
        do {
            service = try GatehouseService(configuration, logger: logger)
        } catch {
            lock.removeIfMadeInVain()
            throw error
        }
        do {
            for address in service.addresses { try writeOutput("listening on http://\(address)\n") }
            try writeOutput("no tokens: only loopback addresses are served; database \(printable(database))\n")
        } catch {
            // Whoever started it would wait for that line for ever.
            service.stop()
            throw error
        }
        service.run(until: signals)
    }
}
