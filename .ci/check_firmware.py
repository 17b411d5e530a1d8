#!/usr/bin/env python3
"""Runs the firmware in an emulator and compares what it prints with what is known of the work that it measured.

    check_firmware.py ELF --board BOARD [--defmt DEFMT_PRINT] [--must-fail]
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

QUANTILES = {"p50": 500_000, "p95": 950_000, "p99": 990_000, "p99.9": 999_000}
# The windows, as the report tells them, and all since the start.
PERIODS = ["1000", "5000", "all"]
# What is told beside the number of spans, where nothing is lost and nothing open; the others are that number.
COUNTS = dict.fromkeys(["error", "cancelled", "open", "uncertain", "untracked", "abandoned", "early", "orphans"], "0")
COUNTS["oldest"] = "none"
# As many samples of an event are kept, and told exactly.
KEPT = 64
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


def run(machine, image, defmt):
    """What the firmware prints, or logs, and its status."""
    command = [*MACHINES[machine], *EMULATOR, "-kernel", image]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=SECONDS, stdin=subprocess.DEVNULL)
        if not defmt:
            return done.stdout.decode(), done.returncode
        command = [defmt, "-e", image, "--log-format", "{s}"]
        log = subprocess.run(command, stdout=subprocess.PIPE, timeout=SECONDS, input=done.stdout, check=True)
    except subprocess.TimeoutExpired:
        sys.exit(f"check_firmware: {image} still ran after {SECONDS} s on {machine}")
    except subprocess.CalledProcessError:
        sys.exit(f"check_firmware: what {image} logs is not understood")
    except FileNotFoundError:
        sys.exit(f"check_firmware: {command[0]} is not installed")
    return "".join(f"{plain(line)}\n" for line in log.stdout.decode().splitlines()), done.returncode


def plain(line):
    """A logged line as it would be printed: `first Counts(EventCounts { ok: 1 })` as `first counts ok=1`."""
    match = re.match(r"(first|later) (\w+)\((.*)\)$", line)
    if not match:
        return line
    when, kind, text = match.groups()
    window = re.search(r"window: (?:Some\(Duration \{ secs: (\d+), nanos: 0 \}\)|None)", text)
    if window:
        milliseconds = f"{window.group(1)}000" if window.group(1) else "all"
        text = text.replace(window.group(), f"window_ms: {milliseconds}")
    text = re.sub(r"accuracy: (?:Exact|WithinPpm\((\d+)\))", lambda of: f"error_ppm: {of.group(1) or 0}", text)
    text = re.sub(r"event: EventId\(\d+\), name: ", "event: ", text).replace("p99_9", "p99.9").replace("None", "none")
    # Not the types of what is inside, behind which a brace opens.
    figures = re.findall(r'([\w.]+): "?([\w.]+)(?! ?\{)\b', text)
    return f"{when} {kind.lower()} " + " ".join(f"{name}={figure}" for name, figure in figures)




def lines_of(text):
    """(when, "health", "", "") -> its figures; (when, "counts" or "summary", event, window) -> its figures."""
    lines = {}
    for line in text.splitlines():
        match = re.match(r"(first|later) (health|counts|summary) (.*)", line)
        if match:
            figures = dict(re.findall(r"(\S+?)=(\S+)", match.group(3)))
            key = (figures.pop("event", ""), figures.pop("window_ms", ""))
            lines[match.group(1), match.group(2), *key] = figures
    return lines


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

    off = int(figures["error_ppm"]) / 1e6
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
    lines, known = lines_of(text), plan()
    records = 2 * sum(len(lengths) for lengths, _ in known.values())
    for when in ["first", "later"]:
        for event, (lengths, beside) in known.items():
            counts = lines.get((when, "counts", event, ""), {})
            wrong = {name: figure for name, figure in counts.items() if figure != COUNTS.get(name, str(len(lengths)))}
            if not counts or wrong:
                problems.append(f"{when} counts of {event}: {wrong or 'not told'}, of {len(lengths)} spans")
            for window in PERIODS:
                name, figures = f"{when} {event} {window}", lines.get((when, "summary", event, window))
                # The shorter window has forgotten everything by then.
                if when == "later" and window == "1000":
                    if figures is not None:
                        problems.append(f"{name}: there are samples in an empty window")
                elif figures is None:
                    problems.append(f"{name}: not told")
                else:
                    problems += judge_row(name, figures, lengths, beside)
                    if len(lengths) <= KEPT and figures["error_ppm"] != "0":
                        problems.append(f"{name}: off by up to {figures['error_ppm']} ppm, though all samples are kept")
        health = lines.get((when, "health", "", ""), {})
        # How many passes there are is the firmware's.
        expected = {"produced": str(records), "delivered": str(records), "passes": health.get("passes")}
        wrong = {name: figure for name, figure in health.items() if figure != expected.get(name, "0")}
        if not health or wrong:
            problems.append(f"{when} health: {wrong or 'not told'}, of {records} records")
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
                figures |= {"mean": mean, "stddev": spread, "error_ppm": 0, "complete": "true"}
                text = " ".join(f"{name}={figure}" for name, figure in figures.items())
                windows = PERIODS[when == "later" :]
                lines += [f"{when} summary event={event} window_ms={window} {text}" for window in windows]
                lines.append(f"{when} counts event={event} ok={count} error=0 paired={count} open=0 oldest=none")
            lines.append(f"{when} health produced=400 delivered=400 overwritten=0 late=0 passes=17")
        return bool(judge("\n".join(lines).replace(*swap), 0))

    def longer(of, by):
        return lambda event, lengths: [length + by * (length == max(lengths)) for length in lengths] if event == of else lengths

    forgotten = "later summary event=task window_ms=1000 count=1\nlater summary event=task window_ms=5000"
    cases = [
        ("all is right", printed(), False),
        ("a span that is too long", printed(longer("timer", 400)), True),
        ("a span that is too short", printed(longer("timer", -400)), True),
        ("a task that is too long", printed(longer("task", 7_000)), True),
        ("a span too few", printed(lambda event, lengths: lengths[1:] if event == "task" else lengths), True),
        ("every clock reading is slow", printed(beside=220), True),
        ("less than the work takes", printed(beside=-2), True),
        ("a lost record", printed(swap=("overwritten=0", "overwritten=1")), True),
        ("a clock anomaly", printed(swap=("late=0", "late=1")), True),
        ("a window that forgets nothing", printed(swap=("later summary event=task window_ms=5000", forgotten)), True),
        ("a row that is missing", printed(swap=("event=timer window_ms=5000", "event=other window_ms=5000")), True),
        ("an open span", printed(swap=("open=0", "open=1")), True),
        ("counts that are missing", printed(swap=("first counts", "first other")), True),
        ("an incomplete window", printed(swap=("complete=true", "complete=false")), True),
    ]
    problems = [f"{name}: problems {is_so}, not {wanted}" for name, is_so, wanted in cases if is_so != wanted]
    if not judge("", 1):
        problems.append("nothing printed passes")
    logged = 'first Summary(EventSummary { event: EventId(1), name: "task", unit: Time, window: Some(Duration { secs: 1, '
    logged += "nanos: 0 }), summary: Summary { count: 3, mean: 5.5, p99_9: 9, accuracy: WithinPpm(17), complete: true } })"
    told = "first summary event=task unit=Time window_ms=1000 count=3 mean=5.5 p99.9=9 error_ppm=17 complete=true"
    if plain(logged) != told:
        problems.append(f"a logged line is read as {plain(logged)}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", nargs="?")
    parser.add_argument("--board", choices=MACHINES)
    parser.add_argument("--defmt", metavar="DEFMT_PRINT", help="the image logs through defmt; the program that tells what")
    parser.add_argument("--must-fail", action="store_true", help="the image has a span of a wrong length")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()

    if arguments.self_test:
        problems = self_test()
    elif arguments.image and arguments.board:
        text, status = run(arguments.board, arguments.image, arguments.defmt)
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
