#!/usr/bin/env python3
"""Counts the cache lines that a single span touches, and compares them with the committed counts.

    check_cache_lines.py              fails if a row touches more lines than committed
    check_cache_lines.py --update     writes the counts to benches/cache_lines.json
    check_cache_lines.py --self-test

After work that evicted everything else, a span costs as much as the lines it touches. Valgrind's
tool lackey traces every memory access of the program benches/cache_lines, so the counts are exact
and the same in every run. The stack does not count: the caller has it in its cache. Where a
function begins in a line is chance, so each row is counted as if its function, which calls no
other, began at the beginning of a line.

If llvm-mca is installed, it also estimates the cycles of the traced instructions on two processor
models, in a loop and with all data in the first-level cache. That is information: if the estimate
fails, the check prints why and goes on.
"""

import argparse
import collections
import json
import re
import subprocess
import sys

from counted_program import ROOT, build, compiler

BASELINE = ROOT / "benches" / "cache_lines.json"
UPDATE = "python3 .ci/check_cache_lines.py --update"
LINE = 64
# Accesses that are no further from a local variable of `main` are to the stack.
STACK = 1 << 20
# The rows whose instructions llvm-mca is given, and the floor of their clock mode, with which they
# are compared: two readings of the counter.
ANALYSED = ["guard/relaxed", "guard_send/relaxed", "guard/ordered"]
PROCESSORS = ["znver3", "icelake-server"]
FLOOR = """
rdtsc
shlq $32, %rdx
orq %rdx, %rax
movq %rax, %rcx
{second}
shlq $32, %rdx
orq %rdx, %rax
subq %rcx, %rax
"""
SECONDS = 300

# One call of a row: the addresses and sizes of its instructions in the order of execution, and of
# its accesses to data.
Call = collections.namedtuple("Call", "code data")


def valgrind(program, *options, **streams):
    """Starts the program under valgrind, which places it at the same addresses in every run."""
    try:
        command = ["valgrind", *options, program]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **streams)
    except FileNotFoundError:
        sys.exit("check_cache_lines: valgrind is not installed")


def read_rows(output):
    """Returns the address of the stack, and the rows with the address of their function and the
    number of calls, in the order of the calls."""
    first, *rows = map(str.split, output.splitlines())
    rows = [(name, int(address, 16), int(times)) for name, address, times in rows]
    return int(first[1], 16), rows


def follow(trace, rows):
    """Returns the calls of each row. `trace` yields lackey's lines."""
    expected = [(name, address) for name, address, times in rows for _ in range(times)]
    calls, current, before, back = collections.defaultdict(list), None, (0, 0), 0
    for line in trace:
        kind, _, rest = line.strip().partition(" ")
        address, comma, size = rest.strip().partition(",")
        if kind not in ("I", "L", "S", "M") or not comma:
            continue
        access = (int(address, 16), int(size))
        if kind != "I":
            if current:
                current.data.append(access)
            continue
        if current and access[0] == back:
            current = None
        elif not current and expected and access[0] == expected[0][1]:
            name, _ = expected.pop(0)
            current, back = Call([], []), sum(before)
            calls[name].append(current)
        if current:
            current.code.append(access)
        before = access
    if expected:
        missing = f"{len(expected)} calls, the first of {expected[0][0]}"
        sys.exit(f"check_cache_lines: the trace lacks {missing}")
    return calls


def lines_of(accesses, origin=0):
    """Returns the lines that the accesses touch. `origin` is where a line begins."""
    lines = set()
    for at, size in accesses:
        first, last = (at - origin) // LINE, (at - origin + size - 1) // LINE
        lines.update(range(first, last + 1))
    return lines


def count_call(call, stack):
    """Returns the numbers of data lines and code lines of a call."""
    data = lines_of([access for access in call.data if abs(access[0] - stack) > STACK])
    return len(data), len(lines_of(call.code, origin=call.code[0][0]))


