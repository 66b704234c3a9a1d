package import EntryCode

extension Report: JSONWritable {
    /// The report as a tree, members as in `bytes`.
    package var json: JSON { jsonTree }

    /// The report as compact JSON.
    ///
    /// On the path of `POST /v1/checks`, so written without an intermediate tree.
    package var bytes: [UInt8] {
        jsonBytes(capacity_bytes: 4096 + costs.count * 224 + (violations.count + warnings.count) * 1536)
    }

    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        sink.member("id", id)
        sink.member("configuration", configuration)
        sink.member("kernel", kernel)
        sink.member("xen", xen)
        sink.member("state", state)
        sink.member("verdict", verdict)
        sink.member("request", request)
        sink.member("summary", summary)
        sink.member("violations", violations)
        sink.member("warnings", warnings)
        sink.member("undecided", undecided)
        sink.member("cut_short", cutShort)
        sink.member("reasons", reasons)
        sink.member("costs", costs)
        sink.key("model")
        sink.beginObject()
        sink.member("version", modelVersion)
        sink.key("limits")
        sink.beginObject()
        for limit in limits {
            sink.key(data: limit.name)
            sink.integer(limit.value)
        }
        sink.endObject()
        sink.endObject()
        if let created { sink.member("created", created) }
        sink.endObject()
    }
}

extension Report.Configuration: JSONWritable {
    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        sink.member("id", id)
        sink.member("name", name)
        sink.endObject()
    }
}

extension Report.Request: JSONWritable {
    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        sink.member("platforms", platforms)
        sink.member("scenarios", scenarios)
        sink.member("nesting", nesting)
        sink.member("stop_at_first", stopAtFirst)
        sink.endObject()
    }
}

extension Report.Summary: JSONWritable {
    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        sink.member("scenarios", scenarios)
        sink.member("holds", holds)
        sink.member("violated", violated)
        sink.member("undecided", undecided)
        sink.member("instructions", instructions)
        sink.member("states", states)
        sink.member("nesting", nesting)
        sink.member("nested_runs", nestedRuns)
        sink.key("elapsed_seconds")
        sink.number(elapsed_seconds)
        sink.member("warnings", warnings)
        sink.endObject()
    }
}

extension Report.Violation: JSONWritable {
    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        sink.member("scenario", scenario)
        sink.member("rule", rule)
        sink.member("severity", severity)
        sink.member("at", at)
        sink.member("explanation", explanation)
        sink.key("consequence")
        if let consequence { consequence.write(to: &sink) } else { sink.null() }
        sink.member("console", console)
        sink.key("links")
        sink.beginObject()
        if let trace { sink.member("trace", trace) }
        sink.endObject()
        if let known { sink.member("known", known) }
        sink.endObject()
    }
}

extension Report.KnownDefect: JSONWritable {
    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        sink.member("title", title)
        sink.member("why", why)
        sink.member("fixed_by", fixedBy)
        sink.member("fixed_in", fixedIn)
        sink.member("cve", cve)
        sink.endObject()
    }
}

extension Report.Location: JSONWritable {
    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        sink.member("routine", routine)
        sink.member("step", step)
        sink.member("instruction", instruction)
        sink.member("source", source)
        sink.endObject()
    }
}

extension Report.Consequence: JSONWritable {
    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        sink.member("rule", rule)
        sink.member("vector", vector)
        sink.member("error_code", errorCode)
        sink.member("text", text)
        sink.endObject()
    }
}

extension Report.Undecided: JSONWritable {
    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        sink.member("scenario", scenario)
        sink.member("limit", limit)
        sink.endObject()
    }
}

extension Report.CutShort: JSONWritable {
    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        sink.member("limit", limit)
        sink.member("scenarios", scenarios)
        sink.endObject()
    }
}

extension Report.Reason: JSONWritable {
    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        sink.member("rule", rule)
        sink.member("pointer", pointer)
        sink.member("message", message)
        sink.member("location", location)
        sink.endObject()
    }
}

extension Report.Cost: JSONWritable {
    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        sink.member("scenario", scenario)
        sink.member("instructions", instructions)
        sink.member("memory_words", memoryWords)
        sink.member("hypervisor_entries", hypervisorEntries)
        sink.member("msr_accesses", msrAccesses)
        sink.member("cr3_writes", cr3Writes)
        sink.member("serialising_instructions", serialisingInstructions)
        sink.endObject()
    }
}
