#!/usr/bin/env python3
"""Runs the firmware in an emulator and compares what it prints with what is known of the work that it measured.

    check_firmware.py ELF --board BOARD [--must-fail]
    check_firmware.py --self-test

The emulator executes one instruction in 128 ns, and the firmware's work is so many instructions long: `plan.rs` of the firmware has
the same lengths as `plan` here, and nothing else is shared. What a span tells is longer than its work by the readings of the clock
and the writing of its record, which take less than the steps between two lengths.
"""

import argparse
import math
import re
import subprocess
import sys

SECONDS = 120
NANOS_PER_INSTRUCTION = 128
MACHINES = {
    "lm3s6965evb": ["qemu-system-arm", "-machine", "lm3s6965evb"],
    "microbit": ["qemu-system-arm", "-machine", "microbit"],
    "virt": ["qemu-system-riscv32", "-machine", "virt", "-bios", "none"],
}
# The emulator runs at a fixed pace, and does not wait while the processor does: each run is like the others.
EMULATOR = ["-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=7,sleep=off"]
EMULATOR += ["-semihosting-config", "enable=on,target=native"]

QUANTILES = {"p50": 500_000, "p95": 950_000, "p99": 990_000, "p99_9": 999_000}
PERIODS = ["1s", "5s", "total"]
# The most instructions between the two readings of the clock beside the work, and those of an interrupt beside its work.
BESIDE = 195
OF_INTERRUPT = 400


def timer_length(number):
    """What the timer's interrupt of this number does, in instructions."""
    return 800 + 200 * (number * 7 % 60)


def plan():
    """Event -> lengths in instructions, and by how much a span may be longer."""
    # A round begins at an interrupt, and every tenth one lasts until after the next, at once after which the eleventh begins.
    interrupted = [70_000 + timer_length(11 + 10 * number) for number in range(5)]
    return {
        "task": ([1_000 + 50 * (task * 37 % 135) for task in range(45 * 3)], BESIDE),
        "interrupted": (interrupted, BESIDE + OF_INTERRUPT),
        "timer": ([timer_length(number) for number in range(1, 61)], BESIDE),
    }


def run(machine, image):
    """What the firmware prints, and its status."""
    command = [*MACHINES[machine], *EMULATOR, "-kernel", image]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        sys.exit(f"check_firmware: {image} still ran after {SECONDS} s on {machine}")
    except FileNotFoundError:
        sys.exit(f"check_firmware: {command[0]} is not installed")
    return done.stdout, done.returncode


def rows_of(text):
    """(when, event, period) -> its figures, or None where there were no samples; (when, "rings", "") -> what the rings say."""
    rows = {}
    for line in text.splitlines():
        match = re.match(r"(first|later) (\w+) (?:(1s|5s|total) )?(.*)", line)
        if match and match.group(2) != "counters":
            figures = dict(re.findall(r"(\w+)=(\S+)", match.group(4)))
            rows[match.group(1), match.group(2), match.group(3) or ""] = figures or None
    return rows


