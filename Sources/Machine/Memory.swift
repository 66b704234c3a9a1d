/// What a page may be used for. Physical pages may be mapped more than once.
package struct PageAttributes: OptionSet, Sendable, Hashable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Mapped while the kernel's page tables are loaded.
    package static let kernelMap = PageAttributes(rawValue: 1)
    /// Mapped while the user half of a PTI pair (or the user page tables of a PV guest) is loaded.
    package static let userMap = PageAttributes(rawValue: 2)
    package static let writable = PageAttributes(rawValue: 4)
    /// The U/S bit: user mode may access it, the kernel only as SMAP permits.
    package static let user = PageAttributes(rawValue: 8)
}

/// A stretch of mapped or deliberately unmapped memory with a name for reports.
package struct Region: Sendable, Hashable {
    /// What the region is to the invariants.
    package enum Kind: UInt8, Sendable, Hashable {
        case taskStack, entryStack, interruptStack, exceptionStack, userStack, userData, kernelData, perCPU, guardPage
        case espfix
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
    private var aliases: [AliasWindow] = []
    package private(set) var regions: [Region] = []

    private var words: [UInt64] = []
    private var owners: [UInt32] = []
    private var writers: [UInt32] = []
    private var pristineWords: [UInt64] = []
    private var pristineOwners: [UInt32] = []
    private var dirty: [Bool] = []
    private var dirtyPages: [Int32] = []

    /// Largest number of overwrites kept per run; later ones are not recorded.
    package static let overwriteLimit = 64
    package private(set) var overwrites: [Overwrite] = []

    package static let pageSize_bytes: UInt64 = 4096

    /// - Parameter pageLimit: Largest number of virtual pages that will be mapped.
    package init(pageLimit: Int = 256) {
        var capacity = 64
        while capacity < pageLimit * 4 { capacity *= 2 }
        table = Array(
            repeating: Mapping(page: 0, physical: 0, attributes: [], used: false), count: capacity)
        tableMask = capacity - 1
        overwrites.reserveCapacity(Memory.overwriteLimit)
    }

    // MARK: Setting up

    @inline(__always)
    private func slot(of page: UInt64) -> Int {
        Int(truncatingIfNeeded: (page &* 0x9E37_79B9_7F4A_7C15) >> 44) & tableMask
    }

    /// Maps fresh zeroed pages and names them. The base is rounded down and the end up to whole pages.
    package mutating func map(_ region: Region, _ attributes: PageAttributes) {
        regions.append(region)
        var page = region.base >> 12
        let last = (region.base &+ max(region.size_bytes, 1) &- 1) >> 12
        while true {
            if lookup(page) == nil {
                let physical = Int32(dirty.count)
                words.append(contentsOf: repeatElement(0, count: 512))
                owners.append(contentsOf: repeatElement(0, count: 512))
                writers.append(contentsOf: repeatElement(0, count: 512))
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

    /// Names a stretch that stays unmapped.
    package mutating func reserve(_ region: Region) { regions.append(region) }

    /// Makes `ignoredBits` of an address irrelevant inside a window.
    package mutating func ignoreBits(_ ignoredBits: UInt64, from base: UInt64, size_bytes: UInt64) {
        aliases.append(AliasWindow(base: base, size_bytes: size_bytes, ignoredBits: ignoredBits))
    }

    private mutating func insert(page: UInt64, physical: Int32, attributes: PageAttributes) {
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

    /// Takes the present content as the one that `reset()` restores.
    package mutating func freeze() {
        for index in dirty.indices { dirty[index] = false }
        dirtyPages.removeAll(keepingCapacity: true)
        dirtyPages.reserveCapacity(dirty.count)
        pristineWords = words
        pristineOwners = owners
        for index in writers.indices { writers[index] = 0 }
        overwrites.removeAll(keepingCapacity: true)
    }

    /// Restores the frozen content.
    package mutating func reset() {
        for page in dirtyPages {
            let start = Int(page) * 512
            for index in start..<(start + 512) {
                words[index] = pristineWords[index]
                owners[index] = pristineOwners[index]
                writers[index] = 0
            }
            dirty[Int(page)] = false
        }
        dirtyPages.removeAll(keepingCapacity: true)
        overwrites.removeAll(keepingCapacity: true)
    }

    /// Anything was recorded since the last reset.
    @inline(__always)
    package var hasOverwrites: Bool { !overwrites.isEmpty }

    /// Notes that the code of an activation reads a word that was taken from it.
    @inline(never)
    package mutating func noteRead(atOffset offset: Int, by activation: UInt32) {
        let word = Int32(truncatingIfNeeded: offset >> 3)
        for index in overwrites.indices
        where overwrites[index].word == word && overwrites[index].oldOwner.activation == activation {
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
        var best: Region?
        for region in regions where region.contains(address) {
            if region.size_bytes < (best?.size_bytes ?? .max) { best = region }
        }
        return best
    }

    // MARK: Journal

    private struct JournalEntry: Sendable {
        var index: Int
        var word: UInt64
        var owner: UInt32
        var writer: UInt32
    }

    private var isJournaling = false
    private var journal: [JournalEntry] = []

    /// Starts to note what is overwritten, so that `rollBack` can undo it.
    package mutating func startJournal() {
        journal.removeAll(keepingCapacity: true)
        isJournaling = true
    }

    @inline(never)
    private mutating func note(_ index: Int) {
        journal.append(JournalEntry(index: index, word: words[index], owner: owners[index], writer: writers[index]))
    }

    /// Undoes every write since `startJournal`, the latest first.
    package mutating func rollBack(overwriteCount: Int) {
        isJournaling = false
        for entry in journal.reversed() {
            words[entry.index] = entry.word
            owners[entry.index] = entry.owner
            writers[entry.index] = entry.writer
        }
        journal.removeAll(keepingCapacity: true)
        if overwrites.count > overwriteCount { overwrites.removeLast(overwrites.count - overwriteCount) }
    }

    // MARK: Words

    @inline(__always)
    package func word(atOffset offset: Int) -> UInt64 { words[offset >> 3] }

    @inline(__always)
    package func owner(atOffset offset: Int) -> Owner { Owner(rawValue: owners[offset >> 3]) }

    /// Step that wrote the word last; 0 if none did in this run.
    package func writer(atOffset offset: Int) -> UInt32 { writers[offset >> 3] }

    @inline(__always)
    package mutating func setWord(_ value: UInt64, atOffset offset: Int, owner: Owner, step: UInt32) {
        let index = offset >> 3
        if isJournaling { note(index) }
        words[index] = value
        owners[index] = owner.rawValue
        writers[index] = step
        let page = offset >> 12
        if !dirty[page] {
            dirty[page] = true
            dirtyPages.append(Int32(truncatingIfNeeded: page))
        }
    }

    /// Records that a word in use was overwritten, up to `overwriteLimit`.
    @inline(never)
    package mutating func record(_ overwrite: Overwrite) {
        if overwrites.count < Memory.overwriteLimit { overwrites.append(overwrite) }
    }

    /// The value of the aligned word at an address, without access checks; for set-up, handler models and reports.
    package func peek(_ address: UInt64) -> UInt64? {
        guard let (offset, _) = translate(address & ~7) else { return nil }
        return words[offset >> 3]
    }

    /// The owner of the aligned word at an address.
    package func owner(at address: UInt64) -> Owner? {
        guard let (offset, _) = translate(address & ~7) else { return nil }
        return Owner(rawValue: owners[offset >> 3])
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
