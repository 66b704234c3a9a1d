package import EntryCode
package import XenPV

/// A defect that entry code or a hypervisor once had, and how it is tried here.
package struct Defect: Sendable {
    /// Stable id, also the name of its file in `defects/`.
    package var id: String
    package var title: String
    package var year: Int
    /// Where it was: `linux`, `linux-on-xen-pv`, `xen`, others.
    package var os: String
    /// Versions that had it.
    package var affected: String
    /// Commits that repaired it.
    package var commits: [String]
    package var cve: [String]
    package var xsa: [String]
    /// `config`, `asm`, `hv` or `adjacent`: where it lay.
    package var layer: String
    /// What was wrong, and what is right.
    package var wrong: String
    package var right: String
    package var trigger: Trigger
    package var outcome: String
    package var model: Model

    /// What makes it show.
    package struct Trigger: Sendable, Hashable {
        package var event: String
        package var context: String
        package var platform: String
        package var nested: String
        package var test: String
    }

    package enum Model: Sendable {
        case modelled(DefectModel)
        /// Why it cannot be, or not yet.
        case notModelled(reason: String)
    }

    package var modelled: DefectModel? {
        if case .modelled(let model) = model { return model }
        return nil
    }
}

/// A broken and a fixed entry table, derived from one that ships, and what tells them apart.
package struct DefectModel: Sendable {
    /// The table that both are derived from.
    package var kernel: String
    /// Changes of both tables: what the defect needs beside itself.
    package var both: [TableEdit]
    package var broken: [TableEdit]
    package var fixed: [TableEdit]
    /// Scenarios that both tables run.
    package var scenarios: [String]
    package var platforms: [Platform]
    package var xen: XenVersion?
    /// Events inside events that it needs.
    package var nesting: Int
    /// The rule that finds it.
    package var rule: String
    /// Words of the explanation: found for this reason and no other.
    package var evidence: String
    /// Pattern of the scenarios in which it is to be found, nested events included.
    package var foundIn: String
    /// How the model differs from history, where it does.
    package var note: String
}

extension Defect {
    package static let keys = [
        "id", "title", "year", "os", "affected", "commits", "cve", "xsa", "layer", "wrong", "right", "trigger",
        "outcome", "model", "not_modelled",
    ]
    static let triggerKeys = ["event", "context", "platform", "nested", "test"]
    static let modelKeys = [
        "kernel", "both", "broken", "fixed", "scenarios", "platforms", "xen", "nesting", "rule", "evidence", "found_in",
        "note",
    ]

    /// Reads a file of `defects/`; every fault of it has a pointer.
    package static func read(_ bytes: [UInt8]) throws(TableFaults) -> Defect {
        var reader = TableReader(limits: TableLimits())
        let parsed: JSONDocument
        do throws(JSONSyntaxError) {
            parsed = try JSON.parse(bytes, limits: JSONLimits())
        } catch {
            throw TableFaults(
                faults: [TableFault(error.pointer, error.code, "\(error.message) (line \(error.line))")], isSyntax: true
            )
        }
        for duplicate in parsed.duplicateKeys {
            reader.fault(duplicate, "duplicate-key", "this key already stands there")
        }
        guard let keys = reader.object(parsed.value, "", keys: Defect.keys) else { throw reader.found }
        func text(_ key: String) -> String {
            let value = reader.require(keys[key], keys[key] != nil, "", key)
            return reader.string(value, "/" + key, limit_bytes: 4096) ?? ""
        }
        func list(_ key: String) -> [String] { reader.strings(keys[key], "/" + key) }
        var defect = Defect(
            id: text("id"), title: text("title"),
            year: Int(reader.integer(keys["year"], "/year", in: 1980...2100) ?? 0), os: text("os"),
            affected: text("affected"), commits: list("commits"), cve: list("cve"), xsa: list("xsa"),
            layer: text("layer"), wrong: text("wrong"), right: text("right"),
            trigger: Trigger(event: "", context: "", platform: "", nested: "", test: ""), outcome: text("outcome"),
            model: .notModelled(reason: ""))
        if let trigger = keys["trigger"], let members = reader.object(trigger, "/trigger", keys: triggerKeys) {
            func part(_ key: String) -> String {
                reader.string(members[key], "/trigger/" + key, limit_bytes: 1024) ?? ""
            }
            defect.trigger = Trigger(
                event: part("event"), context: part("context"), platform: part("platform"), nested: part("nested"),
                test: part("test"))
        }
        if (keys["model"] == nil) == (keys["not_modelled"] == nil) {
            reader.fault("", "contradiction", "exactly one of 'model' and 'not_modelled' is needed")
        } else if let value = keys["model"] {
            if let model = reader.model(value) { defect.model = .modelled(model) }
        } else {
            let reason = text("not_modelled")
            if reason.isEmpty { reader.fault("/not_modelled", "empty", "a reason is needed") }
            defect.model = .notModelled(reason: reason)
        }
        if !reader.faults.isEmpty { throw reader.found }
        return defect
    }
}

