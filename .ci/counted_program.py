"""What the checks that count under valgrind share: the compiler, and the counted program."""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def compiler():
    """Returns the version and the target of the compiler."""
    command = ["rustc", "-vV"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return f"{output.splitlines()[0]}, {re.search(r'(?m)^host: (.*)$', output).group(1)}"


def build(example):
    """Builds this example of the benches and returns its path."""
    command = ["cargo", "build", "--release", "-p", "tailwatch-benches", "--example", example]
    command.append("--message-format=json-render-diagnostics")
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"the example {example} does not build")
    messages = map(json.loads, done.stdout.splitlines())
    return next(message["executable"] for message in messages if message.get("executable"))
