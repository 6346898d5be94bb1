"""Writes a GGUF file's tokenizer as DIR/tokenizer.json, its tokenizer.ggml.* fields as DIR/ggml.json and
the ids of a text as DIR/expected.json, for the test that compares them:

    venv/bin/pip install gguf tokenizers
    venv/bin/python scripts/smollm2_tokenizer.py SmolLM2-135M-Instruct.Q4_1.gguf TEXT DIR
    SMOLLM2_TOKENIZER=DIR cargo test --lib smollm2 -- --ignored
"""

import json
import sys
from pathlib import Path

from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

path, text, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
out.mkdir(exist_ok=True, parents=True)
reader = GGUFReader(path)
field = lambda name: reader.fields[f"tokenizer.ggml.{name}"].contents()
tokens, types, merges = field("tokens"), field("token_type"), field("merges")
ggml = {"model": field("model"), "pre": field("pre"), "tokens": tokens, "scores": [], "token_types": types, "merges": merges}
ggml |= {"bos": field("bos_token_id"), "eos": field("eos_token_id"), "unknown": field("unknown_token_id")}
ggml["add_space_prefix"] = field("add_space_prefix")
(out / "ggml.json").write_text(json.dumps(ggml))
# SmolLM2's tokenizer.json: digits apart, then GPT-2's words.
pairs = [tuple(m.split(" ")) for m in merges]
tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, pairs))
tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
tokenizer.decoder = decoders.ByteLevel()
tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, kind in zip(tokens, types) if kind == 3])
tokenizer.save(str(out / "tokenizer.json"))
documents = text.read_text(encoding="utf-8").split("<|endoftext|>")
ids = [e.ids for e in tokenizer.encode_batch_fast(documents, add_special_tokens=False)]
(out / "expected.json").write_text(json.dumps({"documents": documents, "ids": ids}))
