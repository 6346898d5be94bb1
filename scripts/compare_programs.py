#!/usr/bin/env python3
"""Compares what two builds of heirloom train, event by event: for changes that must not move a number.

    scripts/compare_programs.py [--quick] BEFORE AFTER

Each trains the preset tiny with 60 + 20 steps, on one thread and on two, resumes it from the reference's checkpoint, and
repeats the decisions of the committed runs `operated` and `rolled-back` (f32). The journals must be equal but for times,
speeds, process ids and directories. The `checkpoint` event says when the disk had a checkpoint, which is a matter of time:
these, and the answers to commands that asked for one, are compared apart from the rest, without their numbers. `--quick` makes tiny's models smaller, for unoptimised builds.

Prints a line for each comparison and `ok` or `FAIL`; exits with 1 on a difference.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLD_RUNS = ROOT / "tests/fixtures/runs/old"
TINY = {
    "reference.train.steps": 60,
    "reference.train.warmup": 10,
    "train.steps": 20,
    "train.dtype": "f32",
    "train.log_every": 1,
    "eval.every": 10,
    "eval.windows": 32,
    # Whether there is time for another probe depends on the machine.
    "probe.budget": 0,
    "checkpoint.keep": 99,
}
QUICK = {"model.n_embd": 16, "model.context_length": 32, "probe.length": 32, "train.batch_tokens": 128}
# What depends on the machine, the moment and the directory.
VARIES = {"t", "elapsed", "pid", "host", "seconds", "tokens_per_second", "tokens_per_second_wall", "hours", "bytes"}
# What decisions say of the future: its formulas have changed.
ADVICE = {"slope_per_1k", "slope_stderr", "plateau", "forecast", "forecast_grown", "suggestion", "why"}
# What newer programs add.
ADDED = {"change", "schedule", "planned", "milestone", "forecasts", "rules", "measured", "sink"}


def strip(value):
    """The value without what varies."""
    if isinstance(value, dict):
        return {key: strip(v) for key, v in value.items() if key not in VARIES | ADVICE | ADDED}
    return [strip(v) for v in value] if isinstance(value, list) else value


def journal(run):
    """(events without what varies, numbered from scratch; the checkpoints that were written)"""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    numbers, kept, written = {}, [], []
    for event in events:
        answers_checkpoint = event["kind"] == "answer" and event["message"].startswith("checkpoint b")
        if event["kind"] == "checkpoint" or answers_checkpoint:
            event["message"] = event.get("message", "").split(" (")[0]
            written.append({k: v for k, v in strip(event).items() if k not in ("seq", "begun", "step", "phase", "phase_step")})
            continue
        numbers[event["seq"]] = len(kept)
        event = strip(event)
        event["seq"] = len(kept)
        if "from_seq" in event:
            event["from_seq"] = max((new for old, new in numbers.items() if old <= event["from_seq"]), default=0)
        # A slow answer says how long it took.
        if event["kind"] == "answer" and event["message"].endswith(" s)"):
            event["message"] = event["message"].rsplit(" (", 1)[0]
        kept.append(json.dumps(event, sort_keys=False))
    return kept, sorted(json.dumps(w) for w in written)


def train(program, place, args, name):
    command = [str(part) for part in (program, "train", *args)]
    done = subprocess.run(command, cwd=place, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    run = place / "runs" / name
    if not (run / "events.jsonl").exists():
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return run


def runs(program, place, tiny):
    """(what it is, journal) of each run."""
    settings = [word for key, value in tiny.items() for word in ("--set", f"{key}={value}")]
    for threads in (1, 2):
        name = f"tiny-{threads}"
        run = train(program, place, [ROOT / "configs/tiny.toml", *settings, "--threads", threads, "--name", name], name)
        yield f"tiny, {threads} thread(s)", journal(run)
        copy = place / "runs" / f"{name}-resumed"
        shutil.copytree(run, copy, symlinks=True)
        (copy / "lock").unlink(missing_ok=True)
        reference = (copy / "checkpoints/reference").resolve().name
        train(program, place, ["--resume", f"{copy}@{reference}", "--threads", threads], copy.name)
        yield f"tiny, {threads} thread(s), resumed from {reference}", journal(copy)
    for source in sorted(OLD_RUNS.iterdir()):
        if not (source / "events.jsonl").exists():
            continue
        kinds = {json.loads(line)["kind"] for line in (source / "events.jsonl").read_text().splitlines()}
        if "command" not in kinds:
            continue
        args = [source / "config.toml", "--decisions", source, "--threads", 1, "--name", source.name, "--set", "probe.budget=0",
                "--set", "policy.mode=auto", "--set", "checkpoint.keep=99", "--set", "checkpoint.every=0", "--set", "train.log_every=5"]
        yield f"decisions of {source.name}", journal(train(program, place, args, source.name))


def main():
    programs = [word for word in sys.argv[1:] if word != "--quick"]
    if len(programs) != 2:
        sys.exit(__doc__.split("\n\n")[1].strip())
    before, after = (Path(p).resolve() for p in programs)
    tiny = TINY | QUICK if "--quick" in sys.argv else TINY
    failed = False
    with tempfile.TemporaryDirectory() as tmp:
        places = [Path(tmp, name) for name in ("a", "b")]
        results = []
        for place, program in zip(places, (before, after)):
            place.mkdir()
            results.append(runs(program, place, tiny))
        for (what, a), (_, b) in zip(*results):
            same = a == b
            failed |= not same
            print(f"{what}: {len(a[0])} events, {len(a[1])} checkpoints: {'equal' if same else 'DIFFERENT'}", flush=True)
            if not same:
                for x, y in zip(a[0] + a[1], b[0] + b[1]):
                    if x != y:
                        print(f"  before {x}\n  after  {y}")
                        break
                else:
                    print(f"  after: {len(b[0])} events, {len(b[1])} checkpoints")
    print("FAIL" if failed else "ok")
    sys.exit(failed)


if __name__ == "__main__":
    main()
