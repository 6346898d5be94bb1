#!/usr/bin/env python3
"""Runs a whole recipe in a memory control group of which the reference alone fills 90 %.

    cargo build --release && sudo python3 scripts/check_full_memory.py target/release/heirloom

Needs root, and Linux with control groups of version 1 or 2. Prints the limit, the most that was used, and ok or FAIL; exits with
1 on failure. A recipe that holds two models at a time, at any change of phase, is killed here.
"""

import json
import os
import subprocess
import sys
import tempfile

SETS = [
    "model.n_embd=256",
    "train.batch_tokens=4096",
    "reference.train.steps=2",
    "reference.train.warmup=0",
    "train.steps=2",
    "train.warmup=0",
    "eval.windows=16",
    "probe.windows=4",
    "inherit.layers=4",
    "grow.step=2",
    "grow.max_layers=6",
    "match.tolerance=-10",
]


def group(limit):
    """Makes a control group with this limit; returns its directory and the file with its peak usage."""
    name = f"heirloom-{os.getpid()}"
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        path, limit_file, peak = f"/sys/fs/cgroup/{name}", "memory.max", "memory.peak"
        with open("/sys/fs/cgroup/cgroup.subtree_control", "w") as f:
            f.write("+memory")
    else:
        path = f"/sys/fs/cgroup/memory/{name}"
        limit_file, peak = "memory.limit_in_bytes", "memory.max_usage_in_bytes"
    os.mkdir(path)
    with open(os.path.join(path, limit_file), "w") as f:
        f.write(str(limit))
    return path, os.path.join(path, peak)


def main():
    program = os.path.abspath(sys.argv[1])
    sets = [arg for s in SETS for arg in ("--set", s)]
    with tempfile.TemporaryDirectory() as place:
        plan = [program, "train", "tiny", "--dry-run", "--json", *sets]
        plan = json.loads(subprocess.run(plan, cwd=place, capture_output=True, check=True).stdout)
        reference = next(p for p in plan["phases"] if p["phase"] == "reference")
        need = reference["memory_bytes"] - reference["memory"]["checkpoint"]
        limit = int(need / 0.9)
        path, peak = group(limit)
        try:
            def enter():
                with open(os.path.join(path, "cgroup.procs"), "w") as f:
                    f.write(str(os.getpid()))

            train = [program, "train", "tiny", "--json", "--name", "full", *sets]
            done = subprocess.run(train, cwd=place, preexec_fn=enter, capture_output=True, text=True)
            with open(peak) as f:
                used = int(f.read())
        finally:
            os.rmdir(path)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        phases = [e["phase"] for e in events if e["kind"] == "phase" and e.get("result")]
        waited = sum(str(e.get("message", "")).startswith("training waits") for e in events)
        print(f"limit {limit / 1e6:.0f} MB, the reference needs {need / 1e6:.0f} MB; at most {used / 1e6:.0f} MB were used, file pages included")
        print(f"phases that ended: {', '.join(phases)}; {waited} checkpoints without a copy")
        wanted = ["reference", "round-1", "round-2", "control-random", "control-reference"]
        good = done.returncode == 0 and phases == wanted
        if not good:
            print(done.stderr, file=sys.stderr)
        print("ok" if good else f"FAIL: exit code {done.returncode}")
        return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
