#!/usr/bin/env python3
"""One stub run of the same entry code in Unicorn and in Gatehouse, side by side.

    python3 -m venv .venv-bench && .venv-bench/bin/pip install unicorn==2.1.4
    .venv-bench/bin/python Benchmarks/unicorn.py [--binary .build/release/gatehouse] [--rounds 9] [--runs 2000]

Needs GNU as, ld and objcopy, and curl with HTTP/2. Exits with 0 if the worst median ratio reaches the target of 50
(`--target`), 1 if not, 2 if the comparison could not be made (Unicorn leaves the path of the trace, say).

What runs in Unicorn: the instructions of `gatehouse trace`, assembled at the same addresses, with the same stacks, frame
and registers. A code hook compares the path with the trace, step for step, and the registers at the end, before anything is
timed; what is timed has no hooks. One run is what a harness must do for each: `uc_context_restore`, the exception frame
written anew, `uc_emu_start`. The three are called through ctypes, without the Python classes around them.
Where the two differ, Unicorn has the lighter work:
  * a C function is one instruction (which Gatehouse does not count) and `ret`; Gatehouse runs a model that overwrites dead
    registers and stack words. What sync_regs copies is in memory already;
  * the run ends before `iretq` (it needs descriptor tables), and delivery is not run: the frame is written as one block;
  * no page tables (the TLB maps addresses to themselves), no checks, owners of words or verdict. For information, the
    same run with empty native hooks for every instruction and access (where a harness would check), and a run in a new
    instance each (made by the Python classes); neither counts for the ratio.

What runs in Gatehouse: every scenario of bare-metal-intel in a warm service with one worker, all checks on, by the report's
`elapsed_seconds`. The time of all less that of one alone (nearly all of it expansion of the table) is what scenarios cost. By
instructions (scenarios differ in length), times those of the path that Unicorn runs, it is the time compared. For information:
the same by scenarios, and `elapsed_seconds` of `gatehouse check` in processes of their own, expansion included, by scenarios.
Everything is pinned to one processor, and rounds alternate.
"""
import argparse
import ctypes
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

# This file is called like the module; its own folder must not be searched for it.
sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]
try:
    import unicorn
    from unicorn import x86_const as x86
    from unicorn.unicorn_py3.unicorn import uclib
except ImportError as error:
    print(f"{error}: see the head of this file", file=sys.stderr)
    sys.exit(2)

PINNED = "2.1.4"
KERNEL, PLATFORM = "linux-5.3", "bare-metal-intel"
PATHS = [f"{PLATFORM}/divide_error/kernel/return", f"{PLATFORM}/divide_error/user/return"]
PAGES = 0x8000
KERNEL_GS_BASE = 0xC0000102


class Unfit(Exception):
    """The comparison cannot be made."""


def number(text):
    return int(text, 16)


def word(value):
    return value.to_bytes(8, "little")


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout


