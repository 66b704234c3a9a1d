package import EntryCode
import Machine
package import Verification

/// One scenario step by step: what ran, what changed, what the stack looked like.
package struct TraceReport: Sendable, Equatable {
    /// The row of the scenario, with its violations.
    package var record: ScenarioRecord
    /// In the order of execution.
    package var steps: [TraceStep]
    /// In the order in which they were taken.
    package var pictures: [StackPicture]
    /// The trace stops before the run did.
    package var isTruncated: Bool

    /// Joins a result and what a recorder kept of its run.
    ///
    /// - Parameter simulation: Id of the simulation that it belongs to; nil where nothing is kept.
    package init(_ result: ScenarioResult, _ recorder: TraceRecorder, simulation: String? = nil) {
        record = ScenarioRecord(result, simulation: simulation)
        steps = recorder.steps
        pictures = recorder.pictures
        isTruncated = recorder.isTruncated
    }

    /// The trace as newline-delimited JSON: the scenario, each step, each picture, the end; `kind` says which.
    package var ndjson: [UInt8] {
        var sink = JSONByteSink(capacity_bytes: 4096 + steps.count * 512)
        func line(_ kind: String, _ write: (inout JSONByteSink) -> Void) {
            sink.beginObject()
            sink.member("kind", kind)
            write(&sink)
            sink.endObject()
            sink.newline()
        }
        line("scenario") { $0.member("scenario", record) }
        for step in steps { line("step") { step.writeMembers(to: &$0) } }
        for picture in pictures { line("picture") { picture.writeMembers(to: &$0) } }
        line("end") {
            $0.member("verdict", record.verdict)
            $0.member("ending", record.ending)
            $0.member("truncated", isTruncated)
        }
        return sink.bytes
    }
}

extension TraceReport: JSONWritable {
    /// The trace as a tree.
    package var json: JSON { jsonTree }

    /// The trace as compact JSON.
    package var bytes: [UInt8] { jsonBytes(capacity_bytes: 4096 + steps.count * 512) }

    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        sink.member("scenario", record)
        sink.member("steps", steps)
        sink.member("pictures", pictures)
        sink.member("truncated", isTruncated)
        sink.endObject()
    }
}

extension TraceStep: JSONWritable {
    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        writeMembers(to: &sink)
        sink.endObject()
    }

    func writeMembers<Sink: JSONSink>(to sink: inout Sink) {
        sink.member("step", Int(step))
        sink.member("address", hexadecimal(address))
        sink.member("symbol", symbol)
        sink.member("instruction", instruction)
        sink.member("activation", Int(activation))
        sink.key("changes")
        sink.beginArray()
        for change in changes {
            sink.beginObject()
            sink.member("name", change.name)
            sink.member("old", hexadecimal(change.old))
            sink.member("new", hexadecimal(change.new))
            sink.endObject()
        }
        sink.endArray()
        sink.key("writes")
        sink.beginArray()
        for write in writes {
            sink.beginObject()
            sink.member("address", hexadecimal(write.address))
            sink.member("value", hexadecimal(write.value))
            sink.member("size_bytes", write.size_bytes)
            sink.endObject()
        }
        sink.endArray()
        sink.member("outcome", outcome)
        sink.member("source", source)
    }
}

extension StackPicture: JSONWritable {
    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        writeMembers(to: &sink)
        sink.endObject()
    }

    func writeMembers<Sink: JSONSink>(to sink: inout Sink) {
        sink.member("step", Int(step))
        sink.member("title", title)
        sink.key("words")
        sink.beginArray()
        for word in words {
            sink.beginObject()
            sink.member("address", hexadecimal(word.address))
            sink.member("value", hexadecimal(word.value))
            sink.member("owner", word.owner)
            sink.member("is_stack_pointer", word.isStackPointer)
            sink.endObject()
        }
        sink.endArray()
    }
}
