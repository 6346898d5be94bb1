#!/usr/bin/env python3
"""Compares attention ranks with numpy: every k* and m* of a model's own matrices, and how long k* takes on one core.

    python -m venv venv && venv/bin/pip install numpy safetensors
    cargo build --release && scripts/fetch-smollm2.sh
    venv/bin/python scripts/compare_ranks_with_numpy.py target/release/heirloom \\
        models/SmolLM2-135M-Instruct.Q4_1.gguf --text TEXT [--windows 100] [--window-length 100] [--rounds 3]

`heirloom bench ranks --write` writes the matrices of all layers, heads and windows with the counts found in them; numpy
decomposes the same numbers in f64, with the rule for ties of docs/analysis.md. Speed: microseconds a matrix of heirloom over
all matrices, of numpy.linalg.svd as it comes (with vectors) and without vectors over every --every-th of them, in turns on one core.
A GPT-2 medium has 38,400 such matrices in a probe of 100 windows, SmolLM2-135M 27,000.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
from safetensors.numpy import load_file

TIE = 1 - 1e-10


def counts(shares, enough):
    """The smallest number of the largest shares whose sum reaches the bound, along the last axis."""
    sums = np.cumsum(-np.sort(-shares, axis=-1), axis=-1)
    return (sums < enough[..., None]).sum(-1) + 1


def check(layer, tau, eta):
    a = layer["attention"].astype(np.float64)
    squares = np.linalg.svd(a, compute_uv=False) ** 2
    columns = (a * a).sum(-2)
    total = (a * a).sum((-2, -1))
    k = counts(squares, tau * total * TIE)
    m = counts(columns, eta * total * TIE)
    # What is nearest to the bound: of no matrix should numpy's own rounding decide.
    sums = np.cumsum(squares, axis=-1) / total[..., None]
    near = np.abs(sums - tau).min()
    return int((k != layer["k"]).sum()), int((m != layer["m"]).sum()), near


def numpy_micros(matrices, vectors):
    begin = time.perf_counter()
    for matrix in matrices:
        np.linalg.svd(matrix, compute_uv=vectors)
    return 1e6 * (time.perf_counter() - begin) / len(matrices)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heirloom")
    parser.add_argument("model")
    parser.add_argument("--text")
    parser.add_argument("--tokens")
    parser.add_argument("--windows", type=int, default=100)
    parser.add_argument("--window-length", type=int, default=100)
    parser.add_argument("--tau", type=float, default=0.9)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=int, default=20, help="matrices that numpy is timed with: every one of so many")
    args = parser.parse_args()
    if (args.text is None) == (args.tokens is None):
        parser.error("give --text or --tokens")
    command = [args.heirloom, "bench", "ranks", args.model, "--json"]
    command += ["--text", args.text] if args.text else ["--tokens", args.tokens]
    command += ["--windows", str(args.windows), "--window-length", str(args.window_length), "--tau", str(args.tau)]

    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([*command, "--write", directory], check=True, stdout=subprocess.DEVNULL)
        files = sorted(pathlib.Path(directory).glob("layer-*.safetensors"))
        wrong, matrices, sample, nearest = [0, 0], 0, [], 1.0
        for file in files:
            layer = load_file(file)
            k, m, near = check(layer, args.tau, 0.9)
            wrong = [wrong[0] + k, wrong[1] + m]
            nearest = min(nearest, near)
            matrices += layer["k"].size
            t = layer["attention"].shape[-1]
            sample.append(layer["attention"].reshape(-1, t, t)[:: args.every])
        sample = np.concatenate(sample)
    print(f"{matrices} matrices: {wrong[0]} k* and {wrong[1]} m* differ from numpy's; nearest to the bound: {nearest:.1e}")

    ours, theirs, values = [], [], []
    for _ in range(args.rounds):
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        ours.append(json.loads(out)["k_micros"])
        theirs.append(numpy_micros(sample, True))
        values.append(numpy_micros(sample, False))
    for name, micros in (("heirloom, k*", ours), ("numpy.linalg.svd", theirs), ("without vectors", values)):
        middle = statistics.median(micros)
        ratio = statistics.median(other / own for other, own in zip(micros, ours))
        print(f"{name:18} {middle:8.1f} us a matrix ({min(micros):.1f} to {max(micros):.1f}), {ratio:5.1f}x")
    raise SystemExit(1 if any(wrong) else 0)


if __name__ == "__main__":
    main()