def count_rows(calls, stack):
    """Returns the most lines of any call but the first, which reserves records, by row."""
    counts = {}
    for name, its_calls in calls.items():
        data, code = zip(*(count_call(call, stack) for call in its_calls[1:]))
        counts[name] = {"data": max(data), "code": max(code)}
    return counts


def measure():
    """Returns the counts by row, and what llvm-mca says of some rows."""
    program = build("cache_lines")
    output, _ = valgrind(program, "--tool=none", "-q").communicate(timeout=SECONDS)
    stack, rows = read_rows(output)
    traced = valgrind(program, "--tool=lackey", "--trace-mem=yes", stderr=subprocess.PIPE)
    with traced:
        calls = follow(traced.stderr, rows)
        again = traced.stdout.read()
    if traced.returncode or read_rows(again) != (stack, rows):
        status = f"failed with status {traced.returncode}, or was placed elsewhere"
        sys.exit(f"check_cache_lines: the program {status}")
    return count_rows(calls, stack), analyse(program, calls)


def instructions_of(program, calls):
    """Returns the text of each instruction of the program, by its address under valgrind."""

    def run(*command):
        command = [*command, program]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    at = int(re.search(r"(?m)^([0-9a-f]+) t \S*cache_lines5guard17h", run("nm")).group(1), 16)
    base = calls["guard/relaxed"][0].code[0][0] - at
    listing = run("objdump", "-d", "--no-show-raw-insn")
    found = re.findall(r"(?m)^ +([0-9a-f]+):\s+([^\n#<]*)", listing)
    # Where a jump leads does not matter: the instructions are in the order of execution.
    clean = re.compile(r"^(j\w+)\s+\w+")
    return {int(at, 16) + base: clean.sub(r"\1 .Lnext", text).strip() for at, text in found}


def cycles(code, processor):
    """Returns the cycles of one round of this code in a loop, as llvm-mca estimates them."""
    command = ["llvm-mca", f"-mcpu={processor}", "-mtriple=x86_64", "--iterations=100"]
    code = f"{code}\n.Lnext:\n"
    done = subprocess.run(command, input=code, stdout=subprocess.PIPE, text=True, check=True)
    return int(re.search(r"(?m)^Total Cycles:\s+(\d+)$", done.stdout).group(1)) / 100


def analyse(program, calls):
    """Returns lines about the cycles of some rows on several processors, or why there are none."""
    try:
        return estimate(program, calls)
    except (OSError, subprocess.CalledProcessError, AttributeError, KeyError, IndexError) as error:
        return [f"note: no cycles are estimated: {type(error).__name__}: {error}"]


def estimate(program, calls):
    """Returns lines about the cycles of some rows on several processors."""
    text = instructions_of(program, calls)
    found = []
    for processor in PROCESSORS:
        for row in ANALYSED:
            second = "rdtscp" if row.endswith("/ordered") else "rdtsc"
            floor = cycles(FLOOR.format(second=second), processor)
            # Without the return, and without the saving of registers: llvm-mca lets each of these
            # instructions wait for the stack pointer of the one before, which processors do not.
            code = [text[address] for address, _ in calls[row][1].code[:-1]]
            code = "\n".join(line for line in code if not line.startswith(("push", "pop")))
            more = cycles(code, processor) - floor
            more = f"{more:>6.1f} cycles in addition to two readings of the counter"
            found.append(f"{row:<28} {processor:<16} {more}")
    return found


