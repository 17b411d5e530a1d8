#!/usr/bin/env python3
"""A preprocessor of mdBook: it makes links that leave docs/ lead to the repository.

The book contains only docs/, so relative links to other files would be dead in it. mdBook calls the
script with `supports` and the name of a renderer, and then with the book as JSON on standard input:
https://rust-lang.github.io/mdBook/for_developers/preprocessors.html
"""

import json
import re
import sys

OUTSIDE = re.compile(r"\]\(\.\./")


def rewrite(item, home):
    chapter = item.get("Chapter") if isinstance(item, dict) else None
    if chapter:
        chapter["content"] = OUTSIDE.sub(f"]({home}/blob/main/", chapter["content"])
        for sub in chapter["sub_items"]:
            rewrite(sub, home)


def main():
    if sys.argv[1:2] == ["supports"]:
        return
    context, book = json.load(sys.stdin)
    home = context["config"]["output"]["html"]["git-repository-url"]
    for item in book.get("items", book.get("sections", [])):
        rewrite(item, home)
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    main()
