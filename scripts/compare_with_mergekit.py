"""Compares heirloom's passthrough recipes with mergekit 0.1, tensor by tensor, on small models of every family that both read.

    python -m venv venv && venv/bin/pip install torch transformers "mergekit<0.2"
    cargo build --release
    venv/bin/python scripts/compare_with_mergekit.py --heirloom target/release/heirloom

For each recipe: the number of tensors, the largest difference of a value, the limit (0: names, types, shapes and bits are
the same), and ok or FAIL; exit code 1 when one fails. With --write it writes tests/fixtures/mergekit.json instead: the models,
the recipes, and the CRC-32 of each tensor that mergekit makes (eight hexadecimal digits each, in the order of their names),
which `cargo test` compares with.

The models have no weights on disk: value i of tensor k (by name) of model m is
((31337 i + 7919 k + 104729 m) mod p - (p - 1)/2) / q, with p and q by type, so that F32 needs more bits than F16 and BF16 have,
and F16 and BF16 hold theirs exactly.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "critical"
logging.disable(logging.CRITICAL)

import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

FIXTURE = Path(__file__).parent.parent / "tests/fixtures/mergekit.json"
LIMIT = 0.0
LATTICE = {"F32": (131071, 65536), "F16": (509, 256), "BF16": (255, 128)}
TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

SIZES = {
    "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1,
    "vocab_size": 16, "max_position_embeddings": 16,
}
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **SIZES}
TIED = {**LLAMA, "tie_word_embeddings": True}
QWEN2 = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], **SIZES}
GPT2 = {
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 8, "n_layer": 3, "n_head": 2, "n_positions": 16,
    "vocab_size": 16,
}
# Name: (config, number, type).
MODELS = {
    "a": (LLAMA, 0, "F32"), "b": (LLAMA, 1, "F32"), "c": (LLAMA, 2, "F32"),
    "tied1": (TIED, 3, "F32"), "tied2": (TIED, 4, "F32"),
    "gpt1": (GPT2, 5, "F32"), "gpt2": (GPT2, 6, "F32"),
    "qwen1": (QWEN2, 7, "F32"), "qwen2": (QWEN2, 8, "F32"),
    "f16": (LLAMA, 9, "F16"), "bf16": (LLAMA, 10, "BF16"),
}


def slices(*parts, **more):
    """A recipe of (model, first, end, parameters of the source, of the slice)."""
    def one(model, first, end, source=None, own=None):
        source = {"model": model, "layer_range": [first, end], **({"parameters": source} if source else {})}
        return {"sources": [source], **({"parameters": own} if own else {})}

    return {"slices": [one(*part) for part in parts], "merge_method": "passthrough", **more}


def scale(value):
    return {"scale": value}


TWO = [("a", 0, 1), ("b", 1, 3)]
QUERIES = [{"filter": "q_proj", "value": 0.3}, {"filter": "norm", "value": [2.0, 0.7]}, {"value": 1.1}]
RECIPES = {
    "two models": slices(*TWO),
    "the same layers twice": slices(("a", 0, 2), ("b", 1, 2), ("a", 0, 1)),
    "an empty slice at the end": slices(*TWO, ("c", 1, 1)),
    "an empty slice at the beginning": slices(("c", 0, 0), *TWO),
    "empty slices everywhere": slices(("b", 3, 3), ("a", 0, 3), ("c", 0, 0), ("a", 1, 1)),
    "two tied models": slices(("tied1", 0, 2), ("tied2", 1, 3)),
    "tied models, an empty slice": slices(("tied1", 0, 0), ("tied2", 0, 2), ("tied1", 0, 0)),
    "two GPT-2": slices(("gpt1", 0, 2), ("gpt2", 2, 3)),
    "GPT-2 scaled": slices(("gpt1", 0, 2, scale(0.3)), ("gpt2", 2, 3), parameters=scale([{"filter": "c_attn", "value": 3}])),
    "two Qwen2": slices(("qwen1", 1, 3), ("qwen2", 0, 1), parameters=scale(-0.7)),
    "a scale for all": slices(*TWO, parameters=scale(0.5)),
    "a scale of a slice": slices(TWO[0], ("b", 1, 3, None, scale(0.3))),
    "a scale of a source": slices(("a", 0, 1, scale(3)), TWO[1]),
    "scales at every place": slices(
        ("a", 0, 1, scale(3.1), scale(2.2)), ("b", 1, 3, None, scale(2.3)), ("a", 2, 3), parameters=scale(0.6)),
    "a line of scales": slices(("a", 0, 3), ("b", 1, 2), parameters=scale([0.5, 1.3, 0.1])),
    "scales by name": slices(("a", 0, 3), ("b", 1, 2), parameters=scale(QUERIES)),
    "scales by name at every place": slices(
        ("a", 0, 3, scale([{"filter": "layers.1.", "value": 0.9}])), ("b", 0, 2, None, scale({"filter": "lm_head", "value": 7})),
        parameters=scale([{"filter": "*", "value": [1.7, 0.2]}, {"value": 9}])),
    "a scale as text": slices(*TWO, parameters=scale("0.5")),
    "no numbers": slices(*TWO, parameters=scale([])),
    "bfloat16": slices(*TWO, dtype="bfloat16"),
    "float16 by torch's name": slices(*TWO, dtype="torch.float16"),
    "out_dtype": slices(*TWO, out_dtype="bfloat16", parameters=scale(0.3)),
    "dtype and out_dtype": slices(*TWO, dtype="bfloat16", out_dtype="float32", parameters=scale(0.3)),
    "dtype and scale": slices(*TWO, dtype="float16", parameters=scale(0.3)),
    "halves as they are": slices(("f16", 0, 2), ("bf16", 1, 2)),
    "halves scaled": slices(("f16", 0, 2), ("bf16", 1, 2), parameters=scale(0.3)),
    "halves and wholes": slices(("f16", 0, 1), ("a", 1, 2), ("bf16", 2, 3), dtype="float32", parameters=scale(0.3)),
    "a base model": slices(*TWO, base_model="c"),
    "keys that mean nothing": {**slices(*TWO), "name": "x", "chat_template": "chatml"},
}


def make(name, directory):
    config, number, kind = MODELS[name]
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(directory))
    shapes = {k: v.shape for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del shapes["lm_head.weight"]
    modulus, divisor = LATTICE[kind]
    tensors = {}
    for k, (tensor, shape) in enumerate(sorted(shapes.items())):
        i = torch.arange(shape.numel(), dtype=torch.int64)
        values = ((31337 * i + 7919 * k + 104729 * number) % modulus - (modulus - 1) // 2).double() / divisor
        tensors[tensor] = values.reshape(shape).to(TYPES[kind])
        assert (tensors[tensor].double() == values.reshape(shape)).all()
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def tensors_of(directory):
    all_of_it = {}
    for path in sorted(Path(directory).glob("*.safetensors")):
        all_of_it |= load_file(path)
    return dict(sorted(all_of_it.items()))


def mergekit(recipe, out):
    options = MergeOptions(quiet=True, copy_tokenizer=False, write_model_card=False)
    run_merge(MergeConfiguration.model_validate(yaml.safe_load(recipe)), out, options)
    return tensors_of(out)


def checksum(tensor):
    return zlib.crc32(tensor.contiguous().view(torch.uint8).numpy().tobytes())


def name_of(dtype):
    return next(name for name, kind in TYPES.items() if kind == dtype)


def difference(ours, theirs):
    """The largest difference of a value, or what else differs."""
    if list(ours) != list(theirs):
        return f"tensors {sorted(set(ours) ^ set(theirs))}"
    largest = 0.0
    for name, a in ours.items():
        b = theirs[name]
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            return f"{name} {a.dtype} {tuple(a.shape)}, mergekit has {b.dtype} {tuple(b.shape)}"
        largest = max(largest, float((a.double() - b.double()).abs().max()))
    return largest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heirloom", type=lambda path: str(Path(path).absolute()))
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    if bool(args.heirloom) == args.write:
        parser.error("give either --heirloom or --write")
    lines, failed = [], 0
    with tempfile.TemporaryDirectory() as tmp:
        os.chdir(tmp)
        for name in MODELS:
            make(name, Path(name))
        for i, (name, recipe) in enumerate(RECIPES.items()):
            text = yaml.safe_dump(recipe, default_flow_style=None, sort_keys=False, width=1000)
            theirs = mergekit(text, f"theirs{i}")
            if args.write:
                record = {
                    "name": name, "recipe": text, "types": sorted({name_of(t.dtype) for t in theirs.values()}),
                    "tensors": "".join(f"{checksum(t):08x}" for t in theirs.values()),
                }
                lines.append(json.dumps(record, separators=(",", ":")))
                continue
            Path("recipe.yaml").write_text(text)
            command = [args.heirloom, "inherit", "--slices", "recipe.yaml", "--out", f"ours{i}"]
            run = subprocess.run(command, capture_output=True, text=True)
            found = difference(tensors_of(f"ours{i}"), theirs) if run.returncode == 0 else run.stderr.strip()
            ok = found == LIMIT
            failed += not ok
            print(f"{name:33} {len(theirs):3} tensors  largest difference {found}  limit {LIMIT}  {'ok' if ok else 'FAIL'}")
    if args.write:
        configs = [LLAMA, TIED, QWEN2, GPT2]
        models = {name: [configs.index(config), *rest] for name, (config, *rest) in MODELS.items()}
        head = json.dumps({"configs": configs, "models": models}, separators=(",", ":"))[:-1]
        FIXTURE.write_text(head + ',"recipes":[\n' + ",\n".join(lines) + "\n]}\n")
        print(f"{len(lines)} recipes in {FIXTURE}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
