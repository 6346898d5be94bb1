#!/usr/bin/env bash
# Runs the shell blocks of the documents that are tagged `sh run`, in an empty home directory, and counts the others.
#
#     scripts/run_docs.sh [--build] [PAGE.md ...]
#
# Every fenced block of shell has one tag: `run` (seconds, no network), `long`, `gpu`, `net`. The blocks of a page share one new directory,
# in which `docs`, `configs` and `scripts` are links to this repository. `--build` builds the program in release mode first; without it,
# $HEIRLOOM (a path) or target/release/heirloom is used. Prints a line for each block, then the counts and `ok` or `FAIL`; exits with 1 if a
# block failed or took more than 120 s.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=false
if [ "${1:-}" = --build ]; then
    build=true
    shift
fi
if $build; then
    cargo build --release --manifest-path "$root/Cargo.toml" || exit 1
fi
program=${HEIRLOOM:-$root/target/release/heirloom}
if [ ! -x "$program" ]; then
    echo "run_docs: $program is missing; build it with --build, or name it in HEIRLOOM" >&2
    exit 2
fi
program=$(readlink -f "$program")

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir "$place/bin" "$place/home" "$place/blocks"
ln -s "$program" "$place/bin/heirloom"

# Writes each block that is tagged `run` to a file PAGE.NUMBER.sh, without its indentation, and prints the counts of all tags.
python3 - "$root" "$place/blocks" "$@" >"$place/counts" <<'PYTHON' || exit 1
import collections, pathlib, re, sys

root, into, *pages = sys.argv[1:]
root = pathlib.Path(root)
pages = [pathlib.Path(page).resolve() for page in pages] or [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]
counts = collections.Counter()
number = 0
for page in pages:
    block = re.compile(r"^( *)```sh(?: +(\w+))?\n(.*?)^\1```", re.M | re.S)
    for found in block.finditer(page.read_text(encoding="utf-8")):
        indent, tag, text = found.groups()
        counts[tag or "untagged"] += 1
        if tag == "run":
            number += 1
            line = page.read_text(encoding="utf-8").count("\n", 0, found.start()) + 1
            name = str(page.relative_to(root)).replace("/", "+") + f"@{line}"
            text = "".join(row.removeprefix(indent) for row in text.splitlines(keepends=True))
            (pathlib.Path(into) / f"{number:03}.{name}").write_text(text)
print(", ".join(f"{counts[tag]} {tag}" for tag in ("run", "long", "gpu", "net", "untagged") if counts[tag]))
PYTHON

failed=0 ran=0 page=
for file in "$place"/blocks/*; do
    [ -e "$file" ] || break
    name=$(basename "$file")
    name=${name#*.}
    name=${name//+//}
    if [ "${name%@*}" != "$page" ]; then
        page=${name%@*}
        work=$(mktemp -d "$place/work.XXXX")
        ln -s "$root/docs" "$root/configs" "$root/scripts" "$work/"
    fi
    begin=$(date +%s.%N)
    (
        cd "$work" || exit 1
        env -i HOME="$place/home" PATH="$place/bin:/usr/local/bin:/usr/bin:/bin" LANG=C.UTF-8 TERM=xterm-256color TMPDIR="$work" \
            HF_HUB_OFFLINE=1 timeout 120 bash -euo pipefail "$file"
    ) >"$place/output" 2>&1 </dev/null
    code=$?
    seconds=$(awk -v a="$begin" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')
    ran=$((ran + 1))
    if [ $code -eq 0 ]; then
        echo "ok    ${name/@/:}  $seconds s"
    else
        failed=$((failed + 1))
        echo "FAIL  ${name/@/:}  exit code $code after $seconds s"
        sed 's/^/      /' "$place/output" | tail -20
    fi
    # Trainings that a block has left in the background.
    for lock in "$work"/runs/*/lock; do
        [ -e "$lock" ] || continue
        "$program" ctl --runs "$work/runs" "$(basename "$(dirname "$lock")")" quit >/dev/null 2>&1 || true
    done
done
echo "blocks: $(cat "$place/counts"); $ran were run, $failed failed"
if [ "$failed" -eq 0 ] && ! grep -q untagged "$place/counts"; then
    echo ok
else
    echo FAIL
    exit 1
fi
