#!/usr/bin/env python3
"""Compares two ranks of one thread with two independent processes of one thread that run at the same time.

    scripts/scale/efficiency.py PROGRAM [--shape S|M] [--pairs 5] [--steps 5] [--mpirun "mpirun -n 2 --bind-to none"]

PROGRAM is a release build with `--features mpi`. Both sides train the same shape (docs/performance.md), each process the same
windows of a step: the ranks share a batch of twice the size. A side's speed is its tokens per second over the steps after the first.
Prints the ratio of each pair, the median with its limit of 0.95, and `ok` or `FAIL`; exits with 1 on a failure.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT = 0.95
SHAPES = {"S": (6, 6, 384, 256, 8), "M": (12, 12, 768, 512, 2)}
CONFIG = """
[model]
n_layer = {layers}
n_head = {heads}
n_embd = {width}
context_length = {time}
[data]
train = "builtin:tinyshakespeare"
tokenizer = "gpt2"
[reference.train]
steps = {steps}
lr = 1e-3
[train]
steps = {steps}
lr = 1e-3
batch_tokens = {tokens}
log_every = 1
dtype = "f32"
[eval]
every = 1000000
windows = 2
[probe]
windows = 1
length = 16
[policy]
mode = "auto"
max_tokens = {limit}
"""


def start(command, place, name, shape, windows, steps):
    layers, heads, width, time, _ = SHAPES[shape]
    tokens = windows * time
    text = CONFIG.format(layers=layers, heads=heads, width=width, time=time, steps=steps, tokens=tokens, limit=steps * tokens)
    (place / f"{name}.toml").write_text(text)
    words = [*command, "train", f"{name}.toml", "--name", name, "--threads", "1", "--plain", "--device", "cpu"]
    return subprocess.Popen(words, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def speed(process, place, name):
    """Tokens per second over the steps after the first, from the journal's times."""
    _, errors = process.communicate()
    if process.returncode != 0:
        sys.exit(f"{name}: exit code {process.returncode}: {errors}")
    lines = (place / "runs" / name / "events.jsonl").read_text().splitlines()
    trained = [event for event in map(json.loads, lines) if event["kind"] == "train" and event["phase"] == "reference"]
    first, last = trained[0], trained[-1]
    return (last["tokens"] - first["tokens"]) / (last["elapsed"] - first["elapsed"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="S")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--mpirun", default="mpirun -n 2 --bind-to none")
    options = parser.parse_args()
    program, shape, steps = [str(options.program.resolve())], options.shape, options.steps
    windows = SHAPES[shape][4]
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    ratios = []
    for pair in range(1, options.pairs + 1):
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch)
            ranks = speed(start(options.mpirun.split() + program, place, "ranks", shape, 2 * windows, steps), place, "ranks")
            alone = [start(program, place, name, shape, windows, steps) for name in ("one", "two")]
            apart = sum(speed(process, place, name) for process, name in zip(alone, ("one", "two")))
        ratios.append(ranks / apart)
        print(f"pair {pair}: 2 ranks {ranks:.0f} tokens/s, 2 processes {apart:.0f} tokens/s, ratio {ratios[-1]:.3f}", flush=True)
    median = statistics.median(ratios)
    print(f"{shape}: median ratio {median:.3f}, limit {LIMIT}: {'ok' if median >= LIMIT else 'FAIL'}")
    return 0 if median >= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
