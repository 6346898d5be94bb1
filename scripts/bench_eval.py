#!/usr/bin/env python3
"""Times `heirloom eval` against lm-evaluation-harness: SmolLM2-135M in f32, the first 300 questions of PIQA, two threads.

    scripts/bench_eval.sh [--questions N] [--pairs N] [--batches 1,8,32] [--count]

(which fetches the model and builds heirloom). Each pair runs one program and then the other, loading of the model apart: the
harness's time is that of its evaluator, heirloom's that of the whole command less that of the same command on one question.
The harness runs at its best batch size. Prints the median ratio of the pairs, its limit, both peak memories and `ok` or `FAIL`;
exits with 1 on a failure. First it counts what both compute, which does not depend on how busy the machine is: rows of the
transformer, and rows of the head; `--count` ends there.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RATIO = 2.0
MEMORY = 0.5


def by_harness(export, questions, batch):
    """Seconds and peak bytes of a process of its own."""
    found = subprocess.run([sys.executable, __file__, "--peer", export, str(questions), str(batch)], check=True, stdout=subprocess.PIPE).stdout
    return json.loads(found.splitlines()[-1])


def peer(export, questions, batch):
    import compare_with_harness as compare
    import harness
    import torch
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(2)
    documents = compare.rows(Path(os.environ["HEIRLOOM_DATA"]))["piqa"][:questions]
    with tempfile.TemporaryDirectory() as scratch:
        task = harness.task("piqa", documents, scratch, split="validation")
        # With the default log-softmax in f32, the harness's fastest one.
        lm = HFLM(pretrained=export, dtype="float32", device="cpu", batch_size=batch)
        begin = time.time()
        harness.evaluate(lm, {"piqa": task})
        seconds = time.time() - begin
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))


def by_heirloom(heirloom, model, questions):
    command = [heirloom, "eval", model, "--tasks", "piqa", "--data", os.environ["HEIRLOOM_DATA"], "--limit", str(questions), "--device", "cpu", "--json"]
    begin = time.time()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "RAYON_NUM_THREADS": "2"}) as p:
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode:
        sys.exit(f"{' '.join(command)} failed")
    return [time.time() - begin, usage.ru_maxrss * 1024]


def prefixes(texts):
    """Returns all prefixes of texts: the rows of their tree."""
    return {text[:n] for text in texts for n in range(1, len(text) + 1)}


def count(export, questions, batches):
    """Prints the number of rows that the harness computes, which pads the texts of a batch, and the number of rows if shared
    prefixes are computed once: within each question, and over all questions."""
    import compare_with_harness as compare
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{export}/tokenizer.json")
    encode = lambda text: tuple(tokenizer.encode(text, add_special_tokens=False).ids)
    asked, documents = set(), []
    for n, q in enumerate(compare.rows(Path(os.environ["HEIRLOOM_DATA"]))["piqa"][:questions]):
        context = f"Question: {q['goal']}\nAnswer:"
        texts = [encode(f"{context} {q[key]}") for key in ("sol1", "sol2")]
        first = len(encode(context))
        asked |= {(n, text[: i + 1]) for text in texts for i in range(first, len(text))}
        documents.append([text[:-1] for text in texts])
    texts = [text for document in documents for text in document]
    lengths = sorted(map(len, texts), reverse=True)
    padded = {b: sum(len(lengths[i : i + b]) * lengths[i] for i in range(0, len(lengths), b)) for b in batches}
    print(f"{questions} questions: {sum(lengths)} rows of texts; the harness, with padding and as many rows of logits:", ", ".join(f"batch {b}: {n}" for b, n in padded.items()))
    print(f"without what the choices of a question share: {sum(len(prefixes(d)) for d in documents)} rows; of all questions: {len(prefixes(texts))} at least; rows of logits: {len(asked)}", flush=True)


def main():
    if sys.argv[1:2] == ["--peer"]:
        return peer(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("heirloom")
    p.add_argument("model")
    p.add_argument("--questions", type=int, default=300)
    p.add_argument("--pairs", type=int, default=3)
    p.add_argument("--batches", default="1,8,32")
    p.add_argument("--count", action="store_true")
    a = p.parse_args()
    if not os.environ.get("HEIRLOOM_DATA"):
        sys.exit("HEIRLOOM_DATA must name the directory with piqa/")
    with tempfile.TemporaryDirectory() as scratch:
        export = str(Path(scratch) / "export")
        subprocess.run([a.heirloom, "export", a.model, "--format", "hf", "--out", export], check=True, stdout=subprocess.DEVNULL)
        batches = [int(b) for b in a.batches.split(",")]
        count(export, a.questions, batches)
        if a.count:
            return
        times = {b: by_harness(export, min(a.questions, 60), b)[0] for b in batches}
        best = min(times, key=times.get)
        print("harness, 60 questions:", ", ".join(f"batch {b}: {t:.1f} s" for b, t in times.items()), f"; best {best}", flush=True)
        ratios, theirs, ours = [], [], []
        for _ in range(a.pairs):
            them = by_harness(export, a.questions, best)
            load = by_heirloom(a.heirloom, a.model, 1)[0]
            us = by_heirloom(a.heirloom, a.model, a.questions)
            ratios.append(them[0] / (us[0] - load))
            theirs.append(them[1])
            ours.append(us[1])
            print(f"harness {them[0]:.1f} s, heirloom {us[0] - load:.1f} s (and {load:.1f} s to load): {ratios[-1]:.2f}x", flush=True)
    speed, memory = statistics.median(ratios), max(ours) / min(theirs)
    print(f"speed: {speed:.2f}x the harness (median), limit {RATIO}: {'ok' if speed >= RATIO else 'FAIL'}")
    print(f"peak memory: {max(ours) / 1e9:.2f} of {min(theirs) / 1e9:.2f} GB, {memory:.2f}, limit {MEMORY}: {'ok' if memory <= MEMORY else 'FAIL'}")
    sys.exit(0 if speed >= RATIO and memory <= MEMORY else 1)


if __name__ == "__main__":
    main()
