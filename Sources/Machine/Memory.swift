/// What a page may be used for. Physical pages may be mapped more than once.
package struct PageAttributes: OptionSet, Sendable, Hashable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Mapped while the kernel's page tables are loaded.
    package static let kernelMap = PageAttributes(rawValue: 1)
    /// Mapped while the user half of a PTI pair (or the user page tables of a PV guest) is loaded.
    package static let userMap = PageAttributes(rawValue: 2)
    package static let writable = PageAttributes(rawValue: 4)
    /// No page has it: the map that a stray CR3 selects.
    static let nowhere = PageAttributes(rawValue: 128)
    /// The U/S bit: user mode may access it, the kernel only as SMAP permits.
    package static let user = PageAttributes(rawValue: 8)
}

/// A stretch of mapped or deliberately unmapped memory with a name for reports.
package struct Region: Sendable, Hashable {
    /// What the region is to the invariants.
    package enum Kind: UInt8, Sendable, Hashable {
        case taskStack, entryStack, interruptStack, exceptionStack, userStack, userData, kernelData, perCPU, guardPage
        case espfix

        /// Events and C functions of the kernel have their frames there.
        package var holdsFrames: Bool {
            switch self {
            case .taskStack, .entryStack, .interruptStack, .exceptionStack, .espfix: true
            case .userStack, .userData, .kernelData, .perCPU, .guardPage: false
            }
        }
    }

    package var name: String
    package var kind: Kind
    package var base: UInt64
    package var size_bytes: UInt64

    package init(name: String, kind: Kind, base: UInt64, size_bytes: UInt64) {
        self.name = name
        self.kind = kind
        self.base = base
        self.size_bytes = size_bytes
    }

    package var end: UInt64 { base &+ size_bytes }

    package func contains(_ address: UInt64) -> Bool { address &- base < size_bytes }
}

