/// What nested paths need of the memory that they find: each once, however many paths share it.
///
/// A path runs the same way wherever it finds the words that it reads unchanged, and it takes nothing from anybody wherever
/// the words that it only writes are needed by nobody.
package struct Footprints: Sendable {
    /// A word that must hold the same.
    package struct Word: Sendable {
        var index: Int32
        /// Owner, of which only kind and slot count where the activation is over.
        var owner: UInt32
        var word: UInt64
    }

    /// Physical words from the first to the last, that nobody may need.
    package struct Spare: Sendable {
        var first: Int32
        var last: Int32
    }

    private struct Part: Sendable {
        var words: Range<Int32>
        var spares: Range<Int32>
        /// The path that has adopted it last.
        var adopter: UInt32 = 0
    }

    private var words: [Word] = []
    private var spares: [Spare] = []
    private var parts: [Part] = []
    private var numbers: [UInt64: Int32] = [:]

    package init() {}

    private static func mix(_ sum: UInt64, _ value: UInt64) -> UInt64 {
        var x = (sum ^ value) &* 0x9E37_79B9_7F4A_7C15
        x ^= x >> 31
        return x &* 0xD6E8_FEB8_6659_FD93
    }

    /// The number of a footprint.
    package mutating func number(of lists: Lists) -> Int32 {
        var sum: UInt64 = 0
        for word in lists.words {
            sum = Footprints.mix(sum, UInt64(UInt32(bitPattern: word.index)) << 32 | UInt64(word.owner))
            sum = Footprints.mix(sum, word.word)
        }
        for spare in lists.spares {
            let ends = UInt64(UInt32(bitPattern: spare.first)) << 32 | UInt64(UInt32(bitPattern: spare.last))
            sum = Footprints.mix(sum, ends)
        }
        if let number = numbers[sum] { return number }
        let number = Int32(truncatingIfNeeded: parts.count)
        let firstWord = Int32(truncatingIfNeeded: words.count)
        let firstSpare = Int32(truncatingIfNeeded: spares.count)
        words += lists.words
        spares += lists.spares
        parts.append(
            Part(
                words: firstWord..<Int32(truncatingIfNeeded: words.count),
                spares: firstSpare..<Int32(truncatingIfNeeded: spares.count)))
        numbers[sum] = number
        return number
    }

    /// Whether a path has not adopted a footprint yet; notes that it has now.
    package mutating func adopts(_ footprint: Int32, _ path: UInt32) -> Bool {
        if parts[Int(footprint)].adopter == path { return false }
        parts[Int(footprint)].adopter = path
        return true
    }

    /// The path that is running needs what one with this footprint does.
    package func adopt(_ footprint: Int32, _ machine: inout Machine) {
        for position in parts[Int(footprint)].words {
            let word = words[Int(position)]
            machine.memory.adoptTouch(Int(word.index), isRead: true)
            machine.noteAdopted(word.word)
        }
        for position in parts[Int(footprint)].spares {
            for index in spares[Int(position)].first...spares[Int(position)].last {
                machine.memory.adoptTouch(Int(index), isRead: false)
            }
        }
    }

    /// What a path with this footprint finds otherwise than it was.
    ///
    /// - Parameter done: Words that may be written and were looked at before; 0 to begin.
    package func difference(_ footprint: Int32, _ machine: inout Machine, after done: Int) -> Difference {
        let part = parts[Int(footprint)]
        if done == 0 {
            for position in Int(part.words.lowerBound)..<Int(part.words.upperBound) {
                let wanted = words[position]
                let cell = machine.memory.cells[Int(wanted.index)]
                if cell.word != wanted.word { return .differs }
                if cell.owner != wanted.owner && machine.visible(Owner(rawValue: cell.owner)) != wanted.owner {
                    return .differs
                }
            }
        }
        var number = 0
        for position in Int(part.spares.lowerBound)..<Int(part.spares.upperBound) {
            let spare = spares[position]
            var index = Int(spare.first)
            if number < done {
                let skipped = min(done - number, Int(spare.last) - index + 1)
                index += skipped
                number += skipped
            }
            while index <= Int(spare.last) {
                number += 1
                let owner = Owner(rawValue: machine.memory.cells[index].owner)
                let isNobodys = owner.rawValue == 0 || !machine.isLive(owner.activation)
                if !(isNobodys && machine.memory.isStack(index)) { return .mayBeNeeded(index, number) }
                index += 1
            }
        }
        return .none
    }

    package enum Difference: Sendable {
        case none
        case differs
        /// Somebody may need this word; the position to go on at if not.
        case mayBeNeeded(Int, Int)
    }

    /// A list of what a path needs, in ascending order.
    package struct Lists: Sendable {
        var words: [Word] = []
        var spares: [Spare] = []

        package init() {}

        /// The path needs a word unchanged.
        package mutating func appendWord(_ index: Int32, _ machine: inout Machine) {
            let cell = machine.memory.cells[Int(index)]
            words.append(
                Word(index: index, owner: machine.visible(Owner(rawValue: cell.owner)), word: cell.word))
        }

        /// The path writes a word that nobody may need.
        package mutating func appendSpare(_ index: Int32) {
            if let last = spares.last, last.last == index - 1 {
                spares[spares.count - 1].last = index
            } else {
                spares.append(Spare(first: index, last: index))
            }
        }
    }
}

extension Machine {
    /// The owner as far as code and rules can tell.
    @inline(__always)
    fileprivate func visible(_ owner: Owner) -> UInt32 {
        isLive(owner.activation) ? owner.rawValue : owner.rawValue & 0xFFF0_0000
    }
}
