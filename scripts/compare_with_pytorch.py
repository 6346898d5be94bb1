#!/usr/bin/env python3
"""Times training steps of heirloom and of PyTorch in turns: same shapes, same weights, same tokens.

    python -m venv venv && venv/bin/pip install torch safetensors numpy      and transformers for --shapes L
    cargo build --release
    venv/bin/python scripts/compare_with_pytorch.py target/release/heirloom [--shapes S,C,M] [--rounds 3]

PyTorch gets its best setting: freed memory is kept (glibc's MALLOC_* variables), SDPA attention, fused AdamW, and each of
eager and torch.compile, f32 and bf16 autocast. GPT-2's shapes use the small model below; L is a Llama of SmolLM2-135M's
shape, as transformers has it. Losses of the first step must agree before anything is compared.

With --steps 60 the losses of bf16 beside f32's say something: both programs' are shown.

A table of medians over the rounds' medians, and of the fastest step of all: on a machine that others use, the latter
says more.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

GPT2 = "--layers {} --heads {} --width {} --context {} --batch {} --vocab {}"
SHAPES = {
    "S": GPT2.format(6, 6, 384, 256, 8, 50304),
    "C": GPT2.format(6, 6, 384, 256, 8, 256),
    "M": GPT2.format(12, 12, 768, 512, 2, 50304),
    "L": "--family llama --layers 30 --heads 9 --kv-heads 3 --width 576 --inner 1536 --context 256 --batch 4 --vocab 49152",
}
KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heirloom", help="the program to compare")
    parser.add_argument("--shapes", default="S,C,M")
    parser.add_argument("--modes", default="f32,f32-compile,bf16,bf16-compile")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="measured steps of a round; two more come first")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--forward", action="store_true", help="losses only, under no_grad")
    args = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = str(args.threads)
    for shape in args.shapes.split(","):
        compare(args, shape)


def compare(args, shape):
    modes = args.modes.split(",")
    dtypes = sorted({mode.split("-")[0] for mode in modes}, reverse=True)
    with tempfile.TemporaryDirectory() as scratch:
        files = os.path.join(scratch, "model")
        base = [args.heirloom, "bench", "train", "--json", *SHAPES[shape].split()]
        base += ["--forward"] if args.forward else []
        run(base + ["--steps", "1", "--write", files], {})
        base += ["--steps", str(args.steps)]
        results = {}
        for _ in range(args.rounds):
            for mode in modes:
                worker = [sys.executable, __file__, "--worker", files, mode, str(args.steps), str(args.threads)]
                worker += ["forward"] if args.forward else []
                results.setdefault("torch " + mode, []).append(run(worker, KEPT_MEMORY))
            for dtype in dtypes:
                results.setdefault("heirloom " + dtype, []).append(run(base + ["--dtype", dtype], {}))
    report(shape, results, dtypes, args)


def run(command, variables):
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("{") :])


def report(shape, results, dtypes, args):
    print(f"\n{shape}: {SHAPES[shape]}, {args.threads} threads, {args.rounds} rounds of {args.steps} steps", end="")
    print(", forward only" if args.forward else "")
    median, fastest, memory = {}, {}, {}
    first = {name: rounds[0]["losses"][0] for name, rounds in results.items()}
    exact = first["heirloom " + dtypes[0]]
    for name, rounds in results.items():
        median[name] = statistics.median(r["tokens_per_second"] for r in rounds)
        fastest[name] = max(r["fastest"] for r in rounds)
        memory[name] = max(r["peak_memory_bytes"] for r in rounds) / 1e9
        allowed = 2e-5 if "f32" in name else 2e-3
        if abs(first[name] - exact) > allowed * exact:
            sys.exit(f"losses differ: {first}")
        last = rounds[0]["losses"][-1]
        print(f"  {name:20} {median[name]:7.0f} tokens/s, fastest {fastest[name]:7.0f}, {memory[name]:5.2f} GB, ", end="")
        print(f"loss {first[name]:.5f} to {last:.5f}")
    for dtype in dtypes:
        ours, theirs = "heirloom " + dtype, [n for n in results if n.startswith(f"torch {dtype}")]
        best = max(theirs, key=median.get)
        quick = max(theirs, key=fastest.get)
        print(f"  {dtype}: {median[ours] / median[best]:.2f} x {best} by medians, ", end="")
        print(f"{fastest[ours] / fastest[quick]:.2f} x {quick} by fastest steps; memory ", end="")
        print(", ".join(f"{memory[ours] / memory[n]:.2f} x {n}" for n in theirs))
    apart(results)


def apart(results):
    """How far the losses of all steps lie from PyTorch's in f32."""
    if "torch f32" not in results:
        return
    exact = results["torch f32"][0]["losses"]
    print(f"  losses beside torch f32's over {len(exact)} steps, mean and largest distance in nats:")
    for name, rounds in results.items():
        off = [abs(a - b) for a, b in zip(rounds[0]["losses"], exact)]
        print(f"    {name:18} {statistics.mean(off):.6f} {max(off):.6f}")


