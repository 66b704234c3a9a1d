import GRDB

/// Why the store did not do what it was asked to.
package struct StoreError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Stable names; the raw value is what clients see.
    package enum Code: String, Sendable, CaseIterable {
        // What the caller asked for.
        case notFound = "not-found"
        case ambiguousReference = "ambiguous-reference"
        case referenceTooShort = "reference-too-short"
        case invalidName = "invalid-name"
        case invalidCursor = "invalid-cursor"
        case invalidValue = "invalid-value"
        case tooLarge = "too-large"
        case duplicate = "duplicate"
        case simulationRunning = "simulation-running"
        case simulationEnded = "simulation-ended"
        // The state of the store; a later attempt may succeed.
        case busy = "busy"
        case closed = "closed"
        case interrupted = "interrupted"
        case diskFull = "disk-full"
        case inputOutput = "input-output"
        // The file.
        case inUse = "in-use"
        case cannotOpen = "cannot-open"
        case readOnly = "read-only"
        case notADatabase = "not-a-database"
        case corrupt = "corrupt"
        case foreignDatabase = "foreign-database"
        case newerDatabase = "newer-database"
        case migrationChanged = "migration-changed"
        case migrationFailed = "migration-failed"
        // A defect of the program.
        case `internal` = "store-internal"
    }

    /// What happened, for programs.
    package let code: Code
    /// What happened and what to do, for people; holds no document, report or key.
    package let message: String
    /// The configurations an ambiguous prefix could mean, in order; at most `Limits.candidates`.
    package let candidates: [Digest]
    /// SQLite's extended result code, where SQLite failed.
    package let resultCode: Int32?

    init(_ code: Code, _ message: String, candidates: [Digest] = [], resultCode: Int32? = nil) {
        self.code = code
        self.message = message
        self.candidates = candidates
        self.resultCode = resultCode
    }

    package var description: String {
        "\(code.rawValue): \(message)" + (resultCode.map { " (SQLite result \($0))" } ?? "")
    }
}

extension StoreError {
    /// Any error that comes out of GRDB, as one of ours.
    init(_ error: any Error) {
        switch error {
        case let error as StoreError: self = error
        case let error as DatabaseError: self.init(database: error)
        default: self.init(.internal, "unexpected error of type \(type(of: error))")
        }
    }

    private init(database error: DatabaseError) {
        let code: Code
        let message: String
        switch error.resultCode {
        case .SQLITE_FULL: (code, message) = (.diskFull, "no room for the database file; free space and try again")
        case .SQLITE_IOERR, .SQLITE_PROTOCOL:
            (code, message) = (
                .inputOutput, "the file system failed; look whether the write is there before repeating it"
            )
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            (code, message) = (.busy, "the database is locked by another program; try again")
        case .SQLITE_NOMEM: (code, message) = (.busy, "SQLite is out of memory; try again")
        case .SQLITE_INTERRUPT: (code, message) = (.interrupted, "the operation was interrupted")
        case .SQLITE_CORRUPT, .SQLITE_FORMAT:
            (code, message) = (.corrupt, "the database file is damaged; restore a backup")
        case .SQLITE_NOTADB: (code, message) = (.notADatabase, "the file is not an SQLite database")
        case .SQLITE_CANTOPEN: (code, message) = (.cannotOpen, "the database file cannot be opened")
        case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_AUTH:
            (code, message) = (.readOnly, "the database file cannot be written; check its owner and mode")
        case .SQLITE_TOOBIG: (code, message) = (.tooLarge, "a value is larger than SQLite allows")
        // The messages of constraints name tables and columns, never values.
        case .SQLITE_CONSTRAINT: (code, message) = (.invalidValue, error.message ?? "a constraint of the schema failed")
        default: (code, message) = (.internal, error.message ?? "SQLite failed")
        }
        self.init(code, message, resultCode: error.extendedResultCode.rawValue)
    }

    /// Runs a body and turns whatever it throws into a `StoreError`.
    static func translating<Value>(_ body: () throws -> Value) throws(StoreError) -> Value {
        do { return try body() } catch { throw StoreError(error) }
    }
}
