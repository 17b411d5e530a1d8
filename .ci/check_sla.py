"""Checks the report of a run in which one limit was violated and the violation was cleared.

    check_sla.py REPORT.json --event E --quantile Q --window W --raised N --cleared M --slowest-tag T [--state S]
                 [--armed L]
    check_sla.py --self-test

The report must have the limit once: quantile Q of event E over window W. Its violation must have
been raised N times and cleared M times, the last change must lie within the run, and its counts
must not contradict its state. The slowest sample of E must have tag T, over the last 60 s and since
the start. For every event, the slowest samples must be sorted, begin with the maximum, and not
outnumber the samples.

This script deliberately shares no code with the project. It uses integers, fractions and the
standard library.

--quantile  as the report has it, such as p95, p99.9 or p100
--state     the limit's state at the end: ok, violated or unknown
--armed     the number of limits in force, with those that the event set declares
"""

import argparse
import copy
import json
import re
import sys
from fractions import Fraction

SCHEMA = "tailwatch.report/2"
STATES = ("ok", "violated", "unknown")
# A span may seem to end this much after the report, because the clock of the times since 1970 is
# adjusted now and then.
CLOCK_SLACK_NS = 1_000_000_000


def whole(value):
    """Whether `value` is an integer of at least 0. A bool is not, although Python counts it as an integer."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def share(quantile):
    """Returns the share that `quantile` stands for, such as 19/20 for p95; None if it is malformed."""
    if not re.fullmatch(r"p\d+([._]\d+)?", quantile):
        return None
    return Fraction(quantile[1:].replace("_", ".")) / 100


def exceeds(quantile_share, over, count):
    """Whether the quantile of `count` samples is above a limit that `over` of them exceed."""
    return count > 0 and over > count - max(1, -(-quantile_share * count // 1))


def check_limit(limit, report, raised, cleared, state=None):
    """Returns what is wrong with the entry `limit`, apart from its event, quantile and window."""
    problems = []
    for field, expected in [("raised", raised), ("cleared", cleared), ("state", state)]:
        if expected is not None and limit[field] != expected:
            problems.append(f"{field} is {limit[field]}, expected {expected}")
    if limit["state"] not in STATES:
        problems.append(f"state is {limit['state']!r}, expected one of {', '.join(STATES)}")

    since, now = limit["since_unix_ns"], report["unix_ns"]
    begin = now - report["uptime_ns"]
    if limit["raised"] and not (whole(since) and begin <= since <= now):
        problems.append(f"since_unix_ns is {since}, expected a time within the run, {begin} to {now}")

    over, count, quantile_share = limit["over"], limit["count"], share(limit["quantile"])
    if not (whole(over) and whole(count) and over <= count):
        problems.append(f"{over} of {count} samples over the limit is impossible")
    elif quantile_share is None:
        problems.append(f"{limit['quantile']!r} is not a quantile, expected one such as p95 or p99.9")
    # The reverse is not checked: a limit may stay violated for a while after its samples are within
    # it again.
    elif limit["state"] == "ok" and exceeds(quantile_share, over, count):
        problems.append(f"state is ok, but {over} of {count} samples are over the limit")
    return problems


def check_slowest(summary, unit, now, of):
    """Returns what is wrong with the slowest samples of a summary made at `now`.

    `of` are the outcomes that the summary covers.
    """
    slowest = summary.get("slowest")
    if not isinstance(slowest, list):
        return [f"slowest is {slowest!r}, expected a list"]
    problems = []
    for span in slowest:
        start, duration = span.get("start_unix_ns"), span.get("duration")
        optional = [span[field] for field in ("tag", "tid") if span.get(field) is not None]
        has_thread = isinstance(span.get("thread"), str)
        if not (all(map(whole, [start, duration, *optional])) and has_thread):
            return [f"{span} in slowest is malformed"]
        if unit == "ns" and start + duration > now + CLOCK_SLACK_NS:
            problems.append(f"{span} ends after the report")

    durations = [span["duration"] for span in slowest]
    if durations != sorted(durations, reverse=True):
        problems.append(f"slowest is not sorted: {durations}")
    # Failed spans are among the slowest, even if the summary does not cover them.
    failed = ("error", "cancelled") if of == "ok" else ()
    covered = [span["duration"] for span in slowest if span.get("outcome") not in failed]
    if any(duration > summary["max"] for duration in covered):
        problems.append(f"slowest has a sample above max, {summary['max']}: {covered}")
    if len(covered) > summary["count"]:
        count = summary["count"]
        problems.append(f"slowest has {len(covered)} entries, but there are {count} samples")
    if covered and covered[0] != summary["max"]:
        problems.append(f"slowest begins with {covered[0]}, but max is {summary['max']}")
    # Plain numbers are not durations, so they may have an empty list.
    if not durations and unit == "ns":
        problems.append("slowest is empty")
    return problems


def check(report, event, quantile, window, raised, cleared, slowest_tag, state=None, armed=None):
    """Returns everything that is wrong with the parsed report."""
    if report.get("schema") != SCHEMA:
        return [f"schema is {report.get('schema')!r}, expected {SCHEMA!r}"]
    problems = []
    wanted = {"event": event, "quantile": quantile, "window": window}
    limits = [{field: limit[field] for field in wanted} for limit in report["sla"]]
    if limits.count(wanted) == 1:
        found = check_limit(report["sla"][limits.index(wanted)], report, raised, cleared, state)
        problems += [f"limit on {quantile} of {event}: {problem}" for problem in found]
    else:
        problems.append(f"sla: the limits are {limits}, expected {wanted} once")
    if armed is not None and len(limits) != armed:
        problems.append(f"sla: {len(limits)} limits are in force, expected {armed}")

    for reported in report["events"]:
        for name, summary in [*reported["windows"].items(), ("total", reported["total"])]:
            if summary is not None:
                found = check_slowest(summary, reported["unit"], report["unix_ns"], reported["of"])
                problems += [f"{reported['name']}, {name}: {problem}" for problem in found]

    reported = [candidate for candidate in report["events"] if candidate["name"] == event]
    if len(reported) != 1:
        return [*problems, f"{event}: {len(reported)} times in the report, expected once"]
    for name, summary in [("60s", reported[0]["windows"].get("60s")), ("total", reported[0]["total"])]:
        tags = [span.get("tag") for span in (summary or {}).get("slowest") or []]
        if tags[:1] != [slowest_tag]:
            problems.append(f"{event}, {name}: the tags of slowest are {tags}, expected {slowest_tag} first")
    return problems


# ---- self-test -----------------------------------------------------------------------------------

WANTED = {"event": "fill", "quantile": "p95", "window": "1s", "raised": 1, "cleared": 1, "slowest_tag": 5}


def specimen():
    """Returns a correct report. Its numbers were computed by hand, not by the functions above."""

    def span(start, duration, tag):
        thread = {"thread": "main", "tid": 7}
        return {"start_unix_ns": start, "duration": duration, "tag": tag} | thread

    def summary(count, high, slowest):
        return {"count": count, "max": high, "slowest": slowest}

    def event(name, unit, total, second=None):
        windows = {"1s": second, "60s": total}
        return {"name": name, "unit": unit, "of": "ok", "windows": windows, "total": total}

    now = 1_700_000_000_000_000_000
    fills = [span(now - 1_900_000_000, 200, 5), span(now - 300_000_000, 90, None), span(now - 800_000_000, 90, 6)]
    # This span ends one second after the report, which is just allowed.
    pause = [span(now + 999_999_000, 1_000, None)]
    # The p95 of 40 samples is the 38th: within the limit if 2 samples are over it, violated if 3
    # are.
    limit = {"event": "fill", "quantile": "p95", "window": "1s", "limit": 80, "unit": "ns", "state": "ok", "over": 2,
             "count": 40, "observed": 70, "since_unix_ns": now - 500_000_000, "raised": 1, "cleared": 1}
    return {
        "schema": SCHEMA,
        "unix_ns": now,
        "uptime_ns": 2_000_000_000,
        "events": [
            event("fill", "ns", summary(60, 200, fills), summary(40, 90, fills[1:])),
            event("pause", "ns", summary(9, 1_000, pause), summary(1, 1_000, pause)),
            event("backlog", "1", summary(7, 3, [])),
            event("signal", "ns", None),
        ],
        "sla": [limit],
    }


def self_test():
    """The specimen passes, and each change that spoils it is rejected."""

    def problems_of(spoil=lambda _report: None, **options):
        # Copied by way of JSON, so that no two parts are the same object.
        report = json.loads(json.dumps(specimen()))
        spoil(report)
        return check(report, **{**WANTED, **options})

    def top(**fields):
        return lambda report: report.update(fields)

    def limit(**fields):
        return lambda report: report["sla"][0].update(fields)

    def total(event, **fields):
        return lambda report: report["events"][event]["total"].update(fields)

    def minute(event, **fields):
        return lambda report: report["events"][event]["windows"]["60s"].update(fields)

    def second(event, **fields):
        return lambda report: report["events"][event]["windows"]["1s"].update(fields)

    def slowest(index, **fields):
        return lambda report: report["events"][0]["total"]["slowest"][index].update(fields)

    def swapped(report):
        report["events"][0]["total"]["slowest"].reverse()

    def no_total(report):
        report["events"][0]["total"] = None

    def no_minute(report):
        report["events"][0]["windows"]["60s"] = None

    def no_slowest(report):
        del report["events"][0]["total"]["slowest"]

    def unreported(report):
        del report["events"][0]

    def twice(report):
        report["events"].append(copy.deepcopy(report["events"][0]))

    def two_limits(report):
        report["sla"].append(copy.deepcopy(report["sla"][0]))

    now = specimen()["unix_ns"]
    spoilt = {
        "schema": top(schema="tailwatch.report/1"),
        "no limit": top(sla=[]),
        "two limits": two_limits,
        "limit on another event": limit(event="pause"),
        "limit on another quantile": limit(quantile="p99"),
        "limit over another window": limit(window="60s"),
        "raised": limit(raised=2),
        "cleared": limit(cleared=0),
        "unknown state": limit(state="fine"),
        "ok with too many over": limit(over=3),
        "ok with all over": limit(over=1, count=1),
        "more over than there are": limit(state="violated", over=41),
        "over not an integer": limit(over=2.0),
        "raised without a time": limit(since_unix_ns=None),
        "raised at a fraction of a nanosecond": limit(since_unix_ns=now - 0.5),
        "raised before the start": limit(since_unix_ns=now - 2_000_000_001),
        "raised after the report": limit(since_unix_ns=now + 1),
        "event removed": unreported,
        "event twice": twice,
        "total removed": no_total,
        "60 s removed": no_minute,
        "slowest removed": no_slowest,
        "slowest not a list": total(0, slowest=None),
        "slowest empty": total(0, slowest=[]),
        "slowest of 60 s empty": minute(0, slowest=[]),
        "slowest of another event empty": second(1, slowest=[]),
        "not sorted": slowest(2, duration=91),
        "reversed": swapped,
        "longer than max": slowest(0, duration=201),
        "slowest below max": total(0, max=201),
        "slowest of 60 s below max": minute(0, max=201),
        "slowest of another event below max": second(1, max=999),
        "more entries than samples": total(0, count=2),
        "another tag": slowest(0, tag=6),
        "no tag": slowest(0, tag=None),
        "tag not an integer": slowest(1, tag="5"),
        "start not an integer": slowest(1, start_unix_ns=0.5),
        "duration not an integer": slowest(1, duration=90.0),
        "start true": slowest(1, start_unix_ns=True),
        "start negative": slowest(1, start_unix_ns=-1),
        "thread not a string": slowest(1, thread=None),
        "tid not an integer": slowest(1, tid="7"),
        "ends after the report": slowest(0, start_unix_ns=now + 999_999_801),
        "plain number above max": total(2, slowest=[{"start_unix_ns": 0, "duration": 4, "tag": None, "thread": "bus"}]),
    }
    failures = [f"the unchanged specimen is rejected: {problem}" for problem in problems_of(state="ok")]
    failures += [f"not rejected: {name}" for name, spoil in spoilt.items() if not problems_of(spoil)]
    if not problems_of(state="unknown"):
        failures.append("not rejected: a state other than the expected one")
    if problems_of(armed=1) or not problems_of(armed=2):
        failures.append("the number of limits in force is not checked")
    for name, spoil, options in [
        ("still violated, though within the limit again", limit(state="violated", cleared=0), {"cleared": 0}),
        ("violated", limit(state="violated", over=3, cleared=0), {"cleared": 0}),
        ("unknown state", limit(state="unknown", over=0, count=0), {}),
        ("never raised", limit(since_unix_ns=None, raised=0, cleared=0), {"raised": 0, "cleared": 0}),
        ("no sample", limit(over=0, count=0), {}),
    ]:
        failures += [f"rejected: {name}: {problem}" for problem in problems_of(spoil, **options)]
    # The p99.9 of 1,000 samples is the 999th, the p95 of 10 is the tenth, and the p0 is the first.
    for quantile, over, count, expected in [
        ("p99.9", 1, 1_000, False), ("p99_9", 1, 1_000, False), ("p99_9", 2, 1_000, True), ("p100", 0, 5, False),
        ("p100", 1, 1_000, True), ("p95", 1, 10, True), ("p0", 9, 10, False), ("p0", 10, 10, True), ("95", 0, 10, True),
    ]:
        rejected = bool(problems_of(limit(quantile=quantile, over=over, count=count), quantile=quantile))
        if rejected != expected:
            failures.append(f"{quantile} with {over} of {count} over the limit: rejected is {rejected}, expected {expected}")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", nargs="?")
    parser.add_argument("--event")
    parser.add_argument("--quantile")
    parser.add_argument("--window")
    parser.add_argument("--raised", type=int)
    parser.add_argument("--cleared", type=int)
    parser.add_argument("--slowest-tag", type=int)
    parser.add_argument("--state", choices=STATES)
    parser.add_argument("--armed", type=int)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()

    if arguments.self_test:
        problems = self_test()
        done = "self-test passed"
    elif arguments.report is None or any(getattr(arguments, name) is None for name in WANTED):
        parser.error("expected a report, --event, --quantile, --window, --raised, --cleared and --slowest-tag, or --self-test")
    else:
        with open(arguments.report, encoding="utf-8") as file:
            report = json.load(file)
        wanted = {name: getattr(arguments, name) for name in WANTED}
        problems = check(report, **wanted, state=arguments.state, armed=arguments.armed)
        done = f"the limit in {arguments.report} is as expected"

    for problem in problems[:50]:
        print(f"check_sla: {problem}", file=sys.stderr)
    if problems:
        sys.exit(f"check_sla: {len(problems)} problems")
    print(f"check_sla: {done}")


if __name__ == "__main__":
    main()
