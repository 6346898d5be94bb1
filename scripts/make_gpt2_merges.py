"""Makes src/corpus/tokenizer/gpt2-merges.bin from OpenAI's published vocab.bpe (GPT-2, MIT licence).

    curl -LO https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/vocab.bpe
    python3 scripts/make_gpt2_merges.py vocab.bpe

The ids 0 to 255 are the single bytes in the order of GPT-2's letters: first the printable ones, then the others. Merge
number r of the 50,000 makes token 256 + r from two earlier tokens. The file holds the ids of the two, each as 16 bits,
little-endian: 200,000 bytes. The script rebuilds OpenAI's r50k_base.tiktoken from them and compares its checksum.
"""

import base64
import hashlib
import pathlib
import struct
import sys

VOCAB_BPE = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
R50K_BASE = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
OUT = pathlib.Path(__file__).parent.parent / "src/corpus/tokenizer/gpt2-merges.bin"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def letters():
    """Returns each byte's letter, in the order of ids."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(others)}


def main(path):
    text = pathlib.Path(path).read_bytes()
    if sha256(text) != VOCAB_BPE:
        sys.exit(f"{path}: not OpenAI's vocab.bpe (SHA-256 {sha256(text)}, expected {VOCAB_BPE})")
    # The first line is a version, the last one is empty.
    pairs = [line.split(" ") for line in text.decode().split("\n")[1:-1]]
    ids = {letter: i for i, letter in enumerate(letters().values())}
    tokens = [bytes([b]) for b in letters()]
    out = bytearray()
    for left, right in pairs:
        a, b = ids[left], ids[right]
        ids[left + right] = len(tokens)
        tokens.append(tokens[a] + tokens[b])
        out += struct.pack("<HH", a, b)
    ranks = b"".join(base64.b64encode(t) + b" %d\n" % i for i, t in enumerate(tokens))
    if sha256(ranks) != R50K_BASE:
        sys.exit(f"the tokens differ from r50k_base.tiktoken: SHA-256 {sha256(ranks)}, expected {R50K_BASE}")
    OUT.write_bytes(out)
    print(f"{OUT}: {len(pairs)} merges, {len(out)} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
