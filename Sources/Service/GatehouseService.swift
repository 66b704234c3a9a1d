package import API
import Dispatch
import Foundation
package import HTTPTransport
package import Logging
package import Store
import Synchronization

/// What `gatehouse serve` is told.
package struct ServiceConfiguration: Sendable {
    package var addresses: [SocketAddress]
    /// Addresses that are served with TLS; they need `tls`.
    package var tlsAddresses: [SocketAddress] = []
    /// Listening sockets that the process was started with.
    package var sockets: [InheritedSocket] = []
    package var tls: TLSFiles?
    /// File of the tokens that are known; nil where everybody may do everything.
    package var tokens: String?
    package var rates = RequestRates()
    /// Other addresses than loopback are served without tokens or in the clear.
    package var allowsOpenAddresses = false
    /// Path of the database file.
    package var database: String
    package var eventLoops = 1
    /// Threads that simulate.
    package var workers = 4
    /// Threads for requests that only read or write the store.
    package var shortWorkers = 4
    /// Simulations with nested events that run at once; each has as many threads as there are processors, which give way
    /// to all others.
    package var nestedWorkers = 2
    /// Pieces of work that wait for either kind of thread.
    package var queueLimit = 1024
    /// How long requests in work may take after a stop was asked for.
    package var grace_seconds = 10
    /// How long after that everything is served as before, but `/readyz` says no.
    package var drain_seconds = 0
    /// Every answer is logged.
    package var logsRequests = false
    /// Less free space on the disk of the database makes the service not ready.
    package var freeBytes = 64 << 20
    package var limits = APILimits()
    package var transport = TransportLimits()

    package init(addresses: [SocketAddress], database: String) {
        self.addresses = addresses
        self.database = database
    }

    /// Throws where an address would be open to others without protection.
    package func checkProtection() throws(ServiceError) {
        if !tlsAddresses.isEmpty || sockets.contains(where: \.isTLS), tls == nil {
            throw ServiceError(
                "TLS needs a certificate and a key (--certificate, --key)"
                    + (tlsAddresses.isEmpty ? "; an inherited socket's name asks for it" : ""))
        }
        if tls != nil, tlsAddresses.isEmpty, !sockets.contains(where: \.isTLS) {
            throw ServiceError(
                "--certificate, --key and --client-ca are for addresses of --tls-listen, and there is none: "
                    + "nothing would be encrypted, and no client asked for a certificate")
        }
        if allowsOpenAddresses { return }
        let open = "; --allow-open does without (who can reach the port can then do everything)"
        for address in addresses where !address.isLoopback {
            throw ServiceError(
                "\(address) is not a loopback address and would be served in the clear: use --tls-listen\(open)")
        }
        for socket in sockets {
            // An inherited socket is as open as the address that somebody else bound.
            guard let address = SocketAddress(ofSocket: socket.number), !address.isLoopback else { continue }
            if !socket.isTLS {
                throw ServiceError(
                    "the inherited socket of \(address) is not on a loopback address and would be served in the clear: "
                        + "name it with 'tls' (FileDescriptorName=)\(open)")
            }
            if tokens == nil {
                throw ServiceError(
                    "the inherited socket of \(address) is not on a loopback address: --tokens says who may use it\(open)"
                )
            }
        }
        for address in tlsAddresses where !address.isLoopback && tokens == nil {
            throw ServiceError("\(address) is not a loopback address: --tokens says who may use it\(open)")
        }
    }
}

/// Why a service cannot start.
package struct ServiceError: Error, CustomStringConvertible {
    package var description: String

    package init(_ description: String) { self.description = description }
}

/// The program's version.
package let programVersion = "0.1.0"

