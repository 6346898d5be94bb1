"""Compares heirloom with Hugging Face's transformers on a whole model: cross-entropy on text, and greedy text.

    python -m venv venv && venv/bin/pip install torch transformers accelerate gguf sentencepiece
    venv/bin/python scripts/compare_with_transformers.py models/SmolLM2-135M-Instruct.Q4_1.gguf \\
        --text val.txt --windows 8 --window-length 256 --prompt "The old house" --heirloom target/release/heirloom

MODEL is a GGUF file or a Hugging Face directory. Windows of T + 1 tokens start at floor(i (n - T - 1)/(N - 1)),
i = 0..N-1 (at 0 when N = 1) of the n tokens of the text; no BOS is added. Without --heirloom the figures of
transformers are printed alone. Exit status 1 when a mean loss differs by more than --tolerance or a text differs.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

from load_model import load_model, load_tokenizer, quiet


def arguments():
    parser = argparse.ArgumentParser(description="Compares heirloom with transformers: loss on text, greedy text.")
    parser.add_argument("model", help="a GGUF file or a Hugging Face directory")
    parser.add_argument("--text", required=True, help="a text file")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--window-length", type=int, default=256)
    parser.add_argument("--prompt", action="append", default=[], help="start of a greedy text; may be repeated")
    parser.add_argument("-n", type=int, default=40, help="tokens of greedy text")
    parser.add_argument("--heirloom", help="the binary to compare")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="in nats")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print transformers' figures as JSON")
    given = parser.parse_args()
    for path in (given.model, given.text):
        if not Path(path).exists():
            parser.error(f"{path} does not exist")
    if given.windows < 1 or given.window_length < 1:
        parser.error("--windows and --window-length must be >= 1")
    return given


def window_starts(n_tokens, windows, length):
    room = n_tokens - length - 1
    if room < 0:
        raise SystemExit(f"the text has {n_tokens} tokens, a window needs {length + 1}")
    return [0] if windows == 1 else [i * room // (windows - 1) for i in range(windows)]


@torch.no_grad()
def losses_of_windows(model, tokens, starts, length):
    """Mean cross-entropy in nats of each window."""
    losses = []
    for start in starts:
        window = torch.tensor(tokens[start : start + length + 1])
        logits = model(window[None, :-1], use_cache=False).logits[0]
        losses.append(float(torch.nn.functional.cross_entropy(logits, window[1:])))
    return losses


@torch.no_grad()
def greedy(model, tokenizer, prompt, n):
    """(the n most likely next tokens one after the other, their text, the smallest lead of a winner over the second).

    The end-of-text token ends it and is not part of it.
    """
    ids = torch.tensor([tokenizer.encode(prompt, add_special_tokens=False)])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, do_sample=False, num_beams=1,
        repetition_penalty=1.0, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.eos_token_id,
        return_dict_in_generate=True, output_logits=True)
    new = out.sequences[0, ids.shape[1] :].tolist()
    best = torch.cat(out.logits).topk(2).values
    lead = float((best[:, 0] - best[:, 1]).min())
    if new and new[-1] == tokenizer.eos_token_id:
        new.pop()
    return new, tokenizer.decode(new, clean_up_tokenization_spaces=False), lead


def transformers_figures(given):
    began = time.monotonic()
    tokenizer, model = load_tokenizer(given.model), load_model(given.model)
    loaded = time.monotonic()
    tokens = tokenizer.encode(Path(given.text).read_text(encoding="utf-8"), add_special_tokens=False)
    tokenized = time.monotonic()
    starts = window_starts(len(tokens), given.windows, given.window_length)
    losses = losses_of_windows(model, tokens, starts, given.window_length)
    evaluated = time.monotonic()
    texts = [dict(zip(("tokens", "text", "smallest_lead"), greedy(model, tokenizer, p, given.n))) for p in given.prompt]
    mean = sum(losses) / len(losses)
    return {
        "loss": mean, "perplexity": math.exp(mean), "windows": given.windows, "window_length": given.window_length,
        "n_tokens": len(tokens), "losses": losses, "starts": starts, "texts": texts,
        "seconds": {
            "load": loaded - began, "tokenize": tokenized - loaded, "loss": evaluated - tokenized,
            "generate": time.monotonic() - evaluated,
        },
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def heirloom_output(given, *command):
    try:
        done = subprocess.run([given.heirloom, *command], capture_output=True, text=True, encoding="utf-8")
    except OSError as error:
        raise SystemExit(f"{given.heirloom}: {error}")
    if done.returncode != 0:
        raise SystemExit(f"{given.heirloom} {' '.join(command)} failed ({done.returncode}):\n{done.stderr.strip()}")
    return done.stdout


def heirloom_loss(given):
    began = time.monotonic()
    told = json.loads(heirloom_output(
        given, "loss", given.model, "--text", given.text, "--windows", str(given.windows),
        "--window-length", str(given.window_length), "--json"))
    return told, time.monotonic() - began


def heirloom_text(given, prompt):
    """The continuation alone, whether or not the prompt is printed, too."""
    text = heirloom_output(given, "generate", given.model, "--prompt", prompt, "-n", str(given.n), "--temperature", "0")
    return text.removeprefix(prompt)


def compare(given, theirs):
    """Prints the table; true when all agrees."""
    ours, seconds = heirloom_loss(given)
    agree = abs(ours["loss"] - theirs["loss"]) <= given.tolerance
    worst = max(abs(a - b) for a, b in zip(ours["losses"], theirs["losses"]))
    agree_tokens = ours["n_tokens"] == theirs["n_tokens"] and ours["starts"] == theirs["starts"]
    print(f"{'':26}{'heirloom':>14}{'transformers':>14}{'difference':>13}")
    print(f"{'tokens of the text':26}{ours['n_tokens']:14}{theirs['n_tokens']:14}{'' if agree_tokens else 'DIFFERENT':>13}")
    for start, a, b in zip(theirs["starts"], ours["losses"], theirs["losses"]):
        print(f"{f'window at {start}':26}{a:14.6f}{b:14.6f}{a - b:+13.6f}")
    print(f"{'mean loss (nats)':26}{ours['loss']:14.6f}{theirs['loss']:14.6f}{ours['loss'] - theirs['loss']:+13.6f}"
          f"{'' if agree else f'  more than {given.tolerance}'}")
    print(f"{'perplexity':26}{ours['perplexity']:14.4f}{theirs['perplexity']:14.4f}")
    print(f"{'seconds, loading included':26}{seconds:14.1f}"
          f"{sum(theirs['seconds'][k] for k in ('load', 'tokenize', 'loss')):14.1f}")
    print(f"largest difference of a window: {worst:.2e}")
    texts_agree = True
    for prompt, told in zip(given.prompt, theirs["texts"]):
        text = heirloom_text(given, prompt)
        same = text.rstrip("\n") == told["text"].rstrip("\n")
        texts_agree &= same
        print(f"greedy text after {prompt!r}: {'the same' if same else 'DIFFERENT'}")
        print(f"  transformers: {told['text']!r} (smallest lead of a token over the next: {told['smallest_lead']:.4f})")
        if not same:
            print(f"  heirloom:     {text!r}")
    return agree and agree_tokens and texts_agree


def main():
    given = arguments()
    quiet(given.threads)
    theirs = transformers_figures(given)
    if given.json:
        print(json.dumps(theirs, indent=1))
    if given.heirloom:
        sys.exit(0 if compare(given, theirs) else 1)
    if not given.json:
        for start, loss in zip(theirs["starts"], theirs["losses"]):
            print(f"window at {start:9}  {loss:.6f}")
        print(f"{theirs['n_tokens']} tokens, mean loss {theirs['loss']:.6f}, perplexity {theirs['perplexity']:.4f}")
        for prompt, told in zip(given.prompt, theirs["texts"]):
            print(f"{prompt!r} -> {told['text']!r}\n  (smallest lead of a token over the next: {told['smallest_lead']:.4f})")
        print("seconds: " + ", ".join(f"{k} {v:.1f}" for k, v in theirs["seconds"].items())
              + f"; peak memory {theirs['peak_memory_mib']:.0f} MiB")


if __name__ == "__main__":
    main()
