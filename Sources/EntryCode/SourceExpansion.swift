package import Assembler
import Machine

/// What a generation knows about the files of a kernel tree that it replaces.
package struct TreeDescription: Sendable {
    /// The names that a file defines, `@entries` and `@thunks` for the rows of a table.
    package var homes: [String: Set<String>] = [:]
    /// By platform: labels of jumps that the kernel rewrites as it boots, and where they lead then.
    package var rewrittenJumps: [String: [String: String]] = [:]
    /// Definitions for the preprocessor and for the assembler that stand for headers.
    package var header: [UInt8] = []
    package var macros = SourceText(name: "tree/tree.s", bytes: [])
    /// C functions that the sources of kernels call and the listings do not.
    package var functions: [CFunction] = []
    /// The release before which C expects other things than the models do, and the rules that ask for them.
    package var conventions: (since: KernelRelease, rules: Set<String>)?
    /// Names that older kernels have for the roles of `symbols`.
    package var olderNames: [String: String] = [:]
    /// Functions that are others from a release on, or before one.
    package var changes: [(since: KernelRelease, before: KernelRelease, functions: [CFunction])] = []
    /// Features that listings and headers define: `X86_FEATURE_…`, `X86_BUG_…`.
    package var features: Set<String> = []
}

/// The sources of a table, preprocessed for one platform.
struct SourceExpansion {
    /// In the order in which they are assembled.
    var units: [SourceText] = []
    /// Names that the generation's listings must not give.
    var excluded: Set<String> = []
    var problems: [Diagnostic] = []
    /// Names that the preprocessor was asked for and that nothing defines: Kconfig symbols that are off, and what headers define
    /// that are not read.
    var off: Set<String> = []
    /// Features that nothing defines: absent.
    var absentFeatures: Set<String> = []
    /// Names behind `xen_pv_trap` in the files.
    var thunks: Set<String> = []
    /// Files of the tree that were included and are not there.
    var missing: Set<String> = []

    init(_ sources: EntryTable.Sources, options: [String: Bool], generation: Generation) {
        let tree = generation.tree
        for (path, names) in tree.homes where sources.hasHome(path) { excluded.formUnion(names) }
        let files = Dictionary(
            sources.files.map { ($0.path, Array($0.text.utf8)) }, uniquingKeysWith: { one, _ in one })
        var preprocessor = Preprocessor { name, from in
            SourceExpansion.path(of: name, from: from, among: files).flatMap { path in files[path].map { (path, $0) } }
        }
        for (option, value) in options where value {
            for symbol in EntryTable.configSymbols(option) { preprocessor.define(symbol, "1") }
        }
        for (symbol, value) in sources.config where value { preprocessor.define(symbol, "1") }
        preprocessor.prime(with: tree.header, named: "tree/tree.h")
        let primed = preprocessor
        // Headers that nothing includes, because the file that does is not there, are read on their own, and first.
        let assembled = sources.files.filter { $0.path.hasSuffix(".S") }.map(\.path)
        var included: Set<String> = []
        var texts: [(path: String, text: PreprocessedText)] = []
        for path in assembled {
            // Each file is preprocessed on its own.
            var unit = primed
            texts.append((path, unit.process(files[path] ?? [], named: path)))
            included.formUnion(unit.included)
            finish(unit)
        }
        let entries = "arch/x86/include/asm/idtentry.h"
        if let names = tree.homes[entries], sources.text(entries) != nil, !included.contains(entries) {
            // Its macros come with the file that includes it: alone it gives rows.
            excluded.subtract(names)
            included.insert(entries)
        }
        for file in sources.files where file.path.hasSuffix(".h") && !included.contains(file.path) {
            var unit = primed
            texts.insert((file.path, unit.process(files[file.path] ?? [], named: file.path)), at: 0)
            finish(unit)
        }
        for file in sources.files where file.path.contains("/xen/") {
            for line in file.text.split(separator: "\n") where line.hasPrefix("xen_pv_trap") {
                let words = line.split { $0 == " " || $0 == "\t" }
                if words.count >= 2 { thunks.insert(String(words[1])) }
            }
        }
        for (path, text) in texts {
            var source = SourceText(name: path, bytes: text.text)
            source.role = .kernel
            source.origins = text.origins
            source.originFiles = text.files
            units.append(source)
            problems += text.problems
            absentFeatures.formUnion(SourceExpansion.features(in: text.text).subtracting(tree.features))
        }
    }

