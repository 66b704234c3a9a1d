import GRDB

extension ResultStore {
    /// Finds a configuration by id, by 8 or more first digits of an id, or by name.
    ///
    /// A name means the content it was given to last, and what is found by a name shows that name. Throws `not-found`, `ambiguous-reference` with the candidates,
    /// `reference-too-short` for fewer digits that are no name.
    package func findConfiguration(_ reference: String) throws(StoreError) -> StoredConfiguration {
        let nibbles = Digest.nibbles(reference)
        return try read { db in
            if let nibbles, nibbles.count >= 8 {
                return try Self.byPrefix(db, nibbles, candidates: self.limits.candidates)
            }
            let named = try StoredConfiguration.fetchAll(
                db, "JOIN names ON names.configuration = configurations.id WHERE names.name = ?", [reference])
            if var configuration = named.first {
                configuration.name = reference
                return configuration
            }
            guard nibbles == nil || reference.isEmpty else {
                throw StoreError(.referenceTooShort, "no configuration of this name; an id needs at least 8 digits")
            }
            throw StoreError(.notFound, "no such configuration")
        }
    }

    /// The document of a configuration, byte for byte as it was kept. Throws `not-found`.
    package func document(of digest: Digest) throws(StoreError) -> String {
        try read { db in
            let select = try db.cachedStatement(sql: "SELECT document FROM configurations WHERE digest = ?")
            guard let document = try String.fetchOne(select, arguments: [digest.data]) else {
                throw StoreError(.notFound, "no such configuration")
            }
            return document
        }
    }

    /// Lists configurations, the newest first.
    ///
    /// - Parameters:
    ///   - name: only content that this name means, or that it was the last one given to; shown with this name.
    ///   - meant: content that the name means besides.
    ///   - kernel: only tables of this kernel.
    ///   - limit: rows, 1 to `Limits.pageRows`; other values are brought into that range.
    ///   - cursor: `next` of the page before. Throws `invalid-cursor`.
    package func configurations(
        name: String? = nil, meant: Digest? = nil, kernel: String? = nil, limit: Int, cursor: String? = nil
    ) throws(StoreError) -> Page<StoredConfiguration> {
        var query = ListQuery(order: "configurations.id", limit: limit, limits: limits)
        if let cursor { query.filter("configurations.id < ?", try Cursor(cursor, of: .configurations).number) }
        if let name {
            query.filter(
                """
                (configurations.name = ? OR digest = ?
                    OR configurations.id IN (SELECT configuration FROM names WHERE names.name = ?))
                """,
                name, meant?.data, name)
        }
        if let kernel { query.filter("kernel = ?", kernel) }
        return try read { db in
            try query.page(
                .configurations,
                try Row.fetchAll(
                    db.cachedStatement(sql: StoredConfiguration.select + query.sql), arguments: query.arguments)
            ) { row in
                var configuration = try StoredConfiguration(row: row)
                if let name { configuration.name = name }
                return configuration
            }
        }
    }

    private static func byPrefix(_ db: Database, _ nibbles: [UInt8], candidates: Int) throws -> StoredConfiguration {
        guard let range = Digest.range(prefix: nibbles) else { throw StoreError(.notFound, "no such configuration") }
        let found = try StoredConfiguration.fetchAll(
            db, "WHERE digest BETWEEN ? AND ? ORDER BY digest LIMIT ?",
            [range.low.data, range.high.data, max(2, candidates)])
        guard let configuration = found.first else { throw StoreError(.notFound, "no such configuration") }
        guard found.count == 1 else {
            throw StoreError(
                .ambiguousReference, "several configurations begin like this; give more digits",
                candidates: found.map(\.digest))
        }
        return configuration
    }
}

extension StoredConfiguration {
    static let select = """
        SELECT configurations.id AS number, digest, configurations.name, kernel, reason, byte_count, created_at
        FROM configurations

        """

    init(row: Row) throws {
        digest = try row[digest: "digest"]
        name = try row[textIfAny: "name"]
        kernel = try row[text: "kernel"]
        invalidReason = try row[textIfAny: "reason"]
        byteCount = try row[count: "byte_count"]
        createdAt = try row[moment: "created_at"]
    }

    static func fetchAll(
        _ db: Database, _ rest: String, _ arguments: [any DatabaseValueConvertible]
    ) throws -> [StoredConfiguration] {
        try Row.fetchAll(db.cachedStatement(sql: select + rest), arguments: StatementArguments(arguments))
            .map { try StoredConfiguration(row: $0) }
    }

    static func fetch(_ db: Database, digest: Digest) throws -> StoredConfiguration? {
        try fetchAll(db, "WHERE digest = ?", [digest.data]).first
    }
}

/// The conditions of a list, newest first, that reads one row more than it shows.
struct ListQuery {
    private let order: String
    private let limit: Int
    private var conditions: [String] = []
    private var values: [(any DatabaseValueConvertible)?] = []

    init(order: String, limit: Int, limits: Limits) {
        self.order = order
        self.limit = min(max(limit, 1), max(1, limits.pageRows))
    }

    mutating func filter(_ condition: String, _ values: (any DatabaseValueConvertible)?...) {
        conditions.append(condition)
        self.values += values
    }

    var sql: String {
        (conditions.isEmpty ? "" : "WHERE " + conditions.joined(separator: " AND ")) + " ORDER BY \(order) DESC LIMIT ?"
    }

    var arguments: StatementArguments { StatementArguments(values + [limit + 1]) }

    /// Cuts the row too many, which tells that there is a next page.
    func page<Element: Sendable>(
        _ list: Cursor.List, _ rows: [Row], _ element: (Row) throws -> Element
    ) throws -> Page<Element> {
        let shown = rows.prefix(limit)
        let last = rows.count > limit ? shown.last : nil
        return Page(
            items: try shown.map(element),
            next: try last.map { Cursor(list, after: try $0[integer: "number"]).text })
    }
}
