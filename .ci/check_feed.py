"""Compares a trading bot's report with the recorded feed that it replayed.

    check_feed.py FEED.jsonl[.gz] REPORT.json

Every well-formed message of a known stream must be published and handled once, and every second in
which a symbol traded must make one candle.
"""

import gzip
import json
import sys


def known(stream):
    """Whether the bot decodes this stream. The type of a stream follows the first `@`."""
    _symbol, _, kind = stream.partition("@")
    return kind in ("trade", "bookTicker", "depth") or kind.startswith("depth@")


def expected_counts(lines):
    """Returns the totals that a report on these lines must have."""
    messages = 0
    candles = set()
    for line in lines:
        _received, _, text = line.partition(b" ")
        try:
            message = json.loads(text)
        except ValueError:
            continue
        stream = message.get("stream") if isinstance(message, dict) else None
        if not isinstance(stream, str) or not known(stream):
            continue
        messages += 1
        if stream.partition("@")[2] == "trade":
            trade = message["data"]
            symbol = trade.get("s") or stream.partition("@")[0].upper()
            candles.add((symbol, trade["T"] // 1000))
    return {"event_bus_publish": messages, "event_bus_handle": messages, "candle_processing": len(candles)}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    feed, report = sys.argv[1:]
    opener = gzip.open if feed.endswith(".gz") else open
    with opener(feed, "rb") as lines:
        expected = expected_counts(lines)
    with open(report, encoding="utf-8") as file:
        events = json.load(file)["events"]
    found = {event["name"]: (event["total"] or {}).get("count", 0) for event in events}
    problems = [
        f"{name}: expected {count} by the feed, the report has {found.get(name)}"
        for name, count in expected.items()
        if found.get(name) != count
    ]
    for problem in problems:
        print(f"check_feed: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"check_feed: the counts in {report} match {feed}: {expected}")


if __name__ == "__main__":
    main()