    private mutating func finish(_ unit: Preprocessor) {
        off.formUnion(unit.undefined)
        missing.formUnion(unit.missing)
    }

    /// The file that an include means: beside the including one, below `arch/x86/include`, or by the end of its path.
    static func path(of name: String, from: String, among files: [String: [UInt8]]) -> String? {
        var parts = from.split(separator: "/").dropLast().map(String.init)
        for part in name.split(separator: "/") {
            if part == ".." {
                if !parts.isEmpty { parts.removeLast() }
            } else if part != "." {
                parts.append(String(part))
            }
        }
        let beside = parts.joined(separator: "/")
        if files[beside] != nil { return beside }
        for root in ["arch/x86/include/", "arch/x86/", "include/"] where files[root + name] != nil {
            return root + name
        }
        // `<../entry/calling.h>` is found from any include folder.
        let tail = "/" + name.split(separator: "/").filter { $0 != ".." && $0 != "." }.joined(separator: "/")
        guard name.contains("..") else { return nil }
        return files.keys.filter { $0.hasSuffix(tail) }.min()
    }

    /// Names of processor features and bugs in a text.
    static func features(in text: [UInt8]) -> Set<String> {
        var found: Set<String> = []
        for prefix in ["X86_FEATURE_", "X86_BUG_"] {
            let wanted = Array(prefix.utf8)
            var position = 0
            while let start = text[position...].firstIndex(of: wanted[0]) {
                position = start + 1
                guard start + wanted.count < text.count, text[start..<(start + wanted.count)].elementsEqual(wanted),
                    start == 0 || !Preprocessor.isNameByte(text[start - 1])
                else { continue }
                var stop = start + wanted.count
                while stop < text.count, Preprocessor.isNameByte(text[stop]) { stop += 1 }
                found.insert(String(decoding: text[start..<stop], as: UTF8.self))
                position = stop
            }
        }
        return found
    }
}

extension EntryTable {
    /// What became of the sources of a table on all platforms together.
    package struct SourceInspection: Sendable {
        /// `file:line:column: message`, each once.
        package var statements: [String] = []
        /// Symbols that nothing defines.
        package var undefined: Set<String> = []
        /// Those of them that are data, `file:line:column: message`, each once.
        package var data: [String] = []
        /// Names in rows of the table that no code has.
        package var undefinedRows: Set<String> = []
        package var off: Set<String> = []
        package var absentFeatures: Set<String> = []
    }

    /// Assembles the sources for every platform, before and after alternatives are applied.
    package func inspectSources(kernels: KernelLibrary = .shipped) -> SourceInspection {
        var inspection = SourceInspection()
        guard let kernel = kernels.kernel(named: kernel) else { return inspection }
        var known: Set<String> = []
        func note(_ statement: String) {
            if known.insert(statement).inserted { inspection.statements.append(statement) }
        }
        for platform in Platform.allCases {
            for isPatched in kernel.generation.bootsUnpatched ? [true, false] : [true] {
                let expansion = Expansion(
                    table: self, platform: platform, generation: kernel.generation, standard: kernel.document,
                    isPatched: isPatched)
                if let sources = expansion.sources {
                    for problem in sources.problems { note(problem.description) }
                    inspection.off.formUnion(sources.off)
                    inspection.absentFeatures.formUnion(sources.absentFeatures)
                }
                let gaps: [Program.Gap]
                do throws(AssemblyFailure) {
                    let program = try assemble(expansion.assemblyInput())
                    gaps = program.gaps
                    for name in expansion.namesInRows where program.address(of: name) == nil {
                        inspection.undefinedRows.insert(name)
                    }
                } catch {
                    for diagnostic in error.diagnostics { note(diagnostic.description) }
                    continue
                }
                for gap in gaps {
                    if let symbol = gap.symbol {
                        if inspection.undefined.insert(symbol).inserted, gap.kind != .code {
                            inspection.data.append("\(gap.location): \(gap.message)")
                        }
                    } else {
                        note("\(gap.location): \(gap.message)")
                    }
                }
            }
        }
        return inspection
    }
}