class Path:
    """The steps of one scenario as machine code, memory and registers for Unicorn."""

    def __init__(self, binary, scenario, symbols):
        trace = json.loads(run(binary, "trace", KERNEL, scenario, "--format", "json"))
        delivery, *steps = trace["steps"]
        if delivery["symbol"] != "(processor)" or not steps[-1]["instruction"].startswith("iretq"):
            raise Unfit(f"{scenario}: not one delivery up to one iretq")
        self.name, self.steps, self.instructions = scenario, steps, trace["scenario"]["cost"]["instructions"]
        self.registers, self.final = {}, {}
        for step in trace["steps"]:
            for change in step["changes"]:
                self.registers.setdefault(change["name"], number(change["old"]))
                if step is not steps[-1]:
                    self.final[change["name"]] = number(change["new"])
        self.registers.update({c["name"]: number(c["new"]) for c in delivery["changes"]})
        gs = [number(c["new"]) for s in steps for c in s["changes"] if s["instruction"] == "swapgs"][:1]
        self.gs_base = gs[0] if gs else None
        self.frame = b"".join(word(number(w["value"])) for w in sorted(delivery["writes"], key=lambda w: w["address"]))
        self.frame_address = min(number(w["address"]) for w in delivery["writes"])

        self.path, self.words, text, symbols = [], {}, {}, dict(symbols)
        self.replaced = ["iretq (the run ends before it)"]
        for step in steps:
            name, offset = re.match(r"([\w.]+)\+(0x[0-9a-f]+)/", step["symbol"]).groups()
            symbols.setdefault(name, number(step["address"]) - number(offset))
        shift = 0  # how much longer the one instruction of a C function is than in the trace
        for step, after in zip(steps, steps[1:] + [None]):
            new = {c["name"]: number(c["new"]) for c in step["changes"]}
            address, line, shift = number(step["address"]) + shift, step["instruction"], 0
            if line.startswith("("):
                function = step["symbol"].split("+")[0]
                self.replaced.append(f"{function} (C function)")
                line = "nop"
                if function == "sync_regs":  # the only one whose result the path uses
                    line, shift = f"movq ${new['RAX'] - (1 << 64)}, %rax", 6
                    self.words.update({number(w["address"]): number(w["value"]) for w in step["writes"]})
            elif (load := re.fullmatch(r"movq %gs:(0x[0-9a-f]+), %(\w+)", line)):
                self.words[self.gs_base + number(load[1])] = new[load[2].upper()]
            elif re.match(r"j(?!mp)\w+ ", line) and after and number(after["address"]) == address + 6:
                line = "{disp32} " + line  # as long as in the kernel
            self.path.append(address)
            text[address] = line
        self.base = min(text) & ~0xFFF
        self.code = assemble(text, symbols, self.base)
        self.size = (len(self.code) | 0xFFF) + 1
        writes = {number(w["address"]) for s in trace["steps"] for w in s["writes"]} | set(self.words)
        self.pages = {a & ~(PAGES - 1) for a in writes}

    def machine(self):
        uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
        uc.ctl_set_cpu_model(x86.UC_CPU_X86_BROADWELL)  # the first one with CLAC
        uc.ctl_set_tlb_mode(unicorn.UC_TLB_VIRTUAL)
        uc.mem_map(self.base, self.size)
        uc.mem_write(self.base, self.code)
        for page in self.pages:
            uc.mem_map(page, PAGES)
        for address, value in self.words.items():
            uc.mem_write(address, word(value))
        uc.mem_write(self.frame_address, self.frame)
        for name, value in self.registers.items():
            constant = {"RFLAGS": "EFLAGS", "GS base": "GS_BASE"}.get(name, name)
            if constant not in ("CS", "SS"):  # ring 0 from the start
                uc.reg_write(getattr(x86, f"UC_X86_REG_{constant}"), value)
        if self.gs_base is not None:
            uc.msr_write(KERNEL_GS_BASE, self.gs_base)
        return uc

    def verify(self):
        """Unicorn goes the way of the trace, and ends with the registers of the trace."""
        uc, way = self.machine(), []
        uc.hook_add(unicorn.UC_HOOK_CODE, lambda _uc, address, _size, _data: way.append(address))
        uc.emu_start(self.path[0], self.path[-1])
        if way != self.path[:-1]:
            at = next((i for i, (a, b) in enumerate(zip(way, self.path)) if a != b), len(way))
            raise Unfit(f"{self.name}: Unicorn leaves the path at step {at}: {self.steps[at]['instruction']}")
        self.verify_end(uc)
        return len(way)

    def verify_end(self, uc):
        for name, value in self.final.items():
            if name not in ("RFLAGS", "GS base", "CR3", "CS", "SS"):
                found = uc.reg_read(getattr(x86, f"UC_X86_REG_{name}"))
                if found != value:
                    raise Unfit(f"{self.name}: {name} is {found:#x} at the end, not {value:#x}")
    def warm(self, runs, hooked=False):
        """Microseconds per run of a warm instance, and of its resets alone. `hooked`: every instruction and access calls
        a native function that does nothing (abs of the C library)."""
        uc = self.machine()
        handle, context, frame = uc._uch, uc.context_save(), ctypes.c_uint64(self.frame_address)
        if hooked:
            nothing = ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p)
            for kind in (unicorn.UC_HOOK_CODE, unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE):
                uclib.uc_hook_add(handle, ctypes.byref(ctypes.c_size_t()), kind, nothing, None,
                                  ctypes.c_uint64(1), ctypes.c_uint64(0))
        start, end, zero = (ctypes.c_uint64(v) for v in (self.path[0], self.path[-1], 0))
        restore, write, start_uc = uclib.uc_context_restore, uclib.uc_mem_write, uclib.uc_emu_start
        saved, block, size, none = context.context, self.frame, len(self.frame), ctypes.c_size_t(0)

        def timed(count, execute):
            errors, began = 0, time.perf_counter()
            for _ in range(count):
                restore(handle, saved)
                write(handle, frame, block, size)
                if execute:
                    errors |= start_uc(handle, start, end, zero, none)
            if errors:
                raise Unfit(f"{self.name}: Unicorn fails on a repeated run")
            return (time.perf_counter() - began) / count * 1e6

        timed(50, True)
        whole = timed(runs, True)
        self.verify_end(uc)
        return whole, timed(runs, False)

    def fresh(self, runs=20):
        began = time.perf_counter()
        for _ in range(runs):
            self.machine().emu_start(self.path[0], self.path[-1])
        return (time.perf_counter() - began) / runs * 1e6


def assemble(text, symbols, base):
    """Machine code of lines at fixed addresses; `.org` refuses lines that are longer than in the trace."""
    with tempfile.TemporaryDirectory() as folder:
        source, thing, linked, flat = (os.path.join(folder, n) for n in ("a.s", "a.o", "a.elf", "a.bin"))
        lines = [".text", "start:"] + [f".set {name}, start+{at - base:#x}" for name, at in symbols.items() if at >= base]
        for address in sorted(text):
            lines += [f".org {address - base:#x}", "\t" + text[address]]
        with open(source, "w") as file:
            file.write("\n".join(lines) + "\n")
        subprocess.check_call(["as", source, "-o", thing])
        subprocess.check_call(["ld", "-e", "0", f"-Ttext={base:#x}", thing, "-o", linked])
        subprocess.check_call(["objcopy", "-O", "binary", "-j", ".text", linked, flat])
        with open(flat, "rb") as file:
            return file.read()