def judge_row(name, figures, lengths, beside):
    """Problems of one row: each figure has to lie between what the work alone takes and what it takes with what is beside it."""
    problems = []
    known = sorted(lengths)
    count = len(known)
    if int(figures["count"]) != count or figures["complete"] != "true":
        problems.append(f"{name}: {figures['count']} spans, complete {figures['complete']}; there were {count}")

    def compare(figure, least, off=0.0):
        told = float(figures[figure]) / NANOS_PER_INSTRUCTION
        # Half an instruction, as some timers do not tell one apart.
        low, high = (least - 0.5) * (1 - off), (least + beside + 0.5) * (1 + off)
        if not low <= told <= high:
            problems.append(f"{name}: {figure} is {told:.1f} instructions, not {low:.1f} to {high:.1f}")

    off = int(figures["ppm"]) / 1e6
    compare("min", known[0])
    compare("max", known[-1])
    compare("mean", sum(known) / count)
    for figure, ppm in QUANTILES.items():
        compare(figure, known[max(1, -(-ppm * count // 1_000_000)) - 1], off)
    mean = sum(known) / count
    spread = math.sqrt(sum((length - mean) ** 2 for length in known) / count)
    told = float(figures["stddev"]) / NANOS_PER_INSTRUCTION
    if abs(told - spread) > beside / 2:
        problems.append(f"{name}: stddev is {told:.1f} instructions, not {spread:.1f}")
    return problems


def judge(text, status):
    """What is wrong with what was printed."""
    problems = [] if status == 0 else [f"the firmware ended with status {status}"]
    rows, known = rows_of(text), plan()
    records = 2 * sum(len(lengths) for lengths, _ in known.values())
    for when in ["first", "later"]:
        for event, (lengths, beside) in known.items():
            for period in PERIODS:
                name = f"{when} {event} {period}"
                if (when, event, period) not in rows:
                    problems.append(f"{name}: not told")
                    continue
                figures = rows[when, event, period]
                # The shorter window has forgotten everything by then.
                if when == "later" and period == "1s":
                    if figures is not None:
                        problems.append(f"{name}: there are samples in an empty window")
                elif figures is None:
                    problems.append(f"{name}: there are no samples")
                else:
                    problems += judge_row(name, figures, lengths, beside)
                    # As many as are kept are told exactly.
                    if len(lengths) <= 64 and figures["ppm"] != "0":
                        problems.append(f"{name}: off by up to {figures['ppm']} ppm, though all samples are kept")
        rings = rows.get((when, "rings", ""))
        expected = {"produced": str(records), "delivered": str(records), "overwritten": "0"}
        if rings != expected:
            problems.append(f"{when} rings: {rings}, not {expected}")
        counters = re.search(rf"(?m)^{when} counters .*\{{(.*)\}}", text)
        if not counters or any(int(number) for number in re.findall(r": (\d+)", counters.group(1))):
            problems.append(f"{when} counters: {counters and counters.group(1)}, which all have to be 0")
    return problems


def self_test():
    """A right text passes, and each kind of wrong one does not."""

    def printed(change=lambda event, lengths: lengths, beside=20, swap=("", "")):
        lines = []
        for when in ["first", "later"]:
            for event, (lengths, _) in plan().items():
                known = sorted(128 * (length + beside) for length in change(event, lengths))
                count, mean = len(known), sum(known) / len(known)
                spread = math.sqrt(sum((length - mean) ** 2 for length in known) / count)
                ranks = {name: known[math.ceil(ppm * count / 1e6) - 1] for name, ppm in QUANTILES.items()}
                figures = {"count": count, "min": known[0], **ranks, "max": known[-1]}
                figures |= {"mean": mean, "stddev": spread, "ppm": 0, "complete": "true"}
                text = " ".join(f"{name}={figure}" for name, figure in figures.items())
                lines += [f"{when} {event} {period} {text}" for period in PERIODS]
            lines.append(f"{when} rings produced=400 delivered=400 overwritten=0")
            lines.append(f"{when} counters Counters {{ late: 0, invalid: 0 }}")
        text = re.sub(r"(?m)^(later \w+ 1s) .*$", r"\1 none", "\n".join(lines))
        return bool(judge(text.replace(*swap), 0))

    def longer(of, by):
        return lambda event, lengths: [length + by * (length == max(lengths)) for length in lengths] if event == of else lengths

    cases = [
        ("all is right", printed(), False),
        ("a span that is too long", printed(longer("timer", 400)), True),
        ("a span that is too short", printed(longer("timer", -400)), True),
        ("a task that is too long", printed(longer("task", 7_000)), True),
        ("a span too few", printed(lambda event, lengths: lengths[1:] if event == "task" else lengths), True),
        ("every clock reading is slow", printed(beside=220), True),
        ("less than the work takes", printed(beside=-2), True),
        ("a lost record", printed(swap=("overwritten=0", "overwritten=1")), True),
        ("a clock anomaly", printed(swap=("late: 0", "late: 1")), True),
        ("a window that forgets nothing", printed(swap=("later task 1s none", "later task 1s count=1")), True),
        ("a row that is missing", printed(swap=("first timer 5s", "first other 5s")), True),
        ("an incomplete window", printed(swap=("complete=true", "complete=false")), True),
    ]
    problems = [f"{name}: problems {is_so}, not {wanted}" for name, is_so, wanted in cases if is_so != wanted]
    if not judge("", 1):
        problems.append("nothing printed passes")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", nargs="?")
    parser.add_argument("--board", choices=MACHINES)
    parser.add_argument("--must-fail", action="store_true", help="the image has a span of a wrong length")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()

    if arguments.self_test:
        problems = self_test()
    elif arguments.image and arguments.board:
        text, status = run(arguments.board, arguments.image)
        print(text, end="")
        problems = judge(text, status)
        if arguments.must_fail:
            # That it does not run at all proves nothing.
            lengths = [problem for problem in problems if " timer " in problem]
            if status != 0 or not lengths or len(lengths) != len(problems):
                sys.exit(f"check_firmware: a wrong length of the timer was to be noticed, and nothing else: {problems}")
            print(f"check_firmware: noticed, as it has to be: {problems[0]}")
            return
    else:
        parser.error("an image and its board, or --self-test")
    for problem in problems:
        print(f"check_firmware: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print("check_firmware: " + ("self-test passed" if arguments.self_test else f"{arguments.board}: as long as is known"))


if __name__ == "__main__":
    main()
