package import EntryCode
package import HTTPTypes
package import HTTPWire
import KernelSource
package import Store
import Synchronization
import Verification

/// The HTTP interface: routes to handlers, over a store and work queues.
package final class Application: RequestHandler {
    package let store: ResultStore
    /// Simulations and what else computes.
    package let queue: any WorkQueue
    /// Requests that only read or write the store, so that they do not wait for simulations.
    package let shortQueue: any WorkQueue
    /// Simulations with nested events: some take minutes, and what takes milliseconds must not wait for them.
    package let longQueue: any WorkQueue
    package let environment: Environment
    package let limits: APILimits
    package let kernels: KernelLibrary
    /// The program's version.
    package let version: String
    /// Nil where everybody may do everything, as often as they like.
    package let access: AccessControl?
    let cache: AnswerCache
    let metrics = APIMetrics()
    let running = RunningSimulations()
    let flights: Flights
    let answers: AnswerBudget
    private let routerBox = Mutex<Router?>(nil)
    private let draining = Atomic<Bool>(false)

    /// - Parameters:
    ///   - shortQueue: For short requests; nil for the same queue as for what computes.
    ///   - longQueue: For simulations with nested events; nil likewise.
    package init(
        store: ResultStore, queue: any WorkQueue, shortQueue: (any WorkQueue)? = nil,
        longQueue: (any WorkQueue)? = nil, environment: Environment,
        limits: APILimits = APILimits(), access: AccessControl? = nil,
        kernels: KernelLibrary = .shipped, version: String
    ) {
        self.store = store
        self.queue = queue
        self.shortQueue = shortQueue ?? queue
        self.longQueue = longQueue ?? queue
        self.environment = environment
        self.limits = limits
        self.access = access.flatMap { $0.isOpen ? nil : $0 }
        self.kernels = kernels
        self.version = version
        cache = AnswerCache(limit_bytes: limits.cache_bytes)
        flights = Flights(limit: limits.joinedRequests)
        answers = AnswerBudget(limit_bytes: limits.heldAnswers_bytes)
    }

    /// The routes, made once.
    package var router: Router {
        routerBox.withLock { box in
            if let router = box { return router }
            let router = Router(makeRoutes())
            box = router
            return router
        }
    }

    /// The service is stopping: not ready for new work.
    package func startDraining() { draining.store(true, ordering: .relaxed) }
    var isDraining: Bool { draining.load(ordering: .relaxed) }

    // MARK: RequestHandler

    /// A finished answer is sent from the event loop itself.
    package func preparedAnswer(to head: HTTPRequest) -> PreparedAnswer? { cache.answer(to: head) }

    /// What the head decides is said before the body is read: no such route or method, a type that is not taken, too long by its
    /// own account.
    package func refusal(of head: HTTPRequest) -> (response: HTTPResponse, body: ResponseBody)? {
        do throws(Problem) {
            let request = try Request(head, body: [])
            let (route, _) = try router.find(request)
            try checkType(request, route)
            let limit_bytes = bodyLimit_bytes(path: request.path[...], contentType: request.fields[.contentType])
            guard let length = request.fields[.contentLength].flatMap({ Int($0) }), length > limit_bytes else {
                return nil
            }
            throw Problem(.contentTooLarge, "the body has \(length) bytes; at most \(limit_bytes) are read")
        } catch {
            let (response, body) = answer(error, to: head, from: nil, as: "(refused)")
            return (response, body.isEmpty ? .empty : .bytes(body))
        }
    }

    /// Does a write, waits until it is on disk, and measures how long that took.
    @discardableResult
    func perform<Value>(_ write: Write<Value>) throws(StoreError) -> Value {
        let start = environment.uptime_seconds()
        defer { metrics.countWrite(seconds: environment.uptime_seconds() - start) }
        return try store.perform(write)
    }

    /// A line of the access log, where there is one.
    func logAnswer(
        _ head: HTTPRequest, id: String, route: String, _ status: Int, bytes: Int, seconds: Double,
        _ peer: PeerAddress?
    ) {
        environment.logRequest?(
            RequestRecord(
                id: id, method: head.method.rawValue, path: Application.instance(head), route: route,
                status: status, bytes: bytes, seconds: seconds, peer: peer?.description ?? "-",
                // What is no known token is not repeated, not even its public part.
                token: status == 401
                    ? nil : head.headerFields[.authorization].flatMap(PresentedToken.init(authorization:))?.id))
    }

    /// The id that the client gave, where it can stand in a log, or a new one.
    func requestID(_ head: HTTPRequest) -> String {
        if let given = head.headerFields[.requestID], (1...64).contains(given.utf8.count),
            given.utf8.allSatisfy({ Self.isIDCharacter($0) })
        {
            return withoutTokens(given)
        }
        // The trace id of W3C's traceparent is its second part.
        if let parts = head.headerFields[.traceParent]?.split(separator: "-"), parts.count >= 4,
            parts[1].utf8.count == 32, parts[1].utf8.allSatisfy({ Self.isIDCharacter($0) })
        {
            return String(parts[1])
        }
        let digits = String(environment.random(), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private static func isIDCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
            true
        default: false
        }
    }

    func dispatch(
        _ request: Request, _ route: Route, _ values: [String: String]
    ) throws(Problem) -> Answer {
        guard request.method == .post, let key = request.fields[.idempotencyKey] else {
            return try route.handler(request, values)
        }
        return try replaying(key, request) { () throws(Problem) in try route.handler(request, values) }
    }

    /// What a problem names as its occurrence: the path, without the query.
    static func instance(_ head: HTTPRequest) -> String {
        // First redacted: half a token is one too.
        String(withoutTokens(String((head.path ?? "/").prefix { $0 != "?" })).prefix(512))
    }

    /// The answer to a request that comes to no handler: counted, logged and with an id like any other.
    func answer(
        _ problem: Problem, to head: HTTPRequest, from peer: PeerAddress?, as route: String
    ) -> (response: HTTPResponse, body: [UInt8]) {
        let id = requestID(head)
        metrics.count(head.method, route, problem.kind.status)
        var (response, body) = Application.answer(problem, to: head, id: id)
        response.headerFields[.requestID] = id
        logAnswer(head, id: id, route: route, problem.kind.status, bytes: body.count, seconds: 0, peer)
        return (response, body)
    }

    /// The answer to a request that failed, in the form that its `Accept` asks for; HEAD gets the fields only.
    static func answer(
        _ problem: Problem, to head: HTTPRequest, id: String? = nil
    ) -> (response: HTTPResponse, body: [UInt8]) {
        let asText = HTTPFields.prefersTextErrors(head.headerFields[.accept])
        var (response, body) = answer(problem, instance: instance(head), asText: asText, id: id)
        if head.method == .head {
            response.headerFields[.contentLength] = String(body.count)
            body = []
        }
        return (response, body)
    }

    static func answer(
        _ problem: Problem, instance: String, asText: Bool, id: String? = nil
    ) -> (response: HTTPResponse, body: [UInt8]) {
        var fields = problem.fields
        fields[.contentType] = asText ? "text/plain; charset=utf-8" : "application/problem+json"
        fields[.cacheControl] = "no-store"
        fields[.vary] = "Accept"
        let text = asText ? problem.text : problem.json(instance: instance, id: id).text
        // What the client sent may be repeated in it, and may be a token in the wrong place.
        let body = [UInt8](withoutTokens(text).utf8)
        return (HTTPResponse(status: .init(code: problem.kind.status), headerFields: fields), body)
    }
}

extension HTTPField.Name {
    /// IETF draft-ietf-httpapi-idempotency-key-header.
    package static let idempotencyKey = HTTPField.Name("Idempotency-Key")!
    package static let acceptPost = HTTPField.Name("Accept-Post")!
    package static let prefer = HTTPField.Name("Prefer")!
    package static let preferenceApplied = HTTPField.Name("Preference-Applied")!
    package static let link = HTTPField.Name("Link")!
}
