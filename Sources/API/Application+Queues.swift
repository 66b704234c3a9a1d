import HTTPTypes
package import HTTPWire

/// From a request to the thread that answers it.
extension Application {
    package func handle(_ incoming: IncomingRequest, responder: Responder) {
        // This is the event loop: the path is looked at without being taken apart, and only as far as it must be.
        let start = environment.uptime_seconds()
        if incoming.head.method == .post {
            enqueue(incoming, responder, on: queue, since: start)
        } else if isAtHand(incoming.head) {
            // Some are longer than what is not counted, and whoever reads none of them gets no more.
            let isRefused = !isUnconditional(incoming.head) && answers.isExhausted(for: incoming.peer.network)
            isRefused ? refuseHeld(incoming, responder) : respond(responder, answer(incoming, since: start))
        } else if let key = Flights.Key(incoming.head), !isComparison(incoming.head) {
            join(Flights.Waiter(incoming, responder, client: client(of: incoming), start: start), key)
        } else {
            let accepted = shortQueue.submit(for: client(of: incoming)) { [self] in
                if isComputing(incoming) {
                    enqueue(incoming, responder, on: queue, since: start)
                } else if !isGivenUp(incoming, responder, since: start) {
                    respond(responder, answer(incoming, since: start))
                }
            }
            if !accepted { refuse(incoming, responder) }
        }
    }

    private func enqueue(
        _ incoming: IncomingRequest, _ responder: Responder, on queue: any WorkQueue, since start: Double
    ) {
        let accepted = queue.submit(for: client(of: incoming)) { [self] in
            if isGivenUp(incoming, responder, since: start) { return }
            var isWaitHopeless = false
            if queue === self.queue, longQueue !== queue, let request = try? Request(incoming), isLong(request) {
                let waits = Preferences(request.fields[.prefer]).wait_seconds != nil
                isWaitHopeless = waits && longQueue.isBusy
                if !isWaitHopeless { return enqueue(incoming, responder, on: longQueue, since: start) }
            }
            respond(responder, answer(incoming, since: start, responder, isWaitHopeless: isWaitHopeless))
        }
        if !accepted { refuse(incoming, responder) }
    }

    // MARK: The same for many

    /// Answers from memory, or joins who asked for the same, or queues.
    private func join(_ waiter: Flights.Waiter, _ key: Flights.Key) {
        // A condition or an id makes an answer of its own, but no work.
        if let outcome = keptOutcome(key) { return respond(to: waiter, outcome) }
        guard let number = flights.enter(waiter, key) else { return }
        queue(waiter, key, number)
    }

    private func queue(_ waiter: Flights.Waiter, _ key: Flights.Key, _ number: Flights.Number) {
        let accepted = shortQueue.submit(for: waiter.client) { [self] in
            guard isComputing(waiter.incoming) else { return fly(number, key) }
            if !queue.submit(for: waiter.client, { [self] in fly(number, key) }) { refuse(number) }
        }
        if !accepted { refuse(number) }
    }

    private func refuse(_ number: Flights.Number) {
        for waiter in flights.end(number) { refuse(waiter.incoming, waiter.responder) }
    }

    /// Makes the answer, once for all who wait for it.
    private func fly(_ number: Flights.Number, _ key: Flights.Key) {
        let waiters = flights.take(number).filter { !isGivenUp($0.incoming, $0.responder, since: $0.start) }
        guard flights.begin(number, with: waiters), let first = waiters.first else { return }
        var outcome = keptOutcome(key)
        if outcome == nil {
            outcome = self.outcome(of: first.incoming) { request in
                request.client = first.client
                request.settle = { [flights] in flights.open(number) }
            }
        }
        let all = flights.end(number)
        guard let outcome else { return }
        // A body that is made while it is sent is one peer's; the others have to do without company.
        let isShared = outcome.stream == nil
        for (index, waiter) in all.enumerated() {
            if isShared || index == 0 {
                respond(to: waiter, outcome)
            } else if let number = flights.enter(waiter, key, alone: true) {
                queue(waiter, key, number)
            }
        }
    }

    private func respond(to waiter: Flights.Waiter, _ outcome: Outcome) {
        let id = requestID(waiter.incoming.head)
        respond(waiter.responder, finish(outcome, waiter.incoming, id: id, since: waiter.start))
    }

    /// What is kept in memory under a key; nil where nothing is.
    private func keptOutcome(_ key: Flights.Key) -> Outcome? {
        guard let entry = cache.entry(key.resource) else { return nil }
        var answer = Answer(entry.answer.response.status, fields: entry.answer.response.headerFields)
        answer.shared = entry.answer.body
        return Outcome(template: entry.template, result: .success(answer))
    }

    // MARK: Refusals

    /// Whoever gave up while the request waited gets no work done: its answer would go nowhere. Who waited for too long is told,
    /// and so is who does not read.
    private func isGivenUp(_ incoming: IncomingRequest, _ responder: Responder, since start: Double) -> Bool {
        if responder.isCancelled {
            respond(responder, Finished(HTTPResponse(status: .serviceUnavailable), .empty))
            return true
        }
        if environment.uptime_seconds() - start > limits.queue_seconds {
            refuse(incoming, responder)
            return true
        }
        if answers.isExhausted(for: incoming.peer.network) {
            refuseHeld(incoming, responder)
            return true
        }
        return false
    }

    private func refuse(_ incoming: IncomingRequest, _ responder: Responder) {
        refuse(incoming, responder, "too many requests wait; try again")
    }

    private func refuseHeld(_ incoming: IncomingRequest, _ responder: Responder) {
        metrics.countUnread()
        refuse(incoming, responder, "too many answers wait to be read; read them, and try again")
    }

    private func refuse(_ incoming: IncomingRequest, _ responder: Responder, _ reason: String) {
        let problem = Problem(.overloaded, reason, fields: [.retryAfter: "1"])
        let (response, body) = answer(problem, to: incoming.head, from: incoming.peer, as: "(refused)")
        respond(responder, Finished(response, self.body(body, for: incoming.peer.network)))
    }

    // MARK: Where

    /// Whose turn it is to be served: the token's, where requests have one that was found good, else the address'.
    func client(of incoming: IncomingRequest) -> String {
        if let access, access.knowsTokens,
            let id = incoming.head.headerFields[.authorization].flatMap(PresentedToken.id(authorization:))
        {
            return "token " + id
        }
        return incoming.peer.network
    }

    /// Whether the answer needs no thread but the event loop's.
    private func isAtHand(_ head: HTTPRequest) -> Bool {
        guard head.method == .get || head.method == .head else { return false }
        return router.pathsWithoutWork.contains { isPath(of: head, $0) }
    }

    /// Whether probes ask it, which are answered whatever happens.
    private func isUnconditional(_ head: HTTPRequest) -> Bool { isPath(of: head, "/livez") }

    /// Comparisons run simulations for as long as somebody waits, which is each client's own affair.
    private func isComparison(_ head: HTTPRequest) -> Bool { isPath(of: head, "/v1/comparisons") }

    private func isPath(of head: HTTPRequest, _ known: String) -> Bool {
        guard let path = head.path, path.hasPrefix(known) else { return false }
        return [nil, UInt8(ascii: "?")].contains(path.utf8.dropFirst(known.utf8.count).first)
    }

    /// Whether the route of a request simulates or expands a table. What has no route is refused quickly.
    private func isComputing(_ incoming: IncomingRequest) -> Bool {
        guard let request = try? Request(incoming), let (route, _) = try? router.find(request) else { return false }
        return route.work == .computing
    }
}
