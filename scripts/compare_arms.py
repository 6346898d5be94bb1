#!/usr/bin/env python3
"""Compares every arm of finished runs of one config with the recipe's own model, over seeds.

  scripts/compare_arms.py HEIRLOOM RUN...        RUNs are directories that differ in train.seed alone

Prints a Markdown table with, for each arm, the mean of (its validation loss - the recipe's with the same seed), in nats; the
standard error of that mean over seeds (ddof 1), which includes the effect of initial weights and batches on both; and the 95 %
interval of Student's t. All losses of a seed are measured on the same windows, so that variation between windows cancels in
the differences. The last column lists conclusions that the interval does not support.
Exits with 1 when a run is not done or its arms differ from those of the first run.
"""

import json
import math
import subprocess
import sys

# Two-sided 95 % quantiles of Student's t by degrees of freedom (any table, such as NIST's handbook, 1.3.6.7.2).
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def arms(show):
    """Returns the rows of a run by name, the recipe first."""
    last = show["rounds"][-1]
    rows = {"recipe": last, "reference": show["reference"]}
    for control in show["controls"]:
        rows["control " + control["name"].replace("_", " ")] = control
    for baseline in show.get("baselines", []):
        part = baseline.get("part", 1)
        rows[baseline["name"] + (f", part {part}" if part > 1 else "")] = baseline
    return rows


def sentence(name, arm, recipe, low, high):
    """Describes conclusions that the interval does not support."""
    other = []
    if arm["parameters"] != recipe["parameters"]:
        other.append(f"{arm['parameters'] / recipe['parameters']:.2g} times the parameters")
    if arm["steps"] != recipe["steps"]:
        other.append(f"{arm['steps'] / max(recipe['steps'], 1):.2g} times the steps")
    cost = f" It has {' and '.join(other)}, which the gap does not account for." if other else ""
    if low <= 0 <= high:
        return f"The interval contains 0: not which of the two is better.{cost}"
    if low > 0:
        return f"Behind here by {low:.3f} or more; not that it stays behind with more steps or another rate.{cost}"
    return f"Ahead here by {-high:.3f} or more; not that it stays ahead with more steps or another rate.{cost}"


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    program, runs = sys.argv[1], sys.argv[2:]
    shows = []
    for run in runs:
        out = subprocess.run([program, "show", "--json", run], capture_output=True, text=True)
        if out.returncode != 0:
            sys.exit(f"FAIL: {out.stderr.strip()}")
        show = json.loads(out.stdout)
        if show["state"] != "done":
            sys.exit(f"FAIL: {run} is {show['state']}, not done")
        shows.append(arms(show))
    names = list(shows[0])
    for run, rows in zip(runs, shows):
        if list(rows) != names:
            sys.exit(f"FAIL: {run} has the arms {', '.join(rows)}, not {', '.join(names)}")
    n = len(shows)
    print(f"{n} seeds; recipe: {', '.join(format(s['recipe']['val_loss'], '.4f') for s in shows)} nats\n")
    print("| arm | layers | parameters | steps | gap to the recipe | 95 % | what the interval does not show |")
    print("|---|---:|---:|---:|---:|---|---|")
    for name in names[1:]:
        gaps = [s[name]["val_loss"] - s["recipe"]["val_loss"] for s in shows]
        mean = sum(gaps) / n
        error = math.sqrt(sum((g - mean) ** 2 for g in gaps) / (n - 1) / n)
        half = T95.get(n - 1, 1.96) * error
        arm, recipe = shows[0][name], shows[0]["recipe"]
        words = sentence(name, arm, recipe, mean - half, mean + half)
        print(
            f"| {name} | {arm['layers']} | {arm['parameters'] / 1e3:.0f}k | {arm['steps']} | {mean:+.4f} ± {error:.4f} | "
            f"{mean - half:+.3f} to {mean + half:+.3f} | {words} |"
        )
    print("\nok")


main()
