import HTTPTestSupport
import HTTPTypes
import Testing

@testable import HTTPWire

@Suite struct RedactionTests {
    private static let token = "gh_ab12cd34_" + String(repeating: "Xy9", count: 14) + "z"

    @Test func tokensAreLeftOutWhereverTheyStand() {
        #expect(withoutTokens(Self.token) == "gh_(token)")
        #expect(withoutTokens("/v1/rules/\(Self.token)/x/\(Self.token)") == "/v1/rules/gh_(token)/x/gh_(token)")
        #expect(withoutTokens("a 'gh%5Fab12cd34%5f\(Self.token.suffix(43))'") == "a 'gh_(token)'")
        #expect(withoutTokens("ggh\(Self.token)") == "gghgh_(token)")
        // Cut off, most of a secret is one too.
        #expect(withoutTokens(String(Self.token.prefix(30))) == "gh_(token)")
    }

    @Test func otherTextStays() {
        for text in [
            "", "g", "gh", "gh_", "gh_a", "gh_ab_", "gh_ab_short", "/v1/configurations/gh_linux",
            "gh__" + Self.token.suffix(43),
            "high_gh_é", "gh%5", "gh%5f", "/livez",
        ] { #expect(withoutTokens(text) == text) }
    }

    @Test func anUnknownMethodHasOneAnswer() {
        let wire = WireHarness()
        wire.send(.get(1, method: "BREW"))
        #expect(wire.client.responses[1]?.status == "501")
        #expect(wire.heads.isEmpty && !wire.isClosing)
        wire.send(.get(3, method: "PROPFIND"))
        #expect(wire.heads.count == 1, "known, and not of this service: 405 over either")
        let old = HTTP1Harness()
        old.send("BREW / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(old.text.hasPrefix("HTTP/1.1 501 "))
    }
}
