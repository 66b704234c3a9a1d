import XenPV

/// Xen releases whose behaviour is modelled.
package enum XenRelease {
    package static let supported = XenVersion.allCases.map(\.rawValue)
}

extension EntryTable {
    /// Bytes above `per_cpu_base` that have to be addresses too.
    static let perCPUArea_bytes: UInt64 = 1 << 24
}

extension TableReader {
    /// Reads addresses over those already in the table; absent ones keep their value.
    mutating func readMachine(_ value: JSON, _ place: String, into table: inout EntryTable) {
        guard let keys = object(value, place, keys: EntryTable.machineKeys) else { return }
        if let code = keys["code"] { readCode(code, place + "/code", into: &table) }
        if let stacks = keys["stacks"] { readStacks(stacks, place + "/stacks", into: &table) }
        if let guards = keys["guards"] {
            table.machine.guards = []
            for (index, row) in (array(guards, place + "/guards", limit: 64) ?? []).enumerated() {
                if let stretch = stretch(row, "\(place)/guards/\(index)", limit_bytes: 1 << 24) {
                    table.machine.guards.append(stretch)
                }
            }
        }
        if let espfix = keys["espfix"],
            let members = object(espfix, place + "/espfix", keys: EntryTable.espfixKeys)
        {
            if let stack = address(members["stack"], place + "/espfix/stack") { table.machine.espfixStack = stack }
            if let waddr = address(members["waddr"], place + "/espfix/waddr") { table.machine.espfixWritable = waddr }
        }
        if let base = kernelAddress(keys["per_cpu_base"], place + "/per_cpu_base") {
            // Variables and the interrupt stack lie above it, some of them megabytes away.
            if base > UInt64.max - EntryTable.perCPUArea_bytes {
                fault(place + "/per_cpu_base", "out-of-range", "the per-CPU area reaches beyond the address space")
            } else {
                table.machine.perCPUBase = base
            }
        }
        if let watched = address(keys["watchpoint"], place + "/watchpoint") {
            if watched >> 47 != 0x1FFFF || watched & 7 != 0 {
                fault(
                    place + "/watchpoint", "not-a-kernel-address",
                    "a multiple of 8 in the kernel half of the address space is expected")
            } else {
                table.machine.watchpoint = watched
            }
        }
        if let end = address(keys["user_end"], place + "/user_end") {
            // Above the programs' other places, and no further than four-level paging goes.
            if end & 4095 != 0 || end > 1 << 47 || end < 0x7FFF_0000_0000 {
                fault(
                    place + "/user_end", "out-of-range",
                    "user memory ends at a multiple of 4096 from 0x7fff00000000 to 0x800000000000")
            } else {
                table.machine.userEnd = end
            }
        }
        if let rsp = keys["kernel_rsp"],
            let members = object(rsp, place + "/kernel_rsp", keys: EntryTable.kernelRSPKeys)
        {
            if let value = address(members["aligned"], place + "/kernel_rsp/aligned") {
                table.machine.kernelRSPAligned = value
                if value % 16 != 0 {
                    fault(place + "/kernel_rsp/aligned", "misaligned", "this RSP is a multiple of 16")
                }
            }
            if let value = address(members["rsp8"], place + "/kernel_rsp/rsp8") {
                table.machine.kernelRSPMisaligned = value
                if value % 16 != 8 {
                    fault(place + "/kernel_rsp/rsp8", "misaligned", "this RSP has remainder 8 modulo 16")
                }
            }
        }
        if let own = keys["kernel_registers"],
            let members = object(own, place + "/kernel_registers", keys: EntryTable.kernelRegisterKeys)
        {
            for name in EntryTable.kernelRegisterKeys {
                if let value = address(members[name], "\(place)/kernel_registers/\(name)") {
                    table.machine.kernelRegisters[name] = value
                }
            }
        }
        if let test = keys["self_test"] { readSelfTest(test, place + "/self_test", into: &table) }
    }

    /// The stack pointers must lie on the task stack that results: a document may move either.
    mutating func checkStackPointers(_ own: JSON?, _ table: EntryTable) {
        func place(_ path: [String]) -> String {
            var value = own
            for key in path { value = value?[key] }
            return value == nil ? "/machine/stacks/task" : "/machine/" + path.joined(separator: "/")
        }
        checkOnTaskStack(table.machine.kernelRSPAligned, place(["kernel_rsp", "aligned"]), table)
        checkOnTaskStack(table.machine.kernelRSPMisaligned, place(["kernel_rsp", "rsp8"]), table)
        if let test = table.machine.selfTest { checkOnTaskStack(test.rsp, place(["self_test", "rsp"]), table) }
    }

