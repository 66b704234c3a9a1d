import EntryCode
import Testing

@testable import API

/// Patches, comparisons and trees over the interface.
struct PatchTests {
    private let patch = """
        --- a/arch/x86/xen/enlighten_pv.c
        +++ b/arch/x86/xen/enlighten_pv.c
        @@ -600,3 +600,3 @@
         \t{ debug,                       xen_xendebug,                    true },
        -\t{ int3,                        xen_xenint3,                     true },
        +\t{ int3,                        xen_int3,                        false },
         \t{ double_fault,                xen_double_fault,                true },

        """

    private func send(_ stage: Stage, _ path: String, _ type: String, _ body: [UInt8]) throws -> Reply {
        try stage.send("POST", path, [("Content-Type", type)], body)
    }

    @Test(arguments: Carrier.allCases) func aPatchMakesATable(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let reply = try send(
            stage, "/v1/configurations/linux-5.2/patches?name=patched", "text/x-diff", Array(patch.utf8))
        #expect(reply.status == 201)
        #expect(reply.json?.text("configuration/name") == "patched")
        #expect(reply.json?.text("configuration/state") == "valid")
        #expect(reply.json?.text("patch/hunks/0/state") == "applied")
        #expect(reply.json?.at("patch/complete") == true)
        #expect(reply.json?.text("base")?.utf8.count == 64)
        #expect(reply.fields["location"] == "/v1/configurations/\(reply.json?.text("configuration/id") ?? "")")
        let again = try send(stage, "/v1/configurations/linux-5.2/patches", "application/mbox", Array(patch.utf8))
        #expect(again.status == 422, "no mail in it")
        let twice = try send(stage, "/v1/configurations/patched/patches", "text/plain", Array(patch.utf8))
        #expect(twice.status == 422)
        #expect(twice.json?.text("code") == "patch-not-applied")
        let text = try stage.send(
            "POST", "/v1/configurations/linux-5.2/patches",
            [("Content-Type", "message/rfc822"), ("Accept", "text/plain"), ("Content-Encoding", "gzip")],
            try gzip(Array(("From: a@example.org\nSubject: x\n\n" + patch).utf8)))
        #expect(text.status == 200)
        #expect(text.text.contains("trap array: + int3 xen_int3 false"))

        let comparison = try stage.get("/v1/comparisons?base=linux-5.2&head=patched&scenarios=xen-pv/int3/*")
        #expect(comparison.status == 200)
        #expect(comparison.json?.text("verdict") == "fixed")
        #expect(comparison.json?.at("summary/regressed") == 0)
        #expect(comparison.json?.text("table/0/section") == "xen/traps")
        let reply72 = try stage.get(
            "/v1/comparisons?base=linux-5.2&head=patched&scenarios=xen-pv/int3/*", accept: "text/plain")
        #expect(reply72.text.contains("0 regressed, 11 fixed"))
        #expect(reply72.text.split(separator: "\n").allSatisfy { $0.utf8.count <= 72 })
    }

    @Test func aPatchIsCheckedInOneCall() throws {
        let stage = try Stage(.router)
        let reply = try send(
            stage, "/v1/checks?base=linux-5.2&scenarios=xen-pv/int3/*", "text/x-patch", Array(patch.utf8))
        #expect(reply.status == 200)
        #expect(reply.json?.text("report/verdict") == "holds")
        #expect(reply.json?.text("comparison/verdict") == "fixed")
        #expect(reply.json?.at("patch/summary/applied") == 1)
        let id = try #require(reply.json?.text("report/id"))
        #expect(try stage.get("/v1/simulations/\(id)").json?.text("verdict") == "holds")
    }

