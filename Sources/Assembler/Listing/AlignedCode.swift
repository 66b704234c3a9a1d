import Machine

/// The same routine in several programs, line against line: rows that some or all of them have.
struct AlignedCode: Sendable {
    struct Row: Sendable {
        var key: Int32
        var programs: ProgramSet
    }

    /// Rows that the same programs have, without one in between that others have.
    struct Block: Sendable {
        var programs: ProgramSet
        var rows: Range<Int>
    }

    /// Blocks of which each program has one at most: one `.if`, or one block that all have.
    struct Chain: Sendable {
        var blocks: [Block]
        var first: Int { blocks[0].rows.lowerBound }
        var end: Int { blocks[blocks.count - 1].rows.upperBound }
    }

    struct PlacedLabel: Sendable {
        var name: String
        /// Those that have the label.
        var programs: ProgramSet
        /// Those in which branches to it are long although they would reach.
        var globals: ProgramSet
        /// Any program may have it besides.
        var isFree: Bool
    }

    /// Where a free label goes, and which kind of it.
    struct FreeLabel: Hashable {
        var position: Int
        var isGlobal: Bool
    }

    let programs: ProgramSet
    let codes: [Int: ListedCode]
    let members: [Int]
    var rows: [Row] = []
    var chains: [Chain] = []
    /// Row of each line of each program, and behind them the number of rows.
    var rowOf: [[Int]] = []
    /// Line of each program in each row.
    var lineOf: [[Int32]] = []
    /// Who sees a label in front of a row, and behind the last.
    var view: [ProgramSet] = []
    /// Free label of each name in each row, by row and number of the name.
    var chosen: [[FreeLabel?]] = []
    var freeNames: [FreeLabel: String] = [:]

    init(_ codes: [Int: ListedCode], programs: ProgramSet) {
        self.codes = codes
        self.programs = programs
        members = codes.keys.sorted()
        var numbers: [String: Int32] = [:]
        for member in members {
            let keys = (codes[member]?.lines ?? []).map { line -> Int32 in
                let text = codes[member]?.key(of: line) ?? ""
                let number = numbers[text] ?? Int32(truncatingIfNeeded: numbers.count)
                numbers[text] = number
                return number
            }
            merge(keys, ProgramSet(member))
        }
    }

    // MARK: Rows

    /// Lines that are compared with each other at most; beyond that what differs stands side by side.
    private static let comparisons = 1_000_000
    /// Times that rows are parted, and places that a label may take: a bound on hostile input, never reached by real code.
    private static let partings = 8
    static let choices = 16

    /// Adds the lines of one more program: the longest common subsequence stays in common.
    private mutating func merge(_ keys: [Int32], _ program: ProgramSet) {
        var front = 0
        while front < rows.count, front < keys.count, rows[front].key == keys[front] { front += 1 }
        var back = 0
        while back < rows.count - front, back < keys.count - front,
            rows[rows.count - 1 - back].key == keys[keys.count - 1 - back]
        {
            back += 1
        }
        let old = Array(rows[front..<rows.count - back])
        let new = Array(keys[front..<keys.count - back])
        var merged = Array(rows[..<front])
        let common = AlignedCode.common(old.map(\.key), new)
        var (left, right) = (0, 0)
        for pair in common + [(old.count, new.count)] {
            merged += old[left..<pair.0]
            merged += new[right..<pair.1].map { Row(key: $0, programs: []) }
            // Those that were added are the new program's alone.
            for index in merged.count - (pair.1 - right)..<merged.count { merged[index].programs = program }
            if pair.0 < old.count {
                var row = old[pair.0]
                row.programs.insert(program)
                merged.append(row)
            }
            (left, right) = (pair.0 + 1, pair.1 + 1)
        }
        for index in 0..<front { merged[index].programs.insert(program) }
        for var row in rows[(rows.count - back)...] {
            row.programs.insert(program)
            merged.append(row)
        }
        rows = merged
    }

    /// Pairs of places of a longest common subsequence.
    private static func common(_ left: [Int32], _ right: [Int32]) -> [(Int, Int)] {
        guard !left.isEmpty, !right.isEmpty, left.count <= comparisons / right.count else { return [] }
        let width = right.count + 1
        var length = [Int32](repeating: 0, count: (left.count + 1) * width)
        for row in stride(from: left.count - 1, through: 0, by: -1) {
            for column in stride(from: right.count - 1, through: 0, by: -1) {
                length[row * width + column] =
                    left[row] == right[column]
                    ? length[(row + 1) * width + column + 1] + 1
                    : max(length[(row + 1) * width + column], length[row * width + column + 1])
            }
        }
        var pairs: [(Int, Int)] = []
        var (row, column) = (0, 0)
        while row < left.count, column < right.count {
            if left[row] == right[column] {
                pairs.append((row, column))
                row += 1
                column += 1
            } else if length[(row + 1) * width + column] >= length[row * width + column + 1] {
                row += 1
            } else {
                column += 1
            }
        }
        return pairs
    }

    // MARK: Places

    /// Parts rows whose labels stand at different places, until every name has one place in all programs that use it.
    mutating func settle() {
        var partings = 0
        find()
        while chooseFreeLabels() {
            partings += 1
            if partings == AlignedCode.partings { separate() }
            find()
        }
        nameFreeLabels()
    }

    /// Gives up what is in common: the lines of each program, one program after the other.
    private mutating func separate() {
        rows = members.flatMap { member in
            rows.filter { $0.programs.contains(ProgramSet(member)) }.map {
                Row(key: $0.key, programs: ProgramSet(member))
            }
        }
    }

    /// Finds blocks and places of the rows as they are.
    private mutating func find() {
        var blocks: [Block] = []
        for (index, row) in rows.enumerated() {
            if let last = blocks.last, last.programs == row.programs {
                blocks[blocks.count - 1].rows = last.rows.lowerBound..<index + 1
            } else {
                blocks.append(Block(programs: row.programs, rows: index..<index + 1))
            }
        }
        chains = []
        var inChain = ProgramSet()
        for block in blocks {
            if let last = chains.indices.last, inChain.isDisjoint(with: block.programs), block.programs != programs {
                chains[last].blocks.append(block)
                inChain.formUnion(block.programs)
            } else {
                chains.append(Chain(blocks: [block]))
                inChain = block.programs
            }
        }
        view = [ProgramSet](repeating: programs, count: rows.count + 1)
        for chain in chains {
            for block in chain.blocks {
                for row in block.rows where row > chain.first { view[row] = block.programs }
            }
        }
        rowOf = members.map { _ in [] }
        lineOf = members.map { _ in [Int32](repeating: -1, count: rows.count) }
        for (index, row) in rows.enumerated() {
            for (place, member) in members.enumerated() where row.programs.contains(ProgramSet(member)) {
                lineOf[place][index] = Int32(truncatingIfNeeded: rowOf[place].count)
                rowOf[place].append(index)
            }
        }
        for place in members.indices { rowOf[place].append(rows.count) }
    }
}
