extension Machine {
    /// Executes the frequent forms with one jump; the same as `execute` in every respect.
    @inline(__always)
    mutating func executeShortcut(_ site: Site, _ program: Program) throws(Fault) -> Progress {
        switch site.pointee.shortcut {
        case .none:
            return try execute(site, program)
        case .moveToRegister:
            self[site.pointee.register] = rightOperand(site) & wholeMask(site)
        case .load:
            self[site.pointee.register] = try loadQuad(effectiveAddress(site), isStack: usesStack(site))
        case .store:
            let register = site.pointee.register
            try storeQuad(
                self[register], at: effectiveAddress(site), owner: ownerOfRegister(register), isStack: usesStack(site))
        case .pushRegister:
            try push(self[site.pointee.register], owner: ownerOfRegister(site.pointee.register))
        case .popRegister:
            let rsp = self[.rsp]
            let value = try loadQuad(rsp, isStack: true)
            self[.rsp] = rsp &+ 8
            self[site.pointee.register] = value
        case .add:
            self[site.pointee.register] = add(
                self[site.pointee.register], rightOperand(site), carry: 0, site.pointee.width)
        case .sub:
            self[site.pointee.register] = subtract(
                self[site.pointee.register], rightOperand(site), borrow: 0, site.pointee.width)
        case .cmp:
            _ = subtract(self[site.pointee.register], rightOperand(site), borrow: 0, site.pointee.width)
        case .and: setLogicResult(site, self[site.pointee.register] & rightOperand(site))
        case .or: setLogicResult(site, self[site.pointee.register] | rightOperand(site))
        case .xor: setLogicResult(site, self[site.pointee.register] ^ rightOperand(site))
        case .test:
            let width = site.pointee.width
            setLogicFlags(self[site.pointee.register] & rightOperand(site) & width.mask, width)
        case .lea: self[site.pointee.register] = offset(site)
        case .jump:
            cpu.index = site.pointee.target
            return .next
        case .branch:
            let index = cpu.index
            let taken = holds(site.pointee.condition)
            cpu.index = taken ? site.pointee.target : index &+ 1
            return stopAtBranches ? stop(.branch(instruction: index, taken: taken)) : .next
        case .call:
            let end = program.addresses[Int(cpu.index)] &+ UInt64(site.pointee.length)
            try push(end, owner: Owner(.returnAddress, activation: activation))
            cpu.index = site.pointee.target
            if cpu.index == untrainingIndex { noteUntraining() }
            return .next
        case .ret:
            let rsp = self[.rsp]
            let target = try loadQuad(rsp, isStack: true)
            if !Machine.isCanonical(target) { throw .generalProtection() }
            self[.rsp] = rsp &+ 8
            if returnGuard != .none { noteReturn(cpu.index) }
            jump(to: target, program)
            return .next
        }
        cpu.index &+= 1
        return .next
    }

    @inline(__always)
    private mutating func rightOperand(_ site: Site) -> UInt64 {
        self[site.pointee.source] &+ UInt64(bitPattern: site.pointee.immediate)
    }

    @inline(__always)
    private func wholeMask(_ site: Site) -> UInt64 { site.pointee.width.mask }

    @inline(__always)
    private mutating func setLogicResult(_ site: Site, _ value: UInt64) {
        let result = value & wholeMask(site)
        self[site.pointee.register] = result
        setLogicFlags(result, site.pointee.width)
    }
}
