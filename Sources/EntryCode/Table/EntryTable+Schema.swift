extension EntryTable {
    package static let schema: JSON = .object([])
}
