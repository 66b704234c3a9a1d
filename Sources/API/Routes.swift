import HTTPTypes
import Verification

extension Application {
    /// Every route of the service; `/openapi.json` is made from the same list.
    func makeRoutes() -> [Route] {
        var routes: [Route] = []
        func add(
            _ method: HTTPRequest.Method, _ template: String, _ summary: String, _ work: RouteWork = .short,
            _ handler: @escaping @Sendable (Application, Request, [String: String]) throws(Problem) -> Answer
        ) {
            routes.append(
                Route(method, template, summary, work) { [unowned self] (request, values) throws(Problem) in
                    try handler(self, request, values)
                })
        }
        add(.get, "/livez", "The process answers", .none) { app, request, _ throws(Problem) in try app.live(request) }
        add(.get, "/readyz", "The service takes work") { app, request, _ throws(Problem) in try app.ready(request) }
        add(.get, "/metrics", "Measurements, in the text format of Prometheus", .none) {
            app, request, _ throws(Problem) in
            try app.metricsAnswer(request)
        }
        add(.get, "/version", "Version of the program and the model", .none) { app, request, _ throws(Problem) in
            try app.versions(request)
        }
        add(.get, "/openapi.json", "This description") { app, request, _ throws(Problem) in try app.openAPI(request) }
        add(.get, "/problems", "Every kind of problem and what to do") { app, request, _ throws(Problem) in
            try app.problems(request)
        }
        add(.get, "/schemas/entry-table.json", "JSON Schema of the entry table") { app, request, _ throws(Problem) in
            try app.schema(request)
        }
        add(.post, "/v1/configurations", "Submit an entry table", .computing) { app, request, _ throws(Problem) in
            try app.submitConfiguration(request)
        }
        add(.get, "/v1/configurations", "List entry tables") { app, request, _ throws(Problem) in
            try app.listConfigurations(request)
        }
        add(.get, "/v1/configurations/{ref}", "One entry table") { app, request, values throws(Problem) in
            try app.configuration(request, values["ref"] ?? "")
        }
        add(.delete, "/v1/configurations/{ref}", "Remove an entry table and its simulations") {
            app, request, values throws(Problem) in try app.deleteConfiguration(request, values["ref"] ?? "")
        }
        add(.get, "/v1/configurations/{ref}/listing", "The entry code it expands to", .computing) {
            app, request, values throws(Problem) in try app.configurationListing(request, values["ref"] ?? "")
        }
        add(.post, "/v1/configurations/{ref}/patches", "Apply a patch or a mail: the table that it makes", .computing) {
            app, request, values throws(Problem) in try app.applyPatch(request, values["ref"] ?? "")
        }
        add(.get, "/v1/comparisons", "What changed between two tables, and what that does", .computing) {
            app, request, _ throws(Problem) in try app.compare(request)
        }
        add(.post, "/v1/simulations", "Simulate an entry table", .computing) { app, request, _ throws(Problem) in
            try app.startSimulation(request)
        }
        add(.get, "/v1/simulations", "List simulations") { app, request, _ throws(Problem) in
            try app.listSimulations(request)
        }
        add(.get, "/v1/simulations/{id}", "The report") { app, request, values throws(Problem) in
            try app.simulation(request, values["id"] ?? "")
        }
        add(.delete, "/v1/simulations/{id}", "Cancel or remove a simulation") { app, request, values throws(Problem) in
            try app.deleteSimulation(request, values["id"] ?? "")
        }
        add(.get, "/v1/simulations/{id}/scenarios", "Verdict per scenario") { app, request, values throws(Problem) in
            try app.scenarios(request, values["id"] ?? "")
        }
        add(.get, "/v1/simulations/{id}/scenarios/{name...}/trace", "Every step of a scenario", .computing) {
            app, request, values throws(Problem) in
            try app.trace(request, values["id"] ?? "", values["name"] ?? "")
        }
        add(.get, "/v1/simulations/{id}/scenarios/{name...}", "One scenario") { app, request, values throws(Problem) in
            try app.scenario(request, values["id"] ?? "", values["name"] ?? "")
        }
        add(.post, "/v1/checks", "A table in, the report out", .computing) { app, request, _ throws(Problem) in
            try app.check(request)
        }
        add(.get, "/v1/kernels", "Entry tables that ship with the program") { app, request, _ throws(Problem) in
            try app.listKernels(request)
        }
        add(.get, "/v1/kernels/{name}", "One shipped entry table") { app, request, values throws(Problem) in
            try app.kernel(request, values["name"] ?? "")
        }
        add(.get, "/v1/rules", "Every invariant") { app, request, _ throws(Problem) in try app.listRules(request) }
        add(.get, "/v1/rules/{id}", "One invariant") { app, request, values throws(Problem) in
            try app.rule(request, values["id"] ?? "")
        }
        add(.get, "/v1/defects", "Historic defects of entry code") { app, request, _ throws(Problem) in
            try app.listDefects(request)
        }
        add(.get, "/v1/defects/{id}", "One historic defect") { app, request, values throws(Problem) in
            try app.defect(request, values["id"] ?? "")
        }
        add(.get, "/v1/defects/{id}/broken", "An entry table that has the defect") {
            app, request, values throws(Problem) in try app.defectTable(request, values["id"] ?? "", .broken)
        }
        add(.get, "/v1/defects/{id}/fixed", "The same entry table without the defect") {
            app, request, values throws(Problem) in try app.defectTable(request, values["id"] ?? "", .fixed)
        }
        return routes
    }
}
