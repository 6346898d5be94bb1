#!/usr/bin/env python3
"""Draws texts of the program for a reading test: 30 messages, 10 help texts and 10 doc comments.

    scripts/draw_texts.py SEED

Each is printed without its source. A reader who does not know the code answers: what does it say, and what should I do? A text that
cannot be answered is rewritten. The same seed draws the same texts of the same sources.
"""

import random
import re
import sys

import check_words

MESSAGES, HELP, DOCS = 30, 10, 10


def sources():
    for path in sorted((check_words.ROOT / "src").rglob("*.rs")):
        parts = path.relative_to(check_words.ROOT).parts
        if "tests" not in parts and path.name != "tests.rs":
            yield path


def main():
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit("usage: draw_texts.py SEED")
    messages, texts, docs = [], [], []
    for path in sources():
        name = path.relative_to(check_words.ROOT).as_posix()
        for line, kind, words in check_words.rust(path):
            place = f"{name}:{line}"
            if kind == "s" and len(re.findall(r"[A-Za-z]{2,}", words)) >= 4 and words.count(" ") >= 3 and "oracle" not in name and "selftest" not in name:
                messages.append((place, words.replace("{}", "X")))
            elif kind == "hc" and len(words.split()) >= 5:
                docs.append((place, words))
        if name.startswith("src/cli/"):
            # The doc comments of options and commands are their help.
            text = path.read_text(encoding="utf-8")
            for found in re.finditer(r"((?:^ *///[^\n]*\n)+)\s*#\[(?:arg|command)|((?:^///[^\n]*\n)+)#\[derive\(Debug, (?:clap::)?(?:Args|Parser)", text, re.M):
                words = " ".join(row.strip().lstrip("/").strip() for row in found.group(0).splitlines() if row.strip().startswith("///"))
                texts.append((f"{name}:{text.count(chr(10), 0, found.start()) + 1}", words))
    draw = random.Random(int(sys.argv[1]))
    for title, pool, count in [("messages", messages, MESSAGES), ("help texts", texts, HELP), ("doc comments", docs, DOCS)]:
        print(f"\n{count} {title} of {len(pool)}")
        for number, (place, words) in enumerate(draw.sample(sorted(pool), count), 1):
            print(f"{number:3}. {words}\n       ({place})")


if __name__ == "__main__":
    main()
