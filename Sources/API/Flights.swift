import HTTPTypes
import HTTPWire
import Synchronization

/// GETs that ask for the same: while one waits or is answered, the others join it, and all get what it gets.
///
/// A request joins another of its own client that has not begun, for it then reads what is there after both have come; and that
/// of any client which has begun, once its handler has said that its answer does not change any more. Joining others that
/// wait would put a client behind all that somebody else has sent.
final class Flights: Sendable {
    /// What is asked for: requests with the same key get the same answer, but for conditions and ids.
    struct Key: Hashable, Sendable {
        /// The answer to HEAD may have no body at all.
        var isHead: Bool
        var resource: AnswerCache.Key

        init?(_ head: HTTPRequest) {
            guard head.method == .get || head.method == .head, let resource = AnswerCache.Key(head) else { return nil }
            isHead = head.method == .head
            self.resource = resource
        }
    }

    /// One request that wants the answer.
    struct Waiter: Sendable {
        var incoming: IncomingRequest
        var responder: Responder
        /// Whose turn it is.
        var client: String
        /// When it came.
        var start: Double
        /// It joined others, and counts among those of its client.
        fileprivate var isCounted = false

        init(_ incoming: IncomingRequest, _ responder: Responder, client: String, start: Double) {
            self.incoming = incoming
            self.responder = responder
            self.client = client
            self.start = start
        }
    }

    typealias Number = UInt64

    private struct Flight {
        var key: Key
        var client: String
        var waiters: [Waiter]
        /// Removals before it began.
        var generation: UInt64 = 0
    }

    private struct Place: Hashable {
        var key: Key
        var client: String
    }

    private struct State {
        var last: Number = 0
        var generation: UInt64 = 0
        var flights: [Number: Flight] = [:]
        /// Those that have not begun, and can be joined by their own client.
        var waiting: [Place: Number] = [:]
        /// Those that have begun, and can be joined by all.
        var open: [Key: Number] = [:]
        /// Requests that joined, by client.
        var joined: [String: Int] = [:]
    }

    private let state = Mutex(State())
    private let limit: Int

    /// - Parameter limit: Requests of one client that join others; more wait for themselves, as places in queues allow.
    init(limit: Int) { self.limit = limit }

    /// Joins a flight, or makes one; nil when joined, else the number of the new one, which the caller begins.
    ///
    /// - Parameter alone: Nobody joins the new one before it begins, and it joins none.
    func enter(_ waiter: Waiter, _ key: Key, alone: Bool = false) -> Number? {
        state.withLock { state in
            let place = Place(key: key, client: waiter.client)
            if !alone, state.joined[waiter.client] ?? 0 < limit,
                let number = state.open[key] ?? state.waiting[place]
            {
                var waiter = waiter
                waiter.isCounted = true
                state.joined[waiter.client, default: 0] += 1
                state.flights[number]?.waiters.append(waiter)
                return nil
            }
            state.last += 1
            state.flights[state.last] = Flight(key: key, client: waiter.client, waiters: [waiter])
            if !alone && state.waiting[place] == nil { state.waiting[place] = state.last }
            return state.last
        }
    }

    /// Lets nobody join any more before it begins; who wants the answer of it.
    func take(_ number: Number) -> [Waiter] {
        state.withLock { state in
            guard let flight = state.flights[number] else { return [] }
            let place = Place(key: flight.key, client: flight.client)
            if state.waiting[place] == number { state.waiting[place] = nil }
            return flight.waiters
        }
    }

    /// Begins with those waiters that are still to be answered; false where there is none, or they could join another.
    func begin(_ number: Number, with waiters: [Waiter]) -> Bool {
        state.withLock { state in
            guard let flight = state.flights[number] else { return false }
            let staying = Set(waiters.map { ObjectIdentifier($0.responder) })
            release(flight.waiters.filter { !staying.contains(ObjectIdentifier($0.responder)) }, &state)
            guard !waiters.isEmpty, state.open[flight.key] == nil else {
                if let other = state.open[flight.key] { state.flights[other]?.waiters += waiters }
                state.flights[number] = nil
                return false
            }
            state.flights[number]?.waiters = waiters
            state.flights[number]?.generation = state.generation
            return true
        }
    }

    /// The answer that is being made does not change any more, but for a removal: whoever asks may have it.
    func open(_ number: Number) {
        state.withLock { state in
            guard let flight = state.flights[number], flight.generation == state.generation,
                state.open[flight.key] == nil
            else { return }
            state.open[flight.key] = number
        }
    }

    /// The answer is there: who gets it.
    func end(_ number: Number) -> [Waiter] {
        state.withLock { state in
            guard let flight = state.flights.removeValue(forKey: number) else { return [] }
            if state.open[flight.key] == number { state.open[flight.key] = nil }
            let place = Place(key: flight.key, client: flight.client)
            if state.waiting[place] == number { state.waiting[place] = nil }
            release(flight.waiters, &state)
            return flight.waiters
        }
    }

    /// Nobody joins what began before this; after a removal.
    func clear() {
        state.withLock { state in
            state.generation += 1
            state.open = [:]
        }
    }

    /// Requests that wait for the answer of another.
    var joined: Int { state.withLock { $0.joined.values.reduce(0, +) } }

    private func release(_ waiters: [Waiter], _ state: inout State) {
        for waiter in waiters where waiter.isCounted {
            let left = (state.joined[waiter.client] ?? 0) - 1
            state.joined[waiter.client] = left > 0 ? left : nil
        }
    }
}
