import GRDB

extension Write where Value == StoredSimulation {
    /// Keeps a simulation: queued, or with its outcome in the same commit.
    ///
    /// Throws here `too-large`, and `duplicate` for two scenarios of one name; at the commit `not-found` for the
    /// configuration, `duplicate` for the id, `invalid-value` for a request that is not JSON.
    package static func insertSimulation(
        _ new: NewSimulation, outcome: SimulationOutcome? = nil, limits: Limits = Limits()
    ) throws(StoreError) -> Write {
        try bound(new.request.utf8.count, limits.textBytes, "the request")
        try bound(new.modelVersion.utf8.count, limits.textBytes, "the model's version")
        let finish = try outcome.map { (outcome) throws(StoreError) in try EncodedOutcome(outcome, limits: limits) }
        return Write(byteCount: new.request.utf8.count + 1024 + (finish?.byteCount ?? 0)) { db in
            try db.requireJSON(new.request, "the request")
            try db.cachedStatement(
                sql: """
                    INSERT INTO simulations (public_id, configuration, request, state, model_version, created_at)
                    SELECT ?, id, ?, 'queued', ?, ? FROM configurations WHERE digest = ?
                    ON CONFLICT (public_id) DO NOTHING
                    """
            ).execute(arguments: [
                new.id.text, new.request, new.modelVersion, new.createdAt.milliseconds, new.configuration.data,
            ])
            guard db.changesCount == 1 else {
                guard try StoredConfiguration.fetch(db, digest: new.configuration) != nil else {
                    throw StoreError(.notFound, "no such configuration")
                }
                throw StoreError(.duplicate, "a simulation of this id is kept already")
            }
            if let finish { try finish.store(db, id: new.id) }
            return try StoredSimulation.existing(db, id: new.id)
        }
    }

    /// Keeps the outcome of a simulation that is queued or running, with report and scenarios.
    ///
    /// Throws here like `insertSimulation`; fails with `not-found` or `simulation-ended`.
    package static func finishSimulation(
        _ id: SimulationID, _ outcome: SimulationOutcome, limits: Limits = Limits()
    ) throws(StoreError) -> Write {
        let finish = try EncodedOutcome(outcome, limits: limits)
        return Write(byteCount: finish.byteCount) { db in
            try finish.store(db, id: id)
            return try StoredSimulation.existing(db, id: id)
        }
    }

    /// A queued simulation runs now. Fails with `not-found` or, where it is not queued, `simulation-ended`.
    package static func startSimulation(_ id: SimulationID, at moment: Timestamp) -> Write {
        transition(id, "state = 'running', started_at = ?2", [moment.milliseconds], from: "'queued'")
    }

    /// A queued or running simulation failed, with a stable code that says why.
    ///
    /// Throws `too-large` for a code beyond the limit; fails with `not-found` or `simulation-ended`.
    package static func failSimulation(
        _ id: SimulationID, failure: String, at moment: Timestamp, limits: Limits = Limits()
    ) throws(StoreError) -> Write {
        try bound(failure.utf8.count, limits.textBytes, "the failure")
        return transition(id, "state = 'failed', failure = ?3, finished_at = ?2", [moment.milliseconds, failure])
    }

    /// A queued or running simulation is given up. Fails with `not-found` or `simulation-ended`.
    package static func cancelSimulation(_ id: SimulationID, at moment: Timestamp) -> Write {
        transition(id, "state = 'cancelled', finished_at = ?2", [moment.milliseconds])
    }

    private static func transition(
        _ id: SimulationID, _ assignments: String, _ values: [any DatabaseValueConvertible & Sendable],
        from states: String = "'queued', 'running'"
    ) -> Write {
        Write { db in
            try db.cachedStatement(
                sql: "UPDATE simulations SET \(assignments) WHERE public_id = ?1 AND state IN (\(states))"
            ).execute(arguments: StatementArguments([id.text] + values))
            let changed = db.changesCount == 1
            let simulation = try StoredSimulation.existing(db, id: id)
            guard changed else { throw StoreError.ended(simulation.state) }
            return simulation
        }
    }
}

extension Write where Value == Void {
    /// Removes a simulation with report and scenarios.
    ///
    /// Fails with `not-found`, and with `simulation-running` while it is queued or running.
    package static func deleteSimulation(_ id: SimulationID) -> Write {
        Write { db in
            guard try StoredSimulation.existing(db, id: id).state.isEnd else {
                throw StoreError(.simulationRunning, "the simulation runs; cancel it first")
            }
            try db.cachedStatement(sql: "DELETE FROM simulations WHERE public_id = ?").execute(arguments: [id.text])
        }
    }
}

extension Write where Value == Int {
    /// Removes the oldest simulations that ended before a moment, at most `Limits.prunedRows`; answers how many.
    ///
    /// To be repeated until it answers 0, so that other writes get their turn.
    package static func pruneSimulations(finishedBefore moment: Timestamp, limits: Limits = Limits()) -> Write {
        Write { db in
            try db.cachedStatement(
                sql: """
                    DELETE FROM simulations WHERE id IN
                        (SELECT id FROM simulations WHERE finished_at < ? ORDER BY finished_at LIMIT ?)
                    """
            ).execute(arguments: [moment.milliseconds, limits.prunedRows])
            return db.changesCount
        }
    }
}

extension StoreError {
    static func ended(_ state: StoredState) -> StoreError {
        StoreError(.simulationEnded, "the simulation is \(state.rawValue); this change is not possible any more")
    }
}

/// An outcome made ready for the writer.
private struct EncodedOutcome: Sendable {
    let outcome: SimulationOutcome
    let blocks: ScenarioBlocks

    init(_ outcome: SimulationOutcome, limits: Limits) throws(StoreError) {
        try Write<Void>.bound(outcome.report.count, limits.reportBytes, "the report")
        self.blocks = try ScenarioBlocks(outcome.scenarios, limits: limits)
        var kept = outcome
        kept.scenarios = []
        self.outcome = kept
    }

    var byteCount: Int { outcome.report.count + blocks.byteCount + 1024 }

    func store(_ db: Database, id: SimulationID) throws {
        let summary = outcome.summary
        let row = try Row.fetchOne(
            db.cachedStatement(
                sql: """
                    UPDATE simulations SET state = 'finished', verdict = ?, scenarios = ?, holds = ?, violated = ?,
                        undecided = ?, instructions = ?, elapsed_seconds = ?, finished_at = ?
                    WHERE public_id = ? AND state IN ('queued', 'running') RETURNING id
                    """),
            arguments: [
                outcome.verdict.rawValue, summary.scenarios, summary.holds, summary.violated, summary.undecided,
                summary.instructions, outcome.elapsedSeconds, outcome.finishedAt.milliseconds, id.text,
            ])
        guard let number = try row?[integer: "id"] else {
            throw StoreError.ended(try StoredSimulation.existing(db, id: id).state)
        }
        try db.cachedStatement(sql: "INSERT INTO reports (simulation, body) VALUES (?, ?)")
            .execute(arguments: [number, outcome.report.data])
        let insert = try db.cachedStatement(
            sql: "INSERT INTO scenario_blocks (simulation, first_ordinal, directory, records) VALUES (?, ?, ?, ?)")
        for block in blocks.blocks {
            try insert.execute(arguments: [number, block.firstOrdinal, block.directory, block.records])
        }
    }
}
