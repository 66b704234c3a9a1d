import GRDB

extension ResultStore {
    /// Lists the scenarios of a simulation in order; empty before it is finished.
    ///
    /// - Parameters:
    ///   - rule: only scenarios with a violation or warning of this rule.
    ///   - withRecords: false leaves `record` empty and is faster.
    ///   - limit: rows, 1 to `Limits.pageRows`; other values are brought into that range.
    ///   - cursor: `next` of the page before.
    ///
    /// Throws `not-found` for the simulation, `invalid-cursor`.
    package func scenarios(
        of id: SimulationID, verdict: StoredVerdict? = nil, rule: String? = nil, platform: String? = nil,
        withRecords: Bool = true, limit: Int, cursor: String? = nil
    ) throws(StoreError) -> Page<StoredScenario> {
        let first = try cursor.map { (text) throws(StoreError) in try Cursor(text, of: .scenarios).number + 1 } ?? 0
        let limit = min(max(limit, 1), max(1, limits.pageRows))
        return try read { db in
            let number = try Self.number(db, of: id)
            var conditions = "simulation = ? AND first_ordinal > ? AND ordinal >= ?"
            // Blocks that end before the first row wanted are never read.
            var values: [any DatabaseValueConvertible] = [number, first - Int64(ScenarioBlocks.blockScenarios), first]
            if let verdict {
                conditions += " AND verdict = ?"
                values.append(verdict.rawValue)
            }
            if let rule {
                conditions += " AND (rule = ? OR EXISTS (SELECT 1 FROM json_each(further) WHERE value = ?))"
                values += [rule, rule]
            }
            if let platform {
                conditions += " AND platform = ?"
                values.append(platform)
            }
            let rows = try Row.fetchAll(
                db.cachedStatement(
                    sql: StoredScenario.select(withRecords: withRecords)
                        + " WHERE \(conditions) ORDER BY first_ordinal, ordinal LIMIT ?"),
                arguments: StatementArguments(values + [limit + 1]))
            let items = try rows.prefix(limit).map { try StoredScenario(row: $0) }
            let next = rows.count > limit ? items.last.map { Cursor(.scenarios, after: Int64($0.ordinal)).text } : nil
            return Page(items: items, next: next)
        }
    }

    /// One scenario of a simulation by its full name. Throws `not-found`.
    package func scenario(of id: SimulationID, named name: String) throws(StoreError) -> StoredScenario {
        try read { db in
            let number = try Self.number(db, of: id)
            let select = try db.cachedStatement(
                sql: StoredScenario.select(withRecords: true) + " WHERE simulation = ? AND name = ? LIMIT 1")
            guard let row = try Row.fetchOne(select, arguments: [number, name]) else {
                throw StoreError(.notFound, "no scenario of this name in this simulation")
            }
            return try StoredScenario(row: row)
        }
    }

    private static func number(_ db: Database, of id: SimulationID) throws -> Int64 {
        let select = try db.cachedStatement(sql: "SELECT id FROM simulations WHERE public_id = ?")
        guard let number = try Int64.fetchOne(select, arguments: [id.text]) else {
            throw StoreError(.notFound, "no such simulation")
        }
        return number
    }
}

extension StoredScenario {
    // substr answers NULL for a part of an empty blob, hence coalesce.
    // Not a view: with trusted_schema off, SQLite 3.40 refuses JSON functions inside one.
    static func select(withRecords: Bool) -> String {
        """
        SELECT ordinal, name, platform, verdict, rule, \(withRecords ? "coalesce(substr(records, start, length), x'')" : "x''") AS record
        FROM (SELECT simulation, first_ordinal, records,
                     first_ordinal + entry.key AS ordinal,
                     entry.value ->> 0 AS name,
                     entry.value ->> 1 AS platform,
                     entry.value ->> 2 AS verdict,
                     entry.value ->> 3 AS rule,
                     (entry.value ->> 4) + 1 AS start,
                     entry.value ->> 5 AS length,
                     entry.value -> 6 AS further
              FROM scenario_blocks, json_each(directory) AS entry)
        """
    }

    init(row: Row) throws {
        ordinal = try row[count: "ordinal"]
        name = try row[text: "name"]
        platform = try row[text: "platform"]
        verdict = try row.word("verdict")
        rule = try row[textIfAny: "rule"]
        record = try row[bytes: "record"]
    }
}
