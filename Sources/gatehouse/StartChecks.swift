import Glibc
import HTTPTransport

/// Throws where somebody else listens on an address; the service's own start says so only after it has made a database.
///
/// - Parameter isShared: The service shares the address among its event loops (`SO_REUSEPORT`).
func checkIsFree(_ address: SocketAddress, isShared: Bool) throws(CommandError) {
    if address.port == 0 { return }
    var hints = addrinfo()
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var found: UnsafeMutablePointer<addrinfo>?
    // What cannot be tried here is tried by the service.
    guard getaddrinfo(address.host, String(address.port), &hints, &found) == 0, let found else { return }
    defer { freeaddrinfo(found) }
    let descriptor = socket(
        found.pointee.ai_family, found.pointee.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), found.pointee.ai_protocol)
    if descriptor < 0 { return }
    defer { close(descriptor) }
    var one: Int32 = 1
    let size = socklen_t(MemoryLayout<Int32>.size)
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, size)
    if isShared { setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &one, size) }
    if bind(descriptor, found.pointee.ai_addr, found.pointee.ai_addrlen) == 0 { return }
    throw CommandError("cannot listen: \(address): bind: \(String(cString: strerror(errno)))")
}

/// The file that locks a database, as it was before a start.
struct LockFile {
    private let path: String
    private let database: String
    /// Somebody had this database before, or has it now.
    private let wasThere: Bool
    private let databaseWasThere: Bool

    /// Looks before the start.
    init(of database: String) {
        self.database = database
        path = database + ".lock"
        wasThere = access(path, F_OK) == 0
        databaseWasThere = access(database, F_OK) == 0
    }

    /// After a start that failed: removes a lock that nobody had before, on what is no database of ours.
    ///
    /// A database that was made meanwhile keeps its lock: another process may be about to take it.
    func removeIfMadeInVain() {
        if wasThere || (!databaseWasThere && access(database, F_OK) == 0) { return }
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        if descriptor < 0 { return }
        defer { close(descriptor) }
        if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { unlink(path) }
    }
}
