package import API
import Dispatch
import Foundation
package import HTTPTransport
package import Logging
package import Store

/// What `gatehouse serve` is told.
package struct ServiceConfiguration: Sendable {
    package var addresses: [SocketAddress]
    /// Path of the database file.
    package var database: String
    package var eventLoops = 1
    /// Threads that simulate.
    package var workers = 4
    /// Threads for requests that only read or write the store.
    package var shortWorkers = 4
    /// Pieces of work that wait for either kind of thread.
    package var queueLimit = 1024
    /// How long requests in work may take after a stop was asked for.
    package var grace_seconds = 10
    package var limits = APILimits()
    package var transport = TransportLimits()

    package init(addresses: [SocketAddress], database: String) {
        self.addresses = addresses
        self.database = database
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
    private let pool: WorkerPool
    private let shortPool: WorkerPool
    private let configuration: ServiceConfiguration
    private let logger: Logger

    /// Opens the database and starts to listen.
    package init(_ configuration: ServiceConfiguration, logger: Logger) throws(ServiceError) {
        self.configuration = configuration
        self.logger = logger
        for address in configuration.addresses where !address.isLoopback {
            throw ServiceError(
                "\(address) is not a loopback address: without tokens the service listens on loopback addresses only")
        }
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
        let log = logger
        let environment = Environment(
            now: { GatehouseService.now() },
            uptime_seconds: { Double(DispatchTime.now().uptimeNanoseconds) / 1e9 },
            random: {
                var generator = SystemRandomNumberGenerator()
                return generator.next()
            }, log: { log.notice("\($0)") })
        application = Application(
            store: store, queue: pool, shortQueue: shortPool, environment: environment, limits: configuration.limits,
            version: programVersion)
        server = Server(handler: application, limits: configuration.transport)
        do {
            try server.start(on: configuration.addresses, threads: configuration.eventLoops)
        } catch {
            shortPool.close()
            pool.close()
            try? store.close()
            throw ServiceError("cannot listen: \(error)")
        }
    }

    package static func now() -> Timestamp {
        Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
    }

    /// Addresses that the service listens on, with the ports that it got.
    package var addresses: [SocketAddress] { server.addresses }

    /// Stops gracefully: no new connections, what runs is answered, the database is closed.
    package func stop() {
        application.startDraining()
        server.stop(gracePeriod: .seconds(configuration.grace_seconds))
        // First the pool that hands work to the other.
        shortPool.close()
        pool.close()
        do throws(StoreError) {
            try store.close()
        } catch {
            logger.error("closing the database failed: \(error.message) [\(error.code.rawValue)]")
        }
    }

    /// Blocks until SIGTERM or SIGINT, then stops.
    package func run(until signals: StopSignals) {
        signals.wait()
        logger.notice("stopping")
        stop()
    }
}

/// The signals that ask for a stop, from the moment this is made.
///
/// To be made before anybody is told that the service listens: whoever reads that may send the signal at once, and
/// its default action would end the process with requests in work.
package final class StopSignals {
    private let semaphore = DispatchSemaphore(value: 0)
    private let sources: [any DispatchSourceSignal]

    package init() {
        let queue = DispatchQueue(label: "signals")
        sources = [SIGTERM, SIGINT].map { [semaphore] number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { semaphore.signal() }
            source.resume()
            return source
        }
    }

    deinit {
        for source in sources { source.cancel() }
    }

    /// Blocks until a signal has come.
    package func wait() { semaphore.wait() }
}