    private mutating func checkOnTaskStack(_ rsp: UInt64, _ place: String, _ table: EntryTable) {
        guard let stack = table.machine.stacks["task"] else { return }
        // The interrupted code needs a little stack above its RSP for what its callers left there.
        if rsp < stack.base &+ 4096 || rsp > stack.end &- 64 {
            fault(
                place, "outside-stack",
                "RSP lies on the task stack, at least 4096 bytes above its base and 64 below its end")
        }
    }

    mutating func kernelAddress(_ value: JSON?, _ place: String) -> UInt64? {
        guard let number = address(value, place) else { return nil }
        if number >> 47 != 0x1FFFF || number & 4095 != 0 {
            fault(place, "not-a-kernel-address", "a page-aligned canonical address of the kernel half is expected")
            return nil
        }
        return number
    }

    private mutating func stretch(_ value: JSON, _ place: String, limit_bytes: UInt64) -> EntryTable.Stretch? {
        guard let members = object(value, place, keys: EntryTable.stretchKeys) else { return nil }
        let base = require(kernelAddress(members["base"], place + "/base"), members["base"] != nil, place, "base")
        let size = require(
            integer(members["size"], place + "/size", in: 1...Int64(limit_bytes)), members["size"] != nil, place, "size"
        )
        guard let base, let size else { return nil }
        // The end has to be an address as well: a stack that wraps round has no top to start from.
        if UInt64(size) > UInt64.max - base {
            fault(place + "/size", "out-of-range", "the stretch reaches beyond the address space")
            return nil
        }
        return EntryTable.Stretch(base: base, size_bytes: UInt64(size))
    }

    private mutating func readCode(_ value: JSON, _ place: String, into table: inout EntryTable) {
        guard case .object(let members) = value else {
            fault(place, "wrong-type", "expected an object, found \(value.kindName)")
            return
        }
        if members.count > limits.entries {
            fault(place, "too-many", "\(members.count) placements; at most \(limits.entries) are accepted")
            return
        }
        for member in members {
            let here = EntryCode.pointer(place, member.key)
            if member.key == "text_origin" {
                if let origin = kernelAddress(member.value, here) { table.machine.textOrigin = origin }
                continue
            }
            guard let keys = object(member.value, here, keys: EntryTable.placementKeys) else { continue }
            let address = require(address(keys["address"], here + "/address"), keys["address"] != nil, here, "address")
            let size = integer(keys["size"], here + "/size", in: 0...(1 << 20)) ?? 0
            guard let address else { continue }
            if address >> 47 != 0x1FFFF {
                fault(here + "/address", "not-a-kernel-address", "code lies in the kernel half of the address space")
                continue
            }
            table.machine.code[member.key] = EntryTable.Placement(address: address, size_bytes: UInt64(size))
        }
    }

    private mutating func readStacks(_ value: JSON, _ place: String, into table: inout EntryTable) {
        guard let keys = object(value, place, keys: EntryTable.stackKeys) else { return }
        for name in EntryTable.stackKeys {
            guard let row = keys[name] else { continue }
            if let stretch = stretch(row, "\(place)/\(name)", limit_bytes: 65_536) {
                table.machine.stacks[name] = stretch
            }
        }
    }

    private mutating func readSelfTest(_ value: JSON, _ place: String, into table: inout EntryTable) {
        guard let keys = object(value, place, keys: EntryTable.selfTestKeys) else { return }
        let routine = require(symbol(keys["routine"], place + "/routine"), keys["routine"] != nil, place, "routine")
        let address = require(address(keys["address"], place + "/address"), keys["address"] != nil, place, "address")
        let size = integer(keys["size"], place + "/size", in: 16...65_536)
        let offset = integer(keys["site_offset"], place + "/site_offset", in: 0...65_536)
        let target = require(symbol(keys["target"], place + "/target"), keys["target"] != nil, place, "target")
        let targetSize = integer(keys["target_size"], place + "/target_size", in: 1...4096)
        let rsp = require(self.address(keys["rsp"], place + "/rsp"), keys["rsp"] != nil, place, "rsp")
        var trace: [String] = []
        for (index, line) in (array(keys["call_trace"] ?? .array([]), place + "/call_trace", limit: 32) ?? [])
            .enumerated()
        {
            if let text = string(line, "\(place)/call_trace/\(index)") { trace.append(text) }
        }
        guard let routine, let address, let target, let rsp else { return }
        let size_bytes = UInt64(size ?? 302)
        let siteOffset = UInt64(offset ?? 0)
        if siteOffset + 5 > size_bytes {
            fault(place + "/site_offset", "out-of-range", "int3 and four nops must lie within the routine")
            return
        }
        table.machine.selfTest = EntryTable.SelfTest(
            routine: routine, address: address, size_bytes: size_bytes, siteOffset: siteOffset, target: target,
            targetSize_bytes: UInt64(targetSize ?? 7), rsp: rsp, callTrace: trace)
    }
}
