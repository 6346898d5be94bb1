"""Reads a GGUF file with llama.cpp itself: logits of given tokens, loss on text, tokenizer and greedy text. Shows that
what `heirloom export --format gguf` writes is what llama.cpp expects.

    python -m venv venv-llama && venv-llama/bin/pip install llama-cpp-python     builds llama.cpp; needs a C++ compiler
    venv-llama/bin/python scripts/check_gguf_with_llama_cpp.py FILE --tokens 5,17,3
    venv-llama/bin/python scripts/check_gguf_with_llama_cpp.py FILE --expected tests/fixtures/models/qwen2/expected.json
    venv-llama/bin/python scripts/check_gguf_with_llama_cpp.py FILE --text val.txt --windows 8 --window-length 256 \\
        --prompt "The old house" -n 40

Prints one JSON object: with --tokens, {"tokens", "logits" [T][vocabulary], "losses" [T - 1]}; with --expected (a JSON of
logits as the fixtures have), {"largest_difference", "tolerance"} and exit status 1 when it is larger; with --text,
{"loss", "perplexity", "n_tokens", "starts", "losses"} of the windows that `heirloom loss` takes; with --prompt,
{"prompt", "text"}.

llama.cpp is float32 only with float32 files. It multiplies float16 and quantized weights with activations that it
rounds likewise, and looks GELU up in a float16 table: the tolerance is larger for them.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import llama_cpp
import numpy as np

TOLERANCES = {"f32": 1e-4, "gelu": 1e-2, "f16": 5e-2, "quantized": 0.5}


def arguments():
    parser = argparse.ArgumentParser(description="What llama.cpp computes with a GGUF file.")
    parser.add_argument("file")
    parser.add_argument("--tokens", help="ids separated by commas")
    parser.add_argument("--expected", help="JSON with tokens, logit_positions and logits")
    parser.add_argument("--tolerance", type=float, help="of logits; default by the file's types: "
                        + ", ".join(f"{k} {v}" for k, v in TOLERANCES.items()))
    parser.add_argument("--text", help="a text file")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--window-length", type=int, default=256)
    parser.add_argument("--prompt")
    parser.add_argument("-n", type=int, default=40, help="tokens of greedy text")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    for path in (given.file, given.expected, given.text):
        if path and not Path(path).exists():
            parser.error(f"{path} does not exist")
    if not (given.tokens or given.expected or given.text or given.prompt):
        parser.error("give one of --tokens, --expected, --text and --prompt")
    return given


def loaded(given, length):
    """The model with room for `length` tokens and float32 keys and values."""
    try:
        return llama_cpp.Llama(
            given.file, n_ctx=length, n_batch=length, logits_all=True, verbose=False, n_threads=given.threads,
            n_threads_batch=given.threads, type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32)
    except ValueError as error:
        raise SystemExit(f"llama.cpp does not read {given.file}: {error}")


def logits_of(model, tokens):
    """(T, vocabulary) in float32."""
    model.reset()
    model.eval(tokens)
    return np.array(model.scores[: len(tokens)])


def losses_of(logits, targets):
    """Cross-entropy in nats of each target."""
    logits = logits.astype(np.float64)
    top = logits.max(-1, keepdims=True)
    normalizer = np.log(np.exp(logits - top).sum(-1)) + top[:, 0]
    return normalizer - logits[np.arange(len(targets)), targets]


def tolerance(given, model):
    """The given one, else by file type (0: float32, 1: float16) and architecture."""
    if given.tolerance is not None:
        return given.tolerance
    kind = model.metadata.get("general.file_type", "0")
    if kind == "0":
        return TOLERANCES["gelu" if model.metadata["general.architecture"] == "gpt2" else "f32"]
    return TOLERANCES["f16" if kind == "1" else "quantized"]


def compared(given):
    expected = json.loads(Path(given.expected).read_text())
    tokens = expected["tokens"][0][: len(expected["losses"][0])]
    model = loaded(given, len(tokens))
    difference = np.abs(logits_of(model, tokens)[expected["logit_positions"]] - np.array(expected["logits"])).max()
    return {"largest_difference": float(difference), "tolerance": tolerance(given, model)}


def text_loss(given):
    length = given.window_length
    model = loaded(given, length)
    tokens = model.tokenize(Path(given.text).read_bytes(), add_bos=False, special=True)
    room = len(tokens) - length - 1
    if room < 0:
        raise SystemExit(f"{given.text} has {len(tokens)} tokens, a window needs {length + 1}")
    starts = [0] if given.windows == 1 else [i * room // (given.windows - 1) for i in range(given.windows)]
    losses = [
        float(losses_of(logits_of(model, tokens[s : s + length]), tokens[s + 1 : s + length + 1]).mean()) for s in starts
    ]
    mean = sum(losses) / len(losses)
    return {"loss": mean, "perplexity": math.exp(mean), "n_tokens": len(tokens), "starts": starts, "losses": losses}


def greedy(given):
    model = loaded(given, 512)
    tokens = model.tokenize(given.prompt.encode(), add_bos=False, special=True)
    new = []
    while len(new) < given.n:
        model.eval((tokens + new)[model.n_tokens :])
        best = int(model.scores[model.n_tokens - 1].argmax())
        if best == model.token_eos():
            break
        new.append(best)
    text = model.detokenize(new, prev_tokens=tokens).decode("utf-8", errors="replace")
    return {"prompt": given.prompt, "text": text}


def main():
    given = arguments()
    report = {}
    if given.tokens:
        tokens = [int(t) for t in given.tokens.split(",")]
        logits = logits_of(loaded(given, len(tokens)), tokens)
        report |= {
            "tokens": tokens, "logits": logits.tolist(), "losses": losses_of(logits[:-1], tokens[1:]).tolist(),
        }
    if given.expected:
        report |= compared(given)
    if given.text:
        report |= text_loss(given)
    if given.prompt:
        report |= greedy(given)
    print(json.dumps(report))
    if given.expected and not report["largest_difference"] <= report["tolerance"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
