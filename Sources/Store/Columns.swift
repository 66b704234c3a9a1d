import Foundation
import GRDB

// Bytes cross into GRDB as Data; nothing else of the target knows Foundation's types.

extension Digest {
    var data: Data { Data(bytes) }
}

extension Row {
    // GRDB's own subscripts trap on a value of another type; a damaged file must not end the process.

    func value<Value: DatabaseValueConvertible>(_ column: String) throws -> Value {
        guard let value = Value.fromDatabaseValue(self[column] as DatabaseValue) else { throw Self.unreadable(column) }
        return value
    }

    func valueIfAny<Value: DatabaseValueConvertible>(_ column: String) throws -> Value? {
        try (self[column] as DatabaseValue).isNull ? nil : value(column)
    }

    subscript(bytes column: String) -> [UInt8] { get throws { [UInt8](try value(column) as Data) } }
    subscript(text column: String) -> String { get throws { try value(column) } }
    subscript(textIfAny column: String) -> String? { get throws { try valueIfAny(column) } }
    subscript(integer column: String) -> Int64 { get throws { try value(column) } }
    subscript(count column: String) -> Int { get throws { try value(column) } }

    subscript(digest column: String) -> Digest {
        get throws {
            guard let digest = Digest(bytes: try self[bytes: column]) else { throw Self.unreadable(column) }
            return digest
        }
    }

    subscript(moment column: String) -> Timestamp {
        get throws { Timestamp(milliseconds: try self[integer: column]) }
    }

    subscript(momentIfAny column: String) -> Timestamp? {
        get throws { try (valueIfAny(column) as Int64?).map(Timestamp.init(milliseconds:)) }
    }

    func word<Word: RawRepresentable<String>>(_ column: String) throws -> Word {
        guard let word = Word(rawValue: try self[text: column]) else { throw Self.unreadable(column) }
        return word
    }

    func wordIfAny<Word: RawRepresentable<String>>(_ column: String) throws -> Word? {
        try (self[column] as DatabaseValue).isNull ? nil : word(column)
    }

    private static func unreadable(_ column: String) -> StoreError {
        StoreError(.corrupt, "column \(column) holds what this program never writes; check the database file")
    }
}

extension [UInt8] {
    var data: Data { Data(self) }
}

extension Database {
    /// Throws `invalid-value` for text that is not JSON.
    func requireJSON(_ text: String, _ what: String) throws {
        let isJSON = try Bool.fetchOne(cachedStatement(sql: "SELECT json_valid(?)"), arguments: [text]) ?? false
        guard isJSON else { throw StoreError(.invalidValue, "\(what) is not JSON") }
    }
}
