#!/usr/bin/env python3
"""Times training steps of heirloom and of PyTorch on the same GPU, one after the other: same shape, weights and tokens.

    python scripts/compare_on_gpu.py target/.../release/heirloom [--presets gpt2-124m,gpt2-350m] [--batch 32] [--eager]

PyTorch gets torch.compile, scaled_dot_product_attention, bf16 autocast, TF32 for what is left in f32, fused AdamW and
clipping, as nanoGPT trains; heirloom `train.dtype = "bf16"`. Both do the same work in a step: forward, backward, norm of the
gradients, clipping, AdamW. Losses of the first steps must agree before anything is compared. Needs torch, safetensors, numpy.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

SHAPES = {"gpt2-124m": (12, 12, 768), "gpt2-350m": (24, 16, 1024), "gpt2-774m": (36, 20, 1280), "gpt2-1558m": (48, 25, 1600)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heirloom")
    parser.add_argument("--presets", default="gpt2-124m")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--eager", action="store_true", help="PyTorch without torch.compile")
    args = parser.parse_args()
    for preset in args.presets.split(","):
        compare(args, preset)


def compare(args, preset):
    base = [args.heirloom, "bench", "train", "--device", "cuda", "--preset", preset, "--dtype", "bf16", "--json"]
    base += ["--batch", str(args.batch), "--context", str(args.context)]
    with tempfile.TemporaryDirectory() as scratch:
        files = os.path.join(scratch, "model")
        run(base + ["--steps", "1", "--write", files])
        own = run(base + ["--steps", str(args.steps)])
        their = torch_steps(args, SHAPES[preset], files)
        again = run(base + ["--steps", str(args.steps)])
    own = max(own, again, key=lambda r: r["tokens_per_second"])
    apart = max(abs(a - b) for a, b in zip(own["losses"][:5], their["losses"][:5]))
    print(f"{preset}, {args.batch} x {args.context} tokens, {own['unit']}")
    print(f"  losses      {own['losses'][0]:.4f} {their['losses'][0]:.4f}, apart {apart:.4f} at most in five steps")
    if apart > 0.02:
        sys.exit("  the losses do not agree: nothing is compared")
    ratio = own["tokens_per_second"] / their["tokens_per_second"]
    print(f"  tokens/s    heirloom {own['tokens_per_second']:.0f}, PyTorch {their['tokens_per_second']:.0f}: {ratio:.3f}x")
    print(f"  MFU         heirloom {100 * (own['mfu'] or 0):.1f} %")
    print(f"  memory      heirloom {own['peak_memory_bytes'] / 1e9:.2f} GB, PyTorch {their['memory'] / 1e9:.2f} GB")
    parts = sorted(own["seconds_by_part"].items(), key=lambda p: -p[1])
    print("  by part     " + ", ".join(f"{name} {1e3 * s:.1f} ms" for name, s in parts), flush=True)


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("{") :])


def torch_steps(args, shape, files):
    import torch
    from torch import nn
    from torch.nn import functional as F
    from safetensors.torch import load_file

    torch.set_float32_matmul_precision("high")
    layers, heads, width = shape

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attn, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.fc, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            b, t, c = x.shape
            q, k, v = self.attn(self.ln_1(x)).view(b, t, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.proj(y.transpose(1, 2).reshape(b, t, c))
            return x + self.out(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(50304, width), nn.Embedding(args.context, width)
            self.h = nn.ModuleList(Block() for _ in range(layers))
            self.ln_f = nn.LayerNorm(width)

        def forward(self, inputs, targets):
            x = self.wte(inputs) + self.wpe(torch.arange(inputs.shape[1], device=inputs.device))
            for block in self.h:
                x = block(x)
            logits = F.linear(self.ln_f(x), self.wte.weight)
            return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))

    saved = load_file(os.path.join(files, "model.safetensors"))
    saved = {name.removeprefix("transformer."): tensor for name, tensor in saved.items()}
    names = {"attn": "attn.c_attn", "proj": "attn.c_proj", "fc": "mlp.c_fc", "out": "mlp.c_proj"}
    model = Model()
    state = {"wte.weight": saved["wte.weight"], "wpe.weight": saved["wpe.weight"]}
    for kind in ("weight", "bias"):
        state[f"ln_f.{kind}"] = saved[f"ln_f.{kind}"]
        for i in range(layers):
            for norm in ("ln_1", "ln_2"):
                state[f"h.{i}.{norm}.{kind}"] = saved[f"h.{i}.{norm}.{kind}"]
            for name, stored in names.items():
                tensor = saved[f"h.{i}.{stored}.{kind}"]
                state[f"h.{i}.{name}.{kind}"] = tensor.T.contiguous() if kind == "weight" else tensor
    model.load_state_dict(state)
    model.cuda()
    with open(os.path.join(files, "tokens.json")) as f:
        tokens = json.load(f)
    inputs, targets = (torch.tensor(tokens[k]).view(tokens["shape"]).cuda() for k in ("inputs", "targets"))
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), fused=True)
    step_model = model if args.eager else torch.compile(model)

    def step():
        with torch.autocast("cuda", torch.bfloat16):
            loss = step_model(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    losses = [step() for _ in range(5)]
    torch.cuda.synchronize()
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        for _ in range(args.steps // 3 + 1):
            losses.append(step())
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - begin) / (args.steps // 3 + 1))
    return {
        "losses": [float(loss) for loss in losses],
        "tokens_per_second": inputs.numel() / statistics.median(seconds),
        "memory": torch.cuda.max_memory_allocated(),
    }


if __name__ == "__main__":
    main()
