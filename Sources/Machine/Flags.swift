/// Bits of RFLAGS (SDM vol. 1, 3.4.3).
package enum Flags {
    package static let carry: UInt64 = 1 << 0
    package static let alwaysOne: UInt64 = 1 << 1
    package static let parity: UInt64 = 1 << 2
    package static let adjust: UInt64 = 1 << 4
    package static let zero: UInt64 = 1 << 6
    package static let sign: UInt64 = 1 << 7
    package static let trap: UInt64 = 1 << 8
    package static let interrupt: UInt64 = 1 << 9
    package static let direction: UInt64 = 1 << 10
    package static let overflow: UInt64 = 1 << 11
    package static let iopl: UInt64 = 3 << 12
    package static let nestedTask: UInt64 = 1 << 14
    package static let resume: UInt64 = 1 << 16
    package static let virtual8086: UInt64 = 1 << 17
    package static let alignmentCheck: UInt64 = 1 << 18
    package static let virtualInterrupt: UInt64 = 1 << 19
    package static let virtualInterruptPending: UInt64 = 1 << 20
    package static let identification: UInt64 = 1 << 21

    /// The six flags that arithmetic sets.
    package static let arithmetic: UInt64 = carry | parity | adjust | zero | sign | overflow
    /// What POPF and IRET can load.
    package static let loadable: UInt64 =
        arithmetic | trap | interrupt | direction | iopl | nestedTask | resume | alignmentCheck | identification
}

/// Bits of DR6 (SDM vol. 3, 17.2.3).
package enum DebugStatus {
    /// Nothing has happened: the bits that always read as ones.
    package static let none: UInt64 = 0xFFFF_0FF0
    /// B0: the breakpoint of DR0 was met.
    package static let breakpoint0: UInt64 = 1 << 0
    /// BS: single step.
    package static let singleStep: UInt64 = 1 << 14
}

/// Exception vectors (SDM vol. 3, table 6-1).
package enum Vector {
    package static let divideError: UInt8 = 0
    package static let debug: UInt8 = 1
    package static let nmi: UInt8 = 2
    package static let breakpoint: UInt8 = 3
    package static let overflow: UInt8 = 4
    package static let boundRange: UInt8 = 5
    package static let invalidOpcode: UInt8 = 6
    package static let deviceNotAvailable: UInt8 = 7
    package static let doubleFault: UInt8 = 8
    package static let invalidTSS: UInt8 = 10
    package static let segmentNotPresent: UInt8 = 11
    package static let stackSegment: UInt8 = 12
    package static let generalProtection: UInt8 = 13
    package static let pageFault: UInt8 = 14
    package static let floatingPoint: UInt8 = 16
    package static let alignmentCheck: UInt8 = 17
    package static let machineCheck: UInt8 = 18
    package static let simdFloatingPoint: UInt8 = 19
    package static let virtualization: UInt8 = 20
    package static let controlProtection: UInt8 = 21
    package static let vmmCommunication: UInt8 = 29
    package static let security: UInt8 = 30

    /// Whether delivery of the exception pushes an error code (SDM vol. 3, 6.13; APM vol. 2, table 8-1).
    package static func pushesErrorCode(_ vector: UInt8) -> Bool {
        switch vector {
        case 8, 10, 11, 12, 13, 14, 17, 21, 29, 30: true
        default: false
        }
    }
}

/// An exception raised by an instruction or by the delivery of another event.
package struct Fault: Error, Sendable, Hashable {
    package var vector: UInt8
    package var errorCode: UInt32
    /// The linear address of a page fault, for CR2.
    package var address: UInt64

    @inline(__always)
    package init(_ vector: UInt8, errorCode: UInt32 = 0, address: UInt64 = 0) {
        self.vector = vector
        self.errorCode = errorCode
        self.address = address
    }

    package static func generalProtection(_ errorCode: UInt32 = 0) -> Fault {
        Fault(Vector.generalProtection, errorCode: errorCode)
    }
}