class Service:
    def __init__(self, binary, folder):
        self.table = os.path.join(folder, "table.json")
        with open(self.table, "w") as file:
            file.write(run(binary, "kernels", KERNEL))
        self.process = subprocess.Popen(
            [binary, "serve", "--listen", "127.0.0.1:0", "--database", os.path.join(folder, "bench.sqlite"),
             "--workers", "1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            if line.startswith("listening on "):
                self.url = line.split()[-1]
                return
        raise Unfit("the service does not start")

    def check(self, scenarios):
        """Scenarios, instructions and microseconds of one check."""
        url = f"{self.url}/v1/checks?platforms={PLATFORM}&scenarios={scenarios}"
        summary = json.loads(run("curl", "-sS", "--http2-prior-knowledge", "-H", "Content-Type: application/json",
                                 "--data-binary", f"@{self.table}", url))["summary"]
        return summary["scenarios"], summary["instructions"], summary["elapsed_seconds"] * 1e6


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--binary", default=".build/release/gatehouse")
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--runs", type=int, default=2000)
    arguments.add_argument("--target", type=float, default=50)
    options = arguments.parse_args()
    if unicorn.__version__ != PINNED:
        print(f"note: unicorn {unicorn.__version__}, not {PINNED}")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    listing = run(options.binary, "listing", KERNEL, "--platform", PLATFORM)
    symbols = {m[1]: number(m[2]) for m in re.finditer(r"^ENTRY\((\w+)\)\s*# (0x[0-9a-f]+)", listing, re.M)}
    paths = [Path(options.binary, name, symbols) for name in PATHS]
    for path in paths:
        print(f"{path.name}: Unicorn runs {path.verify()} instructions on the path of the trace; "
              f"Gatehouse counts {path.instructions}\n    replaced: {', '.join(dict.fromkeys(path.replaced))}")

    figures = {path.name: [] for path in paths}
    with tempfile.TemporaryDirectory() as folder:
        service = Service(options.binary, folder)
        try:
            for _ in range(3):
                service.check("*")
            print("\nmicroseconds per stub run")
            for turn in range(options.rounds):
                for path in paths:
                    (warm, reset), (hooked, _) = path.warm(options.runs), path.warm(options.runs // 4, hooked=True)
                    checks = [(service.check("*"), service.check(path.name)) for _ in range(3)]
                    (count, total, _), (one, few, _) = checks[0]
                    all_of, alone = (statistics.median(c[i][2] for c in checks) for i in (0, 1))
                    marginal = (all_of - alone) / (total - few) * path.instructions
                    unscaled = (all_of - alone) / (count - one)
                    process = json.loads(run(options.binary, "check", KERNEL, "--platform", PLATFORM, "--format", "json"))
                    process = process["summary"]["elapsed_seconds"] * 1e6 / count
                    row = (warm, reset, hooked, path.fresh(), marginal, unscaled, process, warm / marginal)
                    figures[path.name].append(row)
                    print(f"round {turn + 1} {path.name.split('/', 1)[1]}: Unicorn {warm:.2f}, Gatehouse {marginal:.2f}, "
                          f"ratio {row[-1]:.2f}", flush=True)
        finally:
            service.process.terminate()
            service.process.wait()

    print(f"\nmedians of {options.rounds} rounds; Gatehouse: {count} scenarios, on average {total / count:.0f} instructions")
    medians = []
    for path in paths:
        warm, reset, hooked, fresh, marginal, unscaled, process, ratio = (
            statistics.median(column) for column in zip(*figures[path.name]))
        ratios = [row[-1] for row in figures[path.name]]
        print(f"{path.name}\n"
              f"    Unicorn:   warm run {warm:.2f} (of which reset {reset:.2f}); with empty hooks {hooked:.2f}; "
              f"new instance for each run {fresh:.0f}\n"
              f"    Gatehouse: run {marginal:.2f}; by scenarios {unscaled:.2f}; process, with expansion {process:.2f}\n"
              f"    ratio per stub run, warm Unicorn / Gatehouse: {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}); "
              f"for information, with empty hooks {hooked / marginal:.2f}, new instance {fresh / marginal:.0f}")
        medians.append(ratio)
    passed = min(medians) >= options.target
    print(f"{'PASS' if passed else 'FAIL'}: {min(medians):.2f} against {options.target:g}")
    return 0 if passed else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Unfit, unicorn.UcError, subprocess.CalledProcessError, OSError) as error:
        print(f"no comparison: {error}", file=sys.stderr)
        sys.exit(2)
