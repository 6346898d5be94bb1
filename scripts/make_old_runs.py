#!/usr/bin/env python3
"""Makes the run directories in tests/fixtures/runs/old with a built heirloom.

    scripts/make_old_runs.py PROGRAM DIRECTORY

A run directory keeps what the program that made it wrote: a newer program must read and resume it. Make them again only
to add runs of a newer program, into a directory of their own; those that are committed stay as they are.

`expected.json` of a run that was interrupted has the losses with which the same program went on, in f32 on one thread.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = """\
[model]
family = "{family}"
n_layer = 4
n_head = 2
n_embd = 8
context_length = 16

[data]
train = "builtin:tinyshakespeare"
val_fraction = 0.1
tokenizer = "byte"

[reference.train]
steps = 40
lr = 1e-2
warmup = 5

[inherit]
layers = 1

[train]
steps = {steps}
batch_tokens = 128
lr = 2e-3
warmup = 2
log_every = {log_every}

[eval]
every = {every}
windows = 8

[probe]
windows = 2
length = 16

[grow]
step = 1
mode = "{mode}"

[match]
patience = {patience}

[policy]
mode = "auto"

[checkpoint]
every = 50
"""


class Run:
    def __init__(self, program, place, name, family="gpt2", mode="restart", steps=200, settings=()):
        self.program, self.place, self.name = program, place, name
        long = steps > 100
        text = CONFIG.format(family=family, mode=mode, steps=steps, log_every=10 if long else 5, every=50 if long else 10,
                             patience=1000 if long else 1)
        (place / f"{name}.toml").write_text(text)
        args = [program, "train", f"{name}.toml", "--name", name, "--threads", "1"]
        for setting in settings:
            args += ["--set", setting]
        self.process = subprocess.Popen(args, cwd=place, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    @property
    def dir(self):
        return self.place / "runs" / self.name

    def events(self):
        lines = (self.dir / "events.jsonl").read_text().splitlines(keepends=True) if self.dir.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def wait(self, what, holds):
        begun = time.time()
        while True:
            found = [e for e in self.events() if holds(e)]
            if found:
                return found[-1]
            if self.process.poll() is not None or time.time() - begun > 120:
                sys.exit(f"{self.name}: never came: {what}")
            time.sleep(0.01)

    def at(self, phase, step):
        return self.wait(f"step {step} of {phase}", lambda e: e["phase"] == phase and e["phase_step"] >= step)

    def ctl(self, *words):
        subprocess.run([self.program, "ctl", self.name, *words], cwd=self.place, check=True, stdout=subprocess.DEVNULL)

    def end(self):
        self.process.wait(timeout=120)

    def interrupt(self, how=signal.SIGTERM):
        # The program that trains is a child of the one that was started.
        pid = json.loads((self.dir / "lock").read_text().splitlines()[0])["pid"] if how == signal.SIGKILL else self.process.pid
        os.kill(pid, how)
        self.end()


def losses(events):
    """The losses among events: kind, phase, step of the phase, and the loss."""
    value = {"train": "loss", "eval": "val_loss"}
    return [[e["kind"], e["phase"], e["phase_step"], e[value[e["kind"]]]] for e in events if e["kind"] in value]


def plain(run):
    run.end()


def interrupted(run):
    run.at("round-2", 60)
    run.interrupt()


def killed(run):
    run.wait("a checkpoint of the round", lambda e: e["kind"] == "checkpoint" and e["phase"] == "round-1")
    run.at("round-1", 80)
    run.interrupt(signal.SIGKILL)


def rolled_back(run):
    run.at("round-1", 30)
    run.ctl("checkpoint")
    made = run.wait("the checkpoint", lambda e: e["kind"] == "checkpoint" and e["phase"] == "round-1")
    run.at("round-1", made["phase_step"] + 30)
    run.ctl("rollback", made["name"])
    run.wait("the rollback", lambda e: e["kind"] == "rollback")
    back = run.events()[-1]["seq"]
    run.wait("steps after it", lambda e: e["kind"] == "train" and e["seq"] > back + 2)
    run.ctl("quit")
    run.end()


def operated(run):
    run.at("round-1", 20)
    run.ctl("note", "the first round begins")
    run.ctl("set", "lr", "1e-3")
    run.ctl("pause")
    run.ctl("resume")
    run.ctl("decide")
    run.ctl("train-on", "50")
    run.ctl("grow", "2", "keep")
    run.at("round-2", 30)
    run.ctl("quit")
    run.end()


def in_a_control(run):
    run.at("control-reference", 30)
    run.interrupt()


RUNS = [
    ("plain", plain, {"steps": 20}),
    ("interrupted", interrupted, {"family": "llama", "mode": "keep"}),
    ("killed", killed, {}),
    ("rolled-back", rolled_back, {}),
    ("operated", operated, {"family": "llama"}),
    ("in-a-control", in_a_control, {"settings": ["grow.max_layers=1"], "steps": 120}),
]


def keep(run, out):
    """Copies what a resume needs: of the checkpoints the latest and the reference's."""
    target = out / run.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(run.dir, target, symlinks=True, ignore=shutil.ignore_patterns("lock", "log.txt", "series.bin", "*.sock"))
    latest = os.readlink(target / "checkpoints" / "latest")
    for checkpoint in (target / "checkpoints").iterdir():
        if checkpoint.name not in ("latest", latest) and not checkpoint.name.endswith("-reference"):
            checkpoint.unlink() if checkpoint.is_symlink() else shutil.rmtree(checkpoint)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    program, out = os.path.abspath(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        for name, script, how in RUNS:
            run = Run(program, Path(place), name, **how)
            script(run)
            keep(run, out)
            if name == "plain":
                continue
            before = run.events()[-1]["seq"]
            resume = [program, "train", "--resume", name, "--threads", "1"]
            subprocess.run(resume, cwd=place, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
            rows = losses(e for e in run.events() if e["seq"] > before)
            lines = ",\n".join(json.dumps(row) for row in rows)
            (out / name / "expected.json").write_text(f"[\n{lines}\n]\n")
            print(f"{name}: {len(rows)} losses after the resume")


if __name__ == "__main__":
    main()
