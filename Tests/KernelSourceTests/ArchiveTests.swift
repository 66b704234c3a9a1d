import EntryCode
import Foundation
import KernelSource
import TestSupport
import Testing

/// Archives and forms: what they hold is taken, what they try is refused.
struct ArchiveTests {
    private let entry = "#include \"calling.h\"\nSYM_CODE_START(error_return)\n\tnop\nSYM_CODE_END(error_return)\n"

    /// One entry of a tar archive.
    private func entry(_ name: String, _ content: String, type: Character = "0", size: Int? = nil) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at place: Int) {
            header.replaceSubrange(place..<(place + text.utf8.count), with: Array(text.utf8))
        }
        put(String(name.prefix(100)), at: 0)
        put("0000644", at: 100)
        let octal = String(size ?? content.utf8.count, radix: 8)
        put(String(repeating: "0", count: 11 - octal.count) + octal, at: 124)
        put("        ", at: 148)
        put(String(type), at: 156)
        put("ustar\u{0}00", at: 257)
        let sum = String(header.reduce(0) { $0 + Int($1) }, radix: 8)
        put(String(repeating: "0", count: 6 - sum.count) + sum + "\u{0} ", at: 148)
        var body = Array(content.utf8)
        body += [UInt8](repeating: 0, count: (512 - body.count % 512) % 512)
        return header + body
    }

    private func code(_ body: () throws -> Void) -> String? {
        do {
            try body()
            return nil
        } catch { return (error as? TreeFault)?.code }
    }

    @Test func whatIsWantedIsTaken() throws {
        let end = [UInt8](repeating: 0, count: 1024)
        let archive =
            entry("linux/arch/x86/entry/entry_64.S", entry) + entry("linux/Makefile", "all:\n")
            + entry("x", "52 path=linux/arch/x86/include/asm/idtentry.h\n", type: "x")
            + entry("short", "#define A 1\n") + entry("././@LongLink", "linux/arch/x86/entry/calling.h\u{0}", type: "L")
            + entry("cut", "#define B 1\n") + entry("linux/arch", "", type: "5") + end
        let tree = try KernelTree.tar(archive)
        #expect(tree.files.map(\.path).contains("arch/x86/entry/entry_64.S"))
        #expect(tree.text("arch/x86/entry/calling.h") == Array("#define B 1\n".utf8))
    }

    @Test func twoTreesAreNotOne() {
        let one = entry("linux-6.1/arch/x86/entry/entry_64.S", entry)
        let other = entry("linux-5.2/arch/x86/entry/entry_64.S", "nop\n")
        #expect(code { _ = try KernelTree.tar(one + other) } == "two-trees")
        // The same name twice is a file that was added again.
        #expect(code { _ = try KernelTree.tar(one + one) } == nil)
        for type in ["3", "4", "6"] as [Character] {
            #expect(code { _ = try KernelTree.tar(entry("arch/x86/entry/entry_64.S", "", type: type)) } == "not-a-file")
        }
    }

    @Test func theMakefileSaysTheRelease() throws {
        let make = entry("linux/Makefile", "# x\nVERSION = 5\nPATCHLEVEL = 10\nSUBLEVEL = 1\n")
        let tree = try KernelTree.tar(
            make + entry("linux/arch/x86/Makefile", "VERSION = 1\nPATCHLEVEL = 2\n")
                + entry("linux/arch/x86/entry/entry_64.S", entry))
        #expect(tree.release == KernelRelease(5, 10))
        #expect(tree.files.map(\.path) == ["arch/x86/entry/entry_64.S"])
        #expect(try tree.makeTable().kernel == "linux-5.8")
    }

    @Test func tricksAreRefused() {
        #expect(code { _ = try KernelTree.tar(entry("../arch/x86/entry/entry_64.S", entry)) } == "unsafe-path")
        #expect(code { _ = try KernelTree.tar(entry("/etc/passwd", "x")) } == "unsafe-path")
        #expect(code { _ = try KernelTree.tar(entry("arch/x86/entry/entry_64.S", "", type: "2")) } == "link")
        #expect(code { _ = try KernelTree.tar(entry("arch/x86/entry/entry_64.S", "", type: "1")) } == "link")
        #expect(code { _ = try KernelTree.tar(entry("a", "x", size: 100_000)) } == "damaged-archive")
        #expect(
            code { _ = try KernelTree.tar(Array("PK\u{3}\u{4}".utf8) + [UInt8](repeating: 7, count: 600)) }
                == "damaged-archive")
        #expect(code { _ = try KernelTree.tar([]) } == "damaged-archive")
        let large = String(repeating: "nop\n", count: 200_000)
        #expect(code { _ = try KernelTree.tar(entry("arch/x86/entry/entry_64.S", large)) } == "too-large")
        // An archive in an archive is a file like any other: not wanted.
        #expect(
            code { _ = try KernelTree.tar(entry("tree.tar", "x") + entry("b.gz", "y")).makeTable() } == "no-sources")
    }

    @Test func forms() throws {
        func form(_ parts: [(String, String)]) -> [UInt8] {
            Array(
                (parts.map { "--b\r\nContent-Disposition: form-data; \($0.0)\r\n\r\n\($0.1)\r\n" }.joined()
                    + "--b--\r\n").utf8)
        }
        func read(_ body: [UInt8]) throws -> (tree: KernelTree, config: [String: Bool], kernel: String?) {
            try KernelTree.form(try FormData.read(body, contentType: "multipart/form-data; boundary=b"))
        }
        let whole = form([
            ("name=\"files\"; filename=\"entry_64.S\"", entry), ("name=\"option\"", "CONFIG_DEBUG_ENTRY=y"),
            ("name=\"arch/x86/entry/calling.h\"; filename=\"x\"", "#define A 1\n"), ("name=\"kernel\"", "linux-6.1"),
        ])
        let result = try read(whole)
        #expect(result.tree.files.map(\.path) == ["arch/x86/entry/calling.h", "arch/x86/entry/entry_64.S"])
        #expect(result.tree.text("arch/x86/entry/entry_64.S") == Array(entry.utf8))
        #expect(result.config == ["CONFIG_DEBUG_ENTRY": true] && result.kernel == "linux-6.1")
        #expect(code { _ = try read(form([("name=\"a\"; filename=\"../../x\"", "")])) } == "unsafe-path")
        #expect(code { _ = try read(form([("name=\"option\"", "PTI")])) } == "invalid-option")
        #expect(code { _ = try read(form([("name=\"colour\"", "red")])) } == "unknown-field")
        #expect(code { _ = try read(Array(whole.dropLast(30))) } == "damaged-form")
        #expect(code { _ = try read(Array("nothing".utf8)) } == "damaged-form")
        #expect(code { _ = try FormData.read(whole, contentType: "multipart/form-data") } == "no-boundary")
    }

    @Test("mutated archives and forms", arguments: 1...4)
    func mutated(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let archive =
            entry("linux/arch/x86/entry/entry_64.S", entry) + entry("x", "30 path=arch/x86/a\n", type: "x")
            + entry("b", "c")
        let form = Array(
            "--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"entry_64.S\"\r\n\r\nx\r\n--b--".utf8)
        for _ in 0..<400 {
            for isTar in [true, false] {
                var bytes = isTar ? archive : form
                for _ in 0...random.next() % 4 {
                    let place = Int(random.next() % UInt64(bytes.count))
                    switch random.next() % 3 {
                    case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
                    case 1: bytes.removeSubrange(place..<min(bytes.count, place + Int(random.next() % 600)))
                    default: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: place)
                    }
                    if bytes.isEmpty { bytes = [0] }
                }
                do {
                    if isTar {
                        _ = try KernelTree.tar(bytes)
                    } else {
                        _ = try KernelTree.form(
                            try FormData.read(bytes, contentType: "multipart/form-data; boundary=b"))
                    }
                } catch { #expect((error as? TreeFault)?.message.isEmpty == false) }
            }
        }
    }
}
