import HTTPTypes
import HTTPWire
import Synchronization

/// Finished answers of immutable resources, for the event loop to send without asking the store.
///
/// Only answers marked `immutable` are kept, keyed by path, query and Accept; the oldest go first.
final class AnswerCache: Sendable {
    struct Entry: Sendable {
        var answer: PreparedAnswer
        /// The route that it is counted with.
        var template: String
        var ticket: UInt64
    }

    /// An answer whose body somebody may still hold.
    private struct Rendering {
        var response: HTTPResponse
        weak var body: SharedBytes?
    }

    private struct State {
        var entries: [Key: Entry] = [:]
        /// What is kept, or on its way to somebody, by what it is a rendering of: it may be asked for in several ways.
        var renderings: [String: Rendering] = [:]
        var order: [(key: Key, ticket: UInt64)] = []
        var size_bytes = 0
        var ticket: UInt64 = 0
        /// Counts the calls of `clear`.
        var generation: UInt64 = 0
    }

    struct Key: Hashable, Sendable {
        var path: String
        var accept: String?

        init?(_ head: HTTPRequest) {
            guard let path = head.path else { return nil }
            self.path = path
            accept = head.headerFields[.accept]
        }

        fileprivate init(path: String, accept: String?) {
            self.path = path
            self.accept = accept
        }
    }

    private let state = Mutex(State())
    private let limit_bytes: Int
    private static let entries = 4096

    init(limit_bytes: Int) { self.limit_bytes = limit_bytes }

    /// The kept answer to a GET without a condition.
    func answer(to head: HTTPRequest) -> PreparedAnswer? {
        guard head.method == .get, let path = head.path else { return nil }
        var accept: String?
        // One walk over the fields: looking up each name walks them again.
        for field in head.headerFields {
            switch field.name.canonicalName.utf8.count {
            case 6 where field.name == .accept:
                // Several are one list; that is left to the handler.
                if accept != nil { return nil }
                accept = field.value
            case 12 where field.name == .requestID: return nil
            case 11 where field.name == .traceParent: return nil
            case 8 where field.name == .ifMatch: return nil
            case 13 where field.name == .ifNoneMatch: return nil
            default: break
            }
        }
        let key = Key(path: path, accept: accept)
        guard let entry = state.withLock({ $0.entries[key] }) else { return nil }
        return entry.answer.use() ? entry.answer : nil
    }

    /// What is kept under a key, whatever else the request says.
    func entry(_ key: Key) -> Entry? { state.withLock { $0.entries[key] } }

    /// A rendering that somebody still holds.
    func rendering(_ name: String) -> (response: HTTPResponse, body: SharedBytes)? {
        state.withLock { state in
            guard let found = state.renderings[name], let body = found.body else { return nil }
            return (found.response, body)
        }
    }

    /// Bytes of the bodies that are kept.
    var size_bytes: Int { state.withLock { $0.size_bytes } }

    /// What `keep` is told, taken before the store is read.
    var generation: UInt64 { state.withLock { $0.generation } }

    /// Keeps an answer that was made since `generation`; not where something was removed meanwhile, or a resource that
    /// is gone would be answered for ever.
    func keep(
        _ prepared: PreparedAnswer, rendering: String? = nil, for head: HTTPRequest, since generation: UInt64,
        template: String
    ) {
        guard let key = Key(head) else { return }
        let count = prepared.body.count
        state.withLock { state in
            guard state.generation == generation else { return }
            if let rendering {
                if state.renderings.count >= Self.entries {
                    state.renderings = state.renderings.filter { $0.value.body != nil }
                }
                state.renderings[rendering] = Rendering(response: prepared.response, body: prepared.body)
            }
            guard count <= limit_bytes / 4 else { return }
            state.ticket += 1
            if let old = state.entries[key] {
                state.size_bytes -= old.answer.body.count
                old.answer.revoke()
            }
            state.entries[key] = Entry(answer: prepared, template: template, ticket: state.ticket)
            state.order.append((key, state.ticket))
            state.size_bytes += count
            while state.size_bytes > limit_bytes || state.order.count > Self.entries, let oldest = state.order.first {
                state.order.removeFirst()
                if let entry = state.entries[oldest.key], entry.ticket == oldest.ticket {
                    state.size_bytes -= entry.answer.body.count
                    entry.answer.revoke()
                    state.entries[oldest.key] = nil
                }
            }
        }
    }

    /// Forgets everything; after a removal.
    func clear() {
        state.withLock { state in
            let generation = state.generation
            for entry in state.entries.values { entry.answer.revoke() }
            state = State()
            state.generation = generation + 1
        }
    }
}
