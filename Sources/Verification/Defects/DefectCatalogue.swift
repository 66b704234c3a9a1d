import EntryCode

/// Every defect that the program knows: one file each, embedded like the kernels.
package struct DefectCatalogue: Sendable {
    package let defects: [Defect]
    /// Files that could not be understood: a fault of the program's own data.
    package let faults: [String]

    package static let shipped = DefectCatalogue(
        files: EmbeddedFiles.all.map { file in
            (
                path: file.path.withUTF8Buffer { String(decoding: $0, as: UTF8.self) },
                text: file.text.withUTF8Buffer { [UInt8]($0) }
            )
        })

    /// - Parameter files: Names such as `xenpv-int3-no-gap.json` and their text.
    package init(files: [(path: String, text: [UInt8])]) {
        var defects: [Defect] = []
        var faults: [String] = []
        for file in files where file.path.hasSuffix(".json") {
            do throws(TableFaults) {
                let defect = try Defect.read(file.text)
                if file.path != defect.id + ".json" { faults.append("\(file.path): its id is '\(defect.id)'") }
                defects.append(defect)
            } catch {
                faults += error.faults.map { "\(file.path): \($0.pointer): \($0.message)" }
            }
        }
        self.defects = defects.sorted { ($0.year, $0.id) < ($1.year, $1.id) }
        self.faults = faults
    }

    package subscript(id: String) -> Defect? { defects.first { $0.id == id } }
}
