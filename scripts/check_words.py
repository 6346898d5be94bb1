#!/usr/bin/env python3
"""Lists words and phrases that this project avoids, in messages, documents and comments, with what to write instead.

    scripts/check_words.py [--strings | --docs | --comments] [--count] [PATH...]

Prints `file:line: "found" -> advice` and exits with 1 if anything was found. The three kinds of text are string literals of
the program (`--strings`: what users see), Markdown and presets (`--docs`), and comments of Rust code, which hold the CLI help (`--comments`);
without a flag all three are checked. Strings of tests are not checked: they quote what the program prints.

`scripts/check_words.allow` lists exceptions, one per line: path, phrase and reason, separated by tabs. An entry that matches
nothing is an error, so that the list can only shrink.
"""

import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# (pattern, advice, kinds): kinds are s (strings), d (documents), c (comments), h (the beginning of a doc comment).
HABITS = [
    (r"\btell(?:s|ing)?\b(?! apart)|\btold\b", "print, report, show, describe; distinguish", "sdc"),
    (r"\b(?:says?|said)\b", "print, report, show, state", "sdc"),
    (r"(?<!here )\b(?:is|are|was|were) no (?!more\b|longer\b|less\b|better\b|worse\b)\w+", "is not a ..., expected ...", "sdc"),
    (r"(?<!here )\b(?:is|are|was) none\b|\bthere (?:is|are|was) none\b", "missing, not found", "sdc"),
    (r"\b(?:nobody|somebody|whoever|no one)\b", "no client, the operator, the caller", "sdc"),
    (r"\banew\b", "again, from scratch", "sdc"),
    (r"\bheed(?:s|ed)?\b", "honours", "sdc"),
    (r"\bmend(?:s|ed|ing)?\b", "fixed, repaired", "sdc"),
    (r"\bpassed over\b|\bpasses over (?!the|one|two|all|every|each|\w+ed)\b", "skipped", "sdc"),
    (r"\bbeside\b", "next to, compared with", "sdc"),
    (r"\bin passing\b", "opportunistically, in between", "sdc"),
    (r"\b(?:is|are|was|were|be|still|not) whole\b", "intact, complete", "sdc"),
    (r"\bby (?:itself|themselves)\b", "automatically, on its own", "sdc"),
    (r"\bsoberly\b|\bhonest(?:ly)?\b", "(leave out)", "sdc"),
    (r"\b(?:go|goes|going|went) on\b", "continues", "sdc"),
    (r"\bto the bit\b", "bit for bit, bitwise equal", "sdc"),
    (r"\bfor ever\b", "forever, permanently", "sdc"),
    (r", too\b(?=[ .;:,)]|$)(?! (?:many|much|few|long|large|small|big|old|late|short|early|wide|deep|far|high|low|slow))", "also (before the verb)", "sdc"),
    (r"\balso[.;]", "also (before the verb)", "sdc"),
    (r"\bno longer\b", "not ... any more, stopped ...", "sd"),
    (r"\bit is tried\b|\bis tried again\b", "is retried", "sdc"),
    (r"\bthe former\b|\bthe latter\b|\banother one\b", "repeat the noun", "sd"),
    (r"\bthe shell is yours\b|\bhas its prompt\b", "in the background", "sdc"),
    (r"\breckon(?:s|ed)?\b", "estimated, computed", "sdc"),
    (r"\bhow (?:it|they) stands?\b|\bhow it came\b", "status, history", "sdc"),
    (r"\bcan be had\b", "at most ... available", "sdc"),
    (r"\bthat many\b|\bso many\b|(?<!half )(?<!twice )\bas many\b(?! as)", "the number", "s"),
    (r"\b1 (?:threads|layers|steps|windows|files|tokens|runs|models|heads)\b", "1 thread (singular)", "s"),
    (r"^What\b(?!.*\?)", "begin with a verb: Draws, Returns, Lists", "h"),
    (r"^How (?:far|many|much|long|often|it|they|a|the)\b(?!.*\?)", "begin with a verb or a noun", "h"),
]
HABITS = [(re.compile(pattern, re.I), advice, kinds) for pattern, advice, kinds in HABITS]

TOKEN = re.compile(
    r"""(?P<line>//[^\n]*)|(?P<block>/\*.*?\*/)|(?P<raw>b?r(?P<hashes>\#*)".*?"(?P=hashes))"""
    r"""|(?P<string>b?"(?:[^"\\]|\\.)*")|(?P<char>b?'(?:[^'\\\n]|\\[^\n][^'\n]*)')""",
    re.S,
)


