#!/usr/bin/env python3
"""Finds circles of imports between the Rust files of a folder.

    scripts/circles.py src/dashboard

A file depends on the files where the names that it uses are defined: paths are resolved from the crate's root through
modules and re-exports, so that `use super::feed::LiveFeed` is a use of `feed/live.rs` and not of the `mod.rs` that
passes the name on. A declaration (`mod x;`) and a re-export (`pub use x::Y;`) are no uses. What stands behind
`#[cfg(test)]` is left out, and so are files named `tests.rs` or below a folder `tests`.

Prints each circle, file by file, and their number; exits with 1 where there is one.
"""

import re
import sys
from pathlib import Path

PATH = re.compile(r"(?<![\w:.])(?:r#)?[A-Za-z_]\w*(?:\s*::\s*[A-Za-z_]\w*)+")
LITERALS = re.compile(
    r"""//[^\n]*|/\*.*?\*/|(?<!\w)b?r(\#*)".*?"\1|(?<!\w)b?"(?:\\.|[^"\\])*"|(?<!\w)b?'(?:\\[^']+|[^'\\])'""", re.S
)


def code_of(text):
    """The text without comments, literals and what is compiled for tests alone."""
    text = LITERALS.sub(lambda m: "\n" * m[0].count("\n") + " ", text)
    while found := re.search(r"#\[cfg\(test\)\]", text):
        end, depth = found.end(), 0
        while end < len(text):
            letter = text[end]
            depth += (letter in "{([") - (letter in "})]")
            end += 1
            if depth == 0 and letter in ";}":
                break
        text = text[: found.start()] + text[end:]
    return text


def leaves(tree):
    """(path, name in scope) for each name of a use tree; the name is `*` for a glob."""
    tree = tree.strip()
    if "{" in tree:
        stem, inner = tree.split("{", 1)
        inner, depth, part, parts = inner[: inner.rindex("}")], 0, "", []
        for letter in inner:
            depth += (letter == "{") - (letter == "}")
            if letter == "," and depth == 0:
                parts.append(part)
                part = ""
            else:
                part += letter
        for part in filter(str.strip, parts + [part]):
            yield from leaves(stem + part.strip())
        return
    path, _, alias = tree.partition(" as ")
    path = [word.strip() for word in path.split("::")]
    if path[-1] == "self":
        path.pop()
    yield path, alias.strip() or path[-1]


class Module:
    def __init__(self, name, file):
        self.name, self.file = name, file
        code = code_of(file.read_text())
        self.children = set(re.findall(r"\bmod\s+(\w+)\s*;", code))
        self.imports, self.passed_on, self.globs = {}, {}, []
        for public, tree in re.findall(r"\b(pub\s*(?:\([^)]*\))?\s+)?use\s+([^;]+);", code):
            for path, alias in leaves(tree):
                if alias == "*":
                    self.globs.append(path[:-1])
                else:
                    (self.passed_on if public else self.imports)[alias] = path
        declared = r"\b(pub\s*(\([^)]*\))?\s+)?(use\s+[^;]+|mod\s+\w+\s*);"
        self.body = re.sub(declared + r"|\bpub\s*\([^)]*\)", "", code)


def read(root):
    """Every module of the crate, by its path."""
    modules = {}

    def add(name, file, folder):
        module = modules[name] = Module(name, file)
        for child in module.children:
            for path in (folder / f"{child}.rs", folder / child / "mod.rs"):
                if path.exists():
                    add((*name, child), path, folder / child)

    add(("crate",), root / ("lib.rs" if (root / "lib.rs").exists() else "main.rs"), root)
    return modules


def define(modules, module, path, seen=()):
    """The module that defines what `path` names inside `module`; None for another crate's, or a local name."""
    if (module.name, tuple(path)) in seen:
        return None
    seen = (*seen, (module.name, tuple(path)))
    head, *rest = path
    at = module
    if head == "crate":
        at = modules[("crate",)]
    elif head == "super":
        at = modules[module.name[:-1]] if len(module.name) > 1 else None
    elif head == "self":
        pass
    elif head in module.children and (*module.name, head) in modules:
        at = modules[(*module.name, head)]
    elif head in module.imports or head in module.passed_on:
        stem = module.imports.get(head) or module.passed_on[head]
        # `use anyhow::anyhow` names another crate.
        return None if stem[0] == head else define(modules, module, [*stem, *rest], seen)
    else:
        return None
    for i, word in enumerate(rest):
        if not at:
            return None
        if word == "super":
            at = modules.get(at.name[:-1])
        elif (*at.name, word) in modules:
            at = modules[(*at.name, word)]
        elif word in at.passed_on:
            found = define(modules, at, [*at.passed_on[word], *rest[i + 1 :]], seen)
            return found or at
        else:
            break
    return at


def uses(modules, module):
    """The modules whose names a module uses."""
    words = set(re.findall(r"\w+", module.body))
    # Each import, even where its name does not appear again: a trait is used through its methods.
    paths = list(module.imports.values())
    paths += [path for name, path in module.passed_on.items() if name in words]
    paths += module.globs
    paths += [re.split(r"\s*::\s*", p) for p in PATH.findall(module.body)]
    found = {}
    for path in paths:
        target = define(modules, module, path)
        # Importing a module does not use it; naming something through it does.
        is_module = target and target.name[-1] == path[-1] and path[-1] not in ("self", "super")
        if target and target is not module and not (is_module and path[-1] in module.imports):
            found.setdefault(target.name, "::".join(path))
    return found


def circles(graph):
    """Strongly connected components of more than one node."""
    index, low, stack, out = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            group = []
            while not group or group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                out.append(group)

    for node in graph:
        if node not in index:
            visit(node)
    return out


def main():
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(__doc__.split("\n\n")[1].strip() + ": name one folder below the crate's src")
    folder = Path(sys.argv[1])
    root = folder
    while not (root / "lib.rs").exists() and not (root / "main.rs").exists():
        if root.parent == root:
            sys.exit(f"{folder}: no lib.rs or main.rs above it")
        root = root.parent
    sys.setrecursionlimit(10_000)
    modules = read(root)
    inside = {n: m for n, m in modules.items() if m.file.is_relative_to(folder) and "tests" not in n}
    if not inside:
        sys.exit(f"{folder}: no module of the crate is in it")
    edges = {name: uses(modules, m) for name, m in inside.items()}
    graph = {name: [t for t in found if t in inside] for name, found in edges.items()}
    found = circles(graph)
    for group in found:
        print("circle:")
        for name in sorted(group):
            for other in sorted(set(graph[name]) & set(group)):
                print(f"  {inside[name].file} -> {inside[other].file}: {edges[name][other]}")
    print(f"{folder}: {len(inside)} files, {len(found)} circles")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
