import Testing

@testable import Store

@Suite struct ConfigurationTests {
    @Test func keptByContent() throws {
        let store = try memoryStore()
        let first = try store.perform(.insertConfiguration(table(1, name: "mine")))
        #expect(first.created)
        #expect(first.configuration.digest == Digest(of: "{\"n\":1}".utf8))
        #expect(first.configuration.byteCount == 7)
        #expect(first.configuration.createdAt == moment(1))
        #expect(first.configuration.isValid)
        let second = try store.perform(.insertConfiguration(table(1)))
        #expect(!second.created)
        #expect(second.configuration == first.configuration)
        #expect(try store.configurations(limit: 10).items == [first.configuration])
        #expect(try store.document(of: first.configuration.digest) == "{\"n\":1}")
    }

    @Test func invalidOnesKeepTheirReason() throws {
        let store = try memoryStore()
        var new = table(1)
        new.invalidReason = #"[{"code":"no-entries"}]"#
        let kept = try store.perform(.insertConfiguration(new)).configuration
        #expect(!kept.isValid)
        #expect(kept.invalidReason == new.invalidReason)
    }

    @Test func nameMeansTheLatestContent() throws {
        let store = try memoryStore()
        let old = try store.perform(.insertConfiguration(table(1, name: "mine"))).configuration
        let new = try store.perform(.insertConfiguration(table(2, name: "mine"))).configuration
        #expect(try store.findConfiguration("mine").digest == new.digest)
        #expect(try store.findConfiguration(old.digest.hex).digest == old.digest)
        #expect(try store.configurations(name: "mine", limit: 10).items.map(\.digest) == [new.digest, old.digest])
        // Given back to the older content, without making it anew.
        #expect(try !store.perform(.insertConfiguration(table(1, name: "mine"))).created)
        #expect(try store.findConfiguration("mine").digest == old.digest)
    }