def rust(path):
    """Yields (line number, kind, text) of a Rust file: s for strings, c for comments, hc for doc comments. The paragraphs of a comment
    are one text each, so that a phrase may be broken over lines. Strings are read up to the file's module of tests."""
    text = path.read_text(encoding="utf-8")
    tests = text.find("#[cfg(test)]\nmod ")
    if tests < 0 or re.match(r"#\[cfg\(test\)\]\nmod \w+;", text[tests:]):
        tests = len(text)
    is_test = path.name in ("tests.rs",) or {"tests", "benches"} & set(path.relative_to(ROOT).parts)
    comment, first, last, doc = [], 0, -2, False
    for token in TOKEN.finditer(text):
        line = text.count("\n", 0, token.start()) + 1
        if token["line"] is not None:
            words = token["line"].lstrip("/!").strip()
            if line != last + 1 or not words:
                if comment:
                    yield first, "hc" if doc else "c", " ".join(comment)
                # A later paragraph of a doc comment need not begin with a verb.
                doc = line != last + 1 and token["line"].startswith(("///", "//!"))
                comment, first = [], line
            if words:
                comment.append(words)
            last = line
            continue
        if token["string"] is not None or token["raw"] is not None:
            if is_test or token.start() > tests:
                continue
            words = re.sub(r"\\\n\s*", "", token["string"] or token["raw"])
            words = re.sub(r"\{[^{}]*\}", "{}", words)
            words = re.sub(r'^b?r?#*"|"#*$', "", words)
            yield line, "s", words.replace("\\n", " ").replace('\\"', '"')
    if comment:
        yield first, "hc" if doc else "c", " ".join(comment)


def markdown(path):
    """Yields the paragraphs of a document without its fenced blocks and code."""
    fenced, words, first = False, [], 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() + [""], 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            line = ""
        if fenced:
            continue
        line = re.sub(r"`[^`]*`", "`", line)
        if not line.strip() or line.lstrip().startswith(("- ", "|")):
            if words:
                yield first, "d", " ".join(words)
            words = []
        if line.strip():
            if not words:
                first = number
            words.append(line.strip())


def config(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        _, mark, words = line.partition("#")
        if mark:
            yield number, "d", words.strip()


def texts(paths):
    for path in paths:
        reader = {".rs": rust, ".md": markdown, ".toml": config}[path.suffix]
        for line, kind, words in reader(path):
            yield path.relative_to(ROOT).as_posix(), line, kind, words


def files():
    for folder, pattern in [
        ("src", "**/*.rs"),
        ("tests", "*.rs"),
        ("benches", "**/*.rs"),
        ("docs", "**/*.md"),
        ("configs", "**/*.toml"),
        (".", "*.md"),
    ]:
        yield from sorted((ROOT / folder).glob(pattern))


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--strings", action="append_const", dest="kinds", const="s")
    options.add_argument("--docs", action="append_const", dest="kinds", const="d")
    options.add_argument("--comments", action="append_const", dest="kinds", const="c")
    options.add_argument("--count", action="store_true", help="print the number of findings per habit alone")
    options.add_argument("paths", nargs="*", type=pathlib.Path)
    options = options.parse_args()
    kinds = options.kinds or ["s", "d", "c"]
    allowed = {}
    for line in (ROOT / "scripts/check_words.allow").read_text().splitlines():
        if line and not line.startswith("#"):
            path, phrase, reason = line.split("\t")
            allowed[path, phrase] = False
    found, counts = 0, {}
    paths = [path.resolve() for path in options.paths] or files()
    for path, line, kind, words in texts(paths):
        for pattern, advice, where in HABITS:
            if not set(kind) & set(where):
                continue
            for hit in pattern.finditer(words):
                around = words[max(0, hit.start() - 40) : hit.end() + 40]
                entry = next((key for key in allowed if key[0] == path and key[1] in words), None)
                if entry:
                    allowed[entry] = True
                    continue
                if kind[-1] not in kinds:
                    continue
                found += 1
                counts[kind, pattern.pattern] = counts.get((kind, pattern.pattern), 0) + 1
                if not options.count:
                    print(f'{path}:{line}: "{hit.group()}" -> {advice}    [{around}]')
    for (kind, pattern), count in sorted(counts.items(), key=lambda item: -item[1]):
        if options.count:
            print(f"{count:5} {kind} {pattern}")
    if not options.paths:
        for (path, phrase), used in allowed.items():
            if not used:
                print(f"scripts/check_words.allow: {path}: {phrase!r} is not used: remove it")
                found += 1
    print(f"{found} findings" if found else "ok: no avoided words")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
