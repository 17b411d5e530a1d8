#!/usr/bin/env python3
"""Measures what tailwatch takes of a microcontroller, and compares it with what is committed and with what it may take.

    check_budgets.py DIRECTORY --compiler TEXT             fails where something takes more than is committed
    check_budgets.py DIRECTORY --compiler TEXT --update    writes what it measures to examples/firmware/budgets.json
    check_budgets.py --self-test

DIRECTORY has the images of `examples/firmware` by target: TARGET/release/NAME. Flash and RAM are those of an image less those
of an empty one with the same runtime. Instructions and stack are told by an image that runs in an emulator, which executes one
instruction in a fixed time, so that each run is like the others. What a target asks for and is not reached is told; what is
more than is committed fails, unless another compiler made it. What must not be in an image at all always fails.
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
# The ring of 64 records, and its counters.
RING_BYTES = 64 * 16
# Instructions of the counting image's clock for each record, which are none of ours.
OF_CLOCK = 2

# Which words of a symbol's name must not be there.
WIDE_ATOMICS = re.compile(r"^__(atomic|sync)_\w*_8$")
CRITICAL_SECTION = re.compile(r"critical_section")
PANICS = re.compile(r"panic|unwrap_failed|expect_failed|slice_index|4core3fmt|begin_unwind")


class Image:
    """An ELF file of 32 bits, little endian: the sizes of its sections, and its symbols."""

    def __init__(self, path):
        raw = pathlib.Path(path).read_bytes()
        if raw[:6] != b"\x7fELF\x01\x01":
            sys.exit(f"check_budgets: {path} is no ELF file of 32 bits")
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
            # The stack of some runtimes is a section, too.
            if is_allocated and is_writable and name in (".data", ".bss", ".uninit"):
                self.ram += length
                self.data += length if has_bytes else 0
            if kind == 2:
                for at in range(section[4], section[4] + length, 16):
                    symbol, _, bytes_, _, _, where = struct.unpack_from("<3I2BH", raw, at)
                    if where:
                        self.symbols[text(sections[section[6]], symbol)] = bytes_


def run(image):
    """What the counting image prints."""
    try:
        done = subprocess.run(
            [*EMULATOR, image], stdout=subprocess.PIPE, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        sys.exit(f"check_budgets: {image} still ran after {SECONDS} s")
    except FileNotFoundError:
        sys.exit(f"check_budgets: {EMULATOR[0]} is not installed")
    if done.returncode:
        sys.exit(f"{done.stdout}check_budgets: {image} ended with status {done.returncode}")
    return done.stdout


def instructions(text):
    """Row -> instructions of one, and row -> bytes of stack."""
    ticks = {row: (int(things), int(ticks)) for row, things, ticks in re.findall(r"ticks (\w+) (\d+) (\d+)", text)}
    _, nothing = ticks.pop("nothing")
    _, thousand = ticks.pop("thousand")
    of_one = (thousand - nothing) / 1000
    # The count of the rounds is set in an instruction or two.
    of_one = 25.6 if abs(of_one - 25.6) < 0.2 else sys.exit(f"check_budgets: an instruction takes {of_one} ticks, not 25.6")
    rows = {row: (ticks - nothing) / of_one / things for row, (things, ticks) in ticks.items()}
    rows["record"] -= OF_CLOCK
    return rows, {row: int(used) for row, used in re.findall(r"stack (\w+) (\d+)", text)}


def measure(directory):
    """Row -> what it takes, and what is wrong with the images."""
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
    """What must not be in an image, or is not and must be."""
    problems = []
    if data > MOST_DATA:
        problems.append(f"{name}: {data} B of .data, which are not zero when empty; {MOST_DATA} are allowed")
    if not any("RING" in symbol and size >= RING_BYTES for symbol, size in symbols.items()):
        problems.append(f"{name}: there is no ring in it, so that its size says nothing")
    for what, pattern in [("atomics of 64 bits", WIDE_ATOMICS), ("a critical section", CRITICAL_SECTION)]:
        found = [symbol for symbol in symbols if pattern.search(symbol)]
        if found:
            problems.append(f"{name}: {what}: {', '.join(found)}")
    found = [symbol for symbol in symbols if PANICS.search(symbol)]
    if name == "recorder" and found:
        problems.append(f"{name}: it can panic: {', '.join(found)}")
    return problems


def compare(measured, committed, limits, is_same_compiler):
    """The table's lines, problems and notes of one target."""
    lines, problems, notes = [], [], []
    for row in [*measured, *(row for row in committed if row not in measured)]:
        new, old, limit = measured.get(row), committed.get(row), limits.get(row)
        if new is None or old is None or limit is None:
            problems.append(f"{row} is not {'measured' if new is None else 'committed' if old is None else 'limited'}")
            continue
        lines.append(f"{row:<44} {limit:>8} {old:>10} {new:>10}  {'met' if new <= limit else 'FALLS SHORT'}")
        if new > limit:
            notes.append(f"{row} takes {new}, and may take {limit}")
        # Half an instruction is the timer's.
        if new > max(old * 1.005, old + (0.5 if "instructions" in row else 0)):
            (problems if is_same_compiler else notes).append(f"{row} takes {new}; it was {old}")
    return lines, problems, notes