def worker(files, mode, steps, threads, forward):
    import resource
    import time

    import torch

    torch.set_num_threads(threads)
    config = json.load(open(os.path.join(files, "config.json")))
    tokens = json.load(open(os.path.join(files, "tokens.json")))
    inputs, targets = (torch.tensor(tokens[k]).view(tokens["shape"]) for k in ("inputs", "targets"))
    model = gpt2(config, files) if config["model_type"] == "gpt2" else llama(files)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), fused=True)
    loss_of = torch.compile(model) if "compile" in mode else model
    seconds, losses = [], []
    for _ in range(steps + 2):
        begin = time.perf_counter()
        with torch.set_grad_enabled(not forward), torch.autocast("cpu", torch.bfloat16, enabled="bf16" in mode):
            loss = loss_of(inputs, targets)
        if not forward:
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        seconds.append(time.perf_counter() - begin)
    seconds = seconds[2:]
    print(
        json.dumps(
            {
                "tokens_per_second": inputs.numel() / statistics.median(seconds),
                "fastest": inputs.numel() / min(seconds),
                "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "losses": losses,
            }
        )
    )


def gpt2(config, files):
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
    from safetensors.torch import load_file

    width, heads, vocab = config["n_embd"], config["n_head"], config["vocab_size"]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            batch, time, _ = x.shape
            parts = self.qkv(self.ln_1(x)).split(width, 2)
            q, k, v = (p.view(batch, time, heads, width // heads).transpose(1, 2) for p in parts)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(batch, time, width))
            return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(config["n_positions"], width)
            self.blocks = nn.ModuleList(Block() for _ in range(config["n_layer"]))
            self.ln = nn.LayerNorm(width)

        def forward(self, inputs, targets):
            x = self.wte(inputs) + self.wpe.weight[: inputs.shape[1]]
            for block in self.blocks:
                x = block(x)
            logits = F.linear(self.ln(x), self.wte.weight)
            return F.cross_entropy(logits.view(-1, vocab), targets.reshape(-1))

    model = Model()
    saved = load_file(os.path.join(files, "model.safetensors"))
    saved = {name.removeprefix("transformer."): value for name, value in saved.items()}
    names = {"ln_1": "ln_1", "ln_2": "ln_2", "qkv": "attn.c_attn", "out": "attn.c_proj", "up": "mlp.c_fc", "down": "mlp.c_proj"}
    with torch.no_grad():
        model.wte.weight.copy_(saved["wte.weight"])
        model.wpe.weight.copy_(saved["wpe.weight"])
        model.ln.weight.copy_(saved["ln_f.weight"])
        model.ln.bias.copy_(saved["ln_f.bias"])
        for i, block in enumerate(model.blocks):
            for own, theirs in names.items():
                module = getattr(block, own)
                weight = saved[f"h.{i}.{theirs}.weight"]
                module.weight.copy_(weight.T if weight.dim() == 2 else weight)
                module.bias.copy_(saved[f"h.{i}.{theirs}.bias"])
    return model


def llama(files):
    import torch
    import torch.nn.functional as F
    from transformers import AutoModelForCausalLM

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = AutoModelForCausalLM.from_pretrained(files, dtype=torch.float32, attn_implementation="sdpa")
            self.model.train()

        def forward(self, inputs, targets):
            logits = self.model(inputs, use_cache=False).logits
            return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))

    return Model()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), "forward" in sys.argv)
    else:
        main()
