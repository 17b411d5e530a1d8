#!/usr/bin/env python3
"""Checks the Markdown pages of the project.

    check_docs.py
    check_docs.py --self-test

Checked are links and anchors, docs/SUMMARY.md, code blocks (a language, closed; TOML, JSON and shell are parsed), the
length of pages and lines, and file paths in backticks. Each problem is printed as FILE:LINE: MESSAGE.
"""

import fnmatch
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Beside every page of docs/.
PAGES = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "examples/firmware/README.md",
    "tests/README.md",
    "fuzz/README.md",
    "core/README.md",
    "adapters/std/README.md",
    "adapters/std/macros/README.md",
    "adapters/tokio/README.md",
    "adapters/bare-metal/README.md",
]
SUMMARY = "docs/SUMMARY.md"
MOST_LINES = {"README.md": 150, "ARCHITECTURE.md": 250}
MOST_COLUMNS = 100
# Folders that hold no sources, wherever they are.
SKIPPED = {".git", "target", "node_modules", "__pycache__"}

FENCE = re.compile(r"^(\s*(?:> ?)*)(`{3,}|~{3,})(.*)$")
HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)(?:\s+#+)?\s*$")
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(\s*<?([^()\s<>]*(?:\([^()\s]*\)[^()\s<>]*)*)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\[([^\[\]]*)\]")
DEFINITION = re.compile(r"^ {0,3}\[([^\[\]^]+)\]:\s+<?(\S+?)>?(?:\s+\"[^\"]*\")?\s*$", re.MULTILINE)
ATTRIBUTE = re.compile(r"<[a-z][^<>]*?\b(?:href|src)=\"([^\"]*)\"")
ANCHOR = re.compile(r"<[a-z][^<>]*?\b(?:id|name)=\"([^\"]*)\"")
SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)
URL = re.compile(r"https?://[^\s)>]+")
PATH = re.compile(r"^[\w.*@+/-]*/[\w.*@+-]*\.(?:rs|py|toml|md)$")


class Block:
    """A fenced code block."""

    def __init__(self, line, language):
        self.line = line
        self.language = language
        self.lines = []
        self.closed = False

    @property
    def text(self):
        return "".join(line + "\n" for line in self.lines)


class Page:
    """A page, taken apart: its blocks, and its prose with the blocks' lines blank, so that lines keep their numbers."""

    def __init__(self, root, name):
        self.name = name
        self.folder = (root / name).parent
        self.lines = (root / name).read_text(encoding="utf-8").splitlines()
        self.blocks = []
        prose = []
        mark = indent = None
        for number, line in enumerate(self.lines, 1):
            fence = FENCE.match(line)
            if mark is None:
                # An inline span may begin a line as well; the info of a real fence has no backtick.
                if fence and "`" not in fence[3]:
                    mark, indent = fence[2], fence[1]
                    self.blocks.append(Block(number, re.split(r"[\s,{]", fence[3].strip(), maxsplit=1)[0]))
                    line = ""
                prose.append(line)
                continue
            if fence and fence[2][0] == mark[0] and len(fence[2]) >= len(mark) and not fence[3].strip():
                mark = None
                self.blocks[-1].closed = True
            else:
                self.blocks[-1].lines.append(line.removeprefix(indent))
            prose.append("")
        self.prose = prose
        text = "\n".join(prose)
        self.spans = [(self.line_of(text, found.start()), found[2]) for found in CODE_SPAN.finditer(text)]
        # Text in an inline code span is neither a link nor an anchor.
        self.plain = CODE_SPAN.sub(lambda found: re.sub(r"[^\n]", "x", found[0]), text)
        self.anchors = self.find_anchors()

    @staticmethod
    def line_of(text, at):
        return text.count("\n", 0, at) + 1

    def find_anchors(self):
        """The anchors of the headings, as GitHub makes them, and those that are written out."""
        anchors = set(ANCHOR.findall(self.plain))
        seen = {}
        for line in self.prose:
            heading = HEADING.match(line)
            if heading:
                slug = slug_of(heading[2])
                count = seen.get(slug, 0)
                seen[slug] = count + 1
                anchors.add(f"{slug}-{count}" if count else slug)
        return anchors

    def links(self):
        """Each link's line and target."""
        for pattern, group in ((LINK, 2), (DEFINITION, 2), (ATTRIBUTE, 1)):
            for found in pattern.finditer(self.plain):
                yield self.line_of(self.plain, found.start()), found[group]
        # A picture in the text of a link.
        for found in LINK.finditer(self.plain):
            for inner in LINK.finditer(found[1]):
                yield self.line_of(self.plain, found.start()), inner[2]

    def undefined(self):
        """Links by a name that is defined nowhere."""
        defined = {found[1].lower() for found in DEFINITION.finditer(self.plain)}
        for found in REFERENCE.finditer(self.plain):
            name = " ".join((found[2] or found[1]).lower().split())
            if name not in defined:
                yield self.line_of(self.plain, found.start()), found[0]


def slug_of(heading):
    """The anchor that GitHub makes of a heading."""
    text = re.sub(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])", r"\1", heading)
    text = re.sub(r"<[^<>]*>", "", text)
    text = re.sub(r"(\*\*|\*|(?<!\w)_|_(?!\w)|`)", "", text)
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def files_of(root):
    """All files, by their paths from the root."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(set(folders) - SKIPPED)
        found += [(pathlib.Path(folder) / file).relative_to(root).as_posix() for file in files]
    return found


class Checker:
    """Checks the pages of one tree."""

    def __init__(self, root):
        self.root = root
        self.files = files_of(root)
        self.problems = []
        docs = sorted(name for name in self.files if name.startswith("docs/") and name.endswith(".md"))
        self.pages = {}
        for name in PAGES + docs:
            if name in self.files:
                self.pages[name] = Page(root, name)
            else:
                self.problem(name, 1, "the page is missing")

    def problem(self, name, line, message):
        self.problems.append((name, line, message))

    def run(self):
        """All problems, sorted by place."""
        for name, page in self.pages.items():
            self.check_links(name, page)
            self.check_blocks(name, page)
            self.check_length(name, page)
            self.check_paths(name, page)
        self.check_summary()
        order = {name: number for number, name in enumerate(self.pages)}
        self.problems.sort(key=lambda problem: (order.get(problem[0], -1), problem))
        return [f"{name}:{line}: {message}" for name, line, message in self.problems]

    def check_links(self, name, page):
        for line, target in page.links():
            if SCHEME.match(target) or target.startswith("//"):
                continue
            path, _, anchor = target.partition("#")
            path = urllib.parse.unquote(path)
            if not path:
                other = name
            else:
                start = self.root if path.startswith("/") else page.folder
                full = pathlib.Path(os.path.normpath(start / path.lstrip("/")))
                if not full.exists():
                    self.problem(name, line, f"no such file: {target}")
                    continue
                if not full.is_relative_to(self.root):
                    self.problem(name, line, f"outside of the repository: {target}")
                    continue
                other = full.relative_to(self.root).as_posix()
            if anchor and other.endswith(".md"):
                found = self.pages.get(other) or Page(self.root, other)
                if urllib.parse.unquote(anchor) not in found.anchors:
                    self.problem(name, line, f"no heading for the anchor: {target}")
        for line, link in page.undefined():
            self.problem(name, line, f"a link that is not defined: {link}")

    def check_blocks(self, name, page):
        for block in page.blocks:
            if not block.closed:
                self.problem(name, block.line, "the code block is not closed")
            if not block.language:
                self.problem(name, block.line, "the code block has no language, such as `text`")
            error = None
            if block.language == "toml":
                error = error_of(tomllib.loads, block.text, tomllib.TOMLDecodeError)
            elif block.language == "json":
                error = error_of(json.loads, block.text, json.JSONDecodeError)
            elif block.language in ("sh", "bash"):
                error = error_of_shell(block.text)
            if error:
                self.problem(name, block.line, f"the {block.language} block is not valid: {error}")

    def check_length(self, name, page):
        most = MOST_LINES.get(name)
        if most and len(page.lines) > most:
            self.problem(name, most + 1, f"{len(page.lines)} lines: at most {most}")
        for number, line in enumerate(page.prose, 1):
            if line.lstrip().startswith("|"):
                continue
            columns = len(URL.sub("", line))
            if columns > MOST_COLUMNS:
                self.problem(name, number, f"{columns} columns: at most {MOST_COLUMNS}")

    def check_paths(self, name, page):
        for line, span in page.spans:
            if not PATH.match(span) or span.startswith("/"):
                continue
            path = span
            if ".." in span.split("/"):
                full = pathlib.Path(os.path.normpath(page.folder / span))
                if not full.is_relative_to(self.root):
                    continue
                path = full.relative_to(self.root).as_posix()
            path = path.removeprefix("./")
            # From the root, or from any folder, as where a table has the crate in a column of its own.
            if not any(fnmatch.fnmatchcase(file, path) or fnmatch.fnmatchcase(file, f"*/{path}") for file in self.files):
                self.problem(name, line, f"no such file: `{span}`")

    def check_summary(self):
        """Every page of docs/ is in the table of contents, once."""
        summary = self.pages.get(SUMMARY)
        if summary is None:
            self.problem(SUMMARY, 1, "the table of contents is missing")
            return
        listed = {}
        for line, target in summary.links():
            path = pathlib.Path(os.path.normpath(summary.folder / urllib.parse.unquote(target.partition("#")[0])))
            page = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else target
            if page in listed:
                self.problem(SUMMARY, line, f"{target} is listed in line {listed[page]} too")
            elif not page.startswith("docs/"):
                self.problem(SUMMARY, line, f"{target} is not a page of docs/")
            listed.setdefault(page, line)
        for name in self.pages:
            if name.startswith("docs/") and name != SUMMARY and name not in listed:
                self.problem(name, 1, f"the page is not in {SUMMARY}")


def error_of(parse, text, kind):
    """Returns what a parser rejects, or None."""
    try:
        parse(text)
    except kind as error:
        return str(error)
    return None


def error_of_shell(text):
    """What bash refuses, or None."""
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else None


GOOD = {
    "README.md": """# One

