import GRDB

/// An answer given to a request with an `Idempotency-Key`.
package struct StoredAnswer: Sendable, Equatable {
    /// The HTTP status, 100 to 599.
    package var status: Int
    /// The header fields to repeat, JSON.
    package var headers: String
    package var body: [UInt8]

    package init(status: Int, headers: String, body: [UInt8]) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}

/// What a key means for the request that carries it.
package enum IdempotencyClaim: Sendable, Equatable {
    /// The key is new and now belongs to this request, which must complete or release it.
    case claimed
    /// The same request is still at work.
    case inProgress
    /// The same request was answered.
    case answered(StoredAnswer)
    /// The key came with another request.
    case mismatch
}

extension Write where Value == IdempotencyClaim {
    /// Claims a key (1 to 255 bytes) for a request, known by the digest of all that counts of it.
    ///
    /// Throws `invalid-value` for a key of another length.
    package static func claimIdempotencyKey(
        _ key: String, fingerprint: Digest, at moment: Timestamp
    ) throws(StoreError) -> Write {
        guard (1...255).contains(key.utf8.count) else {
            throw StoreError(.invalidValue, "an idempotency key has 1 to 255 bytes")
        }
        return Write { db in
            try db.cachedStatement(
                sql: """
                    INSERT INTO idempotency_keys (key, fingerprint, created_at) VALUES (?, ?, ?)
                    ON CONFLICT (key) DO NOTHING
                    """
            ).execute(arguments: [key, fingerprint.data, moment.milliseconds])
            if db.changesCount == 1 { return .claimed }
            let select = try db.cachedStatement(
                sql: "SELECT fingerprint, status, headers, body FROM idempotency_keys WHERE key = ?")
            guard let row = try Row.fetchOne(select, arguments: [key]) else {
                throw StoreError(.internal, "an idempotency key was not there after it was kept")
            }
            guard try row[digest: "fingerprint"] == fingerprint else { return .mismatch }
            guard let status: Int = try row.valueIfAny("status") else { return .inProgress }
            return .answered(
                StoredAnswer(status: status, headers: try row[text: "headers"], body: try row[bytes: "body"]))
        }
    }
}

extension Write where Value == Void {
    /// Keeps the answer of a claimed key. Throws `too-large`; fails with `not-found` where nothing is claimed.
    package static func completeIdempotencyKey(
        _ key: String, _ answer: StoredAnswer, limits: Limits = Limits()
    ) throws(StoreError) -> Write {
        try bound(answer.body.count, limits.answerBytes, "the answer")
        try bound(answer.headers.utf8.count, limits.textBytes, "the header fields")
        return Write(byteCount: answer.body.count + answer.headers.utf8.count + 512) { db in
            try db.requireJSON(answer.headers, "the header list")
            try db.cachedStatement(
                sql: "UPDATE idempotency_keys SET status = ?, headers = ?, body = ? WHERE key = ? AND status IS NULL"
            ).execute(arguments: [answer.status, answer.headers, answer.body.data, key])
            guard db.changesCount == 1 else { throw StoreError(.notFound, "the key is not claimed") }
        }
    }

    /// Gives a claimed key back unanswered; does nothing where it is not claimed.
    package static func releaseIdempotencyKey(_ key: String) -> Write {
        Write { db in
            try db.cachedStatement(sql: "DELETE FROM idempotency_keys WHERE key = ? AND status IS NULL")
                .execute(arguments: [key])
        }
    }
}

extension Write where Value == Int {
    /// Forgets the oldest keys claimed before a moment, at most `Limits.prunedRows`; answers how many.
    package static func pruneIdempotencyKeys(createdBefore moment: Timestamp, limits: Limits = Limits()) -> Write {
        Write { db in
            try db.cachedStatement(
                sql: """
                    DELETE FROM idempotency_keys WHERE key IN
                        (SELECT key FROM idempotency_keys WHERE created_at < ? ORDER BY created_at LIMIT ?)
                    """
            ).execute(arguments: [moment.milliseconds, limits.prunedRows])
            return db.changesCount
        }
    }
}