extension TableReader {
    fileprivate mutating func strings(_ value: JSON?, _ place: String) -> [String] {
        guard let value else { return [] }
        var result: [String] = []
        for (index, item) in (array(value, place, limit: 64) ?? []).enumerated() {
            if let text = string(item, "\(place)/\(index)", limit_bytes: 1024) { result.append(text) }
        }
        return result
    }

    fileprivate mutating func model(_ value: JSON) -> DefectModel? {
        guard let keys = object(value, "/model", keys: Defect.modelKeys) else { return nil }
        let kernel = require(string(keys["kernel"], "/model/kernel"), keys["kernel"] != nil, "/model", "kernel") ?? ""
        var model = DefectModel(
            kernel: kernel, both: [], broken: [], fixed: [], scenarios: strings(keys["scenarios"], "/model/scenarios"),
            platforms: Platform.allCases, xen: nil, nesting: 0, rule: "", evidence: "", foundIn: "*",
            note: "")
        if let both = keys["both"] { model.both = edits(both, "/model/both") }
        if let broken = keys["broken"] { model.broken = edits(broken, "/model/broken") }
        if let fixed = keys["fixed"] { model.fixed = edits(fixed, "/model/fixed") }
        if model.broken == model.fixed {
            fault("/model", "no-difference", "the broken and the fixed table are the same")
        }
        if model.scenarios.isEmpty { fault("/model/scenarios", "missing-key", "at least one pattern is needed") }
        if let names = keys["platforms"] {
            model.platforms = []
            for (index, name) in strings(names, "/model/platforms").enumerated() {
                if let platform = Platform(rawValue: name) {
                    model.platforms.append(platform)
                } else {
                    unknown(
                        name, "/model/platforms/\(index)", "platform", among: Platform.allCases.map(\.rawValue))
                }
            }
        }
        if let version = string(keys["xen"], "/model/xen") {
            model.xen = XenVersion(rawValue: version)
            if model.xen == nil { unknown(version, "/model/xen", "xen-version", among: XenRelease.supported) }
        }
        model.nesting = Int(integer(keys["nesting"], "/model/nesting", in: 0...3) ?? 0)
        let rule = require(string(keys["rule"], "/model/rule"), keys["rule"] != nil, "/model", "rule") ?? ""
        if !rule.isEmpty && Rule.named(rule) == nil { unknown(rule, "/model/rule", "rule", among: Rule.all.map(\.id)) }
        model.rule = rule
        let evidence = require(keys["evidence"], keys["evidence"] != nil, "/model", "evidence")
        model.evidence = string(evidence, "/model/evidence", limit_bytes: 512) ?? ""
        if evidence != nil && model.evidence.isEmpty {
            fault("/model/evidence", "empty", "words of the explanation are needed")
        }
        model.foundIn = string(keys["found_in"], "/model/found_in", limit_bytes: 256) ?? "*"
        model.note = string(keys["note"], "/model/note", limit_bytes: 2048) ?? ""
        return model
    }
}
