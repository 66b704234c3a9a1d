import Testing

@testable import Store

@Suite struct ValueTests {
    // FIPS 180-2, appendix B.1.
    @Test func digestOfTheStandardsExample() {
        let digest = Digest(of: "abc".utf8)
        #expect(digest.hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(Digest(hex: digest.hex.uppercased()) == digest)
        #expect(Digest(bytes: digest.bytes) == digest)
    }

    @Test func digestRefusesOtherLengthsAndLetters() {
        #expect(Digest(hex: String(repeating: "a", count: 63)) == nil)
        #expect(Digest(hex: String(repeating: "a", count: 66)) == nil)
        #expect(Digest(hex: String(repeating: "g", count: 64)) == nil)
        #expect(Digest(bytes: [1, 2, 3]) == nil)
    }

    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"), (1_558_085_400_123, "2019-05-17T09:30:00.123Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"), (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
    ])
    func timestampText(milliseconds: Int64, text: String) {
        #expect(Timestamp(milliseconds: milliseconds).rfc3339 == text)
    }

    @Test func simulationIDsSortByTimeAndDiffer() {
        var generator = SystemRandomNumberGenerator()
        let early = SimulationID(at: moment(1), using: &generator)
        let late = SimulationID(at: moment(2), using: &generator)
        let alsoLate = SimulationID(at: moment(2), using: &generator)
        #expect(early.text < late.text)
        #expect(late != alsoLate)
        #expect(early.text.utf8.count == 26)
        #expect(SimulationID(early.text) == early)
    }

    @Test(arguments: [
        "short", "has/a/slash/in/it", "has a space in it", "é-is-not-ascii-é", String(repeating: "a", count: 65),
    ])
    func simulationIDRefuses(text: String) {
        #expect(SimulationID(text) == nil)
    }

    @Test(arguments: [0, 1, 255, 256, 1 << 40, 1 << 62])
    func cursorRoundTrip(number: Int64) throws {
        let text = Cursor(.simulations, after: number).text
        #expect(try Cursor(text, of: .simulations).number == number)
        expectError(.invalidCursor) { try Cursor(text, of: .configurations) }
    }

    @Test(arguments: ["", "AAAA", "AwAAAAAAAAA=", "Av__________", "AgAAAAAAAAAAAAAA", "éééééé"])
    func cursorRefuses(text: String) {
        expectError(.invalidCursor) { try Cursor(text, of: .simulations) }
    }

    @Test(arguments: ["linux-5.2", "a", "deadbee", "v1.0_rc+1", "0123456789g"])
    func namesAllowed(name: String) throws {
        try ConfigurationName.check(name)
    }

    @Test(arguments: [
        "", "-dash", ".dot", "a/b", "a b", "deadbeef", "0123456789ABCDEF", "é", String(repeating: "n", count: 129),
    ])
    func namesRefused(name: String) {
        expectError(.invalidName) { try ConfigurationName.check(name) }
    }
}
