#!/usr/bin/env python3
"""Computes the table of docs/scale.md: what 8 and 64 GPUs are expected to give, from formulas and one assumed speed.

    scripts/scale/table.py                        prints the table
    scripts/scale/table.py --in docs/scale.md     exit code 1 unless the file holds this table
    scripts/scale/table.py --program PROGRAM      exit code 1 unless heirloom's own plan follows the same formulas

The formulas, for N ranks, P parameters (E of them in embeddings, whose gradients are finished last), gradients and weights
of 4 bytes, and M micro-batches of each rank:

    sums       2 (N-1)/N 4 P bytes sent by each rank: a ring's reduce-scatter and all-gather (Patarasuk, Yuan 2009)
    weights    (N-1)/N 4 P bytes more to complete the weights when the optimizer is sharded
    hidden     what of the sums fits behind 2/3 of the last micro-batch (its backward pass), but for the embeddings and one
               bucket (25 MiB on GPUs, 4 MiB on CPUs)
    efficiency computation / (computation + what is not hidden + weights)
    state      18 P bytes a GPU in bf16: weights 4 + 2, gradients 4, moments 8; sharded 10 P + 8 P/N (ZeRO, stage 1:
               Rajbhandari et al. 2020, arXiv 1910.02054)

Computation is FLOPs over MFU times 989 TFLOP/s (H100, H200 in bf16, dense). MFU is docs/gpu.md's: 47.0 % for 124M and
49.1 % for 350M, measured on one H200; 49 % is assumed for what is larger. Latency, the update and contention of exchange
and computation are left out.
"""

import argparse
import json
import subprocess
import sys

PEAK = 989e12
GPU_BUCKET = 25 * 1024 * 1024
CPU_BUCKET = 4 * 1024 * 1024
LINKS = {8: [("NVLink", 3600)], 64: [("8 x NDR a node", 3200), ("1 x NDR a node", 400), ("100 GbE a node", 100)]}
BATCH = 512  # windows of a step: half a million tokens


class Shape:
    """A model, counted as the program counts it."""

    def __init__(self, name, layers, width, vocab, time, mfu, micro, llama_inner=0, windows=BATCH):
        self.name, self.time, self.mfu, self.micro, self.windows = name, time, mfu, micro, windows
        c = width
        if llama_inner:  # untied head, rotary positions, no biases
            block = 4 * c * c + 3 * c * llama_inner + 2 * c
            self.parameters = 2 * vocab * c + layers * block + c
            self.embeddings = vocab * c
            products = layers * (4 * c * c + 3 * c * llama_inner)
        else:  # GPT-2: tied head, learned positions, biases
            block = 12 * c * c + 13 * c
            self.parameters = (vocab + time) * c + layers * block + 2 * c
            self.embeddings = (vocab + time) * c
            products = layers * 12 * c * c
        self.flops_per_token = 6 * (products + vocab * c) + 12 * layers * c * time

    def compute(self, world):
        """Seconds of one rank's computation in a step."""
        return self.flops_per_token * self.windows * self.time / (self.mfu * PEAK) / world


def exchange(parameters, embeddings, compute, micro_batches, world, gbit, bucket=GPU_BUCKET):
    """What a step's exchange takes over a link of so many Gbit/s in each direction."""
    gradients = 4 * parameters
    part = (world - 1) / world
    seconds = lambda volume: 8 * volume / (1e9 * gbit)
    sums = seconds(2 * part * gradients)
    last = min(4 * embeddings + bucket, gradients)
    backward = 2 / 3 * compute / micro_batches
    exposed = sums - min(sums * (1 - last / gradients), backward)
    gather = seconds(part * gradients)
    return {
        "sum_seconds": sums,
        "exposed_seconds": exposed,
        "efficiency": compute / (compute + exposed),
        "gather_seconds": gather,
        "efficiency_sharded": compute / (compute + exposed + gather),
    }


SHAPES = [
    Shape("GPT-2 124M", 12, 768, 50304, 1024, 0.470, 32),
    Shape("GPT-2 350M", 24, 1024, 50304, 1024, 0.491, 16),
    Shape("GPT-3 XL 1.3B", 24, 2048, 50304, 1024, 0.49, 8),
    Shape("OpenLLaMA 3B", 26, 3200, 32000, 2048, 0.49, 4, llama_inner=8640, windows=BATCH // 2),
]


def table():
    """Returns the table's lines."""
    lines = [
        "| model, GPUs, link | state per GPU, sharded | sent a step, sharded | computation | sums | not hidden | efficiency | sharded |",
        "|---|---|---|---|---|---|---|---|",
    ]
    ms = lambda seconds: f"{1000 * seconds:.0f} ms" if seconds >= 0.00095 else f"{1000 * seconds:.1f} ms"
    for shape in SHAPES:
        for world, links in LINKS.items():
            each = shape.windows // world
            micro = min(shape.micro, each)
            p = shape.parameters
            for name, gbit in links:
                found = exchange(p, shape.embeddings, shape.compute(world), each // micro, world, gbit)
                sent = 8 * p * (world - 1) / world
                lines.append(
                    f"| {shape.name}, {world}, {name} | {18 * p / 1e9:.1f} GB, {(10 * p + 8 * p / world) / 1e9:.1f} GB "
                    f"| {sent / 1e9:.2f} GB, {1.5 * sent / 1e9:.2f} GB | {ms(shape.compute(world))} "
                    f"| {ms(found['sum_seconds'])} | {ms(found['exposed_seconds'])} | {100 * found['efficiency']:.0f} % "
                    f"| {100 * found['efficiency_sharded']:.0f} % |"
                )
    return lines


def agrees(program):
    """Returns what differs between the program's plan for a small model and the formulas above."""
    wrong = []
    for world, gbit in [(2, 1.0), (4, 10.0), (8, 0.05)]:
        command = [program, "train", "tiny", "--dry-run", "--json", "--ranks", str(world), "--link", str(gbit)]
        plan = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        ranks = plan["ranks"]
        # The largest model is the reference: 8 layers of width 128, 320 ids, 128 positions.
        tiny = Shape("tiny", 8, 128, 320, 128, 1, 8, windows=ranks["windows"])
        largest = max(phase["parameters"] for phase in plan["phases"])
        if tiny.parameters != largest:
            wrong.append(f"parameters: {tiny.parameters} here, {largest} there")
        compute = tiny.flops_per_token * tiny.windows * tiny.time / plan["flops_per_second"] / world
        micro_batches = max(1, ranks["windows"] // world // ranks["micro_batch"])
        expected = exchange(tiny.parameters, tiny.embeddings, compute, micro_batches, world, gbit, CPU_BUCKET)
        expected["compute_seconds"] = compute
        found = {**ranks, **ranks["links"][0]}
        for key, value in expected.items():
            if abs(found[key] - value) > 1e-9 * abs(value) + 1e-15:
                wrong.append(f"{world} ranks, {gbit} Gbit/s: {key} is {value} here, {found[key]} there")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in", dest="document")
    parser.add_argument("--program")
    args = parser.parse_args()
    failed = []
    if args.document:
        with open(args.document, encoding="utf-8") as file:
            if "\n".join(table()) not in file.read():
                failed.append(f"{args.document} does not hold the table that {sys.argv[0]} prints")
    if args.program:
        failed += agrees(args.program)
    if not (args.document or args.program):
        print("\n".join(table()))
        return
    for line in failed:
        print(f"FAIL: {line}")
    if failed:
        sys.exit(1)
    print("ok")


if __name__ == "__main__":
    main()
