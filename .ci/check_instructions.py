#!/usr/bin/env python3
"""Counts the instructions of the hot path and of the drain by valgrind, and compares them with those that are committed.

    check_instructions.py              fails where there are more than 2 % more
    check_instructions.py --update     writes what it counts to benches/instructions.json
    check_instructions.py --self-test

Other than times, counts of instructions hardly differ between two runs, on a busy machine too. But another compiler makes other
code: with one, or for another target, what is more is only told. A row that is new, or gone, always fails.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BASELINE = ROOT / "benches" / "instructions.json"
UPDATE = "python3 .ci/check_instructions.py --update"
# By how much a count may differ, as a share of the committed one.
TOLERANCE = 0.02
# The one function in benches/instructions/main.rs that is counted, with all that it calls.
COUNTED = "tailwatch_counted"
SECONDS = 300


def compiler():
    """What the compiler says of itself: version and target."""
    said = subprocess.run(["rustc", "-vV"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return f"{said.splitlines()[0]}, {re.search(r'(?m)^host: (.*)$', said).group(1)}"


def build():
    """Builds the program; where it is."""
    command = ["cargo", "build", "--release", "-p", "tailwatch-benches", "--example", "instructions"]
    command.append("--message-format=json-render-diagnostics")
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("check_instructions: the program does not build")
    messages = map(json.loads, done.stdout.splitlines())
    return next(message["executable"] for message in messages if message.get("executable"))


def count():
    """Runs the program under callgrind; row -> instructions a unit."""
    program = build()
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory) / "out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--toggle-collect={COUNTED}"]
        # Each call of it is written to a file of its own.
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
            sys.exit(f"check_instructions: a part of {row} was not written at the end of {COUNTED}")
        instructions, all_units = sums.get(row, (0, 0))
        instructions += int(re.search(r"(?m)^totals: (\d+)$", part).group(1))
        sums[row] = (instructions, all_units + int(units))
    return {row: round(instructions / units, 2) for row, (instructions, units) in sums.items()}


def compare(counted, baseline, now, then):
    """The table's lines, problems, and notes: counts by the compiler `now`, and committed ones by the compiler `then`."""
    table, problems, notes, more, less = [], [], [], [], []
    for row in [*counted, *(row for row in baseline if row not in counted)]:
        new, old = counted.get(row), baseline.get(row)
        if new is None or old is None:
            problems.append(f"{row} is {'not counted any more' if new is None else 'new'}: {UPDATE}")
            continue
        word = ""
        if new > old * (1 + TOLERANCE):
            word = "more"
            more.append(row)
        elif new < old * (1 - TOLERANCE):
            word = "less"
            less.append(row)
        table.append(f"{row:<28} {old:>10.2f} {new:>10.2f} {new / old - 1:>+8.2%} {word}".rstrip())
    told = f"more than {TOLERANCE:.0%}"
    if more and now == then:
        problems.append(f"{told} more instructions than before: {', '.join(more)}. If they are worth it: {UPDATE}")
    elif more:
        notes.append(f"{told} more instructions, by another compiler: {', '.join(more)}")
    if less:
        notes.append(f"{told} fewer instructions: {', '.join(less)}. So that it stays so: {UPDATE}")
    if now != then:
        notes.append(f"the baseline is of {then}; this is {now}, so that what is more does not fail: {UPDATE}")
    return table, problems, notes


def self_test():
    """What is more fails, what is less is told, and nothing slips through by its name or its compiler."""

    def verdict(counted, baseline, now="rustc 1"):
        _, problems, notes = compare(counted, baseline, now, "rustc 1")
        return bool(problems), bool(notes)

    cases = [
        ("as before", verdict({"a": 100.0}, {"a": 100.0}), (False, False)),
        ("2 % more", verdict({"a": 102.0}, {"a": 100.0}), (False, False)),
        ("more than that", verdict({"a": 102.1}, {"a": 100.0}), (True, False)),
        ("one of two", verdict({"a": 50.0, "b": 102.1}, {"a": 50.0, "b": 100.0}), (True, False)),
        ("2 % less", verdict({"a": 98.0}, {"a": 100.0}), (False, False)),
        ("less than that", verdict({"a": 97.9}, {"a": 100.0}), (False, True)),
        ("more, another compiler", verdict({"a": 200.0}, {"a": 100.0}, "rustc 2"), (False, True)),
        ("as before, another compiler", verdict({"a": 100.0}, {"a": 100.0}, "rustc 2"), (False, True)),
        ("a new row", verdict({"a": 1.0, "b": 1.0}, {"a": 1.0}), (True, False)),
        ("a row that is gone", verdict({"a": 1.0}, {"a": 1.0, "b": 1.0}), (True, False)),
        ("a row that is gone, another compiler", verdict({}, {"a": 1.0}, "rustc 2"), (True, True)),
    ]
    return [f"{name}: problems and notes {is_so}, not {wanted}" for name, is_so, wanted in cases if is_so != wanted]


def check():
    """Counts and compares; the problems."""
    baseline = json.loads(BASELINE.read_text())
    table, problems, notes = compare(count(), baseline["instructions"], compiler(), baseline["compiler"])
    print(f"{'instructions a unit':<28} {'committed':>10} {'counted':>10} {'':>8}")
    print("\n".join(table))
    for note in notes:
        print(f"note: {note}")
    return problems


def update():
    """Writes what it counts."""
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
        print(f"check_instructions: {BASELINE.relative_to(ROOT)} is written")
        return
    problems = self_test() if arguments.self_test else check()
    for problem in problems:
        print(f"check_instructions: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print("check_instructions: " + ("self-test passed" if arguments.self_test else "as few instructions as before"))


if __name__ == "__main__":
    main()
