#!/usr/bin/env python3
"""Compares forecasts of the runs in a directory with what they came to: see forecast_own_runs.sh."""

import json
import sys
from pathlib import Path

from forecasts import Limits, forecast, line, mean

AT = (20, 40, 60, 80)
PHASES = {"round-1": "rounds", "control-random": "controls"}
# Nats up to which a phase may still fall where `plateau` is said to be likely.
PLATEAU = 0.01


def evaluations(run):
    """Returns each phase's (step, validation loss)."""
    found = {}
    for text in (run / "events.jsonl").read_text().splitlines():
        event = json.loads(text)
        if event["kind"] == "eval":
            found.setdefault(event["phase"], {})[event["phase_step"]] = event["val_loss"]
    return {phase: sorted(points.items()) for phase, points in found.items()}


def judge(directory, run, phase, points, percent):
    """Forecasts a phase's final loss at a share of its steps, with what it came to and the readings to compare with."""
    end, final = points[-1]
    at = end * percent // 100
    known = [p for p in points if p[0] <= at]
    said = forecast(run.name, "--runs", directory, "--phase", phase, "--at", at)["final_loss"]
    return {
        "name": run.name,
        "loss": said,
        "truth": final,
        "last": known[-1][1],
        "line": line(known, end),
    }


def plateaus(directory, run, phase, points):
    """Lists the steps at which a plateau is said to be likely, with the fall that was still to come."""
    final = points[-1][1]
    for step, loss in points[:-1]:
        said = forecast(run.name, "--runs", directory, "--phase", phase, "--at", step)
        if said["plateau"] == "likely":
            yield step, loss - final


def errors(rows):
    """Returns the mean absolute error of the forecast, of the last value and of the line."""
    given = [row for row in rows if row["loss"]]
    forecast = mean(abs(row["loss"]["value"] - row["truth"]) for row in given)
    return forecast, *(mean(abs(row[what] - row["truth"]) for row in rows) for what in ("last", "line"))


def main():
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/forecasts")
    runs = [run for run in sorted(directory.iterdir()) if (run / "events.jsonl").is_file()]
    if not runs:
        sys.exit(f"{directory} has no runs: scripts/forecast_own_runs.sh {directory}")
    curves = {run: evaluations(run) for run in runs}
    limits, table = Limits(), []
    for phase, kind in PHASES.items():
        there = {run: found[phase] for run, found in curves.items() if phase in found}
        for percent in AT:
            rows = [judge(directory, run, phase, points, percent) for run, points in there.items()]
            print(f"{kind} at {percent} %")
            print(f"  {'run':<16} {'forecast':>8} {'interval':>16} {'truth':>8} {'last':>8} {'line':>8}")
            for row in rows:
                loss = row["loss"]
                said = f"{loss['value']:8.4f} {loss['low']:8.4f}{loss['high']:8.4f}" if loss else f"{'none':>8}{'':17}"
                print(f"  {row['name']:<16} {said} {row['truth']:8.4f} {row['last']:8.4f} {row['line']:8.4f}")
            given = [row for row in rows if row["loss"]]
            held = sum(r["loss"]["low"] <= r["truth"] <= r["loss"]["high"] for r in given)
            half = mean((r["loss"]["high"] - r["loss"]["low"]) / 2 for r in given)
            like, other = ([r for r in rows if r["name"].startswith("same") == same] for same in (True, False))
            table.append((kind, percent, errors(rows), errors(like)[0], errors(other)[0], held, len(given), half))
            if phase == "round-1" and percent == 40:
                error, last, by_line = errors(rows)
                limits.check("mean error", error, f"at most half of the last value's, {last:.4f}", error <= last / 2)
                limits.check("mean error", error, f"at most half of the line's, {by_line:.4f}", error <= by_line / 2)
    print("plateau")
    said = [(run.name, phase, *found) for run in runs for phase in PHASES if phase in curves[run]
            for found in plateaus(directory, run, phase, curves[run][phase])]
    for name, phase, step, fall in said:
        if fall > PLATEAU:
            print(f"  {name} {phase}, step {step}: likely, with {fall:.4f} still to come")
    most = max((fall for *_, fall in said), default=0.0)
    limits.check(f"most nats still to come, {len(said)} times likely", most, f"at most {PLATEAU}", most <= PLATEAU)
    print()
    print("| | at | forecast | same schedule / other | last value stays | line | truths held | half width |")
    print("|---|---|---|---|---|---|---|---|")
    for kind, percent, (error, last, by_line), like, other, held, given, half in table:
        said = f"{error:.3f} | {like:.3f} / {other:.3f}" if given else "none | none"
        width = f"{held} of {given} | {half:.3f}" if given else "none | none"
        print(f"| {kind} | {percent} % | {said} | {last:.3f} | {by_line:.3f} | {width} |")
    limits.exit()


if __name__ == "__main__":
    main()
