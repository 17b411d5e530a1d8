#!/usr/bin/env python3
"""Runs the firmware in an emulator and compares the figures that it prints with the known lengths
of the work that it measured.

    check_firmware.py ELF --board BOARD [--defmt DEFMT_PRINT] [--must-fail]
    check_firmware.py --self-test

The emulator executes an instruction in 128 ns, and each piece of the firmware's work has a known
number of instructions. The firmware's `plan.rs` has the same lengths as `plan` here; nothing else
is shared. A measured duration is longer than the work by the readings of the clock and the writing
of the record. Both together take less than the step from one length to the next.
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
# The emulator derives its clock from the number of executed instructions, and skips the time in
# which the processor sleeps, so all runs give the same figures.
EMULATOR = ["-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=7,sleep=off"]
EMULATOR += ["-semihosting-config", "enable=on,target=native"]

QUANTILES = {"p50": 500_000, "p95": 950_000, "p99": 990_000, "p99.9": 999_000}
# The scopes as the report prints them: two windows in ms, and all spans since the start.
SCOPES = ["1000", "5000", "all"]
# The counts that are not the number of spans, as they must be if nothing is lost and no span is
# open.
COUNTS = dict.fromkeys(["error", "cancelled", "open", "uncertain", "untracked", "abandoned", "early", "orphans"], "0")
COUNTS["oldest"] = "none"
# The number of samples that are kept per event. Up to this number, quantiles are exact.
KEPT = 64
# The most instructions that a span may have beside its work, and those of an interrupt beside its
# work.
OVERHEAD = 195
INTERRUPT_OVERHEAD = 400


def timer_length(number):
    """Returns the length of the work of the timer interrupt `number`, in instructions."""
    return 800 + 200 * (number * 7 % 60)


def plan():
    """Returns, by event, the lengths in instructions and how much longer a span may be."""
    # A round begins at an interrupt. Every tenth one lasts until after the next interrupt; the
    # eleventh begins right after that.
    interrupted = [70_000 + timer_length(11 + 10 * number) for number in range(5)]
    return {
        "task": ([1_000 + 50 * (task * 37 % 135) for task in range(45 * 3)], OVERHEAD),
        "interrupted": (interrupted, OVERHEAD + INTERRUPT_OVERHEAD),
        "timer": ([timer_length(number) for number in range(1, 61)], OVERHEAD),
    }


def run(machine, image, defmt):
    """Returns what the firmware prints or logs, and its exit status."""
    command = [*MACHINES[machine], *EMULATOR, "-kernel", image]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=SECONDS, stdin=subprocess.DEVNULL)
        if not defmt:
            return done.stdout.decode(), done.returncode
        command = [defmt, "-e", image, "--log-format", "{s}"]
        log = subprocess.run(command, stdout=subprocess.PIPE, timeout=SECONDS, input=done.stdout, check=True)
    except subprocess.TimeoutExpired:
        sys.exit(f"check_firmware: {image} did not end within {SECONDS} s on {machine}")
    except subprocess.CalledProcessError:
        sys.exit(f"check_firmware: {command[0]} cannot decode the log of {image}")
    except FileNotFoundError:
        sys.exit(f"check_firmware: {command[0]} is not installed")
    return "".join(f"{plain(line)}\n" for line in log.stdout.decode().splitlines()), done.returncode


def plain(line):
    """Converts a logged line, `first Counts(EventCounts { ok: 1 })`, to a printed one, `first counts ok=1`."""
    match = re.match(r"(first|later) (\w+)\((.*)\)$", line)
    if not match:
        return line
    when, kind, text = match.groups()
    window = re.search(r"window: (?:Some\(Duration \{ secs: (\d+), nanos: 0 \}\)|None)", text)
    if window:
        milliseconds = f"{window.group(1)}000" if window.group(1) else "all"
        text = text.replace(window.group(), f"window_ms: {milliseconds}")
    text = re.sub(r"Some\(([\w.]+)\)", r"\1", text)
    text = re.sub(r"accuracy: (?:Exact|WithinPpm\((\d+)\))", lambda found: f"error_ppm: {found.group(1) or 0}", text)
    text = re.sub(r"event: EventId\(\d+\), name: ", "event: ", text).replace("p99_9", "p99.9").replace("None", "none")
    # A word before an opening brace is the type of a nested value, not a figure.
    figures = re.findall(r'([\w.]+): "?([\w.]+)(?! ?\{)\b', text)
    return f"{when} {kind.lower()} " + " ".join(f"{name}={figure}" for name, figure in figures)


def lines_of(text):
    """Returns the figures of each line.

    The keys are (when, "health", "", "") and (when, "counts" or "summary", event, window).
    """
    lines = {}
    for line in text.splitlines():
        match = re.match(r"(first|later) (health|counts|summary) (.*)", line)
        if match:
            figures = dict(re.findall(r"(\S+?)=(\S+)", match.group(3)))
            key = (figures.pop("event", ""), figures.pop("window_ms", ""))
            lines[match.group(1), match.group(2), *key] = figures
    return lines


def judge_row(name, figures, lengths, overhead):
    """Returns the problems of one row.

    Each figure must lie between that of the work and that of the work plus `overhead`.
    """
    problems = []
    known = sorted(lengths)
    count = len(known)
    if int(figures["count"]) != count or figures["complete"] != "true":
        problems.append(f"{name}: {figures['count']} spans, complete={figures['complete']}; expected {count}, complete=true")

    def compare(figure, least, off=0.0):
        measured = float(figures[figure]) / NANOS_PER_INSTRUCTION
        # Half an instruction of tolerance, because some timers do not resolve a single one.
        low, high = (least - 0.5) * (1 - off), (least + overhead + 0.5) * (1 + off)
        if not low <= measured <= high:
            problems.append(f"{name}: {figure} is {measured:.1f} instructions, expected {low:.1f} to {high:.1f}")

    off = int(figures["error_ppm"]) / 1e6
    compare("min", known[0])
    compare("max", known[-1])
    compare("mean", sum(known) / count)
    for figure, ppm in QUANTILES.items():
        compare(figure, known[max(1, -(-ppm * count // 1_000_000)) - 1], off)
    mean = sum(known) / count
    spread = math.sqrt(sum((length - mean) ** 2 for length in known) / count)
    measured = float(figures["stddev"]) / NANOS_PER_INSTRUCTION
    if abs(measured - spread) > overhead / 2:
        problems.append(f"{name}: stddev is {measured:.1f} instructions, expected {spread:.1f}")
    return problems


def judge(text, status):
    """Returns what is wrong with the printed figures."""
    problems = [] if status == 0 else [f"the firmware ended with status {status}"]
    lines, known = lines_of(text), plan()
    records = 2 * sum(len(lengths) for lengths, _ in known.values())
    for when in ["first", "later"]:
        for event, (lengths, overhead) in known.items():
            counts = lines.get((when, "counts", event, ""), {})
            wrong = {name: figure for name, figure in counts.items() if figure != COUNTS.get(name, str(len(lengths)))}
            if not counts or wrong:
                problems.append(f"{when} counts of {event}: {wrong or 'missing'}, of {len(lengths)} spans")
            for window in SCOPES:
                name, figures = f"{when} {event} {window}", lines.get((when, "summary", event, window))
                # By then no span is in the shorter window any more.
                if when == "later" and window == "1000":
                    if figures is not None:
                        problems.append(f"{name}: a summary of an empty window")
                elif figures is None:
                    problems.append(f"{name}: missing")
                else:
                    problems += judge_row(name, figures, lengths, overhead)
                    if len(lengths) <= KEPT and figures["error_ppm"] != "0":
                        problems.append(f"{name}: an error of {figures['error_ppm']} ppm, although all samples are kept")
        health = lines.get((when, "health", "", ""), {})
        # The number of passes is up to the firmware.
        expected = {"produced": str(records), "delivered": str(records), "passes": health.get("passes")}
        wrong = {name: figure for name, figure in health.items() if figure != expected.get(name, "0")}
        if not health or wrong:
            problems.append(f"{when} health: {wrong or 'missing'}, of {records} records")
    return problems


def self_test():
    """Correct output passes, and each kind of wrong output is rejected."""

    def is_rejected(change=lambda event, lengths: lengths, overhead=20, swap=("", "")):
        lines = []
        for when in ["first", "later"]:
            for event, (lengths, _) in plan().items():
                known = sorted(128 * (length + overhead) for length in change(event, lengths))
                count, mean = len(known), sum(known) / len(known)
                spread = math.sqrt(sum((length - mean) ** 2 for length in known) / count)
                ranks = {name: known[math.ceil(ppm * count / 1e6) - 1] for name, ppm in QUANTILES.items()}
                figures = {"count": count, "min": known[0], **ranks, "max": known[-1]}
                figures |= {"mean": mean, "stddev": spread, "error_ppm": 0, "complete": "true"}
                text = " ".join(f"{name}={figure}" for name, figure in figures.items())
                windows = SCOPES[when == "later" :]
                lines += [f"{when} summary event={event} window_ms={window} {text}" for window in windows]
                lines.append(f"{when} counts event={event} ok={count} error=0 paired={count} open=0 oldest=none")
            lines.append(f"{when} health produced=400 delivered=400 overwritten=0 late=0 passes=17")
        return bool(judge("\n".join(lines).replace(*swap), 0))

    def longer(changed, by):
        def change(event, lengths):
            return [length + by * (event == changed and length == max(lengths)) for length in lengths]

        return change

    kept = "later summary event=task window_ms=1000 count=1\nlater summary event=task window_ms=5000"
    cases = [
        ("correct output", is_rejected(), False),
        ("a span that is too long", is_rejected(longer("timer", 400)), True),
        ("a span that is too short", is_rejected(longer("timer", -400)), True),
        ("a task that is too long", is_rejected(longer("task", 7_000)), True),
        ("a missing span", is_rejected(lambda event, lengths: lengths[1:] if event == "task" else lengths), True),
        ("slow clock readings", is_rejected(overhead=220), True),
        ("less than the work takes", is_rejected(overhead=-2), True),
        ("a lost record", is_rejected(swap=("overwritten=0", "overwritten=1")), True),
        ("a late record", is_rejected(swap=("late=0", "late=1")), True),
        ("a window that keeps old samples", is_rejected(swap=("later summary event=task window_ms=5000", kept)), True),
        ("a missing row", is_rejected(swap=("event=timer window_ms=5000", "event=other window_ms=5000")), True),
        ("an open span", is_rejected(swap=("open=0", "open=1")), True),
        ("missing counts", is_rejected(swap=("first counts", "first other")), True),
        ("an incomplete window", is_rejected(swap=("complete=true", "complete=false")), True),
    ]
    problems = [
        f"{name}: rejected is {found}, expected {expected}"
        for name, found, expected in cases
        if found != expected
    ]
    if not judge("", 1):
        problems.append("no output and status 1: not rejected")
    logged = 'first Summary(EventSummary { event: EventId(1), name: "task", unit: Time, window: Some(Duration { secs: 1, '
    logged += "nanos: 0 }), summary: Summary { count: 3, mean: Some(5.5), p99_9: 9, "
    logged += "accuracy: WithinPpm(17), complete: true } })"
    printed = "first summary event=task unit=Time window_ms=1000 count=3 mean=5.5 p99.9=9 error_ppm=17 complete=true"
    if plain(logged) != printed:
        problems.append(f"a logged line is converted to {plain(logged)}, expected {printed}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", nargs="?")
    parser.add_argument("--board", choices=MACHINES)
    parser.add_argument("--defmt", metavar="DEFMT_PRINT", help="the image logs through defmt, and this program decodes the log")
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
            # A firmware that does not run at all would prove nothing.
            lengths = [problem for problem in problems if " timer " in problem]
            if status != 0 or not lengths or len(lengths) != len(problems):
                sys.exit(f"check_firmware: expected problems with the timer's wrong length and no others: {problems}")
            print(f"check_firmware: rejected, as expected: {problems[0]}")
            return
    else:
        parser.error("expected an image and --board, or --self-test")
    for problem in problems:
        print(f"check_firmware: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    done = "self-test passed" if arguments.self_test else f"{arguments.board}: all durations are as expected"
    print(f"check_firmware: {done}")


if __name__ == "__main__":
    main()