    @Test func secondNameForOneContent() throws {
        let store = try memoryStore()
        try store.perform(.insertConfiguration(table(1, name: "first")))
        let kept = try store.perform(.insertConfiguration(table(1, name: "second"))).configuration
        #expect(kept.name == "second")
        #expect(try store.findConfiguration("second") == kept)
        var asFirst = kept
        asFirst.name = "first"
        #expect(try store.findConfiguration("first") == asFirst, "what is found by a name shows it")
        #expect(try store.configurations(name: "first", limit: 10).items == [asFirst], "and is listed by it")
        #expect(try store.configurations(name: "second", limit: 10).items == [kept])
        #expect(try store.configurations(name: "third", limit: 10).items.isEmpty)
        #expect(
            try store.configurations(name: "third", meant: kept.digest, limit: 10).items.map(\.digest) == [kept.digest])
        #expect(try store.findConfiguration(kept.digest.hex) == kept)
    }

    @Test func aNameThatDoesNotRenameIsGivenToTheUnnamedOnly() throws {
        let store = try memoryStore()
        var new = table(1, name: "mine")
        try store.perform(.insertConfiguration(new))
        new.name = "other"
        new.renames = false
        #expect(try store.perform(.insertConfiguration(new)).configuration.name == "mine")
        expectError(.notFound) { try store.findConfiguration("other") }
        try store.perform(.insertConfiguration(table(2)))
        var second = table(2, name: "other")
        second.renames = false
        #expect(try store.perform(.insertConfiguration(second)).configuration.name == "other")
        #expect(try store.findConfiguration("other").digest == Digest(of: second.document.utf8))
    }

    @Test func foundByPrefix() throws {
        let store = try memoryStore()
        let kept = try store.perform(.insertConfiguration(table(1))).configuration
        for length in [8, 9, 63, 64] {
            #expect(try store.findConfiguration(String(kept.digest.hex.prefix(length))) == kept)
            #expect(try store.findConfiguration(String(kept.digest.hex.prefix(length)).uppercased()) == kept)
        }
        expectError(.referenceTooShort) { try store.findConfiguration(String(kept.digest.hex.prefix(7))) }
        expectError(.notFound) { try store.findConfiguration("00000000") }
        expectError(.notFound) { try store.findConfiguration(kept.digest.hex + "0") }
        expectError(.notFound) { try store.findConfiguration("nobody") }
        expectError(.notFound) { try store.findConfiguration("") }
    }

    // Two documents whose digests share their first eight digits, found by search.
    @Test func ambiguousPrefixNamesTheCandidates() throws {
        let store = try memoryStore()
        let pair = [7335, 13_654].map { table($0) }
        let digests = try pair.map { try store.perform(.insertConfiguration($0)).configuration.digest }.sorted()
        let prefix = String(digests[0].hex.prefix(8))
        #expect(digests[1].hex.hasPrefix(prefix))
        let error = expectError(.ambiguousReference) { try store.findConfiguration(prefix) }
        #expect(error?.candidates == digests)
        #expect(try store.findConfiguration(digests[0].hex).digest == digests[0])
    }

    @Test func listsByKernel() throws {
        let store = try memoryStore()
        try store.perform(.insertConfiguration(table(1, kernel: "linux-5.2")))
        let other = try store.perform(.insertConfiguration(table(2, kernel: "linux-6.1"))).configuration
        #expect(try store.configurations(kernel: "linux-6.1", limit: 10).items == [other])
        #expect(try store.configurations(kernel: "linux-4.4", limit: 10).items.isEmpty)
    }

    @Test func pagesStayInPlaceWhileRowsComeAndGo() throws {
        let store = try memoryStore()
        let kept = try (1...6).map { try store.perform(.insertConfiguration(table($0))).configuration.digest }
        let first = try store.configurations(limit: 2)
        #expect(first.items.map(\.digest) == [kept[5], kept[4]])
        for number in 7...9 { try store.perform(.insertConfiguration(table(number))) }
        try store.perform(.deleteConfiguration(kept[4]))
        try store.perform(.deleteConfiguration(kept[2]))
        let second = try store.configurations(limit: 2, cursor: first.next)
        #expect(second.items.map(\.digest) == [kept[3], kept[1]])
        let third = try store.configurations(limit: 2, cursor: second.next)
        #expect(third.items.map(\.digest) == [kept[0]])
        #expect(third.next == nil)
    }

    @Test func lastPageThatIsFullHasNoNext() throws {
        let store = try memoryStore()
        for number in 1...4 { try store.perform(.insertConfiguration(table(number))) }
        let first = try store.configurations(limit: 2)
        #expect(first.next != nil)
        #expect(try store.configurations(limit: 2, cursor: first.next).next == nil)
    }

    @Test func pageRowsAreBounded() throws {
        var limits = Limits()
        limits.pageRows = 3
        let store = try memoryStore(limits)
        for number in 1...5 { try store.perform(.insertConfiguration(table(number))) }
        #expect(try store.configurations(limit: .max).items.count == 3)
        #expect(try store.configurations(limit: -1).items.count == 1)
        expectError(.invalidCursor) { try store.configurations(limit: 1, cursor: "nonsense") }
    }

    @Test func removedWithAllThatHangsOnIt() throws {
        let store = try memoryStore()
        let digest = try store.perform(.insertConfiguration(table(1, name: "mine"))).configuration.digest
        try store.perform(.insertSimulation(simulation(1, of: digest), outcome: outcome(scenarios(200))))
        try store.perform(.deleteConfiguration(digest))
        expectError(.notFound) { try store.findConfiguration("mine") }
        expectError(.notFound) { try store.simulation(simulationID(1)) }
        expectError(.notFound) { try store.report(of: simulationID(1)) }
        expectError(.notFound) { try store.document(of: digest) }
        expectError(.notFound) { try store.perform(.deleteConfiguration(digest)) }
        #expect(try store.check() == [])
    }

    @Test func notRemovedWhileASimulationRuns() throws {
        let store = try memoryStore()
        let digest = try store.perform(.insertConfiguration(table(1))).configuration.digest
        try store.perform(.insertSimulation(simulation(1, of: digest)))
        expectError(.simulationRunning) { try store.perform(.deleteConfiguration(digest)) }
        try store.perform(.startSimulation(simulationID(1), at: moment(2)))
        expectError(.simulationRunning) { try store.perform(.deleteConfiguration(digest)) }
        try store.perform(.cancelSimulation(simulationID(1), at: moment(3)))
        try store.perform(.deleteConfiguration(digest))
    }

    @Test func refusesWhatIsTooLargeOrNotJSON() throws {
        var limits = Limits()
        limits.documentBytes = 10
        limits.textBytes = 10
        let store = try memoryStore(limits)
        var new = table(1)
        new.document = "\"12345678\""
        try store.perform(.insertConfiguration(new, limits: limits))
        new.document = "\"123456789\""
        expectError(.tooLarge) { try Write.insertConfiguration(new, limits: limits) }
        new = table(2, kernel: "12345678901")
        expectError(.tooLarge) { try Write.insertConfiguration(new, limits: limits) }
        new = table(3)
        new.document = "{"
        expectError(.invalidValue) { try store.perform(.insertConfiguration(new)) }
        new = table(4)
        new.invalidReason = "because"
        expectError(.invalidValue) { try store.perform(.insertConfiguration(new)) }
        #expect(try store.configurations(limit: 10).items.count == 1)
    }
}
