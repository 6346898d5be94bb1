#!/bin/sh
# Compares `heirloom inherit --explain` with transformers and numpy on SmolLM2-135M: block influence, angular distances, and
# the order in which the measure by loss drops layers.
#
#     scripts/compare_layer_choice.sh [--text FILE] [--windows N] [--length T] [--keep N]
#
# Needs a Python with torch, transformers and numpy (PYTHON names it). See compare_layer_choice.py.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
scripts/fetch-smollm2.sh
cargo build --release --quiet
export HF_HUB_OFFLINE=1
exec "$python" scripts/compare_layer_choice.py target/release/heirloom models/SmolLM2-135M-Instruct.Q4_1.gguf "$@"
