#!/usr/bin/env python3
"""Times training steps of two builds of heirloom in turns: medians by part, and the ratio of each pair.

    scripts/compare_speed.py BEFORE AFTER [PAIRS] [-- OPTIONS of `heirloom bench train`]

PAIRS [5]: each runs both programs, the first one in turn. Prints milliseconds by part and the median of the pairs' ratios, AFTER to BEFORE.
"""

import json
import statistics
import subprocess
import sys


def main() -> None:
    own, options = sys.argv[1:], []
    if "--" in own:
        at = own.index("--")
        own, options = own[:at], own[at + 1 :]
    if len(own) not in (2, 3):
        sys.exit(__doc__)
    programs, pairs = own[:2], int(own[2]) if len(own) == 3 else 5
    measured: list[list[dict]] = [[], []]
    for pair in range(pairs):
        for which in (0, 1) if pair % 2 == 0 else (1, 0):
            command = [programs[which], "bench", "train", "--json", *options]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            measured[which].append(json.loads(done.stdout))

    def of_part(runs: list[dict], part: str) -> float:
        return 1e3 * statistics.median(statistics.median(run["parts_of_steps"][part]) for run in runs)

    def step(run: dict) -> float:
        return 1e3 * statistics.median(run["step_seconds"])

    rows = [(part, *(of_part(runs, part) for runs in measured)) for part in measured[0][0]["parts_of_steps"]]
    rows.append(("step", *(statistics.median(map(step, runs)) for runs in measured)))
    print(f"{'ms':12}{'before':>10}{'after':>10}")
    for part, before, after in rows:
        print(f"{part:12}{before:10.2f}{after:10.2f}" + (f"{after / before:8.2f}x" if before else ""))
    ratios = [step(after) / step(before) for before, after in zip(*measured)]
    print(f"step, median of {pairs} pairs: {statistics.median(ratios):.3f}x ({min(ratios):.3f} to {max(ratios):.3f})")


main()
