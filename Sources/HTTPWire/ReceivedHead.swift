package import HTTPTypes

/// The head of a request as it was read.
///
/// A client that repeats itself on a connection is given the same object again, by which its next answer may be known.
package final class ReceivedHead: Sendable {
    package let request: HTTPRequest

    package init(_ request: HTTPRequest) { self.request = request }
}
