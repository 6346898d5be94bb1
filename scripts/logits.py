"""Prints the logits of a model for given token ids as JSON, computed by Hugging Face's transformers: shows that what
`heirloom export` writes loads there unchanged (no remote code) and means the same.

    python -m venv venv && venv/bin/pip install torch transformers accelerate gguf sentencepiece
    venv/bin/python scripts/logits.py DIR --tokens 5,17,3 [--last 4]
    venv/bin/python scripts/logits.py --gguf FILE --tokens @tokens.json
    venv/bin/python scripts/logits.py DIR --text "some words"

Output: {"model_type", "n_parameters", "tokens": [T], "positions": [P], "logits": [P][vocabulary],
"losses": [T - 1] in nats of each next token, "missing": [...], "unexpected": [...]}; `missing` and `unexpected` are
tensors that transformers lacked or passed over in a directory, both empty for a good export.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from load_model import OPTIONS, load_model, load_tokenizer, quiet


def arguments():
    parser = argparse.ArgumentParser(description="Logits of a model by transformers, as JSON.")
    parser.add_argument("model", nargs="?", help="a model directory")
    parser.add_argument("--gguf", help="a GGUF file instead")
    ids = parser.add_mutually_exclusive_group(required=True)
    ids.add_argument("--tokens", help="ids separated by commas, or @FILE with a JSON list of them")
    ids.add_argument("--text", help="text for the model's own tokenizer, without special tokens")
    parser.add_argument("--last", type=int, default=0, help="only that many last positions (default: all)")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if (given.model is None) == (given.gguf is None):
        parser.error("give a model directory or --gguf FILE")
    return given


def token_ids(given, path):
    if given.text is not None:
        return load_tokenizer(path).encode(given.text, add_special_tokens=False)
    if given.tokens.startswith("@"):
        return json.loads(Path(given.tokens[1:]).read_text())
    return [int(t) for t in given.tokens.split(",")]


def main():
    given = arguments()
    quiet(given.threads)
    path = Path(given.gguf or given.model)
    if not path.exists():
        raise SystemExit(f"{path} does not exist")
    unexpected = missing = []
    if given.gguf:
        model = load_model(path)
    else:
        model, told = AutoModelForCausalLM.from_pretrained(path, output_loading_info=True, **OPTIONS)
        model, missing, unexpected = model.eval(), sorted(told["missing_keys"]), sorted(told["unexpected_keys"])
    tokens = torch.tensor(token_ids(given, path))
    with torch.no_grad():
        logits = model(tokens[None], use_cache=False).logits[0]
    losses = torch.nn.functional.cross_entropy(logits[:-1], tokens[1:], reduction="none")
    positions = list(range(len(tokens)))[-given.last if given.last else 0 :]
    json.dump({
        "model_type": model.config.model_type, "n_parameters": model.num_parameters(), "tokens": tokens.tolist(),
        "positions": positions, "logits": logits[positions].tolist(), "losses": losses.tolist(),
        "missing": missing, "unexpected": unexpected,
    }, sys.stdout)
    print()


if __name__ == "__main__":
    main()
