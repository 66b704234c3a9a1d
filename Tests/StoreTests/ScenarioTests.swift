import Testing

@testable import Store

@Suite struct ScenarioTests {
    let store: ResultStore
    let id = simulationID(1)
    let given = scenarios(1000)

    init() throws {
        store = try memoryStore()
        let digest = try store.perform(.insertConfiguration(table(1))).configuration.digest
        try store.perform(.insertSimulation(simulation(1, of: digest), outcome: outcome(given)))
        // A neighbour on either side, whose rows must never show.
        try store.perform(.insertSimulation(simulation(2, of: digest), outcome: outcome(scenarios(10))))
    }

    private func matches(_ stored: StoredScenario) -> Bool {
        let new = given[stored.ordinal]
        return stored.name == new.name && stored.platform == new.platform && stored.verdict == new.verdict
            && stored.rule == new.rule && stored.record == new.record
    }

    @Test(arguments: [1, 100, 127, 128, 129, 999, 1000])
    func pagesCoverAllInOrder(limit: Int) throws {
        var ordinals: [Int] = []
        var cursor: String?
        repeat {
            let page = try store.scenarios(of: id, limit: limit, cursor: cursor)
            #expect(page.items.count <= limit)
            #expect(page.items.allSatisfy(matches))
            ordinals += page.items.map(\.ordinal)
            cursor = page.next
            if limit == 1 && ordinals.count == 300 { return }
        } while cursor != nil
        #expect(ordinals == Array(0..<1000))
    }

    @Test func filters() throws {
        let violated = try store.scenarios(of: id, verdict: .violated, limit: 1000).items
        #expect(violated.map(\.ordinal) == Array(stride(from: 0, to: 1000, by: 100)))
        #expect(violated.allSatisfy(matches))
        let ruled = try store.scenarios(of: id, rule: "live-frame-overwritten", limit: 1000).items
        #expect(ruled == violated)
        let platform = try store.scenarios(of: id, platform: "xen-pv", limit: 1000).items
        #expect(platform.map(\.ordinal) == Array(stride(from: 2, to: 1000, by: 3)))
        let both = try store.scenarios(of: id, verdict: .violated, platform: "xen-pv", limit: 2)
        #expect(both.items.map(\.ordinal) == [200, 500])
        let rest = try store.scenarios(of: id, verdict: .violated, platform: "xen-pv", limit: 2, cursor: both.next)
        #expect(rest.items.map(\.ordinal) == [800])
        #expect(rest.next == nil)
        #expect(try store.scenarios(of: id, rule: "progress", limit: 10).items.isEmpty)
    }

    @Test func everyRuleFindsItsScenario() throws {
        let digest = try store.findConfiguration(table(1).digestHex).digest
        var some = scenarios(300)
        some[7].furtherRules = ["quote\"", "stack-bounds"]
        some[100].furtherRules = ["stack-bounds"]
        some[299].rule = nil
        some[299].furtherRules = ["stack-bounds"]
        try store.perform(.insertSimulation(simulation(3, of: digest), outcome: outcome(some)))
        func found(_ rule: String) throws -> [Int] {
            try store.scenarios(of: simulationID(3), rule: rule, limit: 1000).items.map(\.ordinal)
        }
        #expect(try found("stack-bounds") == [7, 100, 299])
        #expect(try found("quote\"") == [7])
        #expect(try found("live-frame-overwritten") == [0, 100, 200])
        let items = try store.scenarios(of: simulationID(3), limit: 1000).items
        #expect(items.map(\.rule) == some.map(\.rule))
        #expect(items.map(\.record) == some.map(\.record))
    }

    /// Rows that were written before the directory had further rules.
    @Test func olderDirectoriesAreRead() throws {
        try store.perform(
            Write<Void> { db in
                try db.execute(
                    sql:
                        #"UPDATE scenario_blocks SET directory = '[["a","p","violated","progress",0,1],["b","p","holds",null,1,1]]'"#
                )
            })
        let items = try store.scenarios(of: id, rule: "progress", limit: 1).items
        #expect(items.map(\.name) == ["a"])
        #expect(try store.scenarios(of: id, rule: "stack-bounds", limit: 10).items.isEmpty)
        #expect(try store.scenario(of: id, named: "b").rule == nil)
    }

    @Test func withoutRecords() throws {
        let items = try store.scenarios(of: id, withRecords: false, limit: 1000).items
        #expect(items.map(\.name) == given.map(\.name))
        #expect(items.allSatisfy { $0.record.isEmpty })
    }

    @Test func foundByName() throws {
        for ordinal in [0, 127, 128, 999] {
            let found = try store.scenario(of: id, named: given[ordinal].name)
            #expect(found.ordinal == ordinal && matches(found))
        }
        expectError(.notFound) { try store.scenario(of: id, named: "nothing") }
        expectError(.notFound) { try store.scenario(of: simulationID(2), named: given[10].name) }
        expectError(.notFound) { try store.scenario(of: simulationID(9), named: given[0].name) }
    }

    @Test func anyTextAndAnyBytesComeBack() throws {
        let digest = try store.findConfiguration(table(1).digestHex).digest
        let names = ["quote\"", "back\\slash", "line\nfeed\u{1}", "ümläut €", "", "[1,2]", "null"]
        let odd = names.enumerated().map { number, name in
            NewScenario(
                name: name, platform: "p\"\(number)", verdict: .undecided, rule: number == 0 ? "r\\" : nil,
                record: number == 3 ? [] : [0, 255, UInt8(number)])
        }
        try store.perform(.insertSimulation(simulation(3, of: digest), outcome: outcome(odd)))
        let items = try store.scenarios(of: simulationID(3), limit: 10).items
        #expect(items.map(\.name) == names)
        #expect(items.map(\.platform) == odd.map(\.platform))
        #expect(items.map(\.rule) == odd.map(\.rule))
        #expect(items.map(\.record) == odd.map(\.record))
        #expect(try store.scenario(of: simulationID(3), named: "line\nfeed\u{1}").ordinal == 2)
    }

    @Test func emptyRecordsOnly() throws {
        let digest = try store.findConfiguration(table(1).digestHex).digest
        let bare = [NewScenario(name: "a", platform: "p", verdict: .holds, record: [])]
        try store.perform(.insertSimulation(simulation(3, of: digest), outcome: outcome(bare)))
        #expect(try store.scenarios(of: simulationID(3), limit: 10).items.map(\.record) == [[]])
    }

    @Test func refusesTwoOfOneName() throws {
        let twins = [given[0], given[1], given[0]]
        expectError(.duplicate) { try Write.finishSimulation(id, outcome(twins)) }
    }

    @Test func refusesForeignCursors() throws {
        let cursor = Cursor(.simulations, after: 1).text
        expectError(.invalidCursor) { try store.scenarios(of: id, limit: 1, cursor: cursor) }
        let beyond = Cursor(.scenarios, after: 1 << 62).text
        #expect(try store.scenarios(of: id, limit: 1, cursor: beyond).items.isEmpty)
    }
}

extension NewConfiguration {
    var digestHex: String { Digest(of: document.utf8).hex }
}