def self_test():
    """What is more fails, what is short is told, and no image slips through."""

    def verdict(new, old=100, limit=200, same=True):
        _, problems, notes = compare({"flash: a": new}, {"flash: a": old}, {"flash: a": limit}, same)
        return bool(problems), bool(notes)

    good = {"app::RING": 1036, "main": 8}
    cases = [
        ("as before", verdict(100), (False, False)),
        ("less", verdict(90), (False, False)),
        ("more", verdict(101), (True, False)),
        ("more, another compiler", verdict(101, same=False), (False, True)),
        ("as before, and short", verdict(100, limit=99), (False, True)),
        ("a row that is gone", (bool(compare({}, {"a": 1}, {"a": 1}, True)[1]), False), (True, False)),
        ("a row that is new", (bool(compare({"a": 1}, {}, {"a": 1}, True)[1]), False), (True, False)),
        ("a row without a limit", (bool(compare({"a": 1}, {"a": 1}, {}, True)[1]), False), (True, False)),
        ("a good image", bool(faults("recorder", good, 64)), False),
        ("an image with data", bool(faults("recorder", good, 65)), True),
        ("an image without a ring", bool(faults("recorder", {"main": 8}, 0)), True),
        ("a small ring", bool(faults("recorder", {"app::RING": 512}, 0)), True),
        ("wide atomics", bool(faults("exact", good | {"__atomic_load_8": 4}, 0)), True),
        ("a critical section", bool(faults("exact", good | {"_critical_section_1_0_acquire": 4}, 0)), True),
        ("a recorder that panics", bool(faults("recorder", good | {"_RNvNtC4core9panicking5panic": 4}, 0)), True),
        ("an aggregator that panics", bool(faults("exact", good | {"_RNvNtC4core9panicking5panic": 4}, 0)), False),
    ]
    text = "ticks nothing 1 26\nticks thousand 1 25626\nticks record 16 1664\nticks systick 8 4122\nstack exact 900\n"
    rows, stack = instructions(text)
    told = [round(rows["record"], 1), round(rows["systick"], 1), stack["exact"]]
    cases.append(("instructions", told, [2.0, 20.0, 900]))
    return [f"{name}: {is_so}, not {wanted}" for name, is_so, wanted in cases if is_so != wanted]


def check(directory, compiler, update):
    """Measures all targets; the problems."""
    table = json.loads(TABLE.read_text())
    is_same, problems = table["compiler"] == compiler, []
    for target, limits in table["limits"].items():
        measured, found = measure(directory / target / "release")
        problems += [f"{target}: {problem}" for problem in found]
        if update:
            table["committed"][target] = measured
        lines, more, notes = compare(measured, table["committed"][target], limits, is_same)
        print(f"{target:<44} {'may take':>8} {'committed':>10} {'measured':>10}")
        print("\n".join(lines) + "\n")
        problems += [f"{target}: {problem}" for problem in more]
        for note in notes:
            print(f"note: {target}: {note}")
    if update:
        table["compiler"] = compiler
        TABLE.write_text(json.dumps(table, indent=2) + "\n")
        print(f"check_budgets: {TABLE.relative_to(ROOT)} is written")
    elif not is_same:
        print(f"note: the table is of {table['compiler']}; this is {compiler}, so that what is more does not fail: {UPDATE}")
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
        parser.error("a directory with images, or --self-test")
    for problem in problems:
        print(f"check_budgets: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print("check_budgets: " + ("self-test passed" if arguments.self_test else "nothing takes more than is committed"))


if __name__ == "__main__":
    main()
