import EntryCode
import Foundation
import KernelSource
import Testing

/// One patch in every wrapping that mail programs know.
struct MailTests {
    private var patch: String { get throws { String(decoding: try fixture("xen-int3.patch"), as: UTF8.self) } }
    private var diff: String {
        get throws {
            let text = try patch
            return String(text[try #require(text.range(of: "diff --git")).lowerBound...])
        }
    }

    private func changes(_ input: String) throws -> [String] { try changes(Array(input.utf8)) }

    private func changes(_ input: [UInt8]) throws -> [String] {
        PatchApplication.apply(input, to: try shipped("linux-5.2")).hunks.flatMap(\.changes)
    }

    private let wanted = [
        "entries: - xenint3", "trap array: - int3", "trap array: + int3 xen_int3 false", "thunks: - xenint3",
    ]

    private func mail(_ type: String, _ encoding: String, _ body: String) -> String {
        "From: A <a@example.org>\nSubject: [PATCH] x\nMIME-Version: 1.0\nContent-Type: \(type)\n"
            + "Content-Transfer-Encoding: \(encoding)\n\n\(body)"
    }

    private func quotedPrintable(_ text: String) -> String {
        var out = ""
        var column = 0
        for byte in text.utf8 {
            var piece: String
            switch byte {
            case 0x0A:
                out += "\n"
                column = 0
                continue
            case 0x21...0x3C, 0x3E...0x7E, 0x20: piece = String(UnicodeScalar(byte))
            default: piece = "=" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
            if column + piece.utf8.count > 70 {
                out += "=\n"
                column = 0
            }
            out += piece
            column += piece.utf8.count
        }
        return out
    }

    @Test func plainForms() throws {
        #expect(try changes(patch) == wanted)
        #expect(try changes(diff) == wanted)
        #expect(try changes(diff.replacing("\n", with: "\r\n")) == wanted)
        #expect(try changes("Hello,\n\nhere it is:\n\n" + diff + "\nRegards\n") == wanted)
        // An old `diff -u`, with other names above the tree and dates.
        let old = try diff.split(separator: "\n").filter { !$0.hasPrefix("diff") && !$0.hasPrefix("index") }
            .map { line -> String in
                if line.hasPrefix("--- a/") { return "--- linux.orig/\(line.dropFirst(6))\t2019-07-11 10:15:00 +0800" }
                if line.hasPrefix("+++ b/") { return "+++ linux/\(line.dropFirst(6))\t2019-07-11 10:16:00 +0800" }
                return String(line)
            }.joined(separator: "\n")
        #expect(try changes(old) == wanted)
    }

    /// Some programs say that a mail is flowed and leave its lines as they are.
    @Test func flowedWithoutStuffing() throws {
        #expect(try changes(mail("text/plain; format=flowed", "8bit", try diff)) == wanted)
    }

    @Test func encodedMails() throws {
        let text = try diff
        #expect(try changes(mail("text/plain; charset=UTF-8", "quoted-printable", quotedPrintable(text))) == wanted)
        let base64 = Data(text.utf8).base64EncodedString(options: [.lineLength76Characters, .endLineWithLineFeed])
        #expect(try changes(mail("text/plain", "base64", base64)) == wanted)
        let flowed = text.split(separator: "\n", omittingEmptySubsequences: false)
            .map { $0.hasPrefix(" ") || $0.hasPrefix("From ") || $0.hasPrefix(">") ? " " + $0 : String($0) }
            .joined(separator: "\n")
        #expect(
            try changes(mail("text/plain; format=flowed", "8bit", "A line that goes \non here.\n" + flowed)) == wanted)
        let parts = """
            --b
            Content-Type: text/plain

            See the attachment.
            --b
            Content-Type: application/octet-stream; name="int3.patch"
            Content-Transfer-Encoding: base64

            \(base64)
            --b
            Content-Type: application/zip; name="tree.zip"
            Content-Transfer-Encoding: base64

            UEsDBBQAAAA=
            --b--

            """
        let multipart = mail("multipart/mixed; boundary=\"b\"", "7bit", parts)
        #expect(try changes(multipart) == wanted)
        let outcome = PatchApplication.apply(Array(multipart.utf8), to: try shipped("linux-5.2"))
        #expect(outcome.notes.contains { $0.contains("application/zip") && $0.contains("tree.zip") })
    }

    @Test(arguments: [1, 2, 4, 9])
    func quotations(depth: Int) throws {
        for mark in [">", "> "] {
            let prefix = String(repeating: mark, count: depth)
            let quoted = try diff.split(separator: "\n", omittingEmptySubsequences: false).map {
                // A reviewer answers below the removed line.
                let line = mark == ">" ? prefix + " " + $0 : prefix + $0
                return $0.hasPrefix("-idtentry") ? line + "\nWhy is that gone?\n\nIt was never needed.\n" : line
            }.joined(separator: "\n")
            #expect(try changes("On Thu, A wrote:\n" + quoted + "\nThanks\n") == wanted)
        }
    }

    @Test func bytesThatAreNoUTF8() throws {
        // Latin-1: a name, and no-break spaces where tabs were.
        var bytes = Array("Sm\u{1}rgas wrote:\n".utf8)
        bytes[2] = 0xF6
        for byte in try diff.utf8 { bytes += byte == 9 ? [0xA0, 0xA0] : [byte] }
        #expect(try changes(bytes) == wanted)
    }

    @Test func seriesInItsOrderAndItsNewestVersion() throws {
        let pieces = try diff.components(separatedBy: "diff --git").dropFirst().map { "diff --git" + $0 }
        func part(_ subject: String, _ body: String) -> String {
            "From 0123456789abcdef Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nSubject: \(subject)\n"
                + "Date: Thu, 11 Jul 2019 10:15:00 +0800\n\n\(body)\n"
        }
        let mbox =
            part("[PATCH v2 3/3] c", pieces[2]) + part("[PATCH v2 0/3] cover", "About it.\n")
            + part("[PATCH v2 1/3] a", pieces[0])
            + part("[PATCH 1/1] old", pieces[0].replacing("xenint3\t\tdo_int3", with: "xennmi\t\tdo_nmi"))
            + part("[PATCH v2 2/3] b", pieces[1])
            + part("Re: [PATCH v2 1/3] a", pieces[0].split(separator: "\n").map { "> " + $0 }.joined(separator: "\n"))
        let outcome = PatchApplication.apply(Array(mbox.utf8), to: try shipped("linux-5.2"))
        #expect(outcome.hunks.filter { $0.state == .applied }.flatMap(\.changes) == wanted)
        let ignored = outcome.hunks.filter { $0.state == .ignored }.compactMap(\.reason)
        #expect(ignored.count == 2)
        #expect(ignored.contains { $0.contains("version 1") } && ignored.contains { $0.contains("quoted") })
        #expect(outcome.notes.contains { $0.contains("not in its order") })
    }

    @Test func brokenPatches() throws {
        func outcome(_ text: String) throws -> PatchOutcome {
            PatchApplication.apply(Array(text.utf8), to: try shipped("linux-5.2"))
        }
        let whole = try diff
        // Cut off in the middle of the second file.
        let cut = try outcome(
            String(
                whole.prefix(
                    whole.distance(
                        from: whole.startIndex, to: try #require(whole.range(of: "CONFIG_X86_MCE")).lowerBound))))
        #expect(cut.hunks.map(\.state) == [.applied, .notUnderstood])
        #expect(cut.hunks.last?.reason?.contains("counts 12 lines before") == true)
        #expect(!cut.isComplete)
        // Counts that are too large swallow nothing.
        let counts = try outcome(whole.replacing("@@ -1176,7 +1176,6 @@", with: "@@ -1176,9 +1176,8 @@"))
        #expect(counts.hunks.map(\.state) == [.notUnderstood, .applied, .applied])
        // A line that a mailer wrapped.
        let wrapped = try outcome(whole.replacing("do_debug\t\thas_error_code=0", with: "do_debug\nhas_error_code=0"))
        #expect(wrapped.hunks.first?.state == .notUnderstood)
        #expect(wrapped.hunks.first?.reason?.contains("wrapped") == true)
        let binary = try outcome(
            "diff --git a/arch/x86/entry/x.bin b/arch/x86/entry/x.bin\nGIT binary patch\nliteral 3\nKcmZ\n\n" + whole)
        #expect(binary.hunks.contains { $0.state == .notUnderstood && $0.reason == "a binary patch is not read" })
        #expect(try outcome("just words\n").notes.contains { $0.contains("no hunk") })
        #expect(try outcome("").document == nil)
        // Rows that are not there.
        let twice = try outcome(whole + "\n" + whole)
        #expect(twice.hunks.count { $0.state == .notApplied } >= 2)
        // Names that leave the tree are names of nothing.
        let escape = try outcome(whole.replacing("arch/x86/", with: "../../etc/"))
        #expect(escape.hunks.allSatisfy { $0.state == .ignored } && escape.document == nil)
    }

    @Test func codeNeedsSources() throws {
        let code = """
            --- a/arch/x86/entry/entry_64.S
            +++ b/arch/x86/entry/entry_64.S
            @@ -900,3 +900,2 @@ ENTRY(error_entry)
             \tcld
            -\tPUSH_AND_CLEAR_REGS save_ret=1
             \tENCODE_FRAME_POINTER 8

            """
        let outcome = PatchApplication.apply(Array(code.utf8), to: try shipped("linux-5.2"))
        #expect(outcome.hunks.map(\.state) == [.notUnderstood])
        #expect(outcome.hunks.first?.reason?.contains("sources") == true)
        #expect(outcome.document == nil)
    }

    @Test func aLargeMailboxIsReadInTime() throws {
        let noise = String(
            repeating: "> > On Monday somebody wrote a long line of prose about entry code.\n", count: 100)
        var box = ""
        let head = "From a@example.org Mon Jul 15 09:09:49 2019\nFrom: A <a@example.org>\nSubject: Re: x\n\n"
        while box.utf8.count < 10 << 20 { box += head + noise + "\n" }
        box += try patch
        let bytes = Array(box.utf8)
        let clock = ContinuousClock()
        let document = try shipped("linux-5.2")
        var outcome = PatchOutcome()
        let elapsed = clock.measure { outcome = PatchApplication.apply(bytes, to: document) }
        #expect(outcome.hunks.flatMap(\.changes) == wanted)
        // A debug build is some twenty times slower than what is shipped.
        #expect(elapsed < .seconds(20), "\(elapsed)")
    }
}
