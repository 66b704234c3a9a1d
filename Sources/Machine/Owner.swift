/// Who wrote a word of memory last and what for: bookkeeping for the invariants, which execution never reads.
///
/// 32 bits: kind (4), slot (8), activation (20).
package struct Owner: Sendable, Hashable {
    /// What a word is used for.
    package enum Kind: UInt8, Sendable, Hashable, CaseIterable {
        /// Nobody's: never written in this run.
        case free
        /// A word that event delivery pushed; `slot` is a `FrameSlot`.
        case hardwareFrame
        /// A register saved by a push; `slot` is the register's number.
        case savedRegister
        /// Pushed by `call`.
        case returnAddress
        /// A pushed immediate: a placeholder for an error code, a vector number, a flags word.
        case immediate
        /// Stored by a move.
        case data
        /// The stack of the interrupted context, live until it resumes.
        case interruptedContext
        /// Pushed by a handler on behalf of the interrupted context: the return address of an emulated call.
        case emulatedPush
        /// The local variables of a C function.
        case functionFrame
    }

    package var rawValue: UInt32

    @inline(__always)
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    @inline(__always)
    package init(_ kind: Kind, slot: UInt8 = 0, activation: UInt32 = 0) {
        rawValue = UInt32(kind.rawValue) << 28 | UInt32(slot) << 20 | (activation & 0xF_FFFF)
    }

    package static let free = Owner(rawValue: 0)

    @inline(__always)
    package var kind: Kind { Kind(rawValue: UInt8(truncatingIfNeeded: rawValue >> 28)) ?? .free }

    @inline(__always)
    package var slot: UInt8 { UInt8(truncatingIfNeeded: rawValue >> 20) }

    @inline(__always)
    package var activation: UInt32 { rawValue & 0xF_FFFF }

    /// Words whose value is carried for somebody else: correct code moves it and does not look at it.
    @inline(__always)
    package var isOpaque: Bool {
        switch kind {
        case .hardwareFrame, .savedRegister, .returnAddress, .functionFrame: true
        default: false
        }
    }

    /// True for the words that a return from an event reads back.
    @inline(__always)
    package var isFrameOrSavedRegister: Bool {
        let kind = rawValue >> 28
        return kind == UInt32(Kind.hardwareFrame.rawValue) || kind == UInt32(Kind.savedRegister.rawValue)
    }
}

/// The slots of an exception frame, hardware's and Xen's (SDM vol. 3, 6.14.2; Xen `create_bounce_frame`).
package enum FrameSlot: UInt8, Sendable, Hashable, CaseIterable {
    case ss, rsp, rflags, cs, rip, errorCode
    /// Only in frames that Xen builds for a PV guest.
    case r11, rcx
    /// Only in the frame of Xen's failsafe callback.
    case gs, fs, es, ds

    /// The name that reports use.
    package var name: String {
        switch self {
        case .ss: "SS"
        case .rsp: "RSP"
        case .rflags: "RFLAGS"
        case .cs: "CS"
        case .rip: "RIP"
        case .errorCode: "error code"
        case .r11: "R11"
        case .rcx: "RCX"
        case .gs: "GS"
        case .fs: "FS"
        case .es: "ES"
        case .ds: "DS"
        }
    }
}

/// One write onto a word that a live activation still had use for.
package struct Overwrite: Sendable, Hashable {
    package var address: UInt64
    /// Index of the physical word.
    package var word: Int32
    package var oldOwner: Owner
    package var newOwner: Owner
    package var oldValue: UInt64
    package var newValue: UInt64
    /// Step number at which it happened, and the index of the instruction.
    package var step: UInt32
    package var instruction: Int32
    /// The activation that owned the word has read it since: the write mattered.
    package var wasRead: Bool
}
