"""Recomputes a report from the trace of the same run, and fails if they disagree.

    check_report.py REPORT.json TRACE.csv [--lossless] [--require EVENT,…]
    check_report.py --self-test

The `total` of each event, and that of its failed spans, are compared: count, outcomes, min and max
exactly, the mean to 1 ns, and the quantiles by nearest rank. A quantile must be exact if
max_relative_error_ppm is 0, and otherwise within max_relative_error_ppm of the true value. The
bounds of a confidence interval must be the samples at its ranks if the quantiles are exact, and
otherwise at least as far apart. The histogram must have the weight of all samples, in ascending
buckets, with as many samples up to each bound as the trace has, but for samples within 1 ns of the
bound. The trace must have as many records as the report has as delivered.

This script deliberately shares no code with the project. It uses integers, sorting and the standard
library, and floating point for the ranks of intervals.

--lossless  requires that no record was overwritten and none is pending
--require   requires that these events have samples
"""

import argparse
import copy
import csv
import io
import json
import math
import sys
from fractions import Fraction

# The first columns. Others may follow.
HEADER = "event,kind,start_unix_ns,duration_ns_or_value,outcome,tag,thread,tid".split(",")
SCHEMA = "tailwatch.report/2"
# The units of a histogram, in nanoseconds or plain numbers, by the unit of the event.
HISTOGRAM_UNITS = {"ns": ("2^-40 s", 1e9 / 2**40), "1": ("1", 1.0)}
QUANTILES_PPM = {"p50": 500_000, "p95": 950_000, "p99": 990_000, "p99_9": 999_000}
OUTCOMES = ("ok", "error", "cancelled")
END_OUTCOME = {"end_ok": "ok", "end_error": "error", "end_cancelled": "cancelled"}
SAMPLE_KINDS = {*END_OUTCOME, "value", "duration"}
OTHER_KINDS = {"start", "forget", "tag"}
TAGGED_KINDS = {"start", "duration", "tag"}


class Recomputed:
    """The samples and outcomes of one event in the trace."""

    def __init__(self):
        # Each with its outcome, which is empty for a value and for a duration without a span.
        self.samples = []
        self.outcomes = dict.fromkeys(OUTCOMES, 0)


