import API
import ArgumentParser
import Service

struct Token: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make tokens for 'gatehouse serve --tokens'.", subcommands: [New.self])

    struct New: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a token: it is shown once, and the service gets its digest.",
            discussion: """
                With --file the line for the service is added to that file; the service reads it at its start and on SIGHUP. \
                Without, both are printed. To take a token back, remove its line.
                """)

        @Option(help: "What it allows: read, submit, or admin; each includes those before it.")
        var scope = "submit"

        @Option(help: "A name for whoever reads the file.")
        var name = ""

        @Option(help: ArgumentHelp("File of tokens; made if it is not there.", valueName: "file"))
        var file: String?

        func validate() throws {
            if Scope(rawValue: scope) == nil {
                throw ValidationError("the scope is one of: \(Scope.allCases.map(\.rawValue).joined(separator: ", "))")
            }
        }

        func run() throws {
            var generator = SystemRandomNumberGenerator()
            let token = NewToken(scope: Scope(rawValue: scope) ?? .read, name: name) { generator.next() }
            if let file {
                try TokenList.append(token.line, to: file)
                try writeOutput(token.token + "\n")
            } else {
                try writeOutput("token: \(token.token)\nline for the file: \(token.line)\n")
            }
        }
    }
}
