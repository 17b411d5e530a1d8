"""Gives a trading bot bad input and checks its exit code and what it says.

    check_bot.py BOT [--tasks]

--tasks  its stages are tasks, and so is the drain
"""

import gzip
import json
import pathlib
import subprocess
import sys
import tempfile


def trade(at_ms, symbol="BTCUSDT"):
    """A line of a feed."""
    data = {"e": "trade", "E": at_ms, "s": symbol, "t": 1, "p": "1.5", "q": "2", "T": at_ms}
    message = {"stream": f"{symbol.lower()}@trade", "data": data}
    return f"{at_ms * 1_000_000 + 1} {json.dumps(message)}\n"


GOOD = "".join(trade(1_000 * second) for second in range(1, 60))
ODD = 'garbage\n5 {\n5 {"stream":"x@kline_1m","data":{}}\n5 {"stream":"x@trade","data":{}}\n'

ENTRY = '[[sla]]\nevent = "{}"\nquantile = "{}"\nlimit = {}\n'

# Files beside the feed.
FILES = {
    "good.toml": ENTRY.format("order_placement", "p95", '"20ms"'),
    "event.toml": ENTRY.format("order_placment", "p95", '"20ms"'),
    "quantile.toml": ENTRY.format("order_placement", "p9999", '"20ms"'),
    "unit.toml": ENTRY.format("order_placement", "p95", '"20mss"'),
    "zero.toml": ENTRY.format("queue_backlog", "p95", "0"),
    "no.toml": "this is no TOML",
}

# Name, content of the feed (None: there is none), further options, exit code, what standard error says.
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
    ("impossible stall", GOOD.encode(), ["--stall", "200ms"], 2, ["--stall", "such as 200ms@5"]),
    ("stall of no order", GOOD.encode(), ["--stall", "1ms@3"], 0, ["order 3 was to be stalled", "only 0 were placed"]),
    ("limits", GOOD.encode(), ["--sla", "good.toml"], 0, ["handled 59"]),
    ("limit of no event", GOOD.encode(), ["--sla", "event.toml"], 1, ["--sla event.toml: line 2", '"order_placement"?']),
    ("no quantile", GOOD.encode(), ["--sla", "quantile.toml"], 1, ["--sla quantile.toml: line 3", '"p99.9"']),
    ("no unit", GOOD.encode(), ["--sla", "unit.toml"], 1, ["--sla unit.toml: line 4", '"ms"']),
    ("limit of 0", GOOD.encode(), ["--sla", "zero.toml"], 1, ["--sla zero.toml: line 4"]),
    ("no limits", GOOD.encode(), ["--sla", "no.toml"], 1, ["--sla no.toml: line 1"]),
    ("no file of limits", GOOD.encode(), ["--sla", "nowhere.toml"], 1, ["--sla nowhere.toml: cannot be read"]),
    ("impossible speed", GOOD.encode(), ["--speed=-1"], 2, ["--speed"]),
]

# What only a bot of threads is asked, and only one of tasks.
OF_THREADS = [
    ("no such core", GOOD.encode(), ["--pin-drain", "100000"], 1, ["no core 100000"]),
]
OF_TASKS = [
    ("no thread to pin", GOOD.encode(), ["--pin-drain", "0"], 1, ["--pin-drain 0: the drain is a task"]),
    ("one worker", GOOD.encode(), ["--workers", "1"], 0, ["published 59, handled 59, candles 59"]),
    ("impossible workers", GOOD.encode(), ["--workers=-1"], 2, ["--workers"]),
]


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--tasks"]):
        sys.exit(__doc__)
    cases = CASES + (OF_TASKS if sys.argv[2:] else OF_THREADS)
    bot = pathlib.Path(sys.argv[1]).resolve()
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            (pathlib.Path(folder) / name).write_text(text)
        for name, content, options, code, said in cases:
            if content is not None:
                (pathlib.Path(folder) / name).write_bytes(content)
            if not any(option.startswith("--speed") for option in options):
                options = ["--speed", "max", *options]
            run = subprocess.run([bot, "--feed", name, *options], cwd=folder, capture_output=True, text=True, timeout=60)
            missing = [words for words in said if words not in run.stderr]
            if run.returncode != code or missing:
                failures += 1
                print(f"check_bot: {name}: exit code {run.returncode}, not {code}; not said: {missing}\n{run.stderr}", file=sys.stderr)
    if failures:
        sys.exit(1)
    print(f"check_bot: {len(cases)} cases behave as they should")


if __name__ == "__main__":
    main()
