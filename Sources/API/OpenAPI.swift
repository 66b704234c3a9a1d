import EntryCode
import HTTPTypes
import Store
import Verification

/// The OpenAPI 3.1 description, made from the list of routes.
enum OpenAPI {
    private static let nestingSchema = JSON.object([
        JSON.Member("type", "integer"), JSON.Member("minimum", 0),
        JSON.Member("maximum", .integer(Int64(SimulationRequest.nestingLimit))),
    ])

    /// What a query parameter is, where its name does not say it all.
    private static func parameterSchema(
        _ name: String, _ template: String
    ) -> (description: String, schema: JSON) {
        func text(_ description: String) -> (String, JSON) { (description, .object([JSON.Member("type", "string")])) }
        func choice(_ description: String, _ values: [String]) -> (String, JSON) {
            (
                description,
                .object([JSON.Member("type", "string"), JSON.Member("enum", .array(values.map { .string($0) }))])
            )
        }
        switch name {
        case "limit": return ("Rows of the page", .object([JSON.Member("type", "integer"), JSON.Member("minimum", 1)]))
        case "cursor": return text("Opaque; from the Link field or the member next of the page before")
        case "name":
            return text("Name of the configuration; lists show what it means and what had it as the last name")
        case "kernel": return text("Name of a kernel")
        case "base": return text("The table of before: id, unique prefix of it, or name")
        case "head": return text("The table of after, named alike")
        case "configuration":
            return text("Id, unique prefix of 8 or more digits, or name; a shipped name means the shipped table")
        case "verdict": return choice("Only this verdict", StoredVerdict.allCases.map(\.rawValue))
        case "state": return choice("Only this state", StoredState.allCases.map(\.rawValue))
        case "platform" where template.hasSuffix("/listing"):
            return choice(
                "Only the code of this platform, which replaces code there alone; otherwise one text for all of them",
                Platform.allCases.map(\.rawValue))
        case "platform": return choice("One platform", Platform.allCases.map(\.rawValue))
        case "platforms": return text("Platforms, separated by commas")
        case "scenarios": return text("Pattern of scenario names with * and ?")
        case "xen": return choice("Release of Xen", XenRelease.supported)
        case "nesting":
            return (
                "Events that may come while others are handled, at every instruction; what the service's limits leave untried is counted in the report's cut_short",
                nestingSchema
            )
        case "rule": return choice("Only scenarios with a violation or a warning of this rule", Rule.all.map(\.id))
        case "stop_at_first":
            return ("Stop after the first violated scenario", .object([JSON.Member("type", "boolean")]))
        case "routine": return text("One routine of the listing, as the member routines of a table takes it")
        case "verbose": return text("List every check")
        default: return text("")
        }
    }

    private static func parameters(_ template: String, _ method: HTTPRequest.Method) -> [String] {
        switch (method, template) {
        case (.get, "/v1/configurations"): ["name", "kernel", "limit", "cursor", "format"]
        case (.post, "/v1/configurations"), (.post, "/v1/configurations/{ref}/patches"): ["name", "format"]
        case (.get, "/v1/comparisons"): ["base", "head", "platforms", "scenarios", "xen", "nesting", "format"]
        case (.get, "/v1/configurations/{ref}/listing"): ["platform", "routine"]
        case (.get, "/v1/simulations"): ["configuration", "verdict", "state", "limit", "cursor", "format"]
        case (.get, "/v1/simulations/{id}/scenarios"): ["verdict", "rule", "platform", "limit", "cursor", "format"]
        case (.post, "/v1/checks"):
            ["platforms", "scenarios", "xen", "nesting", "stop_at_first", "name", "base", "format"]
        case (.get, "/readyz"), (.get, "/livez"): ["verbose"]
        case (.delete, _), (.get, "/metrics"), (.get, "/openapi.json"), (.get, "/schemas/entry-table.json"),
            (.get, "/v1/kernels/{name}"),
            (.get, "/v1/simulations/{id}/scenarios/{name...}"), (.get, "/v1/defects/{id}/broken"),
            (.get, "/v1/defects/{id}/fixed"):
            []
        default: ["format"]
        }
    }

    /// Forms of the answer, the first for whoever does not choose.
    private static func formats(_ template: String, _ method: HTTPRequest.Method) -> [Format] {
        switch (method, template) {
        case (.post, "/v1/simulations"), (.get, "/v1/simulations/{id}"), (.post, "/v1/checks"):
            Application.reportFormats
        case (.get, "/v1/configurations"), (.get, "/v1/simulations"), (.get, "/v1/simulations/{id}/scenarios"),
            (.get, "/v1/simulations/{id}/scenarios/{name...}/trace"):
            [.json, .text, .ndjson]
        case (.get, "/problems"): [.text, .json]
        default: [.json, .text]
        }
    }

