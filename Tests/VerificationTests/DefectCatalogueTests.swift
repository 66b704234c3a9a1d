import EntryCode
import Testing
import Verification
import XenPV

/// The catalogue of historic defects: each modelled one is found broken by its rule, and its repair holds.
struct DefectCatalogueTests {
    /// What was collected of entry-code defects, in the order of their names.
    static let ids = """
        ac-assert-nosmap ac-task-switch-2006 bad-iret-gs-fixup bug-warn-in-entry compat-ecx-bp
        cr2-clobbered-by-tracing db-infinite-delivery db-recursion-58 df-espfix-ss div0-quotient
        entry-stack-too-small error-exit-ebx espfix-bypass-tls espfix-leak espfix-on-xen fast-syscall-arg-fault
        fred-error-code-print fred-step-repeat freebsd-badiret fsgsbase-paranoid-sign hyperv-vector-mismatch
        ia32-r8-r11-leak int80-external-injection int80-no-clac int80-r8-r11-preserve int80-zero-extend
        k8-47bit-guard kvm-movss kvm-nmi-through-ist movss-bp-ist movss-other-kernels nmi-rsp-spoof
        nmi-swapgs-paravirt-clobber nmi-user-on-nmi-stack nt-task-switch-2006 paranoid-no-fence pti-missing-switch
        ptrace-noncanonical-2005 ptrace-sysret sev-es-vc-ist-untrusted-sp sev-vc-irq-state sev-vc-user-ioio
        ss-on-exception-stack-2005 swapgs-wrong-fence-macro syscall-nt sysenter-tf-region sysret-ss-attrs sysret-tf
        tdx-ve-syscall-gap verw-ds vmx-gdt-limit watchpoint-in-entry-data xen-ac-on-guest-entry xen-bool-retval
        xen-bounce-range xen-fred-nmi-softirq xen-idt-int80-dpl xen-int-prefix-length xen-int80-irq-mask
        xen-ist-exit-stale xen-missing-syscall-callback xen-nmi-held-by-mce xen-nt-gp-policy xen-rbx-unset-exit
        xen-stale-gs xen-syscall-r11 xen-sysenter-if xen-upcall-mask-cleared xen-verw-offset xen32-failsafe
        xen407-untrain xen466-hypercall-page xenpv-db-miswired-58 xenpv-int3-no-gap xenpv-int80-copy xenpv-native-nmi
        xenpv-syscall-selectors xenpv-sysenter-rax xenpv-vc-ist-unrouted xsa136-compat-iret xsa202-exit-flags
        xsa213-multicall-iret xsa244-ist-cpu-hotplug xsa260-db-ist xsa265-db-livelock-check xsa293-fsgsbase-cr4
        xsa339-double-gp xsa429-cr4-restore xsa446-trap-gate xsa451-shstk-stub xsa7-sysret xsa8-gp-latched
        """.split { $0 == " " || $0 == "\n" }.map(String.init)

    static let modelled = DefectCatalogue.shipped.defects.filter { $0.modelled != nil }.map(\.id)

    @Test("every file parses, every defect has one, and those without a model say why")
    func complete() throws {
        #expect(Self.modelled.count >= 50)
        let catalogue = DefectCatalogue.shipped
        #expect(catalogue.faults == [])
        #expect(catalogue.defects.map(\.id).sorted() == Self.ids)
        for defect in catalogue.defects {
            guard case .notModelled(let reason) = defect.model else { continue }
            #expect(reason.count > 30 && reason.hasSuffix("."), "\(defect.id): \(reason)")
        }
    }

    @Test("the rule finds the broken table for the reason given; the fixed one holds", arguments: modelled)
    func pair(_ id: String) throws {
        let defect = try #require(DefectCatalogue.shipped[id])
        let check = try #require(defect.check())
        #expect(check.faults == [])
        #expect(!check.found.isEmpty)
        // A table that cannot be run has no scenarios: it is found by its configuration.
        #expect(check.scenarios == 0 || check.scenarios >= check.found.count)
    }

