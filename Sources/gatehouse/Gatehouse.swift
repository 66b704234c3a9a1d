import ArgumentParser
import Glibc
import Reports
import Service

/// The command line.
@main
struct Gatehouse: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gatehouse",
        abstract: "Does this kernel entry code survive every way the processor and the hypervisor can enter it?",
        version: programVersion,
        subcommands: [
            Serve.self, Check.self, Diff.self, Import.self, Listing.self, Trace.self, Kernels.self, Rules.self,
            Defects.self, Costs.self,
            Coverage.self, Token.self,
        ])

    /// Every failure exits with 2: 1 is kept for tables that are violated.
    static func main() {
        do {
            do {
                var command = try parseAsRoot()
                try command.run()
            } catch {
                // Help and the version come as errors that are none.
                guard exitCode(for: error) == .success else { throw error }
                try writeOutput(fullMessage(for: error) + "\n")
            }
        } catch {
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

/// Writes to standard output, or throws: a result that was not written is none.
///
/// A closed pipe ends the program quietly, as `head` expects.
func writeOutput(_ bytes: [UInt8]) throws(CommandError) {
    let failure = write(bytes, to: STDOUT_FILENO)
    if failure == 0 || failure == EPIPE { return }
    throw CommandError("standard output: \(String(cString: strerror(failure)))")
}

func writeOutput(_ text: String) throws(CommandError) { try writeOutput([UInt8](text.utf8)) }

/// Writes to standard error, with what a terminal would obey escaped; what fails there can be told nowhere.
func writeError(_ text: String) { _ = write([UInt8](printable(text, keepsLines: true).utf8), to: STDERR_FILENO) }

/// Writes everything; 0, or the number of the error that it ended with.
private func write(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
    var offset = 0
    while offset < bytes.count {
        let count = bytes.withUnsafeBytes { buffer in
            Glibc.write(descriptor, buffer.baseAddress.map { $0 + offset }, buffer.count - offset)
        }
        if count < 0 && errno == EINTR { continue }
        if count < 0 { return errno }
        if count == 0 { return EIO }
        offset += count
    }
    return 0
}