    private static let patches = ["text/x-diff", "text/plain", "message/rfc822", "application/mbox"].map {
        JSON.Member($0, .object([JSON.Member("schema", .object([JSON.Member("type", "string")]))]))
    }

    /// A form of files; `option` and `kernel` are the choices of an import.
    private static let form = JSON.object([
        JSON.Member("type", "object"),
        JSON.Member(
            "properties",
            .object([
                JSON.Member("option", .object([JSON.Member("type", "string")])),
                JSON.Member("kernel", .object([JSON.Member("type", "string")])),
            ])),
        JSON.Member("additionalProperties", .object([JSON.Member("type", "string"), JSON.Member("format", "binary")])),
    ])

    private static func content(_ types: [JSON.Member], _ description: String) -> JSON {
        .object([
            JSON.Member("required", true), JSON.Member("description", .string(description)),
            JSON.Member("content", .object(types)),
        ])
    }

    private static func body(_ template: String) -> JSON? {
        let schema: JSON
        switch template {
        case "/v1/configurations", "/v1/checks":
            schema = .object([JSON.Member("$ref", "/schemas/entry-table.json")])
        case "/v1/simulations":
            let reference = JSON.object([
                JSON.Member(
                    "oneOf",
                    .array([
                        .object([JSON.Member("type", "string")]),
                        .object([JSON.Member("$ref", "/schemas/entry-table.json")]),
                    ]))
            ])
            schema = .object([
                JSON.Member("type", "object"), JSON.Member("additionalProperties", false),
                JSON.Member("required", .array(["configuration"])),
                JSON.Member(
                    "properties",
                    .object([
                        JSON.Member("configuration", reference),
                        JSON.Member(
                            "platforms",
                            .object([
                                JSON.Member("type", "array"),
                                JSON.Member(
                                    "items",
                                    .object([
                                        JSON.Member("enum", .array(Platform.allCases.map { .string($0.rawValue) }))
                                    ])),
                            ])),
                        JSON.Member(
                            "scenarios",
                            .object([JSON.Member("type", .array(["string", "array"]))])),
                        JSON.Member(
                            "xen", .object([JSON.Member("enum", .array(XenRelease.supported.map { .string($0) }))])),
                        JSON.Member("nesting", nestingSchema),
                        JSON.Member("stop_at_first", .object([JSON.Member("type", "boolean")])),
                    ])),
            ])
        case "/v1/configurations/{ref}/patches":
            return content(
                patches,
                "At most 16 MiB, as it is or gzip: a unified diff, git format-patch, a mail, an mbox, a reply that quotes one"
            )
        default: return nil
        }
        let json = [JSON.Member("application/json", .object([JSON.Member("schema", schema)]))]
        switch template {
        case "/v1/configurations":
            return content(
                json + [
                    JSON.Member("multipart/form-data", .object([JSON.Member("schema", form)])),
                    JSON.Member("application/x-tar", .object([])),
                ],
                "A table of at most 1 MiB, as it is or with Content-Encoding: gzip; or files of a kernel tree, at most 8 MiB, a tar gzip or not"
            )
        case "/v1/checks":
            return content(
                json + patches, "A table of at most 1 MiB, or with 'base' a patch of at most 16 MiB; as it is or gzip")
        default: return content(json, "At most 1 MiB, as it is or with Content-Encoding: gzip")
        }
    }

