import CLibevent

/// The one owner of a libevent event base; confined to the thread that dispatches it.
final class EventBase {
    fileprivate let handle: OpaquePointer

    /// A new base; nil when the system has no memory or no polling mechanism.
    init?() {
        guard let handle = event_base_new() else { return nil }
        self.handle = handle
    }

    deinit {
        event_base_free(handle)
    }

    /// Runs events until `stop`.
    func dispatch() {
        // Without the flag the loop ends by itself once no event is pending.
        event_base_loop(handle, EVLOOP_NO_EXIT_ON_EMPTY)
    }

    /// Makes `dispatch` return after the event that runs now.
    func stop() {
        event_base_loopbreak(handle)
    }
}

/// The one owner of a libevent event; its base must outlive it.
final class Event {
    private var handle: OpaquePointer?
    private let action: () -> Void
    private(set) var isActive = false

    /// What an event waits for.
    enum Kind {
        case readable(Int32)
        case writable(Int32)
        case timer
    }

    /// A repeating event that calls `action` on the thread of `base`; nothing happens before `activate`.
    init(_ base: EventBase, _ kind: Kind, action: @escaping () -> Void) {
        self.action = action
        let callback: event_callback_fn = { _, _, event in
            guard let event else { return }
            Unmanaged<Event>.fromOpaque(event).takeUnretainedValue().action()
        }
        let (descriptor, flags) =
            switch kind {
            case .readable(let number): (number, EV_READ | EV_PERSIST)
            case .writable(let number): (number, EV_WRITE | EV_PERSIST)
            case .timer: (Int32(-1), EV_PERSIST)
            }
        handle = event_new(
            base.handle, descriptor, Int16(flags), callback, Unmanaged.passUnretained(self).toOpaque())
    }

    deinit {
        if let handle { event_free(handle) }
    }

    /// Starts waiting; a timer needs its period.
    func activate(everyMilliseconds period: Int64? = nil) {
        guard let handle, !isActive else { return }
        isActive = true
        if let period {
            var time = timeval(tv_sec: Int(period / 1000), tv_usec: Int(period % 1000) * 1000)
            event_add(handle, &time)
        } else {
            event_add(handle, nil)
        }
    }

    /// Calls the action in this turn of the loop, as if what it waits for had come.
    func fire() {
        guard let handle, isActive else { return }
        event_active(handle, Int32(EV_READ), 0)
    }

    /// Stops waiting.
    func deactivate() {
        guard let handle, isActive else { return }
        isActive = false
        event_del(handle)
    }
}