[docs](docs/a.md#two-words--more), [self](#one), [code](src/lib.rs), [web](https://example.org/#x),
[by name][page], ![picture](plot.svg), `[no](link)`, `src/lib.rs`, `lib/*.rs`, `/etc/bot.toml`.

[page]: docs/a.md

| a table | has lines of any length: it cannot be broken, and 100 columns are too few for what stands in one of its rows |
https://example.org/a/very/long/address/that/cannot/be/broken/and/that/therefore/does/not/count/at/all/here

```toml
[a]
b = 1
```

```json
{"a": [1]}
```

```sh
if true; then echo "in a block [no](link)"; fi
```

- In a list:

  ```text
  any text
  ```

````text
```
````
""",
    "docs/SUMMARY.md": "# Summary\n\n- [A](a.md)\n- [B](b.md)\n",
    "docs/a.md": "# `A` *page*\n\n## Two words & more\n\n## Two words & more\n\n[again](#two-words--more-1)\n[b](b.md)\n",
    "docs/b.md": "# B\n\n<a id=\"here\"></a>\n[here](#here), [a](a.md#a-page), [root](/README.md), [folder](../src)\n",
    "plot.svg": "",
    "src/lib.rs": "",
    "src/lib/one.rs": "",
}

# A page's name, its text, and the problems that it has to have.
BAD = [
    ("README.md", "[x](none.md)\n", ["README.md:1: no such file: none.md"]),
    ("README.md", "\n[x\ny](docs/a.md#three)\n", ["README.md:2: no heading for the anchor: docs/a.md#three"]),
    ("README.md", "[x](#one-1)\n# One\n", ["README.md:1: no heading for the anchor: #one-1"]),
    ("README.md", "[x](../x.md)\n", ["README.md:1: no such file: ../x.md"]),
    ("README.md", "[x][y]\n", ["README.md:1: a link that is not defined: [x][y]"]),
    ("README.md", "<img src=\"none.png\">\n", ["README.md:1: no such file: none.png"]),
    ("README.md", "a\n```\nx\n```\n", ["README.md:2: the code block has no language, such as `text`"]),
    ("README.md", "```text\nx\n", ["README.md:1: the code block is not closed"]),
    ("README.md", "```toml\na = \n```\n", ["README.md:1: the toml block is not valid: "]),
    ("README.md", "```json\n{,}\n```\n", ["README.md:1: the json block is not valid: "]),
    ("README.md", "```sh\nif true; then\n```\n", ["README.md:1: the sh block is not valid: "]),
    ("README.md", "\n" * 151, ["README.md:151: 151 lines: at most 150"]),
    ("ARCHITECTURE.md", "\n" * 251, ["ARCHITECTURE.md:251: 251 lines: at most 250"]),
    ("README.md", "x " * 51 + "\n", ["README.md:1: 102 columns: at most 100"]),
    ("README.md", "`src/none.rs` and `none/*.toml`\n",
     ["README.md:1: no such file: `none/*.toml`", "README.md:1: no such file: `src/none.rs`"]),
    ("docs/c.md", "# C\n", ["docs/c.md:1: the page is not in docs/SUMMARY.md"]),
    ("docs/SUMMARY.md", "[A](a.md)\n[B](b.md)\n[A](a.md)\n[C](c.md)\n[D](../README.md)\n",
     ["docs/SUMMARY.md:3: a.md is listed in line 1 too", "docs/SUMMARY.md:4: no such file: c.md",
      "docs/SUMMARY.md:5: ../README.md is not a page of docs/"]),
]


