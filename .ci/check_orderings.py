#!/usr/bin/env python3
"""Runs the loom models, then weakens each memory ordering in turn and requires that its model
fails.

usage: check_orderings.py TARGET_DIR

Every ordering other than Relaxed has a name in the source, `at("name", …)` or `fence_at("name",
…)`, and a row in a table of the docs. The row names the model that fails without the ordering;
`none` means that no model needs it, and the row gives the reason for it. Names and rows are
compared. The models are compiled once; the variable TAILWATCH_WEAKEN selects the ordering to
weaken.
"""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Package, cargo arguments that select its models, prefix of their test names, files with its
# tables.
CRATES = [
    ("tailwatch-core", ["--test", "loom"], "", ["core/src/ring.rs", "core/src/ring/claim_once.rs"]),
    (
        "tailwatch",
        ["--lib"],
        "recording::pool::models::",
        ["adapters/std/src/recording/pool.rs", "adapters/std/src/shared/words.rs"],
    ),
]
NAMED = re.compile(r'\b(?:at|fence_at)\(\s*"([^"]*)",\s*(?:Acquire|Release|AcqRel|SeqCst)\s*,?\s*\)')
# A compiler fence orders nothing between cores, so it has no row.
COMPILER_FENCE = re.compile(r"\bcompiler_fence\(\w+\)")
STRONG = re.compile(r"\b(?:Acquire|Release|AcqRel|SeqCst)\b")


def names_in(path):
    """Returns the names of the orderings in a source file. An ordering without a name is an error."""
    text = re.sub(r"(?m)//.*$", "", path.read_text())
    text = re.sub(r"(?s)\buse\b[^;]*;", "", text)
    rest = COMPILER_FENCE.sub("", NAMED.sub("", text))
    if STRONG.search(rest):
        sys.exit(f"error: {path.relative_to(ROOT)} has an ordering without a name: write it with `at` or `fence_at`")
    return NAMED.findall(text)


def tables_of(paths):
    """Returns the rows of the tables in the docs of files: the model, by the name of the ordering."""
    rows = {}
    for path, line in ((path, line) for path in paths for line in path.read_text().splitlines()):
        cells = [cell.strip() for cell in line.removeprefix("//!").strip().strip("|").split("|")]
        if line.startswith("//! | `") and len(cells) == 5:
            name, model = cells[0].strip("`"), cells[4].strip("`")
            if name in rows:
                sys.exit(f"error: {path.relative_to(ROOT)} has two rows for `{name}`")
            rows[name] = model
    return rows


def models(target_dir, package, choice, arguments, weaken=None):
    """Runs models and returns their output and whether they all passed."""
    env = dict(os.environ, RUST_BACKTRACE="0")
    env["RUSTFLAGS"] = env.get("RUSTFLAGS", "") + " --cfg tailwatch_loom"
    env.pop("TAILWATCH_WEAKEN", None)
    if weaken:
        env["TAILWATCH_WEAKEN"] = weaken
    command = ["cargo", "test", "--release", "--quiet", "--target-dir", target_dir, "-p", package, *choice, "--", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800)
    return done.stdout, done.returncode == 0


def main(target_dir):
    sources = [*ROOT.glob("core/src/**/*.rs"), *ROOT.glob("adapters/*/src/**/*.rs")]
    used = [name for path in sources for name in names_in(path)]
    tables = [(crate, tables_of([ROOT / path for path in crate[3]])) for crate in CRATES]
    known = [name for _, rows in tables for name in rows]
    if sorted(used) != sorted(known):
        sys.exit(f"error: the orderings in the source are {sorted(used)}, but those in the tables are {sorted(known)}")

    for (package, choice, prefix, _), rows in tables:
        print(f"models of {package}:", flush=True)
        output, passed = models(target_dir, package, choice, ["--nocapture", *([prefix] if prefix else [])])
        explored = re.findall(r"(?m)^\.*(.*: \d+ executions)$", output)
        if not passed or not explored:
            sys.exit(f"{output}\nerror: a model of {package} fails, or none ran")
        print("\n".join(f"  {line}" for line in explored), flush=True)

        for name, model in rows.items():
            if model == "none":
                print(f"  `{name}`: no model needs it", flush=True)
                continue
            test = prefix + model
            output, passed = models(target_dir, package, choice, ["--exact", test], weaken=name)
            if passed or f"\n    {test}\n" not in output or "panicked at" not in output:
                sys.exit(f"{output}\nerror: with `{name}` weakened, `{test}` does not fail")
            message = re.search(r"panicked at [^\n]*\n([^\n]*)", output).group(1)
            print(f"  `{name}` weakened: `{model}` fails ({message})", flush=True)
    needed = sum(model != "none" for _, rows in tables for model in rows.values())
    print(f"each of {needed} orderings is needed by its model")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
