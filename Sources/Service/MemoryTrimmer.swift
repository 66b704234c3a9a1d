import CMalloc
import Dispatch
import Foundation

/// Gives memory that work has left behind back to the system once the service is idle.
///
/// glibc returns only what is free at the top of a heap (`M_TRIM_THRESHOLD`), and each thread has a heap of its own: after a hundred large
/// requests an idle process kept half a gigabyte. `malloc_trim(3)` walks through all of them, which takes milliseconds and locks one
/// after the other, so a thread of its own calls it and no request does.
final class MemoryTrimmer: Sendable {
    private let isOver = DispatchSemaphore(value: 0)

    /// Growth of the resident memory since the last trim that is worth another, and so is as much given back by answers that
    /// waited: they were there at the last one, and nothing has grown since.
    static let growthBytes = 8 << 20

    /// - Parameters:
    ///   - seconds: Time between two looks.
    ///   - resident_bytes: What the process holds.
    ///   - held_bytes: What answers hold that nobody has read.
    ///   - trim: Gives back what is free.
    ///   - isIdle: Whether nothing is in work.
    init(
        milliseconds: Int = 2000, resident_bytes: @escaping @Sendable () -> Int = { ProcessMetrics.residentBytes },
        held_bytes: @escaping @Sendable () -> Int = { 0 }, trim: @escaping @Sendable () -> Void = { malloc_trim(0) },
        isIdle: @escaping @Sendable () -> Bool
    ) {
        let thread = Thread { [isOver] in
            var kept = resident_bytes()
            var held = held_bytes()
            while isOver.wait(timeout: .now() + .milliseconds(milliseconds)) == .timedOut {
                held = max(held, held_bytes())
                let isWorth =
                    resident_bytes() > kept + Self.growthBytes || held > held_bytes() + Self.growthBytes
                guard isIdle(), isWorth else { continue }
                trim()
                kept = resident_bytes()
                held = held_bytes()
            }
        }
        thread.name = "memory"
        thread.start()
    }

    func stop() { isOver.signal() }

    /// To be called before threads are started: blocks of a megabyte and more come from the system and go back to it at once.
    ///
    /// Otherwise glibc raises that bound to the largest block that was released, up to 32 MiB, and bodies stay in the heaps.
    static func prepare() {
        mallopt(Int32(gatehouse_mmap_threshold), 1 << 20)
        // With a fixed bound this one would stay at 128 KiB, and heaps grow and shrink all the time.
        mallopt(Int32(gatehouse_trim_threshold), 16 << 20)
    }
}
