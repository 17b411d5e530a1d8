"""Runs the small examples to their end and checks what they print.

    check_examples.py FOLDER

FOLDER is where cargo puts the built examples.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

# Name, arguments, what has to stand in standard output (regular expressions).
CASES = [
    ("quickstart", [], [r"^1000 orders: p50 \d+ ns, p99 \d+ ns, max \d+ ns$"]),
    ("periodic_report", ["lines.jsonl"], [r"^in \d+\.\d ms:$", r"^candle_processing: \d+, p50 ", r"^gc_pause: \d+, p50 "]),
    (
        "custom_events",
        [],
        [
            r" decode +1s +1000 ",
            r" packets_waiting +1s +1000 ",
            r"^violated: round_trip p99 over 60s: 7000\.0 µs, limit 5000\.0 µs, 1 of 1 over: violated$",
            r"^heartbeat p95: 80000 ns as measured, 4[0-9]{8} ns as it was waited for$",
        ],
    ),
    (
        "sla_alert",
        [],
        [r"^VIOLATED order_placement p100 over 500ms: .* over: violated\nkept again order_placement .*: ok$"],
    ),
    (
        "edge_box",
        [],
        [
            r"^ *ring_capacity = 131072 \(",
            r"^clock: ",
            r"^\d+ orders, p99\.9 \d+ ns, max \d+ ns$",
            r"^0 of 100000 records overwritten$",
        ],
    ),
    (
        "inspect",
        [],
        [
            r"^event_bus_handle +start +main *$",
            r"^order_fill +end_ok +main +\d+ ns, pairs with the START with tag 1$",
            r"^order_placement +forget +main +closes the START with tag 3$",
            r"^order_fill +end_error +fills +\d+ ns, pairs with the START with tag 2$",
            r"^8 records delivered, 0 overwritten, 0 orphans$",
        ],
    ),
]


def check(folder, name, arguments, expected):
    """What is wrong with one example."""
    with tempfile.TemporaryDirectory() as here:
        run = subprocess.run([folder / name, *arguments], cwd=here, capture_output=True, text=True, timeout=120)
        problems = [] if run.returncode == 0 else [f"exit code {run.returncode}: {run.stderr}"]
        problems += [
            f"not printed: {pattern}\n{run.stdout}"
            for pattern in expected
            if re.search(pattern, run.stdout, re.MULTILINE) is None
        ]
        for file in (argument for argument in arguments if "." in argument):
            if not (pathlib.Path(here) / file).stat().st_size:
                problems.append(f"{file} is empty")
    return problems


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1]).resolve()
    failures = 0
    for name, arguments, expected in CASES:
        for problem in check(folder, name, arguments, expected):
            failures += 1
            print(f"check_examples: {name}: {problem}", file=sys.stderr)
    if failures:
        sys.exit(f"check_examples: {failures} problems")
    print(f"check_examples: {len(CASES)} examples print what they should")


if __name__ == "__main__":
    main()
