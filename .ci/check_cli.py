"""Runs the bots with shared rings, and looks at them from outside with the command `tailwatch`.

    check_cli.py TAILWATCH BOTS DECODER FILE SCRATCH

TAILWATCH is the command, BOTS the directory of the examples, DECODER a second decoder of shared
files, FILE a committed one and SCRATCH a directory for what the bots write.

- `dump --format json` of FILE has the records, rings and events that DECODER finds in it.
- A reader that is attached to a running bot until it stops reports what the bot itself does. Both
  reports are written to SCRATCH, with the trace of the bot, for `check_report.py`.
- `list`, `report` and `dump` work on a bot of threads and on one of tokio tasks, while it runs and
  after it was killed by SIGKILL.

Processes are ended by their numbers. The names of the shared files contain that of this process, so
several runs do not disturb each other.
"""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

# How long a bot may take until its file is there, and a command until it has ended.
PATIENCE = 60


def fail(message):
    sys.exit(f"check_cli: {message}")


def run(tailwatch, *arguments, code=0):
    """Runs the command and returns its standard output and standard error."""
    done = subprocess.run([tailwatch, *arguments], capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != code:
        fail(f"{' '.join(arguments)} returned {done.returncode}: {done.stdout}{done.stderr}")
    for text in (done.stdout, done.stderr):
        if re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text):
            fail(f"{' '.join(arguments)} wrote a control character: {text!r}")
    return done.stdout, done.stderr


def of_name(tailwatch, name):
    """Returns what `list` shows of the program with this name, if it shares."""
    listed = json.loads(run(tailwatch, "list", "--json")[0])
    found = [row for row in listed if row["program"] == name]
    return found[0] if found else None


def await_file(tailwatch, name, bot):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if bot.poll() is not None:
            fail(f"{name} ended with {bot.returncode}")
        row = of_name(tailwatch, name)
        if row:
            return row
        time.sleep(0.01)
    fail(f"{name} shares nothing")


def start(bots, bot, name, *arguments):
    """Starts a bot that shares under this name."""
    command = [Path(bots) / bot, "--share", name, *map(str, arguments)]
    environment = {**os.environ, "TAILWATCH_KEEP_SHARED": "true"}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)


def check_decoders(tailwatch, decoder, file):
    ours = json.loads(run(tailwatch, "dump", file, "--all", "--format", "json")[0])
    done = subprocess.run([sys.executable, decoder, file], capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"{decoder}: {done.stderr}")
    theirs = json.loads(done.stdout)
    for key in ("program", "pid", "process_start", "boot_id", "state", "events", "rings"):
        if ours[key] != theirs[key]:
            fail(f"{key} of {file}: {ours[key]} and {theirs[key]}")
    keys = ("ring", "sequence", "words", "event", "kind", "thread", "tid")
    by_number = lambda record: (record["ring"], record["sequence"])
    ours, theirs = (
        [{key: record[key] for key in keys} for record in sorted(of["records"], key=by_number)]
        for of in (ours, theirs)
    )
    for one, other in zip(ours, theirs):
        if one != other:
            fail(f"records of {file} differ: {one} and {other}")
    if len(ours) != len(theirs) or len(ours) < 100:
        fail(f"{file}: {len(ours)} and {len(theirs)} records")
    print(f"two decoders find the same {len(ours)} records in {file}")


def check_reader(tailwatch, bots, scratch, name):
    """A reader that stays until the bot stops reports the same as the bot."""
    own, trace, outside = (
        scratch / file for file in ("own.json", "trace.csv", "outside.json")
    )
    bot = start(bots, "trading_bot", name, "--seconds", 8, "--json", own, "--trace", trace)
    await_file(tailwatch, name, bot)
    with open(outside, "w", encoding="utf-8") as out:
        command = [tailwatch, "report", "--json", "--seconds", "60", name]
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, timeout=120)
    if bot.wait(timeout=PATIENCE) != 0 or done.returncode != 0:
        fail(f"the bot returned {bot.returncode}, the reader {done.returncode}: {done.stderr}")
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in (outside, own)]
    for counter in ("produced", "delivered", "overwritten", "pending"):
        counts = [report["health"][counter] for report in reports]
        if counts[0] != counts[1]:
            fail(f"{counter}: {counts[0]} outside, {counts[1]} in the bot")
    exact = ("count", "min", "max", "p50", "p95", "p99", "p99_9", "histogram")
    for one, other in zip(*(report["events"] for report in reports), strict=True):
        for key in ("id", "name", "labels", "unit", "of", "outcomes"):
            if one[key] != other[key]:
                fail(f"{one['name']}: {key} is {one[key]} outside, {other[key]} in the bot")
        totals = [
            event["total"] and {key: event["total"][key] for key in exact}
            for event in (one, other)
        ]
        if totals[0] != totals[1]:
            fail(f"{one['name']}: {totals[0]} outside, {totals[1]} in the bot")
    row = of_name(tailwatch, name)
    if row["state"] != "stopped":
        fail(f"the bot has stopped, and is listed as {row['state']}")
    os.remove(row["path"])
    print(f"outside and in the bot: {reports[0]['health']['delivered']} records, and equal totals")


