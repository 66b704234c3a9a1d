package import HTTPTypes
package import HTTPWire
import Store
import Synchronization

/// What a token allows. Each includes those before it.
package enum Scope: String, Sendable, CaseIterable, Comparable {
    /// Look at what is kept.
    case read
    /// Keep tables and run simulations; cancel and remove simulations.
    case submit
    /// Remove configurations with all that hangs on them.
    case admin

    package static func < (left: Self, right: Self) -> Bool {
        (allCases.firstIndex(of: left) ?? 0) < (allCases.firstIndex(of: right) ?? 0)
    }
}

/// How many requests are taken: per second, and at once after a pause.
package struct RequestRates: Sendable, Hashable {
    /// Requests per second of one token; nil for any number.
    package var perToken: Int?
    /// Requests per second of one address; nil for any number.
    package var perAddress: Int?
    /// A full bucket holds the requests of this many seconds.
    package var burst_seconds = 5
    /// Addresses and tokens that are remembered.
    package var entries = 4096

    package init(perToken: Int? = nil, perAddress: Int? = nil) {
        self.perToken = perToken
        self.perAddress = perAddress
    }

    fileprivate var isEmpty: Bool { perToken == nil && perAddress == nil }
}

/// Who may do what, and how often. Asked on the event loop for every request.
package final class AccessControl: Sendable {
    /// What is decided about a request.
    package enum Decision: Sendable, Equatable {
        case allowed
        /// No token, or none that is known: the second word goes into `WWW-Authenticate`.
        case unauthorized(wasGiven: Bool)
        /// The token is known and does not reach as far.
        case forbidden(Scope)
        /// Too many requests; to be tried again after some seconds.
        case limited(seconds: Int)
    }

    private struct State {
        var tokens: TokenList?
        var addresses: [String: TokenBucket] = [:]
        var tokenBuckets: [String: TokenBucket] = [:]
    }

    private let state: Mutex<State>
    private let rates: RequestRates

    /// - Parameter tokens: Nil where everybody may do everything.
    package init(tokens: TokenList?, rates: RequestRates = RequestRates()) {
        state = Mutex(State(tokens: tokens))
        self.rates = rates
    }

    /// Whether there is nothing to decide.
    package var isOpen: Bool { rates.isEmpty && state.withLock { $0.tokens == nil } }

    /// Whether requests need tokens.
    var knowsTokens: Bool { state.withLock { $0.tokens != nil } }

    /// Takes other tokens from now on.
    package func replaceTokens(_ tokens: TokenList) { state.withLock { $0.tokens = tokens } }

    /// Decides about a request; `scope` is nil for what everybody may ask.
    package func decide(
        authorization: String?, scope: Scope?, host: String, now: MonotonicTime
    ) -> Decision {
        // The digest is computed outside the lock.
        let presented = authorization.flatMap(PresentedToken.init(authorization:))
        return state.withLock { state in
            var known: TokenList.Entry?
            if let tokens = state.tokens { known = presented.flatMap { tokens.find($0) } }
            // A known token has a bucket of its own; whoever has none shares that of the address.
            if let known, let rate = rates.perToken {
                guard Self.take(&state.tokenBuckets, known.id, rate, rates, now) else { return .limited(seconds: 1) }
            }
            if let rate = rates.perAddress {
                guard Self.take(&state.addresses, host, rate, rates, now) else { return .limited(seconds: 1) }
            }
            guard state.tokens != nil, let scope else { return .allowed }
            guard let known else { return .unauthorized(wasGiven: authorization != nil) }
            return known.scope >= scope ? .allowed : .forbidden(scope)
        }
    }

    private static func take(
        _ buckets: inout [String: TokenBucket], _ key: String, _ perSecond: Int, _ rates: RequestRates,
        _ now: MonotonicTime
    ) -> Bool {
        // Forgetting is better than growing: whoever is forgotten starts with a full bucket.
        if buckets.count >= rates.entries && buckets[key] == nil { buckets = [:] }
        let rate = WireLimits.Rate(burst: max(1, perSecond * rates.burst_seconds), perSecond: perSecond)
        return buckets[key, default: TokenBucket(rate, now: now)].take(now: now)
    }
}

extension Application {
    /// Paths that everybody may ask: for probes, and for whoever wants to know what this is.
    static let publicPaths = ["/livez", "/readyz"]

    package func denial(
        of head: HTTPRequest, from peer: PeerAddress
    ) -> (response: HTTPResponse, body: ResponseBody)? {
        guard let access else { return nil }
        let decision = access.decide(
            authorization: head.headerFields[.authorization], scope: scope(of: head), host: peer.network,
            now: MonotonicTime(milliseconds: Int64(environment.uptime_seconds() * 1000)))
        let problem: Problem
        switch decision {
        case .allowed: return nil
        case .unauthorized(let wasGiven):
            problem = Problem(
                .unauthorized,
                wasGiven ? "the token is not known here" : "a token is needed: Authorization: Bearer …",
                fields: [
                    .wwwAuthenticate: "Bearer realm=\"gatehouse\"" + (wasGiven ? ", error=\"invalid_token\"" : "")
                ])
        case .forbidden(let scope):
            problem = Problem(
                .forbidden, "the token does not allow this; it takes the scope '\(scope.rawValue)'",
                fields: [
                    .wwwAuthenticate:
                        "Bearer realm=\"gatehouse\", error=\"insufficient_scope\", scope=\"\(scope.rawValue)\""
                ])
        case .limited(let seconds):
            problem = Problem(
                .rateLimited, "too many requests; try again after \(seconds) s", fields: [.retryAfter: "\(seconds)"])
        }
        let (response, body) = answer(problem, to: head, from: peer, as: "(denied)")
        return (response, self.body(body, for: peer.network))
    }

    /// What a request takes; nil for what everybody may ask.
    private func scope(of head: HTTPRequest) -> Scope? {
        let path = (head.path ?? "/").prefix { $0 != "?" }
        switch head.method {
        case .get, .head, .options: return Self.publicPaths.contains { path == $0 } ? nil : .read
        case .delete: return path.hasPrefix("/v1/simulations/") ? .submit : .admin
        default: return .submit
        }
    }
}

extension HTTPField.Name {
    static let requestID = HTTPField.Name("X-Request-Id")!
    static let traceParent = HTTPField.Name("traceparent")!
}
