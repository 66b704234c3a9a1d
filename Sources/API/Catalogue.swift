import EntryCode
import HTTPTypes
import Reports
import Store
import Verification

extension Application {
    func live(_ request: Request) throws(Problem) -> Answer {
        try request.allow(["verbose"])
        return Answer(.ok, .text, [UInt8]("ok\n".utf8), fields: [.cacheControl: "no-store"])
    }

    /// Ready: the database answers and the service is not stopping.
    func ready(_ request: Request) throws(Problem) -> Answer {
        try request.allow(["verbose"])
        var checks: [(name: String, isGood: Bool)] = [("accepting work", !isDraining)]
        do throws(StoreError) {
            _ = try store.configurations(limit: 1)
            checks.append(("database readable", true))
        } catch {
            checks.append(("database readable", false))
        }
        checks.append(("kernels embedded", !kernels.kernels.isEmpty && kernels.faults.isEmpty))
        checks += environment.readiness().map { ($0.name, $0.isGood) }
        let isReady = checks.allSatisfy(\.isGood)
        var text = isReady ? "ok\n" : "not ready\n"
        if try request.parameter("verbose") != nil || !isReady {
            for check in checks { text += "\(check.isGood ? "[+]" : "[-]") \(check.name)\n" }
        }
        return Answer(
            isReady ? .ok : .serviceUnavailable, .text, [UInt8](text.utf8), fields: [.cacheControl: "no-store"])
    }

    func versions(_ request: Request) throws(Problem) -> Answer {
        try request.allow([])
        let format = try request.format(among: [.json, .text])
        if format == .text { return Answer(.ok, format, [UInt8]("gatehouse \(version), model \(modelVersion)\n".utf8)) }
        let body = JSON.object([
            JSON.Member("name", "gatehouse"), JSON.Member("version", .string(version)),
            JSON.Member("model", .object([JSON.Member("version", .string(modelVersion))])),
            JSON.Member("kernels", .array(kernels.names.map { .string($0) })),
        ])
        return Answer(.ok, format, body.bytes)
    }

    func problems(_ request: Request) throws(Problem) -> Answer {
        try request.allow([])
        let format = try request.format(among: [.text, .json])
        if format == .json {
            let items = ProblemKind.allCases.map { kind in
                JSON.object([
                    JSON.Member("code", .string(kind.rawValue)), JSON.Member("status", .integer(Int64(kind.status))),
                    JSON.Member("title", .string(kind.title)), JSON.Member("advice", .string(kind.advice)),
                ])
            }
            return Answer(.ok, format, JSON.object([JSON.Member("items", .array(items))]).bytes)
        }
        let text = ProblemKind.allCases.map { "\($0.rawValue)\n  \($0.status) \($0.title)\n  \($0.advice)\n" }
        return Answer(.ok, format, [UInt8](text.joined(separator: "\n").utf8))
    }

    func schema(_ request: Request) throws(Problem) -> Answer {
        try request.allow([])
        _ = try request.format(among: [.json])
        var answer = Answer(.ok, .json, EntryTable.schema.prettyBytes)
        answer.fields[.contentType] = "application/schema+json"
        return answer
    }

    func listKernels(_ request: Request) throws(Problem) -> Answer {
        try request.allow([])
        let format = try request.format(among: [.json, .text])
        if format == .text { return Answer(.ok, format, [UInt8](KernelDocument.text(kernels).utf8)) }
        return Answer(.ok, format, KernelDocument.list(kernels).bytes)
    }

    func kernel(_ request: Request, _ name: String) throws(Problem) -> Answer {
        try request.allow([])
        _ = try request.format(among: [.json])
        guard let kernel = kernels.kernel(named: name) else {
            let nearest = nearestName(to: name, among: kernels.names).map { "; did you mean '\($0)'?" } ?? ""
            throw Problem(.notFound, "no kernel of this name ships with the program\(nearest)")
        }
        return Answer(.ok, .json, kernel.document.prettyBytes)
    }

    func listRules(_ request: Request) throws(Problem) -> Answer {
        try request.allow([])
        let format = try request.format(among: [.json, .text])
        if format == .text { return Answer(.ok, format, [UInt8](RuleDocument.text(Rule.all).utf8)) }
        return Answer(.ok, format, RuleDocument.list(Rule.all).bytes)
    }

    func rule(_ request: Request, _ id: String) throws(Problem) -> Answer {
        try request.allow([])
        let format = try request.format(among: [.json, .text])
        guard let rule = Rule.named(id) else {
            let nearest = nearestName(to: id, among: Rule.all.map(\.id)).map { "; did you mean '\($0)'?" } ?? ""
            throw Problem(.notFound, "there is no rule of this name\(nearest)")
        }
        if format == .text { return Answer(.ok, format, [UInt8](RuleDocument.text([rule]).utf8)) }
        return Answer(.ok, format, RuleDocument.one(rule).bytes)
    }

    func listDefects(_ request: Request) throws(Problem) -> Answer {
        try request.allow([])
        let format = try request.format(among: [.json, .text])
        if format == .text { return Answer(.ok, format, [UInt8](DefectDocument.text().utf8)) }
        return Answer(.ok, format, DefectDocument.list().bytes)
    }

    func defect(_ request: Request, _ id: String) throws(Problem) -> Answer {
        try request.allow([])
        let format = try request.format(among: [.json, .text])
        let defect = try findDefect(id)
        if format == .text { return Answer(.ok, format, [UInt8](DefectDocument.text(defect).utf8)) }
        return Answer(.ok, format, DefectDocument.one(defect).bytes)
    }

    /// The table with the defect, or without it: a document to submit.
    func defectTable(_ request: Request, _ id: String, _ side: DefectSide) throws(Problem) -> Answer {
        try request.allow([])
        _ = try request.format(among: [.json])
        let defect = try findDefect(id)
        let document: JSON?
        do throws(DefectFault) {
            document = try defect.document(side, kernels: kernels)
        } catch {
            throw Problem(.notFound, "the tables of this defect cannot be made here: \(error.message)")
        }
        if let document { return Answer(.ok, .json, document.prettyBytes) }
        throw Problem(.notFound, "this defect is not modelled and has no tables: the defect itself says why")
    }

    private func findDefect(_ id: String) throws(Problem) -> Defect {
        let catalogue = DefectCatalogue.shipped
        if let defect = catalogue[id] { return defect }
        let nearest =
            nearestName(to: id, among: catalogue.defects.map(\.id)).map { "; did you mean '\($0)'?" } ?? ""
        throw Problem(.notFound, "there is no defect of this name\(nearest)")
    }
}
