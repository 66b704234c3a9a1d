/// Text that is written down or sent back, without what looks like a token: `gh_`, an id, `_` and a secret of 16 or more characters.
///
/// Clients put tokens into paths and queries by mistake, and errors and logs repeat paths.
package func withoutTokens(_ text: String) -> String {
    let bytes = Array(text.utf8)
    var result: [UInt8] = []
    var kept = 0
    var index = 0
    while index + 3 < bytes.count {
        guard bytes[index] == UInt8(ascii: "g"), let end = endOfToken(bytes, at: index) else {
            index += 1
            continue
        }
        result += bytes[kept..<index] + Array("gh_(token)".utf8)
        kept = end
        index = end
    }
    if kept == 0 { return text }
    return String(decoding: result + bytes[kept...], as: UTF8.self)
}

/// The place behind the token that begins at `start`; nil where none does. The line under may be percent-encoded.
private func endOfToken(_ bytes: [UInt8], at start: Int) -> Int? {
    var index = start + 1
    guard index < bytes.count, bytes[index] == UInt8(ascii: "h") else { return nil }
    index += 1
    guard let idStart = behindLine(bytes, index) else { return nil }
    index = idStart
    while index < bytes.count, isDigitOrLetter(bytes[index]) { index += 1 }
    guard index > idStart, let secretStart = behindLine(bytes, index) else { return nil }
    index = secretStart
    while index < bytes.count, isDigitOrLetter(bytes[index]) { index += 1 }
    return index - secretStart >= 16 ? index : nil
}

private func behindLine(_ bytes: [UInt8], _ index: Int) -> Int? {
    guard index < bytes.count else { return nil }
    if bytes[index] == UInt8(ascii: "_") { return index + 1 }
    let isEncoded =
        index + 2 < bytes.count && bytes[index] == UInt8(ascii: "%") && bytes[index + 1] == UInt8(ascii: "5")
        && bytes[index + 2] | 0x20 == UInt8(ascii: "f")
    return isEncoded ? index + 3 : nil
}

private func isDigitOrLetter(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "A")...UInt8(ascii: "Z"):
        true
    default: false
    }
}
