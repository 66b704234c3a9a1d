package import HTTPTypes
package import HTTPWire

/// From a request to its answer.
extension Application {
    /// What came of a request, the same for all that asked for it.
    struct Outcome: Sendable {
        /// The route's, for metrics and log.
        var template: String
        var result: Result<Answer, Problem>

        /// A body that can be sent once.
        var stream: RecordStream? { (try? result.get())?.stream }
    }

    /// What is sent to one peer.
    struct Finished: Sendable {
        var response: HTTPResponse
        var body: ResponseBody

        init(_ response: HTTPResponse, _ body: ResponseBody) {
            self.response = response
            self.body = body
        }
    }

    func respond(_ responder: Responder, _ finished: Finished) {
        responder.respond(finished.response, body: finished.body)
    }

    /// Answers a request; blocks on the store and the simulation.
    package func answer(_ incoming: IncomingRequest) -> (response: HTTPResponse, body: [UInt8]) {
        let finished = answer(incoming, since: environment.uptime_seconds())
        switch finished.body {
        case .empty: return (finished.response, [])
        case .bytes(let bytes): return (finished.response, bytes)
        case .shared(let bytes): return (finished.response, Array(bytes.bytes))
        case .source(let source): return (finished.response, (source as? RecordStream)?.collect() ?? [])
        }
    }

    /// - Parameter responder: Who may be answered early, and may give up; nil where that is nobody.
    func answer(
        _ incoming: IncomingRequest, since start: Double, _ responder: Responder? = nil, isWaitHopeless: Bool = false
    ) -> Finished {
        let id = requestID(incoming.head)
        var early: (@Sendable (Answer) -> Void)?
        if let responder {
            early = { [self] answer in
                var response = HTTPResponse(status: answer.status, headerFields: answer.fields)
                response.headerFields[.requestID] = id
                respond(responder, Finished(response, body(of: answer)))
            }
        }
        let outcome = outcome(of: incoming) { request in
            request.client = client(of: incoming)
            request.answerEarly = early
            request.isWaitHopeless = isWaitHopeless
            if let responder { request.isGivenUp = { responder.isCancelled } }
        }
        return finish(outcome, incoming, id: id, since: start)
    }

    /// Runs the handler of a request.
    func outcome(of incoming: IncomingRequest, prepare: (inout Request) -> Void) -> Outcome {
        let generation = cache.generation
        var template = "(none)"
        do throws(Problem) {
            var request = try Request(incoming)
            prepare(&request)
            if request.method == .options && request.path == "*" {
                // About the service and not a resource of it (RFC 9110 section 9.3.7).
                return Outcome(
                    template: "*",
                    result: .success(Answer(.noContent, fields: [.allow: "GET, HEAD, POST, DELETE, OPTIONS"])))
            }
            let (route, values) = try router.find(request)
            template = route.template
            var answer = try dispatch(request, route, values)
            share(&answer, for: request.network)
            if request.method == .get { keep(answer, for: incoming.head, since: generation, template) }
            return Outcome(template: template, result: .success(answer))
        } catch {
            return Outcome(template: template, result: .failure(error))
        }
    }

    /// Puts a finished body where many can have it, and counts it as long as anybody does.
    private func share(_ answer: inout Answer, for network: String) {
        let isCounted = answer.body.count >= limits.countedAnswer_bytes
        guard answer.stream == nil, answer.shared == nil, isCounted else { return }
        answer.shared = SharedBytes(answer.body, held: answers.hold(answer.body.count, for: network))
        answer.body = []
    }

    private func keep(_ answer: Answer, for head: HTTPRequest, since generation: UInt64, _ template: String) {
        guard answer.stream == nil, answer.status == .ok, answer.fields[.cacheControl]?.contains("immutable") == true,
            let prepared = PreparedAnswer(
                HTTPResponse(status: answer.status, headerFields: answer.fields),
                body: answer.shared ?? SharedBytes(answer.body), countUse: metrics.cached(template).add)
        else { return }
        cache.keep(prepared, rendering: answer.rendering, for: head, since: generation, template: template)
    }

    /// What one peer gets of an outcome: its own conditions, id, and line in the log.
    func finish(_ outcome: Outcome, _ incoming: IncomingRequest, id: String, since start: Double) -> Finished {
        var finished: Finished
        var count = 0
        switch checkMatch(outcome.result, for: incoming.head) {
        case .success(let answer): (finished, count) = finish(answer, for: incoming.head)
        case .failure(let problem):
            if problem.kind == .internalError {
                environment.log(
                    withoutTokens(
                        "internal error at \(Application.instance(incoming.head)): "
                            + "\(problem.detail) [request \(id)]"))
            }
            let (response, body) = Application.answer(problem, to: incoming.head, id: id)
            finished = Finished(response, self.body(body, for: incoming.peer.network))
            count = body.count
        }
        finished.response.headerFields[.requestID] = id
        let status = finished.response.status.code
        let seconds = environment.uptime_seconds() - start
        metrics.count(incoming.head.method, outcome.template, status, seconds: seconds)
        logAnswer(
            incoming.head, id: id, route: outcome.template, status, bytes: count, seconds: seconds, incoming.peer)
        return finished
    }

    /// If-Match of a read (RFC 9110 section 13.1.1); who writes looks at it before.
    private func checkMatch(_ result: Result<Answer, Problem>, for head: HTTPRequest) -> Result<Answer, Problem> {
        guard let condition = head.headerFields[.ifMatch], head.method == .get || head.method == .head,
            case .success(let answer) = result, answer.status == .ok
        else { return result }
        // A resource without a tag is there all the same: `*` is about that.
        if HTTPFields.matches(condition, answer.fields[.eTag] ?? "*", weakly: false) { return result }
        return .failure(Problem(.preconditionFailed, "If-Match names another version"))
    }

    private func finish(_ answer: Answer, for head: HTTPRequest) -> (Finished, count_bytes: Int) {
        var response = HTTPResponse(status: answer.status, headerFields: answer.fields)
        if answer.status == .ok, head.method == .get || head.method == .head,
            HTTPFields.matches(head.headerFields[.ifNoneMatch], answer.fields[.eTag] ?? "*")
        {
            answer.stream?.cancel()
            response.status = .notModified
            response.headerFields[.contentType] = nil
            return (Finished(response, .empty), 0)
        }
        let count = answer.shared?.count ?? answer.body.count
        if head.method == .head {
            // Nobody has counted a body that is made while it is sent.
            if answer.stream == nil { response.headerFields[.contentLength] = String(count) }
            return (Finished(response, .empty), 0)
        }
        return (Finished(response, body(of: answer)), count)
    }

    /// A finished body that is nobody else's, such as that of an error, counted where it is large enough.
    func body(_ bytes: [UInt8], for network: String) -> ResponseBody {
        if bytes.isEmpty { return .empty }
        guard bytes.count >= limits.countedAnswer_bytes else { return .bytes(bytes) }
        return .shared(SharedBytes(bytes, held: answers.hold(bytes.count, for: network)))
    }

    private func body(of answer: Answer) -> ResponseBody {
        if let stream = answer.stream { return .source(stream) }
        if let shared = answer.shared { return .shared(shared) }
        return answer.body.isEmpty ? .empty : .bytes(answer.body)
    }

    /// Bytes of finished answers in memory.
    package var heldAnswers_bytes: Int { answers.held_bytes }

    /// Nothing that was answered before is answered again from memory, or by joining; after a removal.
    func forgetAnswers() {
        cache.clear()
        flights.clear()
    }
}
