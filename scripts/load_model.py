"""Loads a model of Hugging Face's transformers for the scripts beside this one: a directory exactly as transformers
does by itself, or a GGUF file, whose gaps in transformers (5.24) are filled here. Always float32 on the CPU.

Needs torch, transformers, accelerate, gguf and sentencepiece.
"""

from pathlib import Path

import gguf
import torch
import transformers
from tokenizers import Regex, pre_tokenizers as pre
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

OPTIONS = {"dtype": torch.float32, "attn_implementation": "eager"}


def quiet(threads):
    """No progress bars; a fixed number of threads."""
    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def load_model(path):
    """The model of a directory or a GGUF file, ready for evaluation."""
    path = Path(path)
    if path.is_dir():
        return AutoModelForCausalLM.from_pretrained(path, **OPTIONS).eval()
    config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    if config.model_type == "gpt2":  # transformers reads the context length into n_ctx alone, and no MLP width
        config.n_positions = config.n_ctx
        config.n_inner = getattr(config, "feed_forward_length", None)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, config=config, **OPTIONS).eval()
    scale_rope(model, path)
    return model


def scale_rope(model, path):
    """Applies what transformers passes over in a GGUF file: rope_freqs.weight (Llama-3 scaling) and linear scaling."""
    reader = gguf.GGUFReader(path)
    divisors = [t.data for t in reader.tensors if t.name == "rope_freqs.weight"]
    keys = {name.split(".", 1)[1]: field for name, field in reader.fields.items() if ".rope.scaling." in name}
    scaling = keys["rope.scaling.type"].contents() if "rope.scaling.type" in keys else "none"
    if scaling not in ("none", "linear"):
        raise SystemExit(f"{path}: transformers cannot apply the rope scaling '{scaling}' of this file")
    with torch.no_grad():
        for module in model.modules():
            if hasattr(module, "inv_freq"):
                if divisors:
                    module.inv_freq /= torch.tensor(divisors[0])
                if scaling == "linear":
                    module.inv_freq /= keys["rope.scaling.factor"].contents()


# What tokenizer.ggml.pre names, as the published tokenizer.json files have it. transformers takes GPT-2's for all.
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PRE_TOKENIZERS = {
    "gpt-2": [pre.ByteLevel(add_prefix_space=False)],
    "smollm": [pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)],
    "llama-bpe": [
        pre.Split(Regex(WORDS % r"\p{N}{1,3}"), "isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)],
    "qwen2": [pre.Split(Regex(WORDS % r"\p{N}"), "isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)],
}


def load_tokenizer(path):
    """The tokenizer of a directory or a GGUF file; special tokens in a text are recognized."""
    path = Path(path)
    if path.is_dir():
        return AutoTokenizer.from_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    fields = gguf.GGUFReader(path).fields
    if fields["tokenizer.ggml.model"].contents() == "gpt2":
        kind = fields["tokenizer.ggml.pre"].contents() if "tokenizer.ggml.pre" in fields else "gpt-2"
        if kind not in PRE_TOKENIZERS:
            raise SystemExit(f"{path}: unknown pre-tokenizer '{kind}'; known: {', '.join(PRE_TOKENIZERS)}")
        tokenizer.backend_tokenizer.pre_tokenizer = pre.Sequence(PRE_TOKENIZERS[kind])
    return tokenizer
