"""Runs the small examples to their end and checks their output, also on a terminal and where it
cannot be written.

    check_examples.py FOLDER

FOLDER is the directory into which cargo builds the examples.
"""

import fcntl
import os
import pathlib
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import zlib


def varint(number):
    """Encodes a number as postcard does: seven bits per byte, the lowest first."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def frame(*parts):
    """Encodes a frame as the docs of `tailwatch_bare_metal::wire` describe it, without that crate's code.

    Parts that are bytes are copied; numbers are encoded as varints.
    """
    plain = b"\x01" + b"".join(part if isinstance(part, bytes) else varint(part) for part in parts)
    plain += zlib.crc32(plain).to_bytes(4, "little")
    coded = bytearray()
    for block in plain.split(b"\0"):
        while len(block) >= 254:
            coded += b"\xff" + block[:254]
            block = block[254:]
        coded += bytes([len(block) + 1]) + block
    return bytes(coded) + b"\0"


NAME = varint(len(b"order_fill")) + b"order_fill"
# The second half of a frame, as a decoder that starts late receives it; health; counts; a summary
# over 10 ms; a summary with a flipped bit; a limit that is raised.
SERIAL = b"".join(
    [
        frame(*range(16))[7:],
        frame(0, 300, 290, 7, 3, 0, 0, 0, 0, 0, 0, 2, 1, 55, 1, 0),
        frame(1, 4, NAME, 140, 5, 0, 145, 1, 0, 0, 0, 0, 0, 0),
        frame(2, 4, NAME, 0, b"\x01", 10_000_000, 145, 145, 7, 900, 0, 0, 50, 95, 99, 200, b"\x00", 10_000_000, b"\x00"),
        frame(2, 4, NAME, 0)[:5] + b"\x55" + frame(2, 4, NAME, 0)[6:],
        frame(
            4, 123_456, 4, NAME, 0, 950_000, 90, 1_000_000_000,
            2, 8, 0, 145, b"\x01", 95, b"\x00", 1, 0,
        ),
    ]
)

# Name, arguments, regular expressions that standard output must match, and the standard input, if
# any.
CASES = [
    ("quickstart", [], [r"^1000 orders: p50 \d+ ns, p99 \d+ ns, max \d+ ns$"]),
    (
        "periodic_report",
        ["lines.jsonl"],
        [r"^in \d\.\d\d s:$", r"^candle_processing: \d+, p50 ", r"^gc_pause: \d+, p50 "],
    ),
    (
        "custom_events",
        [],
        [
            r"^decode +\S+ +\S+ +1,000 ",
            r"^packets_waiting +\S+ +\S+ +1,000 ",
            r"^violated: round_trip p99 over 60 s is 7\.00 ms "
            r"\(limit 5\.00 ms\), 1 of 1 sample over$",
            r"^heartbeat p95: 80000 ns as measured, 4[0-9]{8} ns corrected for coordinated omission$",
        ],
    ),
    (
        "library_and_program",
        [],
        [
            r"^1800 records of tailwatch_example_venue_client::Venue are not collected$",
            r"^parse_line +\S+ +\S+ +1,000 ",
            r"^send_order +\S+ +\S+ +900 ",
        ],
    ),
    (
        "per_symbol",
        [],
        [r"^BTCUSDT: 100 orders$", r"^NEWUSDT: 50 orders$", r"^all: 250 orders, p99 \d+ ns$"],
    ),
    (
        "sla_alert",
        [],
        [
            r"^RAISED order_placement p100 over 500 ms is .* \(limit .*\), 1 of \d+ samples? over\n"
            r"CLEARED order_placement .*, 0 of \d+ samples? over$"
        ],
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
        "tick_to_order",
        [],
        [r"^3000 orders sent, 3000 measured, p99 \d+ ns\n(order [1-9]\d{0,3}: \d+ ns\n){4}\Z"],
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
    (
        "tokio_workers",
        [],
        [
            r"^job +\S+ +\S+ +800 ",
            r"^jobs_waiting +\S+ +\S+ +800 ",
            r"^results_waiting +\S+ +\S+ +800 ",
            r"^quotes_waiting +\S+ +\S+ +800 .* 7 +[\^>]?15( +[\^>]?15)+$",
            r"^quotes_lost +\S+ +\S+ +50 .* 8 +[\^>]?8( +[\^>]?8)+$",
            r"^settings_unseen +\S+ ",
            r"^settings_behind +\S+ ",
            r"^alive_tasks +\S+ ",
            r"^\d+ of 800 jobs ended on another worker than they began on$",
            r"^16 workers lost none of \d+ records$",
        ],
    ),
    (
        "decode_frames",
        [],
        [
            r"^300 records: 290 delivered, 7 overwritten, 3 pending; .* 2 negative differences, "
            r"1 tags without a record; 55 passes, 1 of them while the clock stood still$",
            r"^order_fill +140 ok, 5 error, 0 cancelled; 1 open, 0 orphans$",
            r"^order_fill +10 ms +145 +50 ns +95 ns +99 ns +200 ns +900 ns  exact, incomplete$",
            r"^order_fill +RAISED: 95\.0000 % at most 90 over 1000 ms: Violated, 95 observed, "
            r"8 of 145 over \(0 failed\); raised 1, cleared 0$",
            r"^4 frames; rejected: 0 too long, 2 damaged, 0 of another version, 0 unknown$",
        ],
        SERIAL,
    ),
]


def check(folder, name, arguments, expected, given=b""):
    """Returns what is wrong with one example."""
    with tempfile.TemporaryDirectory() as here:
        run = subprocess.run([folder / name, *arguments], cwd=here, input=given, capture_output=True, timeout=120)
        stdout, stderr = run.stdout.decode(), run.stderr.decode()
        problems = [] if run.returncode == 0 else [f"exit code {run.returncode}: {stderr}"]
        problems += [
            f"no output matches {pattern}\n{stdout}" for pattern in expected if re.search(pattern, stdout, re.MULTILINE) is None
        ]
        for file in (argument for argument in arguments if "." in argument):
            if not (pathlib.Path(here) / file).stat().st_size:
                problems.append(f"{file} is empty")
    return problems


def pipe_without_reader():
    """Returns the end of a pipe to which every write fails with EPIPE, as with `| head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def closed(folder, name, arguments, _, given=b""):
    """Returns what is wrong with one example if nobody reads its output, or the disk is full."""
    command, problems = [folder / name, *arguments], []
    closing = ["sh", "-c", 'exec "$0" "$@" >&- 2>&-', *command]
    with tempfile.TemporaryDirectory() as here:
        for case, started, to, code in [
            ("a pipe without a reader", command, pipe_without_reader(), 0),
            ("a closed stream", closing, os.open(os.devnull, os.O_WRONLY), 0),
            ("a full disk", command, os.open("/dev/full", os.O_WRONLY), 1),
        ]:
            run = subprocess.run(
                started, cwd=here, input=given, stdout=to, stderr=subprocess.PIPE, timeout=120
            )
            stderr = run.stderr.decode()
            if run.returncode != code or "panicked" in stderr or (code and not stderr):
                problem = f"{case}: exit code {run.returncode}, not {code}: {stderr}"
                problems.append(f"standard output is {problem}")
            # Standard error as well. There is then no place for a message.
            run = subprocess.run(started, cwd=here, input=given, stdout=to, stderr=to, timeout=120)
            if run.returncode != code:
                problems.append(f"both outputs are {case}: exit code {run.returncode}, not {code}")
            os.close(to)
    return problems


def on_terminal(program, columns, lines, **environment):
    """Returns what a program writes to a terminal of this size, which has its outputs and input."""
    terminal, program_side = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment}
    run = subprocess.Popen(
        [program], stdin=program_side, stdout=program_side, stderr=program_side, env=environment
    )
    os.close(program_side)
    output = b""
    try:
        while part := os.read(terminal, 65_536):
            output += part
    except OSError:
        pass  # Linux reports that the program is gone as an error.
    os.close(terminal)
    run.wait(timeout=120)
    return output.decode()


def tables_on_terminals(folder):
    """Returns what is wrong with tables on terminals: with their width, colours or place."""
    problems = []
    red = "\x1b[1;31mVIOLATED\x1b[0m"
    custom, live = folder / "custom_events", folder / "periodic_report"
    for columns in (50, 70, 150):
        plain = on_terminal(custom, columns, 40, NO_COLOR="1")
        if "\x1b" in plain or "VIOLATED" not in plain:
            problems.append(f"NO_COLOR=1: expected VIOLATED and no escape sequence: {plain!r}")
        table = plain[: plain.index("heartbeat p95")].splitlines()
        rule = max(map(len, table))
        if rule > columns or (columns < 80 and rule < columns - 20):
            problems.append(f"a terminal of {columns} columns: the table has {rule}: {plain}")
        coloured = on_terminal(custom, columns, 40)
        if coloured.count(red) != 1:
            problems.append(f"expected VIOLATED in red: {coloured!r}")
    terminals = ((40, {}, True), (6, {}, True), (40, {"TERM": "dumb"}, False))
    for lines, environment, replaces in terminals:
        tables = on_terminal(live, 80, lines, **environment)
        up = [int(count) for count in re.findall(r"\x1b\[(\d+)F\x1b\[J\d{4}-", tables)]
        is_replaced = (len(up) >= 2, "\x1b" in tables)
        if is_replaced != (replaces, replaces) or max(up, default=0) >= lines:
            where = f"{lines} lines, {environment}"
            problems.append(f"{where}: each table but the first must replace one: {tables!r}")
    return problems


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1]).resolve()
    failures = 0
    for case in CASES:
        for problem in check(folder, *case) + closed(folder, *case):
            failures += 1
            print(f"check_examples: {case[0]}: {problem}", file=sys.stderr)
    for problem in tables_on_terminals(folder):
        failures += 1
        print(f"check_examples: {problem}", file=sys.stderr)
    if failures:
        sys.exit(f"check_examples: {failures} problems")
    print(f"check_examples: all {len(CASES)} examples print what is expected")


if __name__ == "__main__":
    main()
