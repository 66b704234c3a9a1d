import API
import Foundation
import HTTPTransport
import HTTPWire
import Logging

extension CountersSnapshot {
    /// The counters of the transport for `/metrics`.
    var families: [MetricFamily] {
        func counter(_ name: String, _ help: String, _ value: Int) -> MetricFamily {
            MetricFamily(name, .counter, help).with(Double(value))
        }
        func gauge(_ name: String, _ help: String, _ value: Int) -> MetricFamily {
            MetricFamily(name, .gauge, help).with(Double(value))
        }
        var trips = MetricFamily(
            "gatehouse_http_guard_trips_total", .counter, "How often each guard acted, by its name.")
        // All of them, so that a rate can be taken before the first time.
        for reason in Guard.allCases { trips = trips.with(Double(guards[reason] ?? 0), [("guard", reason.rawValue)]) }
        return [
            counter("gatehouse_connections_total", "Connections accepted.", connectionsAccepted),
            gauge("gatehouse_connections_open", "Connections open.", connectionsOpen),
            counter("gatehouse_requests_total", "Requests handed to the application or refused by it.", requests),
            gauge("gatehouse_requests_in_work", "Requests without an answer.", requestsInWork),
            gauge("gatehouse_held_body_bytes", "Bytes of request bodies in memory.", heldBodyBytes),
            counter("gatehouse_received_bytes_total", "Bytes received.", bytesReceived),
            counter("gatehouse_sent_bytes_total", "Bytes sent.", bytesSent), trips,
        ]
    }
}

/// What the system knows about the process.
enum ProcessMetrics {
    static var families: [MetricFamily] {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        let descriptors = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
        return [
            MetricFamily("process_cpu_seconds_total", .counter, "Processor time.")
                .with(seconds(usage.ru_utime) + seconds(usage.ru_stime)),
            MetricFamily("process_resident_memory_bytes", .gauge, "Resident memory.").with(Double(residentBytes)),
            MetricFamily("process_open_fds", .gauge, "Open file descriptors.").with(Double(descriptors)),
        ]
    }

    /// Resident memory, from `/proc/self/statm`.
    static var residentBytes: Int {
        guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return 0 }
        let words = text.split(separator: " ")
        return (words.count > 1 ? Int(words[1]) ?? 0 : 0) * Int(sysconf(Int32(_SC_PAGESIZE)))
    }

    /// Free bytes of the disk that a path is on; nil where it cannot be asked.
    static func freeBytes(at path: String) -> Int? {
        var state = statvfs()
        guard statvfs(path, &state) == 0 else { return nil }
        return Int(clamping: state.f_bavail) * Int(clamping: state.f_frsize)
    }
}

extension RequestRecord {
    /// The record as fields of a structured log.
    var metadata: Logger.Metadata {
        var fields: Logger.Metadata = [
            "id": "\(id)", "method": "\(method)", "path": "\(path)", "route": "\(route)", "status": "\(status)",
            "bytes": "\(bytes)", "seconds": "\(seconds)", "peer": "\(peer)",
        ]
        if let token { fields["token"] = "\(token)" }
        return fields
    }
}