def self_test():
    """Problems are found, and nothing else."""

    def problems(changed):
        with tempfile.TemporaryDirectory() as folder:
            # Some systems reach it by a symbolic link.
            root = pathlib.Path(folder).resolve()
            for name, text in {**{page: "" for page in PAGES}, **GOOD, **changed}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text, encoding="utf-8")
            return Checker(root).run()

    assert not problems({}), problems({})
    for name, text, expected in BAD:
        found = problems({name: text})
        assert len(found) == len(expected), (text, found)
        assert all(one.startswith(start) for one, start in zip(found, expected)), (text, found)
    with tempfile.TemporaryDirectory() as folder:
        found = Checker(pathlib.Path(folder).resolve()).run()
        assert len(found) == len(PAGES) + 1 and all(": the " in one and " is missing" in one for one in found), found
    for heading, slug in [
        ("Limits TOML", "limits-toml"),
        ("What's `new` in v1.2?", "whats-new-in-v12"),
        ("[A link](x.md) & *more*", "a-link--more"),
        ("`snake_case` stays", "snake_case-stays"),
    ]:
        assert slug_of(heading) == slug, (heading, slug_of(heading))
    print("check_docs: self-test passed")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if len(sys.argv) != 1:
        sys.exit(__doc__)
    checker = Checker(ROOT)
    problems = checker.run()
    for problem in problems:
        print(problem)
    if problems:
        print(f"check_docs: {len(problems)} problems", file=sys.stderr)
        sys.exit(1)
    print(f"check_docs: {len(checker.pages)} pages are in order")


if __name__ == "__main__":
    main()
