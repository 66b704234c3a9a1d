import GRDB

/// Something to be done by the writer, made by the static functions of its extensions.
///
/// Preparation that costs time (digests, encoding) and every check that needs no database happens where the value is
/// made, on the caller's thread, and throws there.
package struct Write<Value: Sendable>: Sendable {
    /// What it holds in memory while it waits, roughly.
    let byteCount: Int
    /// Runs inside a transaction, perhaps more than once: it must have no effect but on the database.
    let body: @Sendable (Database) throws -> Value

    init(byteCount: Int = 256, body: @escaping @Sendable (Database) throws -> Value) {
        self.byteCount = byteCount
        self.body = body
    }
}
