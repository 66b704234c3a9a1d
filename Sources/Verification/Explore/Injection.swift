package import EntryCode
import Machine

/// An event that comes while another is being handled.
package enum NestedEvent: UInt8, Sendable, Hashable, CaseIterable {
    case nmi
    case machineCheck
    case debug
    case interrupt
    /// Xen's event callback.
    case upcall
    case pageFault
    case breakpoint
    /// #VE of a TDX guest.
    case virtualization

    /// The vector that it comes by.
    func vector(_ image: EntryImage) -> UInt8? {
        switch self {
        case .nmi: Vector.nmi
        case .machineCheck: Vector.machineCheck
        case .debug: Vector.debug
        case .interrupt: image.platform.isXen ? nil : image.deviceVectors.min()
        case .upcall: image.platform.isXen ? image.deviceVectors.first : nil
        case .pageFault: Vector.pageFault
        case .breakpoint: Vector.breakpoint
        case .virtualization: Vector.virtualization
        }
    }

    /// Comes from what C code does, so only while a C function runs; the others come between any two instructions.
    var needsCFunction: Bool { self == .pageFault || self == .breakpoint }

    /// Why Linux can meet it.
    package var reason: String {
        switch self {
        case .nmi: "an NMI comes at any instruction where NMIs are open"
        case .machineCheck: "a machine check comes at any instruction"
        case .debug: "a kernel breakpoint or a watchpoint is hit"
        case .interrupt: "a device interrupts where interrupts are on"
        case .upcall: "Xen has an event where events are not masked"
        case .pageFault: "C code touches user memory or memory that is mapped late"
        case .breakpoint: "a probe stands in C code"
        case .virtualization: "C code does what the host must emulate, or the host has taken a page away"
        }
    }
}

/// A nested event of a scenario: what, and where it comes.
package struct Injection: Sendable, Hashable {
    package var event: NestedEvent
    /// The entry's symbol, with the vector where that is needed, as for the scenario's own event.
    package var symbol: String
    /// The routine that it interrupts.
    package var routine: String
    /// Steps that have been executed when it comes.
    package var step: UInt32

    /// `event@routine:step`.
    package var name: String { "\(symbol)@\(routine):\(step)" }
}

extension EntryImage {
    /// The name of an event: its entry's symbol; where another vector before it has the same, with the vector.
    func eventName(ofVector vector: UInt8) -> String? {
        guard let place = vectors.firstIndex(where: { $0.vector == vector }) else { return nil }
        let entry = vectors[place].entry
        return vectors[..<place].contains { $0.entry == entry } ? "\(entry)-vector\(vector)" : entry
    }

    /// The nested events that this table has entries for.
    var nestedEvents: [(event: NestedEvent, vector: UInt8, symbol: String)] {
        NestedEvent.allCases.compactMap { event in
            guard let vector = event.vector(self), let symbol = eventName(ofVector: vector) else { return nil }
            return (event, vector, symbol)
        }
    }

    /// Splits `platform/event/context/probe+event@routine:step…` into the scenario's own name and what is injected; nil
    /// where a part is not of that form.
    package func injections(of name: String) -> (base: String, injections: [Injection])? {
        let parts = name.split(separator: "+", omittingEmptySubsequences: false)
        guard let base = parts.first else { return nil }
        var injections: [Injection] = []
        for part in parts.dropFirst() {
            guard let at = part.firstIndex(of: "@"), let colon = part.lastIndex(of: ":"), at < colon,
                let step = UInt32(part[part.index(after: colon)...]),
                let known = nestedEvents.first(where: { $0.symbol == part[..<at] })
            else { return nil }
            injections.append(
                Injection(
                    event: known.event, symbol: known.symbol,
                    routine: String(part[part.index(after: at)..<colon]), step: step))
        }
        return (String(base), injections)
    }
}
