package import API
import Foundation

extension TokenList {
    /// Reads the tokens of a file, which nobody but its owner and group may read.
    package static func read(file path: String) throws(ServiceError) -> TokenList {
        let text: String
        do {
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            let mode = (attributes[.posixPermissions] as? NSNumber)?.intValue ?? 0
            if mode & 0o007 != 0 {
                throw ServiceError("the tokens in \(path) are open to everybody: chmod o= \(path)")
            }
            if (attributes[.size] as? NSNumber)?.intValue ?? 0 > TokenList.fileBytes {
                throw ServiceError("\(path) is too large for a file of tokens")
            }
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch let error as ServiceError {
            throw error
        } catch {
            throw ServiceError("the tokens in \(path) cannot be read")
        }
        do throws(Fault) { return try TokenList(text) } catch {
            throw ServiceError("the tokens in \(path) cannot be used: \(error)")
        }
    }

    /// Adds a line to a file, which is made for its owner alone where it is not there.
    package static func append(_ line: String, to path: String) throws(ServiceError) {
        let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw ServiceError("\(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        let bytes = Array((line + "\n").utf8)
        guard write(descriptor, bytes, bytes.count) == bytes.count else {
            throw ServiceError("\(path): \(String(cString: strerror(errno)))")
        }
    }
}
