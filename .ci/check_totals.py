"""Compares the totals of two bots that replayed the same feed, one with threads and one with tasks.

    check_totals.py REPORT.json OTHER.json
    check_totals.py --self-test

Count and outcomes of each event that both bots measure must be equal, except for `gc_pause`: pauses
depend on the machine.
"""

import json
import sys

EVENTS = (
    "candle_processing",
    "signal_generation",
    "order_placement",
    "order_fill",
    "tick_to_order",
    "event_bus_publish",
    "event_bus_handle",
    "queue_backlog",
)


def totals(report):
    """Returns count and outcomes by event."""
    found = {}
    for event in report["events"]:
        if event["name"] in EVENTS:
            found[event["name"]] = ((event["total"] or {}).get("count", 0), event["outcomes"])
    return found


def differences(one, other):
    """Returns the differences between the two reports."""
    one, other = totals(one), totals(other)
    missing = [f"{name}: not in both reports" for name in EVENTS if name not in one or name not in other]
    both = [name for name in EVENTS if name in one and name in other]
    return missing + [f"{name}: {one[name]} and {other[name]}" for name in both if one[name] != other[name]]


def self_test():
    """Differences are found, and equal reports have none."""

    def report(count, failed=0):
        outcomes = {"ok": count, "error": failed, "cancelled": 0}
        return {"events": [{"name": name, "total": {"count": count}, "outcomes": outcomes} for name in EVENTS]}

    assert not differences(report(5), report(5))
    assert len(differences(report(5), report(6))) == len(EVENTS)
    assert len(differences(report(5), report(5, failed=1))) == len(EVENTS)
    assert differences(report(5), {"events": report(5)["events"][1:]}) == [f"{EVENTS[0]}: not in both reports"]
    silent = {"events": [{**event, "total": None} for event in report(0)["events"]]}
    assert not differences(silent, report(0))
    print("check_totals: self-test passed")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    reports = []
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            reports.append(json.load(file))
    problems = differences(*reports)
    for problem in problems:
        print(f"check_totals: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    counts = {name: count for name, (count, _) in totals(reports[0]).items()}
    print(f"check_totals: {sys.argv[1]} and {sys.argv[2]} have the same totals: {counts}")


if __name__ == "__main__":
    main()
