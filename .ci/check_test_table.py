#!/usr/bin/env python3
"""Checks the tables of tests/README.md: each file exists, and defines the tests that its row names.

    check_test_table.py              prints each problem as FILE:LINE: …, and exits with 1 if any
    check_test_table.py --self-test

A table is checked if its header is `| promise | file | test name |`. The file is one path in
backticks, from the root of the project. The test names are functions in backticks, each of which
the file defines (`fn name(`). Or the cell is the word "all": every test of the file.
"""

import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = "tests/README.md"
HEADER = ["promise", "file", "test name"]
IN_BACKTICKS = re.compile(r"`([^`]*)`")


def cells_of(line):
    """The cells of a table's row; None if the line is not one."""
    line = line.strip()
    if not (line.startswith("|") and line.endswith("|") and len(line) > 1):
        return None
    return [cell.strip() for cell in line[1:-1].split("|")]


def rows_of(text):
    """Line number and cells of each row of the checked tables, without their headers."""
    is_table, rows = False, []
    for number, line in enumerate(text.splitlines(), 1):
        cells = cells_of(line)
        if cells is None:
            is_table = False
        elif cells == HEADER:
            is_table = True
        elif is_table and not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            rows.append((number, cells))
    return rows


def defines(source, name):
    """Whether Rust source defines a function of this name, outside of line comments."""
    return re.search(rf"(?m)^(?:(?!//).)*\bfn\s+{re.escape(name)}\s*[(<]", source) is not None


def problems_in(text, read):
    """Line number and description of each problem; `read` returns a file's text, or None."""
    rows = rows_of(text)
    if not rows:
        return [(1, f"no table has the header | {' | '.join(HEADER)} |")]
    problems = []
    for number, cells in rows:
        if len(cells) != len(HEADER):
            problems.append((number, f"the row has {len(cells)} cells, not {len(HEADER)}"))
            continue
        _, file, tests = cells
        paths, names = IN_BACKTICKS.findall(file), IN_BACKTICKS.findall(tests)
        if len(paths) != 1 or file != f"`{paths[0]}`":
            problems.append((number, f"the file is one path in backticks, not {file!r}"))
            continue
        if not names and tests != "all":
            problem = f'the test names are functions in backticks, or "all", not {tests!r}'
            problems.append((number, problem))
        source = read(paths[0])
        if source is None:
            problems.append((number, f"there is no file {paths[0]}"))
            continue
        for name in names:
            if not re.fullmatch(r"\w+", name):
                problems.append((number, f"{name!r} is not the name of a function"))
            elif not defines(source, name):
                problems.append((number, f"{paths[0]} defines no function {name}"))
    return problems


def read(path):
    """The text of a file of the project; None if there is none."""
    file = ROOT / path
    return file.read_text() if file.is_file() else None


def self_test():
    """Checks that exactly the faulty lines are found."""
    files = {
        "a.rs": "#[test]\nfn one() {}\n    async fn two(\n// fn three()\n"
        "fn four<T>() {}\nfn five_more() {}\n",
        "b/c.rs": "fn one() {}\n",
    }
    header = "| promise | file | test name |\n|---|---|---|\n"

    def found(text):
        return [line for line, _ in problems_in(text, files.get)]

    def row(rest):
        return found(f"{header}| x | {rest} |\n")

    cases = [
        ("a good row", row("`a.rs` | `one`, `two`"), []),
        ("a generic function", row("`a.rs` | `four`"), []),
        ("all tests of a file", row("`b/c.rs` | all"), []),
        ("two tables", row(f"`a.rs` | all |\n\ntext\n\n{header}| x | `a.rs` | `six`"), [9]),
        ("a file that is not there", row("`d.rs` | `one`"), [3]),
        ("a file that is not there, all", row("`d.rs` | all"), [3]),
        ("a folder", row("`b` | all"), [3]),
        ("a function that is not there", row("`a.rs` | `one`, `six`"), [3]),
        ("a function of another file", row("`b/c.rs` | `two`"), [3]),
        ("the beginning of a name", row("`a.rs` | `five`"), [3]),
        ("the end of a name", row("`a.rs` | `more`"), [3]),
        ("a function in a comment", row("`a.rs` | `three`"), [3]),
        ("a name with a suffix", row("`a.rs` | `one()`"), [3]),
        ("two names that are not there", row("`a.rs` | `six`, `seven`"), [3, 3]),
        ("no name", row("`a.rs` | one"), [3]),
        ("no backticks", row("a.rs | `one`"), [3]),
        ("two files", row("`a.rs`, `b/c.rs` | `one`"), [3]),
        ("a cell too few", row("`a.rs`"), [3]),
        ("a cell too many", row("`a.rs` | `one` | y"), [3]),
        ("another table", row("`a.rs` | all |\n\n| a | b |\n|---|---|\n| `x` | `y`"), []),
        ("no table", found("| promise | proved by |\n|---|---|\n| x | `a.rs` |\n"), [1]),
    ]
    return [
        f"{name}: problems in lines {lines}, not {expected}"
        for name, lines, expected in cases
        if lines != expected
    ]


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--self-test", action="store_true")
    is_self_test = parser.parse_args().self_test
    if is_self_test:
        problems = [f"check_test_table: {problem}" for problem in self_test()]
    else:
        found = problems_in(read(README) or "", read)
        problems = [f"{README}:{line}: {problem}" for line, problem in found]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(1)
    done = "self-test passed" if is_self_test else "each row names tests that exist"
    print(f"check_test_table: {done}")


if __name__ == "__main__":
    main()