def compare(counted, baseline, now, then):
    """Returns the lines of the table, the problems and the notes.

    The counts are from the compiler `now`, the committed ones from `then`.
    """
    table, problems, notes = [], [], []
    for row in [*counted, *(row for row in baseline if row not in counted)]:
        new, old = counted.get(row), baseline.get(row)
        if new is None or old is None:
            what = "no longer counted" if new is None else "new"
            problems.append(f"{row} is {what}; to update: {UPDATE}")
            continue
        data, code = [(old[kind], new[kind]) for kind in ("data", "code")]
        table.append(f"{row:<28} {data[0]:>9} {data[1]:>7} {code[0]:>11} {code[1]:>7}")
        for kind in ("data", "code"):
            what = f"{row} touches {new[kind]} lines of {kind}; the committed count is {old[kind]}"
            if new[kind] > old[kind] and now == then:
                reason = "Say in the commit what the line is for, and update"
                problems.append(f"{what}. {reason}: {UPDATE}")
            elif new[kind] != old[kind]:
                notes.append(f"{what}; to update: {UPDATE}")
    if now != then:
        compilers = f"the committed counts are from {then}, these from {now}"
        notes.append(f"{compilers}, so larger ones do not fail; to update: {UPDATE}")
    return table, problems, notes


def self_test():
    """A trace with known accesses gives known counts, and larger counts fail."""
    rows = [("a", 0x1000, 2), ("b", 0x2010, 1)]
    trace = """
==1== a line of valgrind's own
I  00005000,5
 S 9000,8
I  00001000,4
 L 70000000,8
 S 70000038,16
I  00001004,8
 M 90,4
I  00005005,5
 L 9100,8
I  00005005,5
I  00001000,4
I  0000103e,4
I  0000500a,5
I  00005100,2
I  00002010,40
 L 70000000,64
 S 70000040,1
I  00005102,1
""".splitlines()
    calls = follow(trace, rows)
    # The second access of the first call crosses a line; the last one is to the stack.
    found = {}
    for name, its_calls in calls.items():
        found[name] = [count_call(call, 0x98) for call in its_calls]
    problems = []
    if found != {"a": [(2, 1), (0, 2)], "b": [(2, 1)]}:
        problems.append(f"the trace has other counts than expected: {found}")
    if read_rows("stack 0xff\na/b 0x10 3\n") != (255, [("a/b", 16, 3)]):
        problems.append("the rows are not read")

    def verdict(counted, baseline, now="rustc 1"):
        _, problems, notes = compare(counted, baseline, now, "rustc 1")
        return bool(problems), bool(notes)

    def row(data, code):
        return {"a": {"data": data, "code": code}}

    cases = [
        ("unchanged", verdict(row(2, 3), row(2, 3)), (False, False)),
        ("one more line of data", verdict(row(3, 3), row(2, 3)), (True, False)),
        ("one more line of code", verdict(row(2, 4), row(2, 3)), (True, False)),
        ("one line fewer", verdict(row(2, 2), row(2, 3)), (False, True)),
        ("more, another compiler", verdict(row(3, 3), row(2, 3), "rustc 2"), (False, True)),
        ("a new row", verdict(row(2, 3), {}), (True, False)),
        ("a row that was removed", verdict({}, row(2, 3)), (True, False)),
    ]
    return problems + [
        f"{name}: problems and notes are {found}, expected {expected}"
        for name, found, expected in cases
        if found != expected
    ]


def check():
    """Counts, prints the comparison and returns the problems."""
    baseline = json.loads(BASELINE.read_text())
    counted, analysed = measure()
    table, problems, notes = compare(counted, baseline["lines"], compiler(), baseline["compiler"])
    print(f"{'lines of 64 bytes':<28} {'data was':>9} {'now':>7} {'code was':>11} {'now':>7}")
    print("\n".join([*table, "", *analysed]))
    for note in notes:
        print(f"note: {note}")
    return problems


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--update", action="store_true")
    what.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()

    if arguments.update:
        counted, analysed = measure()
        BASELINE.write_text(json.dumps({"compiler": compiler(), "lines": counted}, indent=2) + "\n")
        print("\n".join([*analysed, f"check_cache_lines: wrote {BASELINE.relative_to(ROOT)}"]))
        return
    problems = self_test() if arguments.self_test else check()
    for problem in problems:
        print(f"check_cache_lines: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    done = "self-test passed" if arguments.self_test else "no row touches more lines than committed"
    print(f"check_cache_lines: {done}")


if __name__ == "__main__":
    main()