    @Test("the two tables are documents that anybody could submit", arguments: modelled)
    func documents(_ id: String) throws {
        let defect = try #require(DefectCatalogue.shipped[id])
        var ids: Set<String> = []
        for side in DefectSide.allCases {
            let document = try #require(try defect.document(side))
            let table = try EntryTable.read(document.bytes)
            #expect(table.name == "\(id)-\(side.rawValue)")
            #expect(ids.insert(table.document.text).inserted, "both sides are the same table")
        }
    }

    @Test("a check can fail: a table without the defect is not found, one with it does not hold")
    func failures() throws {
        var defect = try #require(DefectCatalogue.shipped["xenpv-int3-no-gap"])
        var model = try #require(defect.modelled)
        swap(&model.broken, &model.fixed)
        defect.model = .modelled(model)
        let swapped = try #require(defect.check())
        #expect(swapped.found.isEmpty)
        #expect(swapped.faults.contains { $0.hasPrefix("broken: holds in all of ") })
        #expect(swapped.faults.contains { $0.hasPrefix("fixed: xen-pv/int3/kernel/") })
        swap(&model.broken, &model.fixed)
        for change: (inout DefectModel) -> Void in [
            { $0.rule = "triple-fault" }, { $0.evidence = "for no reason" }, { $0.foundIn = "*/user/*" },
        ] {
            var other = model
            change(&other)
            defect.model = .modelled(other)
            let check = try #require(defect.check())
            #expect(check.found.isEmpty && check.faults.count == 1, "\(check.faults)")
            #expect(check.faults.first?.contains("not found by \(other.rule)") == true)
        }
        model.scenarios = ["no/such/*"]
        defect.model = .modelled(model)
        #expect(try #require(defect.check()).faults.count == 2)
        model.kernel = "linux-0.1"
        defect.model = .modelled(model)
        #expect(try #require(defect.check()).faults.allSatisfy { $0.contains("linux-0.1") })
        defect.model = .notModelled(reason: "a test")
        #expect(defect.check() == nil)
        #expect(try defect.document(.broken) == nil)
    }

    @Test("faults of a file have pointers")
    func faults() throws {
        func faults(_ model: String) -> [String] {
            let text = """
                {"id": "x", "title": "t", "year": 2019, "os": "linux", "affected": "a", "layer": "asm", "wrong": "w",
                 "right": "r", "outcome": "o", \(model)}
                """
            do {
                _ = try Defect.read(Array(text.utf8))
                return []
            } catch {
                return error.faults.map { "\($0.pointer) \($0.code)" }
            }
        }
        let edit = #""broken": [{"remove": "idt/3"}]"#
        let rest = #""scenarios": ["*"], "rule": "progress", "evidence": "e""#
        #expect(faults(#""model": {"kernel": "linux-5.3", \#(edit), \#(rest)}"#) == [])
        #expect(faults(#""not_modelled": "because""#) == [])
        #expect(faults(#""not_modelled": """#) == ["/not_modelled empty"])
        #expect(faults(#""year": 1"#).contains(" contradiction"))
        for (text, fault) in [
            (#""kernel": "k", \#(rest)"#, "/model no-difference"),
            (#""kernel": "k", \#(edit), "rule": "progress", "evidence": "e""#, "/model/scenarios missing-key"),
            (#"\#(edit), \#(rest)"#, "/model missing-key"),
            (
                #""kernel": "k", \#(edit), "scenarios": ["*"], "rule": "progres", "evidence": "e""#,
                "/model/rule unknown-rule"
            ),
            (#""kernel": "k", \#(edit), \#(rest), "platforms": ["arm"]"#, "/model/platforms/0 unknown-platform"),
            (#""kernel": "k", \#(edit), \#(rest), "xen": "3""#, "/model/xen unknown-xen-version"),
            (#""kernel": "k", \#(edit), \#(rest), "nesting": 4"#, "/model/nesting out-of-range"),
            (#""kernel": "k", \#(edit), \#(rest), "fixed": [{}]"#, "/model/fixed/0 not-an-edit"),
        ] { #expect(faults("\"model\": {\(text)}") == [fault]) }
        #expect(DefectCatalogue(files: [("a.json", Array("{".utf8))]).faults.count == 1)
    }
}
