/// How what is scarce is shared out between addresses, each of which may be one of an attacker's.
package enum FairShare {
    /// What one may have of `limit` while all together have `all`, and it has `own` of that: half of what the others leave.
    ///
    /// The first gets a half, a second a quarter; something is left for whoever comes next. A fixed half for each would let two
    /// take everything.
    package static func of(_ limit: Int, all: Int, own: Int) -> Int {
        (limit - max(0, all - own)) / 2
    }
}
