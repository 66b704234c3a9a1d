package import HTTPTypes

/// A handler of one route. It runs on a worker thread and may block on the store.
package typealias RouteHandler = @Sendable (Request, [String: String]) throws(Problem) -> Answer

/// On which threads a route is answered.
package enum RouteWork: Sendable, Hashable {
    /// At once on the event loop: nothing that waits or computes.
    case none
    /// On the threads for short requests: a few reads or writes of the store.
    case short
    /// On the threads that simulate.
    case computing
}

/// One method of one resource.
package struct Route: Sendable {
    package var method: HTTPRequest.Method
    /// Segments; `{name}` takes one, `{name...}` one or more.
    package var template: String
    /// One line for the OpenAPI document.
    package var summary: String
    package var work: RouteWork
    package var handler: RouteHandler

    package init(
        _ method: HTTPRequest.Method, _ template: String, _ summary: String, _ work: RouteWork,
        _ handler: @escaping RouteHandler
    ) {
        self.method = method
        self.template = template
        self.summary = summary
        self.work = work
        self.handler = handler
    }
}

/// Finds the route of a request.
package struct Router: Sendable {
    private struct Compiled: Sendable {
        var segments: [String]
        var route: Route
    }

    private var compiled: [Compiled]
    package var routes: [Route] { compiled.map(\.route) }
    /// Paths of the routes that need no work; they have no parameters.
    let pathsWithoutWork: [String]

    package init(_ routes: [Route]) {
        pathsWithoutWork = routes.filter { $0.work == .none }.map(\.template)
        compiled = routes.map { route in
            Compiled(segments: route.template.split(separator: "/").map(String.init), route: route)
        }
    }

    /// The route and the values of its template's names.
    package func find(_ request: Request) throws(Problem) -> (Route, [String: String]) {
        if request.method == .connect { throw Problem(.notImplemented, "this service is no proxy") }
        var allowed: [String] = []
        for candidate in compiled {
            guard let values = Router.match(candidate.segments, request.segments) else { continue }
            let isHead = request.method == .head && candidate.route.method == .get
            if candidate.route.method == request.method || isHead { return (candidate.route, values) }
            if !allowed.contains(candidate.route.method.rawValue) { allowed.append(candidate.route.method.rawValue) }
        }
        if allowed.isEmpty { throw Problem(.notFound, "there is no resource at this path; /openapi.json lists them") }
        if allowed.contains("GET") { allowed.append("HEAD") }
        let list = allowed.joined(separator: ", ")
        throw Problem(
            .methodNotAllowed, "\(request.method.rawValue) is not a method of this resource; it has \(list)",
            fields: [.allow: list])
    }

    private static func match(_ template: [String], _ segments: [String]) -> [String: String]? {
        var values: [String: String] = [:]
        var index = 0
        for (position, part) in template.enumerated() {
            if part.hasPrefix("{"), part.hasSuffix("...}") {
                let after = template.count - position - 1
                let count = segments.count - index - after
                guard count >= 1 else { return nil }
                values[String(part.dropFirst().dropLast(4))] = segments[index..<(index + count)].joined(separator: "/")
                index += count
                continue
            }
            guard index < segments.count else { return nil }
            if part.hasPrefix("{"), part.hasSuffix("}") {
                values[String(part.dropFirst().dropLast())] = segments[index]
            } else if part != segments[index] {
                return nil
            }
            index += 1
        }
        return index == segments.count ? values : nil
    }
}
