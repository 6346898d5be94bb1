#!/usr/bin/env python3
"""Compares how `heirloom inherit --explain` measures layers with transformers and numpy, on a real model.

    scripts/compare_layer_choice.sh [--text FILE] [--windows N] [--length T] [--keep N]

(which fetches SmolLM2-135M and builds heirloom) or directly

    python scripts/compare_layer_choice.py HEIRLOOM MODEL [--text FILE] [--windows N] [--length T] [--keep N]

MODEL is a .gguf file or a Hugging Face directory; transformers gets heirloom's export of a GGUF file (f32). The text is the embedded
Shakespeare unless --text names another; tokens are made by the export's tokenizer.json, and both programs get the same ids.
Hidden states are taken before each block and after the last block, without the final norm; numpy computes the measures from them in f64:

    influence  1 - mean over tokens of cos(X_l, X_l+1)                            arXiv 2403.03853
    angular    arccos(cos(X_l, X_l+k)) / pi at the last token, mean over windows  arXiv 2403.17887
    loss       layers are dropped one at a time, each time the one whose removal gives the lowest loss; each loss is that of a
               transformers model without these blocks                            arXiv 2402.09025
    spread     numpy.linspace over the depth, rounded

`--keep` is the number of layers that the measure by loss (the slow part) keeps, 26 of 30 by default; the other measures are compared
for several numbers. Prints each figure with its limit and `ok` or `FAIL`; exits with 1 on a failure. With the defaults it takes about
10 minutes on one core.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

VALUES = 1e-5
LOSSES = 1e-4
failures = 0


def check(what, figure, limit, shown="{:.1e}"):
    global failures
    ok = figure <= limit
    failures += not ok
    print(f"{what}: {shown.format(figure)}, limit {shown.format(limit)}: {'ok' if ok else 'FAIL'}", flush=True)


def blocks(model):
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


def states(model, windows):
    """Returns the residual stream before each block and after the last block, in f64."""
    found = []

    def hook(_, args, kwargs, out):
        found.append((args[0] if args else kwargs["hidden_states"], out[0] if isinstance(out, tuple) else out))

    hooks = [block.register_forward_hook(hook, with_kwargs=True) for block in blocks(model)]
    with torch.no_grad():
        model(windows, use_cache=False)
    for hook in hooks:
        hook.remove()
    return [x.double().numpy() for x in [found[0][0]] + [after for _, after in found]]


def cosine(a, b):
    return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))


class Losses:
    """Losses of a model without some of its blocks."""

    def __init__(self, model, windows, targets):
        self.model, self.windows, self.targets = model, windows, targets
        self.all = list(blocks(model))

    def of(self, layers):
        kept = torch.nn.ModuleList([self.all[layer] for layer in layers])
        holder = self.model.transformer if hasattr(self.model, "transformer") else self.model.model
        holder.__setattr__("h" if hasattr(holder, "h") else "layers", kept)
        self.model.config.num_hidden_layers = len(layers)
        total = 0.0
        with torch.no_grad():
            for window, target in zip(self.windows, self.targets):
                logits = self.model(window[None], use_cache=False).logits[0]
                picked = torch.log_softmax(logits.double(), -1).gather(-1, target[:, None])
                total -= float(picked.mean())
        return total / len(self.windows)


def explained(heirloom, model, layers, options):
    command = [heirloom, "inherit", "--from", model, "--layers", layers, "--explain", "--json", *options]
    return json.loads(subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE).stdout)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("heirloom")
    p.add_argument("model")
    p.add_argument("--text", default=str(Path(__file__).parent.parent / "src/corpus/tinyshakespeare.txt"))
    p.add_argument("--windows", type=int, default=8)
    p.add_argument("--length", type=int, default=128)
    p.add_argument("--keep", type=int, default=26)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        export = Path(a.model)
        if not export.is_dir():
            export = Path(scratch) / "export"
            subprocess.run([a.heirloom, "export", a.model, "--format", "hf", "--out", export], check=True, stdout=subprocess.DEVNULL)
        tokenizer = Tokenizer.from_file(str(export / "tokenizer.json"))
        ids = tokenizer.encode(Path(a.text).read_text(), add_special_tokens=False).ids
        tokens = Path(scratch) / "ids.bin"
        tokens.write_bytes(np.array(ids, dtype="<u2").tobytes())
        options = ["--tokens", tokens, "--windows", a.windows, "--window-length", a.length]
        starts = [i * (len(ids) - a.length - 1) // max(a.windows - 1, 1) for i in range(a.windows)]
        windows = torch.tensor([ids[s : s + a.length] for s in starts])
        targets = torch.tensor([ids[s + 1 : s + a.length + 1] for s in starts])
        model = AutoModelForCausalLM.from_pretrained(export, dtype=torch.float32, attn_implementation="eager").eval()
        n_layer = len(blocks(model))
        print(f"{Path(a.model).name}: {n_layer} layers, {a.windows} windows of {a.length} of {len(ids)} tokens")
        x = states(model, windows)

        values = np.array([1 - cosine(before, after).mean() for before, after in zip(x, x[1:])])
        ours = explained(a.heirloom, a.model, f"influence:{n_layer // 2}", options)
        assert ours["starts"] == starts, "other windows"
        check("influence: largest difference", np.abs(np.array(ours["values"]) - values).max(), VALUES)
        for keep in (n_layer // 4, n_layer // 2, n_layer - 2):
            ours = explained(a.heirloom, a.model, f"influence:{keep}", options)
            wanted = sorted(np.argsort(-values, kind="stable")[:keep].tolist())
            check(f"influence:{keep}: layers that differ", len(set(wanted) ^ set(ours["kept"])), 0, "{}")

        last = [h[:, -1] for h in x]
        for keep in (n_layer // 4, n_layer // 2, n_layer - 2):
            k = n_layer - keep
            values = np.array([(np.arccos(np.clip(cosine(b, c), -1, 1)) / np.pi).mean() for b, c in zip(last, last[k:])])
            ours = explained(a.heirloom, a.model, f"angular:{keep}", options)
            check(f"angular:{keep}: largest difference of {len(values)} distances", np.abs(np.array(ours["values"]) - values).max(), VALUES)
            first = int(values.argmin())
            check(f"angular:{keep}: layers that differ", len(set(range(first, first + k)) ^ set(ours["dropped"])), 0, "{}")

        for keep in (n_layer // 4, n_layer // 2):
            wanted = np.floor(np.linspace(0, n_layer - 1, keep) + 0.5).astype(int).tolist()
            check(f"spread:{keep}: layers that differ", len(set(wanted) ^ set(explained(a.heirloom, a.model, f"spread:{keep}", [])["kept"])), 0, "{}")

        ours = explained(a.heirloom, a.model, f"loss:{a.keep}", options)
        losses = Losses(model, windows, targets)
        layers = list(range(n_layer))
        check("loss of all layers: difference", abs(ours["loss"] - losses.of(layers)), LOSSES)
        for number, round_ in enumerate(ours["rounds"], 1):
            without = {layer: losses.of([k for k in layers if k != layer]) for layer in layers}
            largest = max(abs(loss - without[layer]) for layer, loss in round_["without"])
            check(f"loss without one of {len(layers)} layers: largest difference", largest, LOSSES)
            dropped = min(without, key=without.get)
            check(f"dropped as number {number}: layer {round_['dropped']}, numpy's choice {dropped}; loss {round_['loss']:.4f}", int(dropped != round_["dropped"]), 0, "{}")
            layers.remove(dropped)
        check(f"loss:{a.keep}: layers that differ", len(set(layers) ^ set(ours["kept"])), 0, "{}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
