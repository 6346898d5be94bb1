"""Speed of `heirloom data prepare` beside the Python package `tokenizers`, in turns, with the same tokenizer.json and the
same ids.

    venv/bin/pip install tokenizers numpy
    cargo build --release
    venv/bin/python scripts/compare_tokenizers.py --tokenizer DIR/tokenizer.json --text $HEIRLOOM_DATA/books/train.txt

The time of heirloom is that of the whole command, reading and writing included; that of Python is `encode_batch_fast` on
the documents alone (and on parts of 256 KB of them, its better case), with as many threads.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

END = "<|endoftext|>"


def parts(text, size):
    """Cut after line breaks between words, where no id changes."""
    start = 0
    while len(text) - start > size:
        at = start + size
        while True:
            at = text.find("\n", at) + 1
            if at == 0:
                yield text[start:]
                return
            if not text[at - 2].isspace() and at < len(text) and not text[at].isspace():
                break
        yield text[start:at]
        start = at
    yield text[start:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--heirloom", default="target/release/heirloom")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    text = Path(args.text).read_text(encoding="utf-8")
    documents = text.split(END)
    cut = [list(parts(d, 256 << 10)) for d in documents]
    flat = [p for d in cut for p in d]
    mb = len(text.encode()) / 1e6
    tokenizer = Tokenizer.from_file(args.tokenizer)
    end = tokenizer.token_to_id(END)
    times = {"heirloom": [], "python, documents": [], "python, parts": []}
    with tempfile.TemporaryDirectory() as tmp:
        out = Path(tmp) / "o.bin"
        for _ in range(args.turns):
            began = time.perf_counter()
            command = [args.heirloom, "data", "prepare", args.text, "--out", str(out), "--tokenizer", args.tokenizer, "--force"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            times["heirloom"].append(time.perf_counter() - began)
            began = time.perf_counter()
            whole = tokenizer.encode_batch_fast(documents, add_special_tokens=False)
            times["python, documents"].append(time.perf_counter() - began)
            began = time.perf_counter()
            small = tokenizer.encode_batch_fast(flat, add_special_tokens=False)
            times["python, parts"].append(time.perf_counter() - began)
            del small
        ids = np.concatenate([np.array(e.ids + [end], dtype=np.uint32) for e in whole])
        ours = np.fromfile(out, dtype=np.uint16, offset=1024).astype(np.uint32)
    same = len(ids) == len(ours) and bool((ids == ours).all())
    print(f"{mb:.1f} MB, {len(ids)} tokens, {os.cpu_count()} cores, ids {'the same' if same else 'DIFFER'}")
    for name, seconds in times.items():
        print(f"{name:18} {mb / statistics.median(seconds):7.1f} MB/s  ({', '.join(f'{s:.2f}' for s in seconds)} s)")
    best = min(statistics.median(times["python, documents"]), statistics.median(times["python, parts"]))
    print(f"heirloom is {best / statistics.median(times['heirloom']):.2f} times as fast")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
