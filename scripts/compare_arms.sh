#!/usr/bin/env bash
# Trains a config's arms with three seeds and prints each arm's gap to the recipe's own model, with its error over the seeds.
#
#   scripts/compare_arms.sh [CONFIG [DIR [SEED...]]]
#
# CONFIG [configs/baselines.toml]: about 10 minutes a seed on two cores. DIR [runs/arms]: a finished run is not trained again, and
# an interrupted run is resumed. SEEDs [1 2 3]. Exits with 1 when an arm is missing.
#
# HEIRLOOM: the program to run [target/release/heirloom].
set -eu
scripts=$(cd "$(dirname "$0")" && pwd)
config=${1:-configs/baselines.toml}
dir=${2:-runs/arms}
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- 1 2 3
program=${HEIRLOOM:-target/release/heirloom}
runs=()
for seed; do
    name=$(basename "$config" .toml)-$seed
    began=$SECONDS
    if [ -d "$dir/$name" ]; then
        "$program" train --resume "$name" --runs "$dir" --plain >"$dir/$name.log" 2>&1 || true
    else
        mkdir -p "$dir"
        "$program" train "$config" --name "$name" --runs "$dir" --plain --set "train.seed=$seed" >"$dir/$name.log" 2>&1
    fi
    echo "seed $seed: $((SECONDS - began)) s" >&2
    runs+=("$dir/$name")
done
python3 "$scripts/compare_arms.py" "$program" "${runs[@]}"
