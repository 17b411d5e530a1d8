#!/usr/bin/env python3
"""Counts the instructions of the hot path and of the drain with valgrind, and compares them with
the committed counts.

    check_instructions.py              fails if a count is more than 2 % above the committed one
    check_instructions.py --update     writes the counts to benches/instructions.json
    check_instructions.py --self-test

Unlike times, counts of instructions hardly differ from run to run, even on a busy machine. They do
differ between compilers and targets: if the compiler or the target is not that of the committed
counts, larger counts are notes. A row that was added or removed always fails.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from counted_program import ROOT, build, compiler

BASELINE = ROOT / "benches" / "instructions.json"
UPDATE = "python3 .ci/check_instructions.py --update"
# The share of the committed count by which a count may differ.
TOLERANCE = 0.02
# The function in benches/instructions/main.rs whose instructions are counted, callees included.
COUNTED = "tailwatch_counted"
SECONDS = 300


def count():
    """Runs the program under callgrind and returns the instructions per unit, by row."""
    program = build("instructions")
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory) / "out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--toggle-collect={COUNTED}"]
        # Callgrind writes each call of the function to a file of its own.
        command += [f"--dump-after={COUNTED}", program]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=SECONDS)
        except FileNotFoundError:
            sys.exit("check_instructions: valgrind is not installed")
        if done.returncode:
            sys.exit(f"{done.stdout}{done.stderr}check_instructions: the program failed with status {done.returncode}")
        calls = [line.split() for line in done.stdout.splitlines()]
        parts = [out.with_name(f"{out.name}.{number}").read_text() for number in range(1, len(calls) + 1)]
    sums = {}
    for (row, units), part in zip(calls, parts):
        if f"--dump-after={COUNTED}\n" not in part:
            sys.exit(f"check_instructions: callgrind wrote a part of {row} not at the end of {COUNTED}")
        instructions, all_units = sums.get(row, (0, 0))
        instructions += int(re.search(r"(?m)^totals: (\d+)$", part).group(1))
        sums[row] = (instructions, all_units + int(units))
    return {row: round(instructions / units, 2) for row, (instructions, units) in sums.items()}


def compare(counted, baseline, now, then):
    """Returns the lines of the table, the problems and the notes.

    The counts are from the compiler `now`, the committed ones from `then`.
    """
    table, problems, notes, more, less = [], [], [], [], []
    for row in [*counted, *(row for row in baseline if row not in counted)]:
        new, old = counted.get(row), baseline.get(row)
        if new is None or old is None:
            problems.append(f"{row} is {'no longer counted' if new is None else 'new'}; to update: {UPDATE}")
            continue
        change = ""
        if new > old * (1 + TOLERANCE):
            change = "more"
            more.append(row)
        elif new < old * (1 - TOLERANCE):
            change = "less"
            less.append(row)
        table.append(f"{row:<28} {old:>10.2f} {new:>10.2f} {new / old - 1:>+8.2%} {change}".rstrip())
    margin = f"more than {TOLERANCE:.0%}"
    if more and now == then:
        problems.append(f"{margin} more instructions than committed: {', '.join(more)}; if that is intended: {UPDATE}")
    elif more:
        notes.append(f"{margin} more instructions, with another compiler: {', '.join(more)}")
    if less:
        notes.append(f"{margin} fewer instructions than committed: {', '.join(less)}; to keep the gain: {UPDATE}")
    if now != then:
        compilers = f"the committed counts are from {then}, these from {now}"
        notes.append(f"{compilers}, so larger ones do not fail; to update: {UPDATE}")
    return table, problems, notes


def self_test():
    """Larger counts fail, smaller ones are notes, and changed rows and compilers are noticed."""

    def verdict(counted, baseline, now="rustc 1"):
        _, problems, notes = compare(counted, baseline, now, "rustc 1")
        return bool(problems), bool(notes)

    cases = [
        ("unchanged", verdict({"a": 100.0}, {"a": 100.0}), (False, False)),
        ("2 % more", verdict({"a": 102.0}, {"a": 100.0}), (False, False)),
        ("more than 2 % more", verdict({"a": 102.1}, {"a": 100.0}), (True, False)),
        ("more than 2 % more in one of two rows", verdict({"a": 50.0, "b": 102.1}, {"a": 50.0, "b": 100.0}), (True, False)),
        ("2 % less", verdict({"a": 98.0}, {"a": 100.0}), (False, False)),
        ("more than 2 % less", verdict({"a": 97.9}, {"a": 100.0}), (False, True)),
        ("more, another compiler", verdict({"a": 200.0}, {"a": 100.0}, "rustc 2"), (False, True)),
        ("unchanged, another compiler", verdict({"a": 100.0}, {"a": 100.0}, "rustc 2"), (False, True)),
        ("a new row", verdict({"a": 1.0, "b": 1.0}, {"a": 1.0}), (True, False)),
        ("a row that was removed", verdict({"a": 1.0}, {"a": 1.0, "b": 1.0}), (True, False)),
        ("a row that was removed, another compiler", verdict({}, {"a": 1.0}, "rustc 2"), (True, True)),
    ]
    return [
        f"{name}: problems and notes are {found}, expected {expected}"
        for name, found, expected in cases
        if found != expected
    ]


def check():
    """Counts, prints the comparison and returns the problems."""
    baseline = json.loads(BASELINE.read_text())
    table, problems, notes = compare(count(), baseline["instructions"], compiler(), baseline["compiler"])
    print(f"{'instructions per unit':<28} {'committed':>10} {'counted':>10} {'':>8}")
    print("\n".join(table))
    for note in notes:
        print(f"note: {note}")
    return problems


def update():
    """Counts and writes the counts."""
    baseline = {"compiler": compiler(), "instructions": count()}
    BASELINE.write_text(json.dumps(baseline, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--update", action="store_true")
    what.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()

    if arguments.update:
        update()
        print(f"check_instructions: wrote {BASELINE.relative_to(ROOT)}")
        return
    problems = self_test() if arguments.self_test else check()
    for problem in problems:
        print(f"check_instructions: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    done = "self-test passed" if arguments.self_test else "no count is more than 2 % above the committed one"
    print(f"check_instructions: {done}")


if __name__ == "__main__":
    main()
