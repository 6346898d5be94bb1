#!/usr/bin/env python3
"""Compares `heirloom eval` with EleutherAI's lm-evaluation-harness on a real model and real documents.

    scripts/compare_with_harness.sh [--limit N] [--pages N] [--keep DIR]

(which fetches the model and builds heirloom) or directly

    python scripts/compare_with_harness.py HEIRLOOM MODEL.gguf [--limit N] [--pages N] [--keep DIR]

HEIRLOOM_DATA names the directory with `piqa/` and `wikitext-2/`. The harness gets heirloom's Hugging Face export (f32): its
own reading of the GGUF file splits SmolLM2's text wrongly. `--limit` takes the first N questions of PIQA, `--pages` the first N
pages of WikiText (0: leave either out). `--keep DIR` keeps each answer of both programs as soon as it is computed, so that the same
command continues after an interrupt.

Compared are the texts and token ids of all requests, log-likelihoods, and metrics. The harness computes its log-softmax in f64
(`softmax_dtype`). A page's log-likelihood may differ by 1e-3 and a millionth of its size. Prints each figure with its limit and
`ok` or `FAIL`; exits with 1 on a failure. On two cores the harness needs about 20 minutes for PIQA and half a minute a page.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import harness

TIES = 2e-3
MOST_TIES = 0.003
LOG_LIKELIHOOD = 1e-3
PERPLEXITY = 1e-4
failures = 0


def check(what, figure, limit, shown="{:.2e}"):
    global failures
    ok = figure <= limit
    failures += not ok
    print(f"{what}: {shown.format(figure)}, limit {shown.format(limit)}: {'ok' if ok else 'FAIL'}")


def rows(data):
    labels = (data / "piqa/valid-labels.lst").read_text().split()
    questions = [json.loads(line) for line in (data / "piqa/valid.jsonl").read_text().splitlines()]
    piqa = [{**{key: q[key] for key in ("goal", "sol1", "sol2")}, "label": int(label)} for q, label in zip(questions, labels)]
    pages = [{"page": page} for page in harness.pages((data / "wikitext-2/valid.txt").read_text())]
    return {"piqa": piqa, "wikitext": pages}


def by_harness(task, documents, export, scratch, keep):
    """Returns the harness's requests of each document, their token ids and log-likelihoods, and its metrics."""
    lm = harness.model(export, 1 if task == "wikitext" else 8, keep)
    found = harness.evaluate(lm, {task: harness.task(task, documents, scratch, split="validation")})
    samples = sorted(found["samples"][task], key=lambda s: s["doc_id"])

    def number(answer):
        return float(answer[0]) if isinstance(answer, (list, tuple)) else float(answer)

    requests = [[list(arguments) for arguments in s["arguments"]] for s in samples]
    return {
        "metrics": {key.split(",")[0]: value for key, value in found["results"][task].items() if key.endswith(",none") and isinstance(value, float)},
        "requests": requests,
        "ids": [[harness.ids(lm, arguments) for arguments in document] for document in requests],
        "log_likelihoods": [[number(answer) for answer in s["filtered_resps"]] for s in samples],
    }


def by_heirloom(heirloom, model, task, n, data, place):
    """Returns the results and the samples; they stay at `place`, where a repeated call finds them, or continues after an interrupt."""
    out, samples = place.with_suffix(".json"), place.with_suffix(".jsonl")
    if not (out.exists() and samples.exists()):
        command = [heirloom, "eval", model, "--tasks", task, "--data", data, "--limit", str(n), "--device", "cpu", "--out", out, "--samples", samples]
        subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL)
    return json.loads(out.read_text())["results"][task], [json.loads(line) for line in samples.read_text().splitlines()]


def digest(*paths):
    content = hashlib.sha256()
    for path in paths:
        content.update(Path(path).read_bytes())
    return content.hexdigest()[:12]


def compare(task, theirs, results, samples):
    assert len(samples) == len(theirs["requests"]), (task, len(samples))
    largest, doubtful, differing, tokens = 0.0, [], [], 0
    for sample, requests, ids, wanted in zip(samples, theirs["requests"], theirs["ids"], theirs["log_likelihoods"]):
        ours = [request["log_likelihood"] for request in sample["requests"]]
        texts = [[r["context"], r["continuation"]] for r in sample["requests"]]
        expected = [["", *r] if len(r) == 1 else r for r in requests]
        assert texts == expected, f"{task}, document {sample['doc']}: other texts"
        split = [(r["context_ids"], r["continuation_ids"]) for r in sample["requests"]]
        assert split == ids, f"{task}, document {sample['doc']}: other token ids"
        tokens += sum(len(context) + len(continuation) for context, continuation in ids)
        scale = [1 + abs(w) * 1e-3 if task == "wikitext" else 1 for w in wanted]
        largest = max([largest] + [abs(a - b) / s for a, b, s in zip(ours, wanted, scale)])
        if task == "piqa":
            for divide in (lambda v: v, lambda v: [x / len(r["continuation"][1:]) for x, r in zip(v, sample["requests"])]):
                a, b = divide(ours), divide(wanted)
                if (a[1] > a[0]) != (b[1] > b[0]):
                    differing.append(sample["doc"])
                    if abs(a[0] - a[1]) < TIES:
                        doubtful.append(sample["doc"])
    print(f"{task}: {len(samples)} documents, the same texts and the same {tokens} token ids")
    check("  largest difference of log-likelihoods (of pages: of 1,000 nats)", largest, LOG_LIKELIHOOD)
    for metric, value in theirs["metrics"].items():
        if metric.endswith("_stderr"):
            continue
        ours = results[metric]["value"]
        if metric.startswith("acc"):
            print(f"  {metric}: {ours:.6f}, the harness {value:.6f}")
        else:
            check(f"  {metric}: {ours:.6f}, the harness {value:.6f}; relative difference", abs(ours / value - 1), PERPLEXITY)
    if task == "piqa":
        print(f"  documents that differ in acc or acc_norm: {differing or 'none'}")
        check("  of these, not a tie within 2e-3", len(differing) - len(doubtful), 0, "{}")
        check("  share of ties", len(doubtful) / len(samples), MOST_TIES, "{:.4f}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("heirloom")
    p.add_argument("model")
    p.add_argument("--limit", type=int)
    p.add_argument("--pages", type=int)
    p.add_argument("--keep")
    a = p.parse_args()
    data = os.environ.get("HEIRLOOM_DATA") or sys.exit("HEIRLOOM_DATA must name the directory with piqa/ and wikitext-2/")
    documents = rows(Path(data))
    documents["piqa"] = documents["piqa"][: a.limit]
    documents["wikitext"] = documents["wikitext"][: a.pages]
    with tempfile.TemporaryDirectory() as scratch:
        export = Path(scratch) / "export"
        subprocess.run([a.heirloom, "export", a.model, "--format", "hf", "--out", export], check=True)
        key = digest(a.heirloom, a.model)
        for task, chosen in documents.items():
            if not chosen:
                continue
            place = Path(a.keep or scratch) / f"{key}-{task}-{len(chosen)}"
            results, samples = by_heirloom(a.heirloom, a.model, task, len(chosen), data, place)
            compare(task, by_harness(task, chosen, export, scratch, a.keep), results, samples)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
