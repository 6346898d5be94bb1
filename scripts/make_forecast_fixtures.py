#!/usr/bin/env python3
"""Reduces the journals of forecast_own_runs.sh to what forecasts need, as fixtures.

    scripts/make_forecast_fixtures.py runs/forecasts tests/fixtures/runs/forecast

Kept are the run's information, phases with their schedules and results, evaluations and every 200th step's training
metrics; numbers of events are made consecutive, losses rounded to a millionth of a nat. Standard library only.
"""

import json
import sys
from pathlib import Path

TRAIN_EVERY = 200
LOSSES = ("val_loss", "loss", "gap", "lr", "peak", "min")


def rounded(value, key=""):
    """Rounds numbers to what fixtures need: losses and rates to 6 decimals, all else to 4."""
    if isinstance(value, float):
        return round(value, 6 if key in LOSSES else 4)
    if isinstance(value, dict):
        return {key: rounded(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return value


def is_kept(event):
    kind = event["kind"]
    if kind == "train":
        return event["phase_step"] % TRAIN_EVERY == 0
    return kind in ("phase", "eval") or (kind == "run" and event.get("info"))


def reduced(text):
    """Yields the lines that are kept."""
    events = (json.loads(line) for line in text.splitlines())
    for number, event in enumerate(filter(is_kept, events), 1):
        event["seq"] = number
        event["elapsed"] = round(event["elapsed"], 1)
        if event["kind"] == "eval":
            event["seconds"] = round(event["seconds"], 1)
        yield json.dumps(rounded(event), separators=(",", ":")) + "\n"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = map(Path, sys.argv[1:])
    for run in sorted(source.iterdir()):
        journal = run / "events.jsonl"
        if journal.is_file():
            (target / run.name).mkdir(parents=True, exist_ok=True)
            (target / run.name / "events.jsonl").write_text("".join(reduced(journal.read_text())))


if __name__ == "__main__":
    main()
