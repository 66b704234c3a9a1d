import Glibc

/// An HTTP/2 client on a loopback socket, for live tests.
///
/// Reads without blocking: on a machine with two processors a blocked test would keep the tasks it waits for from running.
package final class SocketClient {
    package let view = ClientView()
    private let descriptor: Int32
    /// Whether the server closed the connection.
    package private(set) var isClosed = false
    /// Whatever came, before it was taken for frames.
    package private(set) var raw: [UInt8] = []

    /// A client that is connected; `source` is the last byte of its own loopback address.
    package init?(port: UInt16, source: UInt8? = nil, receiveBytes: Int32? = nil) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        if var size = receiveBytes {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        func call(_ function: (Int32, UnsafePointer<sockaddr>?, socklen_t) -> Int32) -> Bool {
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    function(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
        }
        var isReady = true
        if let source {
            address.sin_addr.s_addr = (0x7f00_0000 | UInt32(source)).bigEndian
            isReady = call { bind($0, $1, $2) }
        }
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        guard isReady, call({ connect($0, $1, $2) }) else {
            close(descriptor)
            return nil
        }
    }

    deinit {
        close(descriptor)
    }

    /// Sends bytes; false when the connection is gone.
    @discardableResult
    package func send(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return false }
            sent += count
        }
        return true
    }

    /// Sends what the socket takes at once; false when it takes no more.
    package func offer(_ bytes: [UInt8]) -> Bool {
        let count = bytes.withUnsafeBytes {
            Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
        }
        if count < 0 && errno != EAGAIN {
            // What came before the reset can still be read.
            takeWhatCame()
            isClosed = true
        }
        return count == bytes.count
    }

    /// Takes what has come, without waiting.
    package func takeWhatCame() {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while !isClosed {
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count < 0 && errno == EAGAIN { return }
            if count <= 0 {
                isClosed = true
                return
            }
            raw += buffer[..<count]
            view.receive(Array(buffer[..<count]))
        }
    }

    /// Blocks until a whole answer of HTTP/1.1 with a length came; whether it is 200.
    package func waitForAnswer() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65536)
        var answer: [UInt8] = []
        var wanted: Int?
        while wanted.map({ answer.count < $0 }) ?? true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count <= 0 { return false }
            answer += buffer[..<count]
            if wanted == nil, let end = answer.firstRange(of: Array("\r\n\r\n".utf8))?.upperBound {
                let head = String(decoding: answer[..<end], as: UTF8.self).lowercased()
                let line = head.split(separator: "\r\n").first { $0.hasPrefix("content-length: ") }
                wanted = end + (line.flatMap { Int($0.dropFirst(16)) } ?? 0)
            }
        }
        return answer.starts(with: Array("HTTP/1.1 200".utf8))
    }

    /// Waits, on a thread of the caller's own, until the server closes; false when it does not in that time.
    package func waitForEnd(milliseconds: Int) -> Bool {
        for _ in 0..<max(1, milliseconds / 2) {
            takeWhatCame()
            if isClosed { return true }
            usleep(2000)
        }
        return false
    }

    @discardableResult
    package func send(_ frames: Frame...) -> Bool {
        send(frames.flatMap(\.bytes))
    }

    /// Sends the preface and SETTINGS.
    package func open(_ settings: [(UInt16, UInt32)] = []) {
        send(Frame.preface + Frame.settings(settings).bytes + Frame.settingsAcknowledgement.bytes)
    }

    /// Reads until `condition` holds; false when the connection ended, or two minutes went by, before.
    @discardableResult
    package func read(until condition: (ClientView) -> Bool) async -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let end = ContinuousClock.now + .seconds(120)
        while !condition(view) {
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count < 0 && errno == EAGAIN {
                if ContinuousClock.now > end { return false }
                try? await Task.sleep(for: .milliseconds(1))
                continue
            }
            if count == 0 || (count < 0 && errno == ECONNRESET) { isClosed = true }
            if count <= 0 { return condition(view) }
            raw += buffer[..<count]
            view.receive(Array(buffer[..<count]))
        }
        return true
    }

    /// Reads until the server closes; false when it does not.
    package func readToEnd() async -> Bool {
        await read { _ in false }
        return isClosed
    }
}