/// A running service: store, workers, application and server, started and stopped in that order and back.
package final class GatehouseService: Sendable {
    package let store: ResultStore
    package let application: Application
    package let server: Server
    private let access: AccessControl
    private let pool: WorkerPool
    private let shortPool: WorkerPool
    private let longPool: WorkerPool
    private let trimmer: MemoryTrimmer
    private let configuration: ServiceConfiguration
    private let logger: Logger

    /// Opens the database and starts to listen.
    package init(_ configuration: ServiceConfiguration, logger: Logger) throws(ServiceError) {
        self.configuration = configuration
        self.logger = logger
        MemoryTrimmer.prepare()
        try configuration.checkProtection()
        let tokens = try configuration.tokens.map { (path) throws(ServiceError) in try TokenList.read(file: path) }
        access = AccessControl(tokens: tokens, rates: configuration.rates)
        do throws(StoreError) {
            store = try ResultStore.open(.file(configuration.database), now: GatehouseService.now())
        } catch {
            throw ServiceError(
                "the database \(configuration.database) cannot be used: \(error.message) [\(error.code.rawValue)]")
        }
        if store.opening.interruptedSimulations > 0 {
            logger.notice("\(store.opening.interruptedSimulations) simulations were interrupted by the last stop")
        }
        pool = WorkerPool(name: "worker", threads: configuration.workers, limit: configuration.queueLimit)
        // Of their own: a read of the store must not wait until a simulation is done.
        shortPool = WorkerPool(name: "short", threads: configuration.shortWorkers, limit: configuration.queueLimit)
        longPool = WorkerPool(name: "long", threads: configuration.nestedWorkers, limit: configuration.queueLimit)
        let transport = TransportBox()
        application = Application(
            store: store, queue: pool, shortQueue: shortPool, longQueue: longPool,
            environment: Self.environment(configuration, logger, transport), limits: configuration.limits,
            access: access, version: programVersion)
        server = Server(handler: application, limits: configuration.transport)
        let measured = server
        transport.server.withLock { $0 = measured }
        let pools = [pool, shortPool, longPool]
        let asked = application
        trimmer = MemoryTrimmer(
            held_bytes: { asked.heldAnswers_bytes },
            isIdle: { pools.allSatisfy(\.isIdle) && measured.counters.requestsInWork == 0 })
        do {
            if let tls = configuration.tls { try server.loadTLS(tls) }
            try server.start(on: configuration.endpoints, threads: configuration.eventLoops)
        } catch {
            trimmer.stop()
            shortPool.close()
            pool.close()
            longPool.close()
            try? store.close()
            throw ServiceError(error is TLSError ? "\(error)" : "cannot listen: \(error)")
        }
    }

    /// The server, for measurements that the application asks for: it is made after the application.
    private final class TransportBox: Sendable {
        let server = Mutex<Server?>(nil)
    }

    private static func environment(
        _ configuration: ServiceConfiguration, _ logger: Logger, _ transport: TransportBox
    ) -> Environment {
        var environment = Environment(
            now: { GatehouseService.now() },
            uptime_seconds: { Double(DispatchTime.now().uptimeNanoseconds) / 1e9 },
            random: {
                var generator = SystemRandomNumberGenerator()
                return generator.next()
            }, log: { logger.notice("\($0)") })
        if configuration.logsRequests {
            environment.logRequest = { record in
                logger.info("request", metadata: record.metadata)
            }
        }
        environment.metrics = {
            let server = transport.server.withLock { $0 }
            return (server?.counters.families ?? []) + ProcessMetrics.families
        }
        let folder = (configuration.database as NSString).deletingLastPathComponent
        environment.readiness = {
            let free = ProcessMetrics.freeBytes(at: folder.isEmpty ? "." : folder)
            return [("disk has room", free.map { $0 >= configuration.freeBytes } ?? true)]
        }
        return environment
    }

    /// Reads tokens and certificates again; what cannot be used changes nothing.
    package func reload() {
        do {
            if let tls = configuration.tls { try server.loadTLS(tls) }
            if let path = configuration.tokens { access.replaceTokens(try TokenList.read(file: path)) }
            logger.notice("reloaded")
        } catch {
            logger.error("not reloaded, what was read before is kept: \(error)")
        }
    }

    package static func now() -> Timestamp {
        Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
    }

    /// Addresses that the service listens on, with the ports that it got.
    package var addresses: [SocketAddress] { server.addresses }

    /// Stops gracefully: no new connections, what runs is answered, the database is closed.
    ///
    /// Simulations may go on for as long as is left of the grace, but for what it takes to say that they were stopped.
    package func stop() {
        trimmer.stop()
        application.startDraining()
        // Balancers look at /readyz over new connections, so that the listeners must outlive the answer.
        if configuration.drain_seconds > 0 { Thread.sleep(forTimeInterval: Double(configuration.drain_seconds)) }
        let grace = Double(configuration.grace_seconds)
        let end = DispatchTime.now() + max(grace - 3, grace / 2)
        let isOver = DispatchSemaphore(value: 0)
        let watch = Thread { [application] in
            // Those that nobody waits for keep no connection open; the store is what they need.
            while isOver.wait(timeout: .now() + 0.02) == .timedOut {
                if DispatchTime.now() >= end { return application.stopSimulations() }
            }
        }
        watch.start()
        server.stop(gracePeriod: .seconds(configuration.grace_seconds))
        while application.unfinishedSimulations > 0, DispatchTime.now() < end { usleep(10_000) }
        application.stopSimulations()
        isOver.signal()
        // First the pools that hand work to others.
        shortPool.close()
        pool.close()
        longPool.close()
        do throws(StoreError) {
            try store.close()
        } catch {
            logger.error("closing the database failed: \(error.message) [\(error.code.rawValue)]")
        }
    }

    /// Blocks until SIGTERM or SIGINT, then stops; reloads on SIGHUP.
    package func run(until signals: StopSignals) {
        Supervisor.notify("READY=1\nSTATUS=listening on \(addresses.map(\.description).joined(separator: ", "))")
        while signals.wait() == .reload {
            Supervisor.notify("RELOADING=1")
            reload()
            Supervisor.notify("READY=1")
        }
        Supervisor.notify("STOPPING=1")
        logger.notice("stopping")
        stop()
    }
}

/// The signals that ask for a stop or a reload, from the moment this is made.
///
/// To be made before anybody is told that the service listens: whoever reads that may send the signal at once, and
/// its default action would end the process with requests in work.
package final class StopSignals {
    /// What was asked for.
    package enum Request: Sendable { case stop, reload }

    private final class State: Sendable {
        let semaphore = DispatchSemaphore(value: 0)
        let isStopping = Mutex(false)
    }

    private let state = State()
    private let sources: [any DispatchSourceSignal]

    package init() {
        let queue = DispatchQueue(label: "signals")
        sources = [SIGTERM, SIGINT, SIGHUP].map { number in
            signal(number, SIG_IGN)
            return DispatchSource.makeSignalSource(signal: number, queue: queue)
        }
        for (number, source) in zip([SIGTERM, SIGINT, SIGHUP], sources) {
            source.setEventHandler { [state] in
                if number != SIGHUP { state.isStopping.withLock { $0 = true } }
                state.semaphore.signal()
            }
            source.resume()
        }
    }

    deinit {
        for source in sources { source.cancel() }
    }

    /// Blocks until a signal has come.
    package func wait() -> Request {
        state.semaphore.wait()
        return state.isStopping.withLock { $0 } ? .stop : .reload
    }
}
