/// Bytes that never change and stay at one address for as long as anyone holds them.
///
/// An array promises its address during a call only; these may wait in an `OutputBuffer` and be given to the socket from where
/// they lie, so that a finished answer is not copied on its way to the kernel.
package final class SharedBytes: @unchecked Sendable {
    // Written by the initializer only, hence `@unchecked`.
    private let storage: UnsafeMutableRawBufferPointer
    /// Stands for the memory that the bytes take; released with them.
    private let held: (any AnyObject & Sendable)?

    /// A copy of `bytes`.
    package init(_ bytes: some Collection<UInt8>, held: (any AnyObject & Sendable)? = nil) {
        self.held = held
        storage = .allocate(byteCount: bytes.count, alignment: 64)
        storage.copyBytes(from: bytes)
    }

    deinit { storage.deallocate() }

    package var count: Int { storage.count }
    package var isEmpty: Bool { storage.isEmpty }

    /// The bytes; valid while the object is held.
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(storage) }
}
