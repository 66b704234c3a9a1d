import Foundation

/// The scenarios of one simulation as the rows of `scenario_blocks`.
struct ScenarioBlocks: Sendable {
    struct Block: Sendable {
        let firstOrdinal: Int
        /// JSON: `[[name, platform, verdict, rule or null, offset, length, [further rules]], …]`.
        ///
        /// The last element is left out where there are no further rules; rows of 0.1.0 never have it.
        let directory: String
        let records: Data
    }

    /// Scenarios of a block: a compromise between rows per simulation and bytes read to find one scenario.
    static let blockScenarios = 128

    let blocks: [Block]
    let byteCount: Int

    /// Encodes scenarios; throws `too-large` beyond the limits and `duplicate` when two have one name.
    init(_ scenarios: [NewScenario], limits: Limits) throws(StoreError) {
        guard scenarios.count <= limits.scenarios else {
            throw StoreError(.tooLarge, "\(scenarios.count) scenarios; at most \(limits.scenarios) are kept")
        }
        var names: Set<String> = []
        names.reserveCapacity(scenarios.count)
        var blocks: [Block] = []
        var byteCount = 0
        for start in stride(from: 0, to: scenarios.count, by: Self.blockScenarios) {
            var directory: [UInt8] = [UInt8(ascii: "[")]
            var records = Data()
            for scenario in scenarios[start..<min(start + Self.blockScenarios, scenarios.count)] {
                guard names.insert(scenario.name).inserted else {
                    throw StoreError(.duplicate, "two scenarios have one name")
                }
                if directory.count > 1 { directory.append(UInt8(ascii: ",")) }
                directory.append(UInt8(ascii: "["))
                for text in [scenario.name, scenario.platform, scenario.verdict.rawValue] {
                    directory.appendJSON(text)
                    directory.append(UInt8(ascii: ","))
                }
                if let rule = scenario.rule { directory.appendJSON(rule) } else { directory += "null".utf8 }
                directory += ",\(records.count),\(scenario.record.count)".utf8
                for (index, rule) in scenario.furtherRules.enumerated() {
                    directory += (index == 0 ? ",[" : ",").utf8
                    directory.appendJSON(rule)
                }
                directory += (scenario.furtherRules.isEmpty ? "]" : "]]").utf8
                records.append(contentsOf: scenario.record)
            }
            directory.append(UInt8(ascii: "]"))
            byteCount += directory.count + records.count
            guard byteCount <= limits.scenarioBytes else {
                throw StoreError(.tooLarge, "the scenario records are larger than \(limits.scenarioBytes) bytes")
            }
            blocks.append(
                Block(firstOrdinal: start, directory: String(decoding: directory, as: UTF8.self), records: records))
        }
        self.blocks = blocks
        self.byteCount = byteCount
    }
}

extension [UInt8] {
    /// Appends a JSON string (RFC 8259, section 7).
    fileprivate mutating func appendJSON(_ text: String) {
        append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                append(UInt8(ascii: "\\"))
                append(byte)
            case 0..<32:
                let digits = Array("0123456789abcdef".utf8)
                self += "\\u00".utf8
                append(digits[Int(byte >> 4)])
                append(digits[Int(byte & 15)])
            default: append(byte)
            }
        }
        append(UInt8(ascii: "\""))
    }
}
