"""Runs a trading bot on invalid input and checks its exit code and its messages.

    check_bot.py BOT [--tasks]

--tasks  BOT is the one whose stages and drain are tokio tasks
"""

import gzip
import os
import json
import pathlib
import subprocess
import sys
import tempfile


def trade(at_ms, symbol="BTCUSDT"):
    """Returns a line of a feed: a trade at `at_ms`."""
    data = {"e": "trade", "E": at_ms, "s": symbol, "t": 1, "p": "1.5", "q": "2", "T": at_ms}
    message = {"stream": f"{symbol.lower()}@trade", "data": data}
    return f"{at_ms * 1_000_000 + 1} {json.dumps(message)}\n"


GOOD = "".join(trade(1_000 * second) for second in range(1, 60))
ODD = 'garbage\n5 {\n5 {"stream":"x@kline_1m","data":{}}\n5 {"stream":"x@trade","data":{}}\n'

ENTRY = '[[sla]]\nevent = "{}"\nquantile = "{}"\nlimit = {}\n'

# The files in the same folder as the feed.
FILES = {
    "good.toml": ENTRY.format("order_placement", "p95", '"20ms"'),
    "event.toml": ENTRY.format("order_placment", "p95", '"20ms"'),
    "quantile.toml": ENTRY.format("order_placement", "p9999", '"20ms"'),
    "unit.toml": ENTRY.format("order_placement", "p95", '"20mss"'),
    "zero.toml": ENTRY.format("queue_backlog", "p95", "0"),
    "no.toml": "this is not TOML",
}

# Name, content of the feed (None: no file), more options, exit code, parts of standard error.
CASES = [
    ("missing", None, [], 1, ["cannot be opened"]),
    ("empty", b"", [], 1, ["empty"]),
    ("good", GOOD.encode(), [], 0, ["published 59, handled 59, candles 59"]),
    ("odd lines", (ODD + GOOD).encode(), [], 0, ["odd lines:1:", "odd lines:2:", "odd lines:3:", "odd lines:4:", "4 problems", "handled 59"]),
    ("only odd lines", ODD.encode(), [], 1, ["nothing could be processed"]),
    ("not text", b"\xff\xfe\n" + GOOD.encode(), [], 0, ["not text:1:", "UTF-8", "handled 59"]),
    ("truncated gzip", gzip.compress(GOOD.encode() * 200)[:-9], [], 0, ["truncated or corrupt"]),
    ("clock behind", ("1 " + GOOD.partition(" ")[2]).encode(), [], 0, ["line 1 was received", "handled 59"]),
    ("backwards", "".join(trade(1_000 * second) for second in range(5_000, 0, -1)).encode(), [], 0, ["candles 5000"]),
    ("json nowhere", GOOD.encode(), ["--json", "no/such/folder/file"], 1, ["--json no/such/folder/file"]),
    ("trace nowhere", GOOD.encode(), ["--trace", "."], 1, ["--trace ."]),
    ("invalid stall", GOOD.encode(), ["--stall", "200ms"], 2, ["--stall", "such as 200ms@5"]),
    ("stall of no order", GOOD.encode(), ["--stall", "1ms@3"], 0, ["order 3 was to be stalled", "only 0 orders were placed"]),
    ("limits", GOOD.encode(), ["--sla", "good.toml"], 0, ["handled 59"]),
    ("limit on an unknown event", GOOD.encode(), ["--sla", "event.toml"], 1, ["--sla event.toml: line 2", '"order_placement"?']),
    ("unknown quantile", GOOD.encode(), ["--sla", "quantile.toml"], 1, ["--sla quantile.toml: line 3", '"p99.9"']),
    ("unknown unit", GOOD.encode(), ["--sla", "unit.toml"], 1, ["--sla unit.toml: line 4", '"ms"']),
    ("limit of 0", GOOD.encode(), ["--sla", "zero.toml"], 1, ["--sla zero.toml: line 4"]),
    ("limits that are not TOML", GOOD.encode(), ["--sla", "no.toml"], 1, ["--sla no.toml: line 1"]),
    ("missing file of limits", GOOD.encode(), ["--sla", "nowhere.toml"], 1, ["--sla nowhere.toml: cannot be read"]),
    ("invalid speed", GOOD.encode(), ["--speed=-1"], 2, ["--speed"]),
]

# Cases that apply only to the bot of threads, and only to the bot of tasks.
THREAD_CASES = [
    ("no such core", GOOD.encode(), ["--pin-drain", "100000"], 1, ["no core 100000"]),
]
TASK_CASES = [
    ("no thread to pin", GOOD.encode(), ["--pin-drain", "0"], 1, ["--pin-drain 0: the drain is a task"]),
    ("one worker", GOOD.encode(), ["--workers", "1"], 0, ["published 59, handled 59, candles 59"]),
    ("invalid workers", GOOD.encode(), ["--workers=-1"], 2, ["--workers"]),
]


def closed(bot, folder):
    """Runs the bot where its output cannot be written. Returns the number of failures."""
    failures = 0
    reader, pipe = os.pipe()
    # Every write to the pipe now fails with EPIPE, as with `| head -1`.
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    for options in [], ["--json", "-"]:
        for case, to, code in [("a pipe without a reader", pipe, 0), ("a full disk", full, 1)]:
            for stderr in subprocess.PIPE, to:
                command = [bot, "--feed", "good", "--speed", "max", *options]
                run = subprocess.run(
                    command, cwd=folder, stdout=to, stderr=stderr, text=True, timeout=60
                )
                said = run.stderr or ""
                silent = code and stderr != to and "standard output" not in said
                if run.returncode != code or "panicked" in said or silent:
                    failures += 1
                    problem = f"{case}: exit code {run.returncode}, expected {code}"
                    print(f"check_bot: standard output is {problem}\n{said}", file=sys.stderr)
    os.close(pipe)
    os.close(full)
    return failures


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--tasks"]):
        sys.exit(__doc__)
    cases = CASES + (TASK_CASES if sys.argv[2:] else THREAD_CASES)
    bot = pathlib.Path(sys.argv[1]).resolve()
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            (pathlib.Path(folder) / name).write_text(text)
        for name, content, options, code, expected in cases:
            if content is not None:
                (pathlib.Path(folder) / name).write_bytes(content)
            if not any(option.startswith("--speed") for option in options):
                options = ["--speed", "max", *options]
            run = subprocess.run([bot, "--feed", name, *options], cwd=folder, capture_output=True, text=True, timeout=60)
            missing = [text for text in expected if text not in run.stderr]
            if run.returncode != code or missing:
                failures += 1
                problem = f"exit code {run.returncode}, expected {code}; missing from standard error: {missing}"
                print(f"check_bot: {name}: {problem}\n{run.stderr}", file=sys.stderr)
        failures += closed(bot, folder)
    if failures:
        sys.exit(1)
    print(f"check_bot: all {len(cases)} cases behave as expected")


if __name__ == "__main__":
    main()
