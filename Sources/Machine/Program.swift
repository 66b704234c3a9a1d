/// Code laid out at addresses: what the machine executes.
///
/// RIP is an address; the machine keeps the index of the current instruction and converts at indirect branches only.
package struct Program: Sendable {
    /// A named piece of code.
    package struct Routine: Sendable, Hashable {
        package var name: String
        package var address: UInt64
        /// Bytes from the first instruction to the end of the last, or the declared size if that is larger.
        package var size_bytes: UInt64
        /// Index of the first instruction in `Program.instructions`.
        package var first: Int
        /// Number of instructions.
        package var count: Int

        package init(name: String, address: UInt64, size_bytes: UInt64, first: Int, count: Int) {
            self.name = name
            self.address = address
            self.size_bytes = size_bytes
            self.first = first
            self.count = count
        }
    }

    /// Where an instruction was written.
    package struct SourceLine: Sendable, Hashable {
        /// Index into `files`.
        package var file: UInt16
        /// 1-based.
        package var line: UInt32

        package init(file: UInt16, line: UInt32) {
            self.file = file
            self.line = line
        }
    }

    package private(set) var instructions: [Instruction]
    /// The instructions as the machine executes them: those with nothing behind them are marked.
    private(set) var code: [Instruction] = []
    /// Which registers each instruction looks at and replaces.
    package private(set) var dependences: [Dependence] = []
    /// Address of each instruction.
    package private(set) var addresses: [UInt64]
    /// Source line of each instruction.
    package private(set) var lines: [SourceLine]
    /// Index of the routine of each instruction.
    package private(set) var routineOf: [Int32]
    package private(set) var routines: [Routine]
    /// Names of the source files that `lines` refers to.
    package private(set) var files: [String]
    /// Every label and symbol with an address, for `symbol+offset` and for the model's own look-ups.
    package private(set) var symbols: [String: UInt64]
    /// Those that stand behind the last instruction of their code; other code may start at the same address.
    package private(set) var trailingSymbols: Set<String>
    /// Instructions that may fault, and where the kernel goes on then, as the sources say (`_ASM_EXTABLE`).
    package var exceptionTable: [(fault: UInt64, fixup: UInt64)] = []
    /// What was not understood in the sources of a kernel, as `file:line: message`.
    package var gaps: [Gap] = []

    /// The number of the pseudo-instruction that stands where something was not understood: no C function, it is mapped
    /// wherever its neighbours are.
    package static let gapModel: Int64 = 0x7FFF_FFFF

    /// Something that the program lacks.
    package struct Gap: Sendable, Hashable {
        /// A symbol that nothing defines; nil for a statement that was not understood.
        package var symbol: String?
        /// `file:line:column`.
        package var location: String
        package var message: String
        /// What the symbol is taken for.
        package var kind: Kind

        package enum Kind: Sendable, Hashable {
            /// No symbol, or one that is called: a function without a model.
            case code
            /// Data that code only writes, or counts in without looking: a zeroed word decides nothing.
            case zeroedWord
            /// Data whose value decides something: it stands on a page that is not there.
            case unknownData
            /// No symbol: something begins and does not end, which no assembler takes.
            case unterminated
        }

        package init(symbol: String? = nil, location: String, message: String, kind: Kind = .code) {
            self.symbol = symbol
            self.location = location
            self.message = message
            self.kind = kind
        }
    }

    /// Open addressing: slot holds index + 1 of the instruction at an address.
    private var slots: [Int32]
    private var slotMask: Int

    /// Lays out code. All arrays describe the instructions one by one and have equal length.
    ///
    /// - Precondition: `instructions`, `addresses`, `lines` and `routineOf` have the same count, addresses are distinct.
    package init(
        instructions: [Instruction], addresses: [UInt64], lines: [SourceLine], routineOf: [Int32],
        routines: [Routine], files: [String], symbols: [String: UInt64], trailingSymbols: Set<String> = []
    ) {
        precondition(instructions.count == addresses.count && lines.count == addresses.count)
        precondition(routineOf.count == addresses.count)
        self.instructions = instructions
        self.addresses = addresses
        self.lines = lines
        self.routineOf = routineOf
        self.routines = routines
        self.files = files
        self.symbols = symbols
        self.trailingSymbols = trailingSymbols
        var capacity = 64
        while capacity < instructions.count * 4 { capacity *= 2 }
        slots = [Int32](repeating: 0, count: capacity)
        slotMask = capacity - 1
        for (index, address) in addresses.enumerated() {
            var slot = Program.hash(address) & slotMask
            while slots[slot] != 0 { slot = (slot + 1) & slotMask }
            slots[slot] = Int32(truncatingIfNeeded: index + 1)
        }
        for index in self.instructions.indices where self.instructions[index].form == .target {
            let address = UInt64(bitPattern: self.instructions[index].immediate)
            self.instructions[index].target = self.index(at: address)
        }
        code = Program.prepared(self.instructions, addresses)
        dependences = self.instructions.map(Dependence.init)
    }

    /// Largest gap between routines that padding fills: GNU as aligns code to 16 bytes with no-operations.
    private static let padding_bytes: UInt64 = 15

    private static func prepared(_ instructions: [Instruction], _ addresses: [UInt64]) -> [Instruction] {
        var code = instructions
        for index in code.indices {
            code[index].shortcut = Shortcut(code[index])
            let end = addresses[index] &+ UInt64(code[index].length)
            let isFollowed = index + 1 < code.count && addresses[index + 1] &- end <= padding_bytes
            switch code[index].opcode {
            case .jmp, .call, .ret, .iret, .sysret, .sysexit, .model: break
            default: code[index].isLast = !isFollowed
            }
        }
        return code
    }

    @inline(__always)
    private static func hash(_ address: UInt64) -> Int {
        Int(truncatingIfNeeded: (address &* 0x9E37_79B9_7F4A_7C15) >> 40)
    }

    /// Index of the instruction that starts at an address, or -1.
    @inline(__always)
    package func index(at address: UInt64) -> Int32 {
        var slot = Program.hash(address) & slotMask
        while true {
            let entry = slots[slot]
            if entry == 0 { return -1 }
            if addresses[Int(entry - 1)] == address { return entry - 1 }
            slot = (slot + 1) & slotMask
        }
    }

    /// Index of the instruction that has an address among its bytes, but for the first of them.
    package func indexOfInstruction(around address: UInt64) -> Int? {
        for distance in 1..<UInt64(15) {
            let index = Int(self.index(at: address &- distance))
            guard index >= 0 else { continue }
            return UInt64(instructions[index].length) > distance ? index : nil
        }
        return nil
    }

    /// The routine whose bytes contain an address.
    package func routine(containing address: UInt64) -> Routine? {
        var best: Routine?
        for routine in routines where address >= routine.address {
            let end = routine.address &+ max(routine.size_bytes, 1)
            if address < end, routine.address >= (best?.address ?? 0) { best = routine }
        }
        return best
    }

    /// The address of a symbol or label.
    package func address(of symbol: String) -> UInt64? { symbols[symbol] }
}
