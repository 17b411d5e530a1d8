#!/usr/bin/env python3
"""Decodes a shared file by `docs/shared-file.md` alone, with the standard library only.

    decode.py FILE

Prints one JSON object with the program, its rings, events, limits, windows and threads, and the
records of all rings, oldest first in each ring. The records have the keys of
`tailwatch dump --all --format json` that do not depend on other records.
"""

import json
import struct
import sys

KINDS = ["tag", "start", "end_ok", "end_error", "end_cancelled", "value", "duration", "forget"]
ALL_ONES = 2**64 - 1


class File:
    """The bytes of a file, as words."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()

    def word(self, offset):
        return struct.unpack_from("<Q", self.bytes, offset)[0]

    def text(self, offset, width):
        length = min(self.word(offset), width)
        return self.bytes[offset + 8 : offset + 8 + length].decode("utf-8", "backslashreplace")


def fail(message):
    sys.exit(f"decode.py: {message}")


def header(file):
    """Returns the fields of the header that a dump shows."""
    if len(file.bytes) < 4096 or file.bytes[:8] != b"TAILWTCH":
        fail("this is no shared file")
    if file.word(8) != 1 or file.word(16) != 64 or file.word(24) != 4096:
        fail(f"version {file.word(8)} is unknown")
    if file.word(32) > len(file.bytes):
        fail("the file was truncated")
    return {
        "program": file.text(320, 128),
        "pid": file.word(40),
        "process_start": file.word(48),
        "boot_id": file.bytes[56:72].hex(),
        "state": {1: "live", 2: "stopped", 3: "snapshot"}[file.word(80)],
        "hidden_threads": file.word(128),
        "hidden_records": file.word(136),
    }


def anchor(file):
    """Returns tick and wall-clock time of the newest whole anchor."""
    anchors = [struct.unpack_from("<4Q", file.bytes, at) for at in (256, 288)]
    whole = [one for one in anchors if one[0] == one[3] > 0]
    _, ticks, unix_ns, _ = max(whole)
    return ticks, unix_ns


def tables(file):
    """Returns the offsets of the published rows of each table, by its type."""
    found = {}
    for index in range(min(file.word(184), 16)):
        kind, offset, stride, _, published = struct.unpack_from("<5Q", file.bytes, 512 + 40 * index)
        found[kind] = [offset + stride * row for row in range(published)]
    return found


def events(file, rows, labels):
    """Returns the events with their full names."""

    def name(at):
        number = file.word(at)
        pairs = [
            (file.text(row + 8, 128), file.text(row + 144, 128))
            for row in labels
            if file.word(row) == number
        ]
        if not pairs:
            return file.text(at + 32, 128)
        escaped = [
            (key, value.replace("\\", "\\\\").replace('"', '\\"')) for key, value in sorted(pairs)
        ]
        shown = ",".join(f'{key}="{value}"' for key, value in escaped)
        return f"{file.text(at + 32, 128)}{{{shown}}}"

    return [{"id": file.word(at), "name": name(at)} for at in rows]


def threads(file, rows):
    """Returns the rows of the log of threads that are complete."""
    log = []
    for at in rows:
        generation, ring, tid, first, last = struct.unpack_from("<5Q", file.bytes, at)
        if generation == 0 or generation % 2 == 1:
            continue
        name = file.text(at + 56, 64)
        log.append({"ring": ring, "tid": tid or None, "first": first, "last": last, "name": name})
    return log


def record(file, ring, sequence, at, log):
    """Returns one record."""
    words = struct.unpack_from("<2Q", file.bytes, at)
    event = words[1] & 0x7FF
    kind = words[1] >> 11 & 7
    owner = next(
        (
            row
            for row in log
            if row["ring"] == ring and row["first"] <= sequence < row["last"]
        ),
        None,
    )
    return {
        "ring": ring,
        "sequence": sequence,
        "words": list(words),
        "event": event or None,
        "kind": "invalid" if kind == 0 and event == 0 else KINDS[kind],
        "payload": words[1] >> 18,
        "thread": owner and owner["name"],
        "tid": owner and owner["tid"],
    }


def ring_records(file, index, at, log):
    """Returns the description of a ring and its whole records."""
    offset, capacity, size = struct.unpack_from("<3Q", file.bytes, at)
    if size != 256 + 16 * capacity:
        fail(f"ring {index} of {capacity} records has {size} bytes")
    head, reserved = struct.unpack_from("<2Q", file.bytes, offset)
    # Record q is whole if reserved - q is at most the capacity.
    first = max(0, reserved - capacity) if head > 0 else 0
    first = min(max(first, head - capacity), head)
    ring = {"index": index, "capacity": capacity, "head": head, "overwritten": first}
    slot = lambda sequence: offset + 256 + 16 * (sequence % capacity)
    records = [record(file, index, q, slot(q), log) for q in range(first, head)]
    return ring, records


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    file = File(sys.argv[1])
    document = header(file)
    found = tables(file)
    log = threads(file, found.get(5, []))
    document["events"] = events(file, found.get(1, []), found.get(2, []))
    document["windows"] = [
        {"length_ns": file.word(at), "slices": file.word(at + 8)} for at in found.get(6, [])
    ]
    document["limits"] = [
        {
            "event": file.word(at + 16),
            "kind": {1: "quantile", 2: "silence", 3: "errors"}[file.word(at + 24)],
            "quantile_ppm": file.word(at + 32),
            "max": file.word(at + 40),
            "window_ns": file.word(at + 48),
            "origin": file.text(at + 80, 128),
        }
        for at in found.get(3, [])
        if file.word(at) % 2 == 0 and file.word(at) > 0 and file.word(at + 8) == 0
    ]
    document["threads"] = log
    document["anchor"] = anchor(file)
    document["clock_hz"] = file.word(112)
    parts = [ring_records(file, index, at, log) for index, at in enumerate(found.get(4, []))]
    document["rings"] = [ring for ring, _ in parts]
    document["records"] = [one for _, records in parts for one in records]
    json.dump(document, sys.stdout)


if __name__ == "__main__":
    main()
