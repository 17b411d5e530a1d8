#!/usr/bin/env python3
"""Measures what tailwatch needs on a microcontroller, and compares it with the committed figures
and the limits.

    check_budgets.py DIRECTORY --compiler TEXT             fails if a figure exceeds the committed one
    check_budgets.py DIRECTORY --compiler TEXT --update    writes examples/firmware/budgets.json
    check_budgets.py --self-test

DIRECTORY has the images of `examples/firmware` by target: TARGET/release/NAME. Flash and RAM are
those of an image minus those of an empty image with the same runtime. Instructions and stack are
printed by an image that runs in an emulator. The emulator executes an instruction in a fixed time,
so all runs give the same figures. A figure above its limit is a note. A figure above the committed
one fails if the compiler is the same, and is a note otherwise. Code that must not be in an image
always fails.
"""

import argparse
import json
import pathlib
import re
import struct
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "examples" / "firmware" / "budgets.json"
UPDATE = "TAILWATCH_BUDGETS=--update bash .ci/run budgets"
EMULATOR = ["qemu-system-arm", "-machine", "lm3s6965evb", "-nographic", "-monitor", "none", "-serial", "none"]
EMULATOR += ["-icount", "shift=7", "-semihosting-config", "enable=on,target=native", "-kernel"]
SECONDS = 120
IMAGES = ["recorder", "exact", "histogram"]
MOST_DATA = 64
# The ring holds 64 records of 16 bytes.
RING_BYTES = 64 * 16
# For each record the clock of the counting image takes this many instructions, which are not
# tailwatch's.
CLOCK_INSTRUCTIONS = 2

# Patterns of symbol names that must not occur.
WIDE_ATOMICS = re.compile(r"^__(atomic|sync)_\w*_8$")
CRITICAL_SECTION = re.compile(r"critical_section")
PANICS = re.compile(r"panic|unwrap_failed|expect_failed|slice_index|4core3fmt|begin_unwind")


class Image:
    """A 32-bit little-endian ELF file: the sizes of its sections, and its symbols."""

    def __init__(self, path):
        raw = pathlib.Path(path).read_bytes()
        if raw[:6] != b"\x7fELF\x01\x01":
            sys.exit(f"check_budgets: {path} is not a 32-bit little-endian ELF file")
        (offset,), (size, count, names) = struct.unpack_from("<I", raw, 32), struct.unpack_from("<3H", raw, 46)
        sections = [struct.unpack_from("<10I", raw, offset + size * number) for number in range(count)]
        text = lambda table, at: raw[table[4] + at : raw.index(b"\0", table[4] + at)].decode()
        self.flash = self.ram = self.data = 0
        self.symbols = {}
        for section in sections:
            name, kind, flags, length = text(sections[names], section[0]), section[1], section[2], section[5]
            is_allocated, is_writable, has_bytes = flags & 2, flags & 1, kind != 8
            if is_allocated and has_bytes:
                self.flash += length
            # Other writable sections do not count: with some runtimes the stack is one.
            if is_allocated and is_writable and name in (".data", ".bss", ".uninit"):
                self.ram += length
                self.data += length if has_bytes else 0
            if kind == 2:
                for at in range(section[4], section[4] + length, 16):
                    symbol, _, bytes_, _, _, where = struct.unpack_from("<3I2BH", raw, at)
                    if where:
                        self.symbols[text(sections[section[6]], symbol)] = bytes_


