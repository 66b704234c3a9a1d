import EntryCode
import HTTPTypes
import Store

extension Application {
    /// Runs a POST once per key: the same key and body replays the first answer, another body is refused.
    func replaying(
        _ key: String, _ request: Request, _ run: () throws(Problem) -> Answer
    ) throws(Problem) -> Answer {
        let isSane = !key.isEmpty && key.utf8.count <= 255 && key.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        if !isSane {
            throw Problem(.invalidParameter, "Idempotency-Key has 1 to 255 visible ASCII characters")
        }
        var material = [UInt8]("\(request.method.rawValue) \(request.path)\n".utf8)
        for pair in request.query { material += [UInt8]("\(pair.name)=\(pair.value)\n".utf8) }
        // What is asked for counts, not how it was compressed: gzip writes the time of day into its header.
        do throws(Problem) { material += try plainBody(request) } catch { material += request.body }
        forgetOldKeys()
        let claim: IdempotencyClaim
        do throws(StoreError) {
            claim = try perform(
                .claimIdempotencyKey(key, fingerprint: Digest(of: material), at: environment.now()))
        } catch { throw Problem(error) }
        switch claim {
        case .claimed: break
        case .inProgress:
            throw Problem(
                .conflict, "a request with this Idempotency-Key is being answered", fields: [.retryAfter: "1"])
        case .mismatch:
            throw Problem(.idempotencyMismatch, "this Idempotency-Key was used with another request")
        case .answered(let stored):
            var fields: HTTPFields = [:]
            for member in (try? JSON.parse([UInt8](stored.headers.utf8)).value.objectValue) ?? [] {
                if let name = HTTPField.Name(member.key), let value = member.value.stringValue { fields[name] = value }
            }
            return Answer(.init(code: stored.status), fields: fields, body: stored.body)
        }
        do throws(Problem) {
            let answer = try run()
            let headers = JSON.object(
                answer.fields.map { JSON.Member($0.name.rawName, .string($0.value)) }
            ).text
            do {
                try perform(
                    .completeIdempotencyKey(
                        key, StoredAnswer(status: answer.status.code, headers: headers, body: answer.body)))
            } catch {
                // Too large to be kept, or the store is in trouble. What was done is done and answered; a key left
                // claimed would answer 409 until the next start.
                environment.log("the answer of an Idempotency-Key was not kept")
                _ = try? perform(.releaseIdempotencyKey(key))
            }
            return answer
        } catch {
            // What failed was not done: the key is free for another try.
            _ = try? perform(.releaseIdempotencyKey(key))
            throw error
        }
    }

    /// Removes keys of more than a day ago, with one request in 64: whoever tries again does so sooner, and the answers
    /// kept for them would fill the disk. Not waited for; what is missed now is met later.
    private func forgetOldKeys() {
        guard environment.random() & 63 == 0 else { return }
        let before = Timestamp(milliseconds: environment.now().milliseconds - 86_400_000)
        try? store.submit(.pruneIdempotencyKeys(createdBefore: before)) { _ in }
    }
}
