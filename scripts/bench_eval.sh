#!/bin/sh
# Times `heirloom eval` against lm-evaluation-harness on SmolLM2-135M: the first 300 questions of PIQA.
#
#     HEIRLOOM_DATA=DIR scripts/bench_eval.sh [--questions N] [--pairs N] [--batches 1,8,32]
#
# Needs a Python with lm_eval 0.4.13, torch and transformers (PYTHON names it). See bench_eval.py.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
scripts/fetch-smollm2.sh
cargo build --release --quiet
export HF_HUB_OFFLINE=1
exec "$python" scripts/bench_eval.py target/release/heirloom models/SmolLM2-135M-Instruct.Q4_1.gguf "$@"
