#!/usr/bin/env python3
"""Compares runs of different numbers of ranks. Standard library alone.

  compare.py gradients DIR DIR   largest relative L2 difference of a tensor of the first moments: after one step without
                                 clipping they are the gradient times 1 - beta1
  compare.py losses RUN RUN      largest difference in nats of the losses of the same steps, and how many there are
  compare.py bits RUN RUN        "same" if the losses and the final weights are equal to the last digit, or what differs
"""
import array
import hashlib
import json
import math
import pathlib
import struct
import sys


def tensors(path):
    data = path.read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + n])
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + n + at for at in entry["data_offsets"])
            yield name, array.array("f", data[begin:end])


def gradients(one, other):
    files = [dict(tensors(pathlib.Path(d) / "optimizer.safetensors")) for d in (one, other)]
    worst = (0.0, "")
    names = [name for name in files[0] if name.startswith("m.")]
    assert names, "no first moments"
    for name in names:
        a, b = files[0][name], files[1][name]
        assert len(a) == len(b), name
        norm = math.sqrt(sum(x * x for x in a))
        difference = math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b)))
        worst = max(worst, (difference / norm if norm else difference, name))
    return f"{worst[0]:.3g} {worst[1]} {len(names)}"


def events(run):
    for line in (pathlib.Path(run) / "events.jsonl").open():
        yield json.loads(line)


def trained(run):
    """Losses by phase and step; after a resume the last one counts."""
    found = {}
    for event in events(run):
        if event["kind"] == "train":
            found[(event["phase"], event["phase_step"])] = event["loss"]
        elif event["kind"] == "resumed":
            pass
    return found


def losses(one, other):
    a, b = trained(one), trained(other)
    both = [key for key in a if key in b]
    assert both, "no common steps"
    worst = max((abs(a[key] - b[key]), key) for key in both)
    return f"{worst[0]:.3g} {worst[1][0]}:{worst[1][1]} {len(both)}"


def bits(one, other):
    a, b = trained(one), trained(other)
    if a != b:
        key = next(key for key in a if a[key] != b.get(key))
        return f"the loss of step {key[1]} of {key[0]}: {a[key]}, {b.get(key)}"
    hashes = []
    for run in (one, other):
        directories = sorted(p for p in (pathlib.Path(run) / "checkpoints").iterdir() if p.name.startswith("b"))
        models = [(d.name, hashlib.sha256((d / "model.safetensors").read_bytes()).hexdigest()) for d in directories]
        hashes.append(dict(models))
    common = [name for name in hashes[0] if name in hashes[1]]
    assert common, "no common checkpoints"
    for name in common:
        if hashes[0][name] != hashes[1][name]:
            return f"the weights of {name}"
    return f"same ({len(a)} losses, {len(common)} checkpoints)"


if __name__ == "__main__":
    print({"gradients": gradients, "losses": losses, "bits": bits}[sys.argv[1]](*sys.argv[2:]))
