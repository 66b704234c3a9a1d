import ArgumentParser
import Glibc
import Service

/// The command line.
@main
struct Gatehouse: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gatehouse",
        abstract: "Does this kernel entry code survive every way the processor and the hypervisor can enter it?",
        version: programVersion,
        subcommands: [Serve.self, Check.self, Listing.self, Trace.self, Kernels.self, Rules.self])

    /// Every failure exits with 2: 1 is kept for tables that are violated.
    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            if exitCode(for: error) == .success { exit(withError: error) }
            if let code = error as? ExitCode { Glibc.exit(code.rawValue) }
            writeError(fullMessage(for: error) + "\n")
            Glibc.exit(2)
        }
    }
}

/// A failure with a message for the user.
struct CommandError: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}

/// Writes to standard output; a closed pipe ends the program quietly, as `head` expects.
func writeOutput(_ bytes: [UInt8]) {
    write(bytes, to: STDOUT_FILENO)
}

func writeOutput(_ text: String) { writeOutput([UInt8](text.utf8)) }

func writeError(_ text: String) { write([UInt8](text.utf8), to: STDERR_FILENO) }

private func write(_ bytes: [UInt8], to descriptor: Int32) {
    var offset = 0
    while offset < bytes.count {
        let count = bytes.withUnsafeBytes { buffer in
            Glibc.write(descriptor, buffer.baseAddress.map { $0 + offset }, buffer.count - offset)
        }
        if count < 0 && errno == EINTR { continue }
        if count <= 0 { return }
        offset += count
    }
}