def run(image):
    """Returns what the counting image prints."""
    try:
        done = subprocess.run(
            [*EMULATOR, image], stdout=subprocess.PIPE, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        sys.exit(f"check_budgets: {image} did not end within {SECONDS} s")
    except FileNotFoundError:
        sys.exit(f"check_budgets: {EMULATOR[0]} is not installed")
    if done.returncode:
        sys.exit(f"{done.stdout}check_budgets: {image} ended with status {done.returncode}")
    return done.stdout


def instructions(text):
    """Returns the instructions per unit and the bytes of stack, each by row."""
    ticks = {row: (int(units), int(ticks)) for row, units, ticks in re.findall(r"ticks (\w+) (\d+) (\d+)", text)}
    _, nothing = ticks.pop("nothing")
    _, thousand = ticks.pop("thousand")
    ticks_per_instruction = (thousand - nothing) / 1000
    # One or two more instructions set the loop counter.
    if abs(ticks_per_instruction - 25.6) >= 0.2:
        sys.exit(f"check_budgets: an instruction takes {ticks_per_instruction} ticks, expected 25.6")
    rows = {row: (ticks - nothing) / 25.6 / units for row, (units, ticks) in ticks.items()}
    rows["record"] -= CLOCK_INSTRUCTIONS
    return rows, {row: int(used) for row, used in re.findall(r"stack (\w+) (\d+)", text)}


def measure(directory):
    """Returns the figures by row, and the faults of the images."""
    images = {name: Image(directory / name) for name in ["empty", *IMAGES]}
    counted, stack = instructions(run(directory / "count"))
    flash = {name: images[name].flash - images["empty"].flash for name in IMAGES}
    ram = {name: images[name].ram - images["empty"].ram for name in IMAGES}
    rows = {
        "instructions: a record, beside the clock": round(counted["record"], 1),
        "instructions: a read of SysTick, 64 bits": round(counted["systick"], 1),
        "instructions: disabled": round(counted["disabled"], 1),
        "instructions: a drained record, exact": round(counted["exact"], 1),
        "instructions: a drained record, histogram": round(counted["histogram"], 1),
        "flash: recorder": flash["recorder"],
        "flash: exact": flash["exact"],
        "flash: histogram": flash["histogram"],
        "RAM: exact": ram["exact"],
        "RAM: histogram": ram["histogram"],
        "stack: drain and report, exact": stack["exact"],
        "stack: drain and report, histogram": stack["histogram"],
    }
    return rows, [problem for name in IMAGES for problem in faults(name, images[name].symbols, images[name].data)]


def faults(name, symbols, data):
    """Returns what an image contains but must not, and what it lacks."""
    problems = []
    if data > MOST_DATA:
        problems.append(f"{name}: {data} bytes of .data (memory that does not start as zeros); at most {MOST_DATA} are allowed")
    if not any("RING" in symbol and size >= RING_BYTES for symbol, size in symbols.items()):
        problems.append(f"{name}: the image has no ring, so its size means nothing")
    for what, pattern in [("atomics of 64 bits", WIDE_ATOMICS), ("a critical section", CRITICAL_SECTION)]:
        found = [symbol for symbol in symbols if pattern.search(symbol)]
        if found:
            problems.append(f"{name}: {what}: {', '.join(found)}")
    found = [symbol for symbol in symbols if PANICS.search(symbol)]
    if name == "recorder" and found:
        problems.append(f"{name}: the image can panic: {', '.join(found)}")
    return problems


def compare(measured, committed, limits, is_same_compiler):
    """Returns the lines of the table, the problems and the notes of one target."""
    lines, problems, notes = [], [], []
    for row in [*measured, *(row for row in committed if row not in measured)]:
        new, old, limit = measured.get(row), committed.get(row), limits.get(row)
        if new is None or old is None or limit is None:
            missing = "measured figure" if new is None else "committed figure" if old is None else "limit"
            problems.append(f"{row} has no {missing}")
            continue
        lines.append(f"{row:<44} {limit:>8} {old:>10} {new:>10}  {'within the limit' if new <= limit else 'ABOVE THE LIMIT'}")
        if new > limit:
            notes.append(f"{row} is {new}; the limit is {limit}")
        # The timer resolves half an instruction.
        if new > max(old * 1.005, old + (0.5 if "instructions" in row else 0)):
            (problems if is_same_compiler else notes).append(f"{row} is {new}; the committed figure is {old}")
    return lines, problems, notes


def self_test():
    """Larger figures fail, figures above their limit are notes, and every faulty image is found."""

    def verdict(new, old=100, limit=200, same=True):
        _, problems, notes = compare({"flash: a": new}, {"flash: a": old}, {"flash: a": limit}, same)
        return bool(problems), bool(notes)

    good = {"app::RING": 1036, "main": 8}
    cases = [
        ("unchanged", verdict(100), (False, False)),
        ("smaller", verdict(90), (False, False)),
        ("larger", verdict(101), (True, False)),
        ("larger, another compiler", verdict(101, same=False), (False, True)),
        ("unchanged, above the limit", verdict(100, limit=99), (False, True)),
        ("a row that was removed", (bool(compare({}, {"a": 1}, {"a": 1}, True)[1]), False), (True, False)),
        ("a new row", (bool(compare({"a": 1}, {}, {"a": 1}, True)[1]), False), (True, False)),
        ("a row without a limit", (bool(compare({"a": 1}, {"a": 1}, {}, True)[1]), False), (True, False)),
        ("a good image", bool(faults("recorder", good, 64)), False),
        ("an image with too much .data", bool(faults("recorder", good, 65)), True),
        ("an image without a ring", bool(faults("recorder", {"main": 8}, 0)), True),
        ("a small ring", bool(faults("recorder", {"app::RING": 512}, 0)), True),
        ("wide atomics", bool(faults("exact", good | {"__atomic_load_8": 4}, 0)), True),
        ("a critical section", bool(faults("exact", good | {"_critical_section_1_0_acquire": 4}, 0)), True),
        ("a recorder that panics", bool(faults("recorder", good | {"_RNvNtC4core9panicking5panic": 4}, 0)), True),
        ("an aggregator that panics", bool(faults("exact", good | {"_RNvNtC4core9panicking5panic": 4}, 0)), False),
    ]
    text = "ticks nothing 1 26\nticks thousand 1 25626\nticks record 16 1664\nticks systick 8 4122\nstack exact 900\n"
    rows, stack = instructions(text)
    parsed = [round(rows["record"], 1), round(rows["systick"], 1), stack["exact"]]
    cases.append(("instructions", parsed, [2.0, 20.0, 900]))
    return [f"{name}: found {found}, expected {expected}" for name, found, expected in cases if found != expected]


def check(directory, compiler, update):
    """Measures all targets and returns the problems."""
    table = json.loads(TABLE.read_text())
    is_same, problems = table["compiler"] == compiler, []
    for target, limits in table["limits"].items():
        measured, found = measure(directory / target / "release")
        problems += [f"{target}: {problem}" for problem in found]
        if update:
            table["committed"][target] = measured
        lines, more, notes = compare(measured, table["committed"][target], limits, is_same)
        print(f"{target:<44} {'limit':>8} {'committed':>10} {'measured':>10}")
        print("\n".join(lines) + "\n")
        problems += [f"{target}: {problem}" for problem in more]
        for note in notes:
            print(f"note: {target}: {note}")
    if update:
        table["compiler"] = compiler
        TABLE.write_text(json.dumps(table, indent=2) + "\n")
        print(f"check_budgets: wrote {TABLE.relative_to(ROOT)}")
    elif not is_same:
        compilers = f"the committed figures are from {table['compiler']}, these from {compiler}"
        print(f"note: {compilers}, so larger ones do not fail; to update: {UPDATE}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", type=pathlib.Path)
    parser.add_argument("--compiler", default="an unknown compiler")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()

    if arguments.self_test:
        problems = self_test()
    elif arguments.directory:
        problems = check(arguments.directory, arguments.compiler, arguments.update)
    else:
        parser.error("expected a directory with images, or --self-test")
    for problem in problems:
        print(f"check_budgets: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print("check_budgets: " + ("self-test passed" if arguments.self_test else "no figure exceeds the committed one"))


if __name__ == "__main__":
    main()
