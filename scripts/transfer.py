#!/usr/bin/env python3
"""The paper's transfer test at a small scale: which layers of a reference make the best start for a model of a third of them?

    cargo build --release
    HEIRLOOM_DATA=DIR scripts/transfer.py target/release/heirloom [--seeds 1,2,3] [--runs runs] [--threads N]

Trains the reference of configs/transfer.toml once, then from each start and for each seed the same steps: the first, middle and
last four layers, four drawn by the seed (sorted), the embeddings alone with new layers, and nothing. A seed chooses the batches and
what is new. Runs that are there already are not repeated. The table: the mean paired gap to the reference over the seeds, its
standard error over the seeds (ddof 1), and the largest standard error over the windows of one gap. Beside the paper's starts there
is one of layers spread over the depth, the first and the last among them.
"""

import argparse
import json
import pathlib
import random
import statistics
import subprocess

CONFIG = pathlib.Path(__file__).resolve().parent.parent / "configs" / "transfer.toml"
LAYERS, TAKEN = 12, 4
STARTS = {
    "first": list(range(0, 4)),
    "middle": list(range(4, 8)),
    "last": list(range(8, 12)),
    # Not in the paper: the layer that reads the embeddings, and every so often one.
    "spread": [0, 4, 8, 11],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heirloom")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--set", action="append", default=[], help="as in heirloom train, for every run")
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    reference = f"transfer-first-{seeds[0]}"
    results = {}

    def heirloom(*words):
        return subprocess.run([args.heirloom, *words], check=True, stdout=subprocess.PIPE, text=True).stdout

    def run(start, seed, sets):
        name = f"transfer-{start}-{seed}"
        if not (pathlib.Path(args.runs) / name).exists():
            words = ["train", str(CONFIG), "--name", name, "--runs", args.runs]
            if args.threads:
                words += ["--threads", str(args.threads)]
            if name != reference:
                sets = [f"reference.path={args.runs}/{reference}@reference", *sets]
            for value in [f"train.seed={seed}", *args.set, *sets]:
                words += ["--set", value]
            heirloom(*words)
        shown = json.loads(heirloom("show", name, "--runs", args.runs, "--json"))
        last = shown["rounds"][-1]
        results.setdefault(start, []).append(last)
        print(f"{start:10} seed {seed}: val {last['val_loss']:.4f}, gap {last['gap']:+.4f} ±{last['gap_stderr']:.4f}", flush=True)
        for control in shown["controls"]:
            results.setdefault("nothing", []).append(control)
            print(f"{'nothing':10} seed {seed}: val {control['val_loss']:.4f}, gap {control['gap']:+.4f}", flush=True)
        return shown

    for seed in seeds:
        shown = run("first", seed, [])
        if seed == seeds[0]:
            ranks = shown["reference"]["max_rank"]
        alone = "control.random=false"
        run("middle", seed, ["inherit.layers=4..8", alone])
        run("last", seed, ["inherit.layers=8..12", alone])
        run("spread", seed, [f"inherit.layers={STARTS['spread']}", alone])
        drawn = sorted(random.Random(seed).sample(range(LAYERS), TAKEN))
        print(f"random     seed {seed}: layers {drawn}")
        run("random", seed, [f"inherit.layers={drawn}", alone])
        parts = '["embeddings", "positions", "final_norm", "head"]'
        run("embeddings", seed, [f"inherit.what={parts}", alone])

    print("\nMaxRank of the reference's layers:", " ".join(f"{rank:.1f}" for rank in ranks))
    print(f"\n{'start':12} {'AvgRank':>8} {'gap to the reference':>21} {'+/- over seeds':>15} {'over windows':>13}")
    for start, found in results.items():
        gaps = [result["gap"] for result in found]
        error = statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else float("nan")
        windows = max(result["gap_stderr"] for result in found)
        of = STARTS.get(start)
        rank = f"{statistics.mean(ranks[layer] for layer in of):8.1f}" if of else f"{'':8}"
        print(f"{start:12} {rank} {statistics.mean(gaps):+21.4f} {error:15.4f} {windows:13.4f}")


if __name__ == "__main__":
    main()