/// Memory of the modelled machine: pages of 512 words, each word with its owner and the step that wrote it.
///
/// Nothing is allocated while code runs; `reset()` restores only the pages that were written.
package struct Memory: Sendable {
    private struct Mapping: Sendable {
        var page: UInt64
        var physical: Int32
        var attributes: PageAttributes
        var used: Bool
    }

    /// A window in which address bits are ignored: the 65,536 aliases of the espfix page.
    private struct AliasWindow: Sendable {
        var base: UInt64
        var size_bytes: UInt64
        var ignoredBits: UInt64
    }

    private var table: [Mapping]
    private var tableMask: Int
    private var mappedPages = 0
    private struct ReadOnlyStretch: Sendable {
        var base: UInt64
        var size_bytes: UInt64
        var attributes: PageAttributes
    }

    private var aliases: [AliasWindow] = []
    private var readOnly: [ReadOnlyStretch] = []
    package private(set) var regions: [Region] = []

    /// A word with its bookkeeping: together, so that a store touches one array and one cache line.
    struct Cell: Sendable {
        var word: UInt64 = 0
        var owner: UInt32 = 0
        /// The step that wrote it, and in the upper 4 bits how many nested paths were running then.
        var writer: UInt32 = 0

        @inline(__always)
        var depth: UInt32 { writer >> 28 }
    }

    private(set) var cells: [Cell] = []
    private var pristine: [Cell] = []
    private var dirty: [Bool] = []
    private var dirtyPages: [Int32] = []
    /// The page that was written last, which is in `dirtyPages`; -1 after a reset.
    private var latestDirtyPage = -1

    /// Largest number of overwrites kept per run; later ones are not recorded.
    package static let overwriteLimit = 64
    package private(set) var overwrites: [Overwrite] = []
    /// Writes onto frames below the stack pointer of their activation are recorded too: where events nest, one that
    /// comes between may write there.
    package var recordsGivenUpWords = false
    /// Anything was recorded since the last reset; kept apart from the array because every load asks.
    package private(set) var hasOverwrites = false

    package static let pageSize_bytes: UInt64 = 4096

    /// - Parameter pageLimit: Largest number of virtual pages that will be mapped.
    package init(pageLimit: Int = 256) {
        var capacity = 64
        while capacity < pageLimit * 4 { capacity *= 2 }
        table = Array(
            repeating: Mapping(page: 0, physical: 0, attributes: [], used: false), count: capacity)
        tableMask = capacity - 1
        overwrites.reserveCapacity(Memory.overwriteLimit)
        cells.reserveCapacity(pageLimit * 512)
    }

    // MARK: Setting up

    @inline(__always)
    private func slot(of page: UInt64) -> Int {
        Int(truncatingIfNeeded: (page &* 0x9E37_79B9_7F4A_7C15) >> 44) & tableMask
    }

    /// Maps fresh zeroed pages and names them. The base is rounded down and the end up to whole pages.
    ///
    /// A region that would wrap around ends at the last page. Map everything before `freeze()`.
    package mutating func map(_ region: Region, _ attributes: PageAttributes) {
        regions.append(region)
        var page = region.base >> 12
        let (end, wraps) = region.base.addingReportingOverflow(max(region.size_bytes, 1) - 1)
        let last = (wraps ? .max : end) >> 12
        while true {
            if lookup(page) == nil {
                let physical = Int32(dirty.count)
                cells.append(contentsOf: repeatElement(Cell(), count: 512))
                dirty.append(false)
                insert(page: page, physical: physical, attributes: attributes)
            }
            if page == last { break }
            page += 1
        }
    }

    /// Maps the physical pages of `original` a second time at `region.base`.
    package mutating func alias(_ region: Region, of original: UInt64, _ attributes: PageAttributes) {
        regions.append(region)
        let count = (region.size_bytes + 4095) >> 12
        for offset in 0..<max(count, 1) {
            guard let mapping = lookup((original >> 12) &+ offset) else { continue }
            insert(page: (region.base >> 12) &+ offset, physical: mapping.physical, attributes: attributes)
        }
    }

    /// Pages that are there for the processor and have no words here, such as code: what is read from them is not
    /// modelled, and nothing can be written to them.
    package mutating func declareReadOnly(from base: UInt64, size_bytes: UInt64, _ attributes: PageAttributes) {
        readOnly.append(ReadOnlyStretch(base: base, size_bytes: size_bytes, attributes: attributes))
    }

    /// Such a page is mapped at an address by the page tables of a map.
    func isReadOnly(_ address: UInt64, _ map: PageAttributes) -> Bool {
        readOnly.contains { address &- $0.base < $0.size_bytes && $0.attributes.contains(map) }
    }

    /// Names a stretch that stays unmapped.
    package mutating func reserve(_ region: Region) { regions.append(region) }

    /// Makes `ignoredBits` of an address irrelevant inside a window.
    package mutating func ignoreBits(_ ignoredBits: UInt64, from base: UInt64, size_bytes: UInt64) {
        aliases.append(AliasWindow(base: base, size_bytes: size_bytes, ignoredBits: ignoredBits))
    }

    private mutating func insert(page: UInt64, physical: Int32, attributes: PageAttributes) {
        mappedPages += 1
        if mappedPages * 2 > table.count { grow() }
        var index = slot(of: page)
        while table[index].used {
            if table[index].page == page {
                table[index].attributes.formUnion(attributes)
                return
            }
            index = (index + 1) & tableMask
        }
        table[index] = Mapping(page: page, physical: physical, attributes: attributes, used: true)
    }

    /// Doubles the table, which must never fill up: a look-up ends at an unused slot.
    private mutating func grow() {
        let old = table
        table = Array(repeating: Mapping(page: 0, physical: 0, attributes: [], used: false), count: old.count * 2)
        tableMask = table.count - 1
        for mapping in old where mapping.used {
            var index = slot(of: mapping.page)
            while table[index].used { index = (index + 1) & tableMask }
            table[index] = mapping
        }
    }

    /// Takes the present content as the one that `reset()` restores.
    package mutating func freeze() {
        for index in dirty.indices { dirty[index] = false }
        dirtyPages.removeAll(keepingCapacity: true)
        latestDirtyPage = -1
        dirtyPages.reserveCapacity(dirty.count)
        for index in cells.indices { cells[index].writer = 0 }
        pristine = cells
        classifyPages()
        overwrites.removeAll(keepingCapacity: true)
        hasOverwrites = false
    }

    /// Restores the frozen content.
    package mutating func reset() {
        for page in dirtyPages {
            let start = Int(page) * 512
            for index in start..<(start + 512) { cells[index] = pristine[index] }
            dirty[Int(page)] = false
        }
        dirtyPages.removeAll(keepingCapacity: true)
        latestDirtyPage = -1
        overwrites.removeAll(keepingCapacity: true)
        hasOverwrites = false
        journalDepth = 0
        journal.removeAll(keepingCapacity: true)
        tracking.reset()
    }

    /// Notes that the code of an activation reads a word that was taken from it.
    ///
    /// Only while the intruder's value still stands there: the owner may have written the word anew since.
    @inline(never)
    package mutating func noteRead(atOffset offset: Int, by activation: UInt32) {
        let cell = cells[offset >> 3]
        let word = Int32(truncatingIfNeeded: offset >> 3)
        for index in overwrites.indices
        where overwrites[index].word == word && overwrites[index].oldOwner.activation == activation
            && overwrites[index].newValue == cell.word && overwrites[index].newOwner.rawValue == cell.owner
        {
            overwrites[index].wasRead = true
        }
    }

    // MARK: Looking up

    @inline(__always)
    private func lookup(_ page: UInt64) -> Mapping? {
        var index = slot(of: page)
        while table[index].used {
            if table[index].page == page { return table[index] }
            index = (index &+ 1) & tableMask
        }
        return nil
    }

    /// Physical byte offset and attributes of an address, or nil where nothing is mapped in either half.
    @inline(__always)
    package func translate(_ address: UInt64) -> (offset: Int, attributes: PageAttributes)? {
        if let mapping = lookup(address >> 12) {
            return (Int(mapping.physical) << 12 | Int(address & 4095), mapping.attributes)
        }
        return translateAlias(address)
    }

    /// Physical byte offset of a kernel page's address with the wanted rights; nil where it needs a closer look.
    @inline(__always)
    func plainOffset(_ address: UInt64, wanted: PageAttributes) -> Int? {
        let page = address >> 12
        let mapping = table[slot(of: page)]
        let looked = wanted.rawValue | PageAttributes.user.rawValue
        guard mapping.page == page, mapping.attributes.rawValue & looked == wanted.rawValue else { return nil }
        return Int(mapping.physical) << 12 | Int(address & 4095)
    }

    @inline(never)
    private func translateAlias(_ address: UInt64) -> (offset: Int, attributes: PageAttributes)? {
        for window in aliases where address &- window.base < window.size_bytes {
            if let mapping = lookup((address & ~window.ignoredBits) >> 12) {
                return (Int(mapping.physical) << 12 | Int(address & 4095), mapping.attributes)
            }
        }
        return nil
    }

    /// The region that contains an address; the innermost, that is the smallest, where regions overlap.
    package func region(containing address: UInt64) -> Region? {
        regionIndex(containing: address).map { regions[$0] }
    }

    /// Position in `regions` of the innermost region that contains an address; no names are touched.
    package func regionIndex(containing address: UInt64) -> Int? { Memory.index(in: regions, containing: address) }

    /// The innermost region of the later address contains the earlier one too.
    mutating func isInOneRegion(from address: UInt64, to later: UInt64) -> Bool {
        guard let index = Memory.index(in: regions, containing: later) else { return false }
        return address >= regions[index].base
    }

    private static func index(in regions: [Region], containing address: UInt64) -> Int? {
        var best: Int?
        var size: UInt64 = .max
        for index in regions.indices {
            let candidate = regions[index].size_bytes
            if candidate < size, address &- regions[index].base < candidate { (best, size) = (index, candidate) }
        }
        return best
    }

    // MARK: Journal
    //
    // What nested exploration asks at every boundary is `mutating`: for other calls the compiler copies the memory's fields.

    /// More than 0 while what is overwritten is noted.
    private var journalDepth = 0
    private var journal: [(index: Int, cell: Cell)] = []

    /// Starts to note what is overwritten, so that `rollBack` can undo it; journals nest.
    package mutating func startJournal() -> Int {
        if journalDepth == 0 { journal.removeAll(keepingCapacity: true) }
        journalDepth += 1
        return journal.count
    }

    @inline(never)
    private mutating func note(_ index: Int) {
        journal.append((index, cells[index]))
    }

    /// Undoes every write since a `startJournal`, the latest first.
    ///
    /// - Parameters:
    ///   - mark: What `startJournal` returned.
    ///   - overwrites: The records as they were then.
    package mutating func rollBack(to mark: Int, overwrites earlier: [Overwrite]) {
        journalDepth -= 1
        while journal.count > mark, let entry = journal.popLast() { cells[entry.index] = entry.cell }
        if overwrites.count != 0 || earlier.count != 0 { overwrites = earlier }
        hasOverwrites = !overwrites.isEmpty
    }

    /// Writes that are noted.
    package var journalCount: Int { mutating get { journal.count } }

    /// One entry of the journal: a word that was changed, whose it was before the path, and the bits that differ.
    ///
    /// - Parameter depth: Nested paths that are running, the one whose writes are looked at included.
    /// - Returns: nil if the word holds the same, or if the path had written it before.
    @inline(__always)
    package mutating func change(at position: Int, depth: UInt32) -> (index: Int, owner: Owner, bits: UInt64)? {
        let entry = journal[position]
        let bits = cells[entry.index].word ^ entry.cell.word
        if entry.cell.depth >= depth || bits == 0 { return nil }
        return (entry.index, Owner(rawValue: entry.cell.owner), bits)
    }

    // MARK: Tracking

    /// What the running code accesses is noted, for nested exploration.
    package var tracking = MemoryTracking()

    /// Address and kind of each physical page's first region.
    private var pageAddress: [UInt64] = []
    private var pageKinds: [Region.Kind] = []
    private var isStackPage: [Bool] = []

    /// Notes what the pages are, so that a word's index tells its place.
    private mutating func classifyPages() {
        pageAddress = Array(repeating: 0, count: dirty.count)
        pageKinds = Array(repeating: .kernelData, count: dirty.count)
        for region in regions.reversed() {
            guard let first = lookup(region.base >> 12) else { continue }
            let count = (Int(region.base & 4095) + Int(clamping: region.size_bytes) + 4095) >> 12
            for page in 0..<max(count, 1) where Int(first.physical) + page < pageKinds.count {
                let physical = Int(first.physical) + page
                pageKinds[physical] = region.kind
                pageAddress[physical] = (region.base & ~4095) &+ UInt64(page) << 12
            }
        }
        isStackPage = pageKinds.map(\.holdsFrames)
    }

    /// The word is on a stack of the kernel.
    @inline(__always)
    package mutating func isStack(_ index: Int) -> Bool { isStackPage[index >> 9] }

    /// Address of a physical word.
    @inline(__always)
    package mutating func address(ofWord index: Int) -> UInt64 { pageAddress[index >> 9] &+ UInt64(index & 511) &* 8 }

    /// Owner of a physical word.
    package mutating func owner(ofWord index: Int) -> Owner { Owner(rawValue: cells[index].owner) }

    /// Notes that the running code reads a word.
    @inline(never)
    package mutating func trackRead(atOffset offset: Int) {
        let index = offset >> 3
        tracking.noteAccess(index, isRead: true)
        if cells[index].depth < tracking.depth { tracking.touch(index, isRead: true) }
    }

    /// Notes for the innermost path what one inside of it has touched.
    package mutating func adoptTouch(_ index: Int, isRead: Bool) {
        if cells[index].depth < tracking.depth { tracking.touch(index, isRead: isRead) }
    }

    /// Notes that the running code writes a word.
    @inline(never)
    private mutating func trackWrite(_ index: Int, _ new: Cell) {
        let old = cells[index]
        tracking.noteAccess(index, isRead: false)
        if old.depth < tracking.depth { tracking.touch(index, isRead: false) }
        tracking.replace(index, (old.word, old.owner), (new.word, new.owner))
    }

    // MARK: Words

    @inline(__always)
    package func word(atOffset offset: Int) -> UInt64 { cells[offset >> 3].word }

    @inline(__always)
    package func owner(atOffset offset: Int) -> Owner { Owner(rawValue: cells[offset >> 3].owner) }

    /// Step that wrote the word last; 0 if none did in this run.
    package func writer(atOffset offset: Int) -> UInt32 { cells[offset >> 3].writer & 0x0FFF_FFFF }

    @inline(__always)
    package mutating func setWord(_ value: UInt64, atOffset offset: Int, owner: Owner, step: UInt32) {
        let index = offset >> 3
        let cell = Cell(
            word: value, owner: owner.rawValue, writer: step & 0x0FFF_FFFF | tracking.depth << 28)
        if journalDepth != 0 { note(index) }
        if tracking.isOn { trackWrite(index, cell) }
        cells[index] = cell
        let page = offset >> 12
        // One comparison instead of an array access: consecutive writes mostly go to one page.
        if page != latestDirtyPage { markDirty(page) }
    }

    @inline(never)
    private mutating func markDirty(_ page: Int) {
        latestDirtyPage = page
        if dirty[page] { return }
        dirty[page] = true
        dirtyPages.append(Int32(truncatingIfNeeded: page))
    }

    /// Records that a word in use was overwritten, up to `overwriteLimit`.
    @inline(never)
    package mutating func record(_ overwrite: Overwrite) {
        if overwrites.count < Memory.overwriteLimit { overwrites.append(overwrite) }
        hasOverwrites = true
    }

    /// The value of the aligned word at an address, without access checks; for set-up, handler models and reports.
    package func peek(_ address: UInt64) -> UInt64? {
        guard let (offset, _) = translate(address & ~7) else { return nil }
        return cells[offset >> 3].word
    }

    /// The owner of the aligned word at an address.
    package func owner(at address: UInt64) -> Owner? {
        guard let (offset, _) = translate(address & ~7) else { return nil }
        return Owner(rawValue: cells[offset >> 3].owner)
    }

    /// The latest recorded overwrite of the word at an address.
    package func overwrite(at address: UInt64) -> Overwrite? {
        guard let (offset, _) = translate(address & ~7) else { return nil }
        let word = Int32(truncatingIfNeeded: offset >> 3)
        return overwrites.last { $0.word == word }
    }

    /// Sets the aligned word at an address without access checks; false where nothing is mapped.
    @discardableResult
    package mutating func poke(_ value: UInt64, at address: UInt64, owner: Owner = .free, step: UInt32 = 0) -> Bool {
        guard let (offset, _) = translate(address & ~7) else { return false }
        setWord(value, atOffset: offset, owner: owner, step: step)
        return true
    }
}