def check_killed(tailwatch, bots, bot_name, name):
    """Looks at a bot while it runs, kills it, and looks at what is left."""
    bot = start(bots, bot_name, name, "--seconds", 100)
    try:
        row = await_file(tailwatch, name, bot)
        time.sleep(3)
        row = of_name(tailwatch, name)
        if row["state"] != "live" or row["pid"] != bot.pid or row["uid"] != os.getuid():
            fail(f"{name} is listed as {row}")
        if row["heartbeat_age_ns"] > 2e9 or not 0 < row["allocated_bytes"] <= row["bytes"]:
            fail(f"{name} is listed as {row}")
        table, _ = run(tailwatch, "report", "--window", "1s", "--seconds", "1", name)
        if "event_bus_handle" not in table or "order_placement" not in table:
            fail(f"the table of {name} lacks events: {table}")
        text, _ = run(tailwatch, "dump", name, "--last", "20", "--event", "event_bus_handle")
        if "is alive" not in text.splitlines()[0] or "event_bus_handle" not in text:
            fail(f"the dump of {name} is {text}")
    finally:
        bot.send_signal(signal.SIGKILL)
        bot.wait()
    row = of_name(tailwatch, name)
    if row["state"] != "dead":
        fail(f"{name} was killed, and is listed as {row['state']}")
    report = json.loads(run(tailwatch, "report", "--json", str(bot.pid))[0])
    dump = json.loads(run(tailwatch, "dump", row["path"], "--format", "json")[0])
    health = report["health"]
    if health["delivered"] != len(dump["records"]) or health["invalid"] or health["has_drain"]:
        fail(f"{name} left {len(dump['records'])} records: {health}")
    last = {}
    for record in dump["records"]:
        ring, sequence = record["ring"], record["sequence"]
        if record["thread"] is None or last.get(ring, sequence - 1) != sequence - 1:
            fail(f"before {record} is {last.get(ring)}")
        last[ring] = sequence
    for ring in dump["rings"]:
        if ring["head"] > 0 and last.get(ring["index"]) != ring["head"] - 1:
            fail(f"the newest record of {ring} is {last.get(ring['index'])}")
    rows = list(csv.reader(io.StringIO(run(tailwatch, "dump", name, "--format", "csv")[0])))
    if len(rows) != len(dump["records"]) + 1 or rows[0][:3] != ["event", "kind", "start_unix_ns"]:
        fail(f"{len(rows)} rows, the first is {rows[0]}")
    os.remove(row["path"])
    print(f"{bot_name} left {len(dump['records'])} whole records in {len(dump['rings'])} rings")


def check_refusals(tailwatch, scratch):
    """What cannot be shown is an error in one sentence."""
    (scratch / "empty").write_bytes(b"")
    (scratch / "text").write_bytes(b"x" * 5_000)
    files = [str(scratch / file) for file in ("empty", "text")]
    for what in ("no-such-program", "999999999", "./", *files):
        for command in ("report", "dump"):
            out, error = run(tailwatch, command, what, code=2)
            if out or not error.startswith("tailwatch: ") or len(error.splitlines()) != 1:
                fail(f"{command} {what}: {out!r}, {error!r}")
    pipe = f"{tailwatch} list | head -c 1"
    head = subprocess.run(pipe, shell=True, capture_output=True, text=True)
    if head.stderr:
        fail(f"a closed pipe: {head.stderr}")


def main():
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    tailwatch, bots, decoder, file, scratch = sys.argv[1:]
    scratch, name = Path(scratch), f"ci-{os.getpid()}"
    check_decoders(tailwatch, decoder, file)
    check_refusals(tailwatch, scratch)
    check_reader(tailwatch, bots, scratch, f"{name}-reader")
    check_killed(tailwatch, bots, "trading_bot", f"{name}-threads")
    check_killed(tailwatch, bots, "tokio_bot", f"{name}-tasks")


if __name__ == "__main__":
    main()