    static func document(routes: [Route], version: String) -> JSON {
        var paths: [(path: String, methods: [JSON.Member])] = []
        for route in routes {
            // OpenAPI has no name for "the rest of the path"; scenario names are given percent-encoded or as they are.
            let path = route.template.replacing("...", with: "")
            let operation = operation(route)
            let member = JSON.Member(route.method.rawValue.lowercased(), operation)
            if let index = paths.firstIndex(where: { $0.path == path }) {
                paths[index].methods.append(member)
            } else {
                paths.append((path, [member]))
            }
        }
        let fault = JSON.object([
            JSON.Member("type", "object"),
            JSON.Member("required", .array(["code", "message"])),
            JSON.Member(
                "properties",
                .object(
                    [
                        ("pointer", "JSON pointer into the body"), ("parameter", "Name of a query parameter"),
                        ("code", "Stable word for the kind of fault"), ("message", "What is wrong"),
                    ].map { name, description in
                        JSON.Member(
                            name,
                            .object([
                                JSON.Member("type", "string"), JSON.Member("description", .string(description)),
                            ]))
                    })),
        ])
        let problem = JSON.object([
            JSON.Member("type", "object"),
            JSON.Member("required", .array(["type", "title", "status", "detail", "instance"])),
            JSON.Member(
                "properties",
                .object(
                    ["type", "title", "detail", "instance", "code", "request_id"].map {
                        JSON.Member($0, .object([JSON.Member("type", "string")]))
                    } + [
                        JSON.Member("status", .object([JSON.Member("type", "integer")])),
                        JSON.Member("errors", .object([JSON.Member("type", "array"), JSON.Member("items", fault)])),
                    ])),
        ])
        return .object([
            JSON.Member("openapi", "3.1.0"),
            JSON.Member(
                "info",
                .object([
                    JSON.Member("title", "Gatehouse"), JSON.Member("version", .string(version)),
                    JSON.Member("description", "Does this kernel entry code survive every way into it?"),
                    JSON.Member(
                        "license",
                        .object([JSON.Member("name", "Apache-2.0"), JSON.Member("identifier", "Apache-2.0")])),
                ])), JSON.Member("paths", .object(paths.map { JSON.Member($0.path, .object($0.methods)) })),
            JSON.Member(
                "components",
                .object([
                    JSON.Member("schemas", .object([JSON.Member("problem", problem)])),
                    JSON.Member(
                        "securitySchemes",
                        .object([
                            JSON.Member(
                                "token",
                                .object([
                                    JSON.Member("type", "http"), JSON.Member("scheme", "bearer"),
                                    JSON.Member(
                                        "description",
                                        "Where the service has tokens: GET takes the scope read, POST and the removal of a simulation submit, the removal of a configuration admin"
                                    ),
                                ]))
                        ])),
                ])),
            // With or without: a service on a loopback address may have no tokens.
            JSON.Member("security", .array([.object([]), .object([JSON.Member("token", .array([]))])])),
        ])
    }

    private static func operation(_ route: Route) -> JSON {
        var members: [JSON.Member] = [
            JSON.Member("summary", .string(route.summary)),
            JSON.Member("operationId", .string(operationID(route))),
        ]
        var parameters: [JSON] = []
        for segment in route.template.split(separator: "/") where segment.hasPrefix("{") {
            let name = String(segment.dropFirst().dropLast()).replacing("...", with: "")
            parameters.append(
                .object([
                    JSON.Member("name", .string(name)), JSON.Member("in", "path"), JSON.Member("required", true),
                    JSON.Member("schema", .object([JSON.Member("type", "string")])),
                ]))
        }
        for name in self.parameters(route.template, route.method) {
            let formats = formats(route.template, route.method).map { JSON.string($0.rawValue) }
            let (description, schema) =
                name == "format"
                ? (
                    "Form of the answer, before Accept",
                    JSON.object([JSON.Member("type", "string"), JSON.Member("enum", .array(formats))])
                ) : parameterSchema(name, route.template)
            parameters.append(
                .object([
                    JSON.Member("name", .string(name)), JSON.Member("in", "query"),
                    JSON.Member("description", .string(description)), JSON.Member("schema", schema),
                ]))
        }
        if !parameters.isEmpty { members.append(JSON.Member("parameters", .array(parameters))) }
        if route.method == .post, let body = body(route.template) { members.append(JSON.Member("requestBody", body)) }
        let problem = JSON.object([
            JSON.Member("description", "Problem details (RFC 9457)"),
            JSON.Member(
                "content",
                .object([
                    JSON.Member(
                        "application/problem+json",
                        .object([
                            JSON.Member(
                                "schema", .object([JSON.Member("$ref", "#/components/schemas/problem")]))
                        ]))
                ])),
        ])
        var responses: [JSON.Member] = successes(route).map {
            JSON.Member($0.status, .object([JSON.Member("description", .string($0.description))]))
        }
        responses.append(JSON.Member("default", problem))
        members.append(JSON.Member("responses", .object(responses)))
        return .object(members)
    }

    private static func successes(_ route: Route) -> [(status: String, description: String)] {
        switch (route.method, route.template) {
        case (.delete, "/v1/simulations/{id}"):
            [("204", "Removed; cancelled where it had not ended, and what runs of it ends at once")]
        case (.delete, _): [("204", "Removed")]
        case (.get, "/v1/simulations/{id}"):
            [("200", "The report; before the end the state, with 'progress' while it runs")]
        case (.post, "/v1/configurations"): [("201", "Kept"), ("200", "That content is there already")]
        case (.post, "/v1/simulations"):
            [("201", "The report"), ("202", "Queued, or not done within Prefer: wait=N; Location has the result")]
        default: [("200", "The answer")]
        }
    }

    private static func operationID(_ route: Route) -> String {
        let words = route.template.split { !$0.isLetter && !$0.isNumber }.filter { $0 != "v1" }
        return route.method.rawValue.lowercased() + words.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }
}

extension Application {
    func openAPI(_ request: Request) throws(Problem) -> Answer {
        try request.allow([])
        _ = try request.format(among: [.json])
        return Answer(.ok, .json, OpenAPI.document(routes: router.routes, version: version).prettyBytes)
    }
}