def nearest_rank(ordered, ppm):
    """Returns the smallest sample that at least `ppm` millionths of the samples do not exceed."""
    rank = max(1, (ppm * len(ordered) + 999_999) // 1_000_000)
    return ordered[rank - 1]


def interval_ranks(count, ppm):
    """Returns the ranks of the bounds of a 95 % confidence interval, `None` for a missing one."""
    share, up_to, low, high = ppm / 1e6, 0.0, None, None
    for k in range(count):
        chosen = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        up_to += math.exp(chosen + k * math.log(share) + (count - k) * math.log1p(-share))
        # `up_to` is the probability that at most k samples are at most the true quantile.
        if up_to <= 0.025:
            low = k + 1
        if high is None and up_to >= 0.975:
            high = k + 1
    return low, high


def check_interval(total, ordered):
    """Returns what is wrong with the confidence intervals of these samples."""
    if total["interval"] is None:
        return ["interval is null, but all samples have the same weight"]
    problems = []
    for field, ppm in QUANTILES_PPM.items():
        ranks = interval_ranks(len(ordered), ppm)
        low, high = (None if rank is None else ordered[rank - 1] for rank in ranks)
        found = total["interval"][field]
        wrong = found != [low, high]
        if wrong and total["max_relative_error_ppm"] > 0 and [bound is None for bound in found] == [
            low is None,
            high is None,
        ]:
            wrong = (low is not None and found[0] > low) or (high is not None and found[1] < high)
        if wrong:
            expected = f"expected {[low, high]} by the trace"
            problems.append(f"the interval of {field} is {found}, {expected}")
    return problems


def read_trace(lines):
    """Returns the events by name, the number of records, and the problems of the trace itself."""
    events, records, problems = {}, 0, []
    # The tags of the STARTs so far, by event and start, and by event.
    begun, started = {}, set()
    rows = csv.reader(lines)
    header = next(rows, None)
    if header is None or header[: len(HEADER)] != HEADER:
        return events, records, [f"trace: the header is {header}, expected {HEADER}"]
    for row in rows:
        where = f"trace line {rows.line_num}"
        if len(row) != len(header):
            problems.append(f"{where}: {len(row)} fields, expected {len(header)}")
            continue
        name, kind, start, amount, outcome, tag, _thread, _tid = row[: len(HEADER)]
        # The two records of a duration with a tag share a row.
        records += 2 if kind == "duration" and tag else 1
        event = events.setdefault(name, Recomputed())
        if kind not in SAMPLE_KINDS | OTHER_KINDS:
            problems.append(f"{where}: unknown kind {kind!r}")
            continue
        if kind == "start":
            begun.setdefault((name, start), []).append(tag)
            started.add((name, tag))
        elif kind in END_OUTCOME or kind == "forget":
            if tag and (name, tag) not in started:
                problems.append(f"{where}: the tag {tag} is that of no START before")
            if not tag and len(begun.get((name, start), [])) == 1:
                problems.append(f"{where}: the tag of the START is missing")
        elif tag and kind not in TAGGED_KINDS:
            problems.append(f"{where}: a record of kind {kind} has a tag")
        if kind not in SAMPLE_KINDS:
            continue
        if not amount.isdecimal():
            problems.append(f"{where}: {amount!r} is not a duration or value")
            continue
        event.samples.append((int(amount), outcome))
        if outcome != END_OUTCOME.get(kind, outcome):
            problems.append(f"{where}: a record of kind {kind} has the outcome {outcome!r}")
        if outcome in event.outcomes:
            event.outcomes[outcome] += 1
        elif outcome:
            problems.append(f"{where}: unknown outcome {outcome!r}")
    return events, records, problems


def check_total(total, samples):
    """Returns what is wrong with the summary `total` of these samples."""
    if not samples:
        return [] if total is None else [f"total is {total}, but the trace has no sample"]
    if total is None:
        return [f"total is null, but the trace has {len(samples)} samples"]

    problems = []

    def same(field, expected):
        if total[field] != expected:
            problems.append(f"{field} is {total[field]}, expected {expected} by the trace")

    ordered = sorted(samples)
    count, ppm = len(ordered), total["max_relative_error_ppm"]
    same("count", count)
    same("estimated_total", count)
    same("min", ordered[0])
    same("max", ordered[-1])
    mean = Fraction(sum(ordered), count)
    if abs(Fraction(total["mean"]) - mean) > 1:
        problems.append(f"mean is {total['mean']}, expected {float(mean)} by the trace")
    for field, quantile in QUANTILES_PPM.items():
        true = nearest_rank(ordered, quantile)
        if ppm == 0:
            same(field, true)
        elif abs(total[field] - true) * 1_000_000 > ppm * true:
            problems.append(f"{field} is {total[field]}, more than {ppm} ppm away from {true} by the trace")
    return problems + check_interval(total, ordered)


def check_histogram(histogram, unit, estimated_total, samples):
    """Returns what is wrong with the histogram of these samples, each of the weight 1."""
    problems = []
    name, size = HISTOGRAM_UNITS[unit]
    if histogram["unit"] != name:
        problems.append(f"the unit of the histogram is {histogram['unit']!r}, expected {name!r}")
    buckets, per_octave = histogram["buckets"], 2 ** histogram["scale"]
    outside = histogram["zero"] + histogram["underflow"] + histogram["overflow"]
    weight = sum(count for _, count in buckets) + outside
    if weight != estimated_total:
        problems.append(f"the buckets have the weight {weight}, expected {estimated_total}")
    numbers = [number for number, _ in buckets]
    first = histogram["lowest"] * per_octave
    end = first + histogram["octaves"] * per_octave
    if numbers != sorted(set(numbers)) or not all(first <= number < end for number in numbers):
        where = f"not in order or not in the range {first} to {end - 1}"
        problems.append(f"the buckets are {where}: {numbers}")
    if not all(count > 0 for _, count in buckets):
        problems.append("an empty bucket is listed")

    # A duration is rounded to nanoseconds, and floating point rounds the bounds.
    slack = 1.0 if unit == "ns" else 1e-6
    reached = histogram["zero"] + histogram["underflow"]
    bounds = [(first, reached)]
    for number, count in buckets:
        bounds.append((number, reached))
        reached += count
        bounds.append((number + 1, reached))
    for number, reached in bounds:
        bound = 2.0 ** (number / per_octave) * size
        least = sum(sample <= bound - slack for sample in samples)
        most = sum(sample <= bound + slack for sample in samples)
        if not least <= reached <= most:
            expected = f"expected {least} to {most} by the trace"
            problems.append(f"{reached} samples are up to {bound}, {expected}")
    return problems


def check_event(event, recomputed):
    """Returns what is wrong with an event."""
    if event["of"] not in ("ok", "any"):
        return [f"of is {event['of']!r}, expected 'ok' or 'any'"]
    problems = []
    if not isinstance(event["labels"], dict) or event["flows"] != []:
        found = f"labels are {event['labels']} and flows are {event['flows']}"
        problems.append(f"{found}, expected an object and []")
    covered = {*OUTCOMES, ""} if event["of"] == "any" else {"ok", ""}
    for scope, total, outcomes in [
        ("total", event["total"], covered), ("failed", event["failed"], {"error", "cancelled"}),
    ]:
        samples = [sample for sample, outcome in recomputed.samples if outcome in outcomes]
        found = check_total(total, samples)
        if total is not None and samples:
            weight = total["estimated_total"]
            found += check_histogram(total["histogram"], event["unit"], weight, samples)
        problems += [f"{scope}: {problem}" for problem in found]
    if event["outcomes"] != recomputed.outcomes:
        expected = f"expected {recomputed.outcomes} by the trace"
        problems.append(f"outcomes are {event['outcomes']}, {expected}")
    return problems


def check(report, trace_lines, lossless=False, required=()):
    """Returns every disagreement between the parsed report and the lines of the trace."""
    if report.get("schema") != SCHEMA:
        return [f"schema is {report.get('schema')!r}, expected {SCHEMA!r}"]
    traced, records, problems = read_trace(trace_lines)
    reported = {event["name"]: event for event in report["events"]}
    if len(reported) != len(report["events"]):
        problems.append("an event is in the report twice")
    for name in sorted(traced.keys() - reported.keys()):
        problems.append(f"{name}: in the trace, but not in the report")

    for name, event in reported.items():
        found = check_event(event, traced.get(name, Recomputed()))
        problems += [f"{name}: {problem}" for problem in found]
    for name in required:
        if not ((reported.get(name) or {}).get("total") or {}).get("count"):
            problems.append(f"{name}: has no samples")

    health = report["health"]
    if health["delivered"] != records:
        problems.append(f"health: delivered is {health['delivered']}, but the trace has {records} records")
    if health["produced"] != health["delivered"] + health["overwritten"] + health["pending"]:
        problems.append("health: produced is not delivered + overwritten + pending")
    # In the trace, a saturated duration (which is not a sample) looks like any other duration.
    for field in ["saturated", *(["overwritten", "pending"] if lossless else [])]:
        if health[field] != 0:
            problems.append(f"health: {field} is {health[field]}, expected 0")
    return problems


# ---- self-test -----------------------------------------------------------------------------------


# The intervals of the specimen, whose ranks were computed by fractions: of the samples 1 to 1,000,
# of the samples 0, 7 and 100, and the bounds of a bucket that contains 600 equal samples.
FILL = [[469, 532], [936, 964], [983, 997], [997, None]]
FAILED = [[None, None], [2, None], [2, None], [3, None]]
FEW = [[None, None], [7, None], [7, None], [100, None]]
PAUSE = [[200_000, 203_000], [199_000, 203_000], [199_000, 200_000], [199_000, None]]


def specimen():
    """Returns a report and a trace that agree. Their numbers were computed by hand, not by the functions above."""
    lines = [",".join(HEADER)]
    # The p99.9 of 1 to 1,000 is 999.
    for n in range(1000, 0, -1):
        lines.append(f"fill,start,{5000 - n},,,{n},main,7")
        lines.append(f"fill,end_ok,{5000 - n},{n},ok,{n},main,7")
    lines.append("fill,forget,9000,,,,main,7")
    lines += [f"backlog,value,0,{n},,,bus," for n in (7, 0, 100)]
    # The true quantiles are 200,000; the reported ones are off by 1 %, which is within the error of
    # 1.09 %.
    lines += ["pause,duration,0,200000,ok,,probe,8"] * 500
    lines += ["pause,duration,0,200000,ok,7,probe,8"] * 100
    lines.append("pause,tag,0,,,7,probe,8")
    # These fail, so they are in no total but that of failed spans.
    for n, outcome in [(1, "error"), (2, "error"), (3, "error")]:
        lines.append(f"fill,start,{6000 - n},,,{2000 + n},main,7")
        lines.append(f"fill,end_{outcome},{6000 - n},{n},{outcome},{2000 + n},main,7")

    def total(count, low, high, mean, quantiles, interval, histogram, ppm=0):
        return {"count": count, "estimated_total": count, "min": low, "max": high, "mean": mean, "stddev": 0.0,
                **dict(zip(QUANTILES_PPM, quantiles)),
                "interval": dict(zip(QUANTILES_PPM, interval)),
                "max_relative_error_ppm": ppm, "histogram": histogram}

    def histogram(unit, lowest, zero, buckets):
        return {"scale": 0, "unit": unit, "lowest": lowest, "octaves": 48, "zero": zero,
                "underflow": 0, "overflow": 0, "buckets": buckets}

    def event(name, unit, summary, ok, error, failed=None):
        return {"name": name, "labels": {}, "unit": unit, "total": summary, "of": "ok",
                "failed": failed, "failed_windows": {},
                "outcomes": {"ok": ok, "error": error, "cancelled": 0}, "flows": []}

    # At scale 0, a bucket is an octave: 1,000 ns are 1.0995e12/1e6 units, so 2^20.07.
    fills = [[10, 1], [11, 2], [12, 4], [13, 7], [14, 15], [15, 30], [16, 60], [17, 119]]
    fills += [[18, 238], [19, 477], [20, 47]]

    report = {
        "schema": SCHEMA,
        "events": [
            event("fill", "ns", total(1000, 1, 1000, 500.5, (500, 950, 990, 999), FILL,
                                      histogram("2^-40 s", 8, 0, fills)), 1000, 3,
                  total(3, 1, 3, 2.0, (2, 3, 3, 3), FAILED, histogram("2^-40 s", 8, 0, fills[:2]))),
            event("backlog", "1", total(3, 0, 100, 35.6667, (7, 100, 100, 100), FEW,
                                        histogram("1", 0, 1, [[2, 1], [6, 1]])), 0, 0),
            event("pause", "ns", total(600, 200000, 200000, 2e5,
                                       (202000, 200000, 198000, 200000), PAUSE,
                                       histogram("2^-40 s", 8, 0, [[27, 600]]), 10_900), 600, 0),
            event("signal", "ns", None, 0, 0),
        ],
        "health": {
            "produced": 2711,
            "delivered": 2711,
            "overwritten": 0,
            "pending": 0,
            "saturated": 0,
        },
    }
    return report, lines


def self_test():
    """The specimen passes, and each change that spoils it is rejected."""

    def problems_of(spoil=lambda _report, _lines: None, **options):
        report, lines = copy.deepcopy(specimen())
        spoil(report, lines)
        return check(report, io.StringIO("\n".join(lines) + "\n"), **options)

    def field(event, name, value):
        return lambda report, _lines: report["events"][event]["total"].update({name: value})

    def bounds(event, name, value):
        def change(report, _lines):
            report["events"][event]["total"]["interval"][name] = value

        return change

    def outcome(name, value):
        return lambda report, _lines: report["events"][0]["outcomes"].update({name: value})

    def health(**fields):
        return lambda report, _lines: report["health"].update(fields)

    def line(index, text):
        return lambda _report, lines: lines.__setitem__(index, text)

    def no_total(report, _lines):
        report["events"][0]["total"] = None

    def lost_record(_report, lines):
        del lines[1]

    def phantom_total(report, _lines):
        report["events"][3]["total"] = report["events"][0]["total"]

    def unreported(report, _lines):
        del report["events"][1]

    def other_schema(report, _lines):
        report["schema"] = "tailwatch.report/1"

    def histogram(event, **fields):
        return lambda report, _lines: report["events"][event]["total"]["histogram"].update(fields)

    def no_failed(report, _lines):
        report["events"][0]["failed"] = None

    def of_any(report, _lines):
        report["events"][0]["of"] = "any"

    def with_flows(report, _lines):
        report["events"][0]["flows"] = None

    spoilt = {
        "exact p50": field(0, "p50", 501),
        "exact p95": field(0, "p95", 949),
        "exact p99": field(0, "p99", 991),
        "exact p99.9": field(0, "p99_9", 1000),
        "estimate marked as exact": field(2, "max_relative_error_ppm", 0),
        "estimate too low": field(2, "p99", 197_000),
        "estimate too high": field(2, "p50", 203_000),
        "no interval": field(0, "interval", None),
        "exact lower bound": bounds(0, "p50", [468, 532]),
        "exact upper bound": bounds(0, "p99", [983, 998]),
        "bound of few samples": bounds(1, "p50", [0, 100]),
        "lower bound of a bucket too high": bounds(2, "p50", [200_001, 203_000]),
        "upper bound of a bucket too low": bounds(2, "p95", [199_000, 199_999]),
        "upper bound that does not exist": bounds(2, "p99_9", [199_000, 203_000]),
        "min": field(0, "min", 0),
        "max": field(0, "max", 1001),
        "mean": field(0, "mean", 502.0),
        "count": field(0, "count", 1001),
        "estimated total": field(0, "estimated_total", 2000),
        "outcome": outcome("error", 2),
        "cancelled": outcome("cancelled", 1),
        "weight of the histogram": histogram(1, zero=2),
        "unit of the histogram": histogram(1, unit="2^-40 s"),
        "another bucket": histogram(1, buckets=[[3, 1], [6, 1]]),
        "buckets out of order": histogram(1, buckets=[[6, 1], [2, 1]]),
        "empty bucket": histogram(1, buckets=[[2, 1], [4, 0], [6, 1]]),
        "bucket out of range": histogram(1, buckets=[[2, 1], [48, 1]]),
        "failed spans removed": no_failed,
        "other outcomes": of_any,
        "flows": with_flows,
        "total removed": no_total,
        "total without samples": phantom_total,
        "record removed": lost_record,
        "event removed": unreported,
        "schema": other_schema,
        "header": line(0, ",".join(reversed(HEADER))),
        "kind": line(1, "fill,begin,1,,,1,main,7"),
        "fields": line(1, "fill,start,1"),
        "another tag on an end": line(2, "fill,end_ok,4000,1000,ok,7,main,7"),
        "no tag on an end": line(2, "fill,end_ok,4000,1000,ok,,main,7"),
        "tag on a value": line(2002, "backlog,value,0,7,,7,bus,"),
        "outcome of another kind": line(2, "fill,end_ok,4000,1000,error,1000,main,7"),
        "unknown outcome": line(2002, "backlog,value,0,7,fine,,bus,"),
        "negative duration": line(2, "fill,end_ok,4000,-5,ok,1000,main,7"),
        "loss law": health(produced=2706),
        "saturated": health(saturated=1),
    }
    good = problems_of(lossless=True, required=["fill", "backlog"])
    failures = [f"the unchanged specimen is rejected: {problem}" for problem in good]
    failures += [f"not rejected: {name}" for name, spoil in spoilt.items() if not problems_of(spoil)]
    if not problems_of(required=["signal"]):
        failures.append("not rejected: a required event without samples")
    for name in ("overwritten", "pending"):
        loss = health(**{name: 1, "produced": 2712})
        if problems_of(loss):
            failures.append(f"rejected without --lossless: {name}")
        if not problems_of(loss, lossless=True):
            failures.append(f"not rejected: {name}")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", nargs="?")
    parser.add_argument("trace", nargs="?")
    parser.add_argument("--lossless", action="store_true")
    parser.add_argument("--require", default="", metavar="EVENT,…")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()

    if arguments.self_test:
        problems = self_test()
        done = "self-test passed"
    elif arguments.report is None or arguments.trace is None:
        parser.error("expected a report and a trace, or --self-test")
    else:
        with open(arguments.report, encoding="utf-8") as file:
            report = json.load(file)
        required = [name for name in arguments.require.split(",") if name]
        with open(arguments.trace, encoding="utf-8", newline="") as file:
            problems = check(report, file, arguments.lossless, required)
        done = f"{arguments.report} agrees with {arguments.trace}"

    for problem in problems[:50]:
        print(f"check_report: {problem}", file=sys.stderr)
    if problems:
        sys.exit(f"check_report: {len(problems)} problems")
    print(f"check_report: {done}")


if __name__ == "__main__":
    main()
