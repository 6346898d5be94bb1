#!/bin/sh
# Compares `heirloom eval` with lm-evaluation-harness on SmolLM2-135M: PIQA's questions and WikiText's pages.
#
#     HEIRLOOM_DATA=DIR scripts/compare_with_harness.sh [--limit N] [--pages N] [--keep DIR]
#
# Needs a Python with lm_eval 0.4.13, torch and transformers (PYTHON names it). See compare_with_harness.py.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
scripts/fetch-smollm2.sh
cargo build --release --quiet
export HF_HUB_OFFLINE=1
exec "$python" scripts/compare_with_harness.py target/release/heirloom models/SmolLM2-135M-Instruct.Q4_1.gguf "$@"
