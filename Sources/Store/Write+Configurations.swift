import GRDB

extension Write where Value == InsertedConfiguration {
    /// Keeps a configuration, or finds it where the same content is kept already.
    ///
    /// A name given with it means this content from now on, unless the content has a name already and `renames` is
    /// false. Throws here `too-large`, `invalid-name`; at the
    /// commit `invalid-value` for a document or reason that is not JSON.
    package static func insertConfiguration(
        _ new: NewConfiguration, limits: Limits = Limits()
    ) throws(StoreError) -> Write {
        let byteCount = new.document.utf8.count
        try bound(byteCount, limits.documentBytes, "the document")
        try bound(new.kernel.utf8.count, limits.textBytes, "the kernel's name")
        try bound(new.invalidReason?.utf8.count ?? 0, limits.textBytes, "the reason")
        if let name = new.name { try ConfigurationName.check(name) }
        let digest = Digest(of: new.document.utf8)
        return Write(byteCount: byteCount + 1024) { db in
            try db.requireJSON(new.document, "the document")
            if let reason = new.invalidReason { try db.requireJSON(reason, "the reason") }
            let insert = try db.cachedStatement(
                sql: """
                    INSERT INTO configurations (digest, name, kernel, validity, reason, byte_count, created_at, document)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING
                    """)
            try insert.execute(arguments: [
                digest.data, new.name, new.kernel, new.invalidReason == nil ? "valid" : "invalid", new.invalidReason,
                byteCount, new.createdAt.milliseconds, new.document,
            ])
            let created = db.changesCount == 1
            let isNamed = try !created && StoredConfiguration.fetch(db, digest: digest)?.name != nil
            if let name = new.name, new.renames || !isNamed {
                try db.cachedStatement(sql: "UPDATE configurations SET name = ?1 WHERE digest = ?2 AND name IS NOT ?1")
                    .execute(arguments: [name, digest.data])
                try db.cachedStatement(
                    sql: """
                        INSERT INTO names (name, configuration, assigned_at)
                        SELECT ?, id, ? FROM configurations WHERE digest = ?
                        ON CONFLICT (name) DO UPDATE
                        SET configuration = excluded.configuration, assigned_at = excluded.assigned_at
                        """
                ).execute(arguments: [name, new.createdAt.milliseconds, digest.data])
            }
            guard let configuration = try StoredConfiguration.fetch(db, digest: digest) else {
                throw StoreError(.internal, "a configuration was not there after it was kept")
            }
            return InsertedConfiguration(configuration: configuration, created: created)
        }
    }
}

extension Write where Value == Void {
    /// Removes a configuration with its names, simulations, reports and scenarios.
    ///
    /// Fails with `not-found`, and with `simulation-running` while a simulation of it is queued or running.
    package static func deleteConfiguration(_ digest: Digest) -> Write {
        Write { db in
            let unfinished =
                try Int.fetchOne(
                    db.cachedStatement(
                        sql: """
                            SELECT count(*) FROM simulations JOIN configurations ON configurations.id = configuration
                            WHERE digest = ? AND state IN ('queued', 'running')
                            """),
                    arguments: [digest.data]) ?? 0
            guard unfinished == 0 else {
                throw StoreError(.simulationRunning, "a simulation of this configuration runs; cancel it first")
            }
            try db.cachedStatement(sql: "DELETE FROM configurations WHERE digest = ?").execute(arguments: [digest.data])
            guard db.changesCount == 1 else { throw StoreError(.notFound, "no such configuration") }
        }
    }
}

extension Write {
    /// Throws `too-large` when a count of bytes is above its limit.
    static func bound(_ count: Int, _ limit: Int, _ what: String) throws(StoreError) {
        guard count <= limit else {
            throw StoreError(.tooLarge, "\(what) has \(count) bytes; at most \(limit) are kept")
        }
    }
}

/// The rule for names of configurations.
package enum ConfigurationName {
    /// Throws `invalid-name` unless the name can stand in a URL and be told from an id.
    ///
    /// 1 to 128 of ASCII letters, digits and `. _ + -`, the first a letter or digit; and not 8 or more hexadecimal
    /// digits only.
    package static func check(_ name: String) throws(StoreError) {
        let bytes = Array(name.utf8)
        let isPlain = bytes.allSatisfy { isAlphanumeric($0) || "._+-".utf8.contains($0) }
        guard (1...128).contains(bytes.count), isPlain, let first = bytes.first, isAlphanumeric(first) else {
            throw StoreError(
                .invalidName,
                "a name is 1 to 128 letters, digits and . _ + - of ASCII and begins with a letter or digit")
        }
        guard bytes.count < 8 || Digest.nibbles(name) == nil else {
            throw StoreError(.invalidName, "8 or more hexadecimal digits are read as an id; choose another name")
        }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"):
            true
        default: false
        }
    }
}
