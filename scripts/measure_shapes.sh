#!/usr/bin/env bash
# What a step costs as a model grows: `scripts/measure_shapes.sh [target/release/heirloom] [--dtype bf16]`.
# One thing is varied at a time.
set -euo pipefail
program=${1:-target/release/heirloom}
shift || true

measure() {
    "$program" bench train --steps 4 --json "${@:2}" 2>/dev/null | python3 -c '
import json, sys
d = json.load(sys.stdin)
memory = d["peak_memory_bytes"] / 1e9
print(sys.argv[1], round(d["tokens_per_second"]), round(d["fastest"]), round(d["gflops"]), f"{memory:.2f}", sep=" | ")
' "$1"
}

# The shape: layers, width, context, vocabulary; 2048 tokens a step, heads of 64.
shape() {
    measure "$1" --layers "$2" --heads $(($3 / 64)) --width "$3" --context "$4" --batch $((2048 / $4)) --vocab "$5" "${@:6}"
}

echo "shape | tokens/s | fastest | GFLOP/s | GB"
shape "6 layers, width 384, context 256, vocabulary 8192" 6 384 256 8192 "$@"
for n in 12 24; do shape "$n layers" "$n" 384 256 8192 "$@"; done
for n in 768 1152; do shape "width $n" 6 "$n" 256 8192 "$@"; done
for n in 512 1024 2048; do shape "context $n" 6 384 "$n" 8192 "$@"; done
for n in 1024 50304; do shape "vocabulary $n" 6 384 256 "$n" "$@"; done