    @Test func whatCannotBeAppliedIsSaid() throws {
        let stage = try Stage(.router)
        for (path, type, body, status, code) in [
            ("/v1/configurations/nobody/patches", "text/x-diff", patch, 404, "not-found"),
            ("/v1/configurations/linux-5.2/patches", "application/json", "{}", 415, "unsupported-media-type"),
            ("/v1/configurations/linux-5.2/patches", "text/x-diff", "words", 422, "patch-not-applied"),
            (
                "/v1/configurations/linux-5.2/patches", "text/x-diff", String(patch.dropLast(110)), 422,
                "patch-not-applied"
            ),
            ("/v1/checks", "text/x-diff", patch, 400, "invalid-parameter"),
            ("/v1/checks?base=linux-5.2", "application/json", "{\"kernel\":\"linux-5.2\"}", 400, "invalid-parameter"),
            ("/v1/configurations", "application/x-tar", "no tar", 422, "invalid-tree"),
            ("/v1/configurations", "multipart/form-data; boundary=b", "no form", 422, "invalid-tree"),
            ("/v1/configurations", "multipart/form-data", "no form", 422, "invalid-tree"),
            ("/v1/configurations", "text/plain", patch, 415, "unsupported-media-type"),
        ] {
            let reply = try send(stage, path, type, Array(body.utf8))
            #expect(reply.status == status, "\(path) \(type)")
            #expect(reply.json?.text("code") == code, "\(path) \(type)")
        }
        for path in ["/v1/comparisons", "/v1/comparisons?base=linux-5.2", "/v1/comparisons?base=linux-5.2&head=nobody"]
        {
            #expect([400, 404].contains(try stage.get(path).status))
        }
        // A bomb: sixteen megabytes and more from few bytes.
        let bomb = try gzip([UInt8](repeating: 0x3E, count: 17 << 20))
        #expect(try send(stage, "/v1/configurations/linux-5.2/patches", "text/x-diff", bomb).status == 413)
        #expect(try send(stage, "/v1/configurations", "application/x-tar", bomb).status == 413)
    }

    @Test func aFileOfATreeIsKept() throws {
        let stage = try Stage(.router)
        let file = "\t{ int3,\txen_int3,\tfalse },\n"
        let form =
            "--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"arch/x86/xen/enlighten_pv.c\"\r\n\r\n"
            + "trap_array[] = {\n\t{ debug,\txen_xendebug,\ttrue },\n\t{ double_fault,\txen_double_fault,\ttrue },\n\t{ machine_check,\txen_machine_check,\ttrue },\n\t{ nmi,\txen_xennmi,\ttrue },\n\(file)};\n"
            + "\r\n--b\r\nContent-Disposition: form-data; name=\"kernel\"\r\n\r\nlinux-5.2\r\n--b--\r\n"
        let reply = try send(stage, "/v1/configurations?name=tree", "multipart/form-data; boundary=b", Array(form.utf8))
        #expect(reply.status == 201)
        #expect(reply.json?.text("import/read/0") == "arch/x86/xen/enlighten_pv.c")
        #expect(reply.json?.text("kernel") == "linux-5.2")
        #expect(try stage.get("/v1/configurations/tree").json?.at("document/sources/files") != nil)
        let change = """
            > --- a/arch/x86/xen/enlighten_pv.c
            > +++ b/arch/x86/xen/enlighten_pv.c
            > @@ -5,2 +5,2 @@
            >  \t{ nmi,\txen_xennmi,\ttrue },
            > -\t{ int3,\txen_int3,\tfalse },
            > +\t{ int3,\txen_xenint3,\ttrue },
            Why?

            """
        let patched = try send(stage, "/v1/configurations/tree/patches", "text/plain", Array(change.utf8))
        #expect(patched.status == 201)
        #expect(patched.json?.text("patch/hunks/0/changes/0") == "lines: -1 +1, at line 5")
        let id = try #require(patched.json?.text("configuration/id"))
        let comparison = try stage.get("/v1/comparisons?base=tree&head=\(id)&scenarios=xen-pv/int3/*")
        #expect(comparison.json?.text("verdict") == "regressed")
    }
}
