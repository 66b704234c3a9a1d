package import EntryCode

/// The entry tables that ship with the program, as `GET /v1/kernels` and `gatehouse kernels` publish them.
package enum KernelDocument {
    /// Every kernel: name, description, number of entries, generation of entry code.
    package static func list(_ library: KernelLibrary = .shipped) -> JSON {
        .object([JSON.Member("kernels", .array(library.kernels.map(summary)))])
    }

    /// One kernel's table, the document as it ships.
    package static func one(_ kernel: Kernel) -> JSON { kernel.document }

    /// Every kernel as text.
    package static func text(_ library: KernelLibrary = .shipped) -> String {
        var page = TextPage()
        let width = max(12, (library.kernels.map { ascii($0.name).utf8.count }.max() ?? 0) + 2)
        for kernel in library.kernels {
            page.columns(
                kernel.name,
                "\(kernel.description) (\(counted(entries(kernel), "row")), entry code of generation \(kernel.generation.name))",
                width: width)
        }
        for fault in library.faults { page.line("fault: \(fault)", hanging: 2) }
        return page.text
    }

    private static func summary(_ kernel: Kernel) -> JSON {
        .object([
            JSON.Member("name", .string(kernel.name)),
            JSON.Member("description", .string(kernel.description)),
            JSON.Member("entries", .integer(Int64(entries(kernel)))),
            JSON.Member("generation", .string(kernel.generation.name)),
        ])
    }

    private static func entries(_ kernel: Kernel) -> Int { kernel.document["entries"]?.arrayValue?.count ?? 0 }
}
