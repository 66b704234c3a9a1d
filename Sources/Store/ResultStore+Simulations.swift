import GRDB

extension ResultStore {
    /// One simulation. Throws `not-found`.
    package func simulation(_ id: SimulationID) throws(StoreError) -> StoredSimulation {
        try read { db in try StoredSimulation.existing(db, id: id) }
    }

    /// The report of a finished simulation, byte for byte. Throws `not-found` where there is none.
    package func report(of id: SimulationID) throws(StoreError) -> [UInt8] {
        try read { db in
            let select = try db.cachedStatement(
                sql: """
                    SELECT body FROM reports JOIN simulations ON simulations.id = reports.simulation WHERE public_id = ?
                    """)
            guard let row = try Row.fetchOne(select, arguments: [id.text]) else {
                throw StoreError(.notFound, "no report of such a simulation")
            }
            return try row[bytes: "body"]
        }
    }

    /// Lists simulations, the newest first.
    ///
    /// The limit is 1 to `Limits.pageRows` rows; other values are brought into that range. Throws `invalid-cursor`.
    package func simulations(
        configuration: Digest? = nil, verdict: StoredVerdict? = nil, state: StoredState? = nil, limit: Int,
        cursor: String? = nil
    ) throws(StoreError) -> Page<StoredSimulation> {
        var query = ListQuery(order: "simulations.id", limit: limit, limits: limits)
        if let cursor { query.filter("simulations.id < ?", try Cursor(cursor, of: .simulations).number) }
        if let configuration {
            query.filter(
                "simulations.configuration = (SELECT id FROM configurations WHERE digest = ?)", configuration.data)
        }
        if let verdict { query.filter("verdict = ?", verdict.rawValue) }
        if let state { query.filter("state = ?", state.rawValue) }
        return try read { db in
            try query.page(
                .simulations,
                try Row.fetchAll(
                    db.cachedStatement(sql: StoredSimulation.select + query.sql), arguments: query.arguments)
            ) { try StoredSimulation(row: $0) }
        }
    }
}

extension StoredSimulation {
    // CROSS JOIN fixes the order: simulations first, whatever the planner knows of the tables.
    static let select = """
        SELECT simulations.id AS number, public_id, digest, name, request, state, verdict, failure, scenarios, holds, violated,
               undecided, instructions, elapsed_seconds, model_version, simulations.created_at, started_at, finished_at
        FROM simulations CROSS JOIN configurations ON configurations.id = simulations.configuration

        """

    init(row: Row) throws {
        guard let id = SimulationID(try row[text: "public_id"]) else {
            throw StoreError(.corrupt, "a simulation has an id this program never writes; check the database file")
        }
        self.id = id
        configuration = try row[digest: "digest"]
        configurationName = try row[textIfAny: "name"]
        request = try row[text: "request"]
        state = try row.word("state")
        verdict = try row.wordIfAny("verdict")
        failure = try row[textIfAny: "failure"]
        summary = SimulationSummary(
            scenarios: try row[count: "scenarios"], holds: try row[count: "holds"],
            violated: try row[count: "violated"], undecided: try row[count: "undecided"],
            instructions: try row[count: "instructions"])
        elapsedSeconds = try row.valueIfAny("elapsed_seconds")
        modelVersion = try row[text: "model_version"]
        createdAt = try row[moment: "created_at"]
        startedAt = try row[momentIfAny: "started_at"]
        finishedAt = try row[momentIfAny: "finished_at"]
    }

    /// The simulation, or `not-found`.
    static func existing(_ db: Database, id: SimulationID) throws -> StoredSimulation {
        let statement = try db.cachedStatement(sql: select + "WHERE public_id = ?")
        guard let row = try Row.fetchOne(statement, arguments: [id.text]) else {
            throw StoreError(.notFound, "no such simulation")
        }
        return try StoredSimulation(row: row)
    }
}
