#!/usr/bin/env bash
# Trains 12 small runs and compares what `heirloom forecast` expected of them with what they came to: at most 25 minutes on
# two cores.
#
#   scripts/forecast_own_runs.sh [DIR]
#
# The runs go into DIR [runs/forecasts]. One that is done is not trained again, and one that was interrupted is resumed. Each
# has a reference, a round from its first layers and a control of the same size from random weights, of 400 steps each at
# 1e-3. References: `long` 1200 steps at 3e-3, `short` 600 at 1.5e-3, both with a cosine, and `same` 400 at 1e-3 of the
# round's schedule; schedules: cosine, wsd; seeds 1 and 2. Exit code 1 when a limit is missed.
#
# HEIRLOOM: the program to run [cargo run --release --quiet --].
set -eu
scripts=$(cd "$(dirname "$0")" && pwd)
dir=${1:-runs/forecasts}
mkdir -p "$dir/configs"
read -r -a program <<<"${HEIRLOOM:-cargo run --release --quiet --}"

config() {
    local reference=$1 schedule=$2 seed=$3 steps peak warmup kind
    case $reference in
    long) steps=1200 peak=3e-3 warmup=60 kind=cosine ;;
    short) steps=600 peak=1.5e-3 warmup=30 kind=cosine ;;
    same) steps=400 peak=1e-3 warmup=20 kind=$schedule ;;
    esac
    cat <<TOML
[model]
n_layer = 6
n_head = 4
n_embd = 96
context_length = 64
[data]
train = "builtin:tinyshakespeare"
val_fraction = 0.1
tokenizer = "byte"
[reference.train]
steps = $steps
lr = $peak
warmup = $warmup
schedule = "$kind"
[inherit]
layers = "half"
[train]
steps = 400
batch_tokens = 512
lr = 1e-3
warmup = 20
schedule = "$schedule"
seed = $seed
[eval]
every = 20
windows = 128
[probe]
length = 64
budget = 0.01
[grow]
step = 1
max_layers = 3
[policy]
mode = "auto"
[control]
random = true
reference_continued = false
TOML
}

number=0
for seed in 1 2; do
    for schedule in cosine wsd; do
        for reference in long short same; do
            name=$reference-$schedule-$seed number=$((number + 1))
            if grep -qs '"kind":"done"' "$dir/$name/events.jsonl"; then
                echo "$number of 12  $name  done before"
                continue
            fi
            started=$SECONDS
            if [ -e "$dir/$name/config.toml" ]; then
                "${program[@]}" train --resume "$name" --runs "$dir" </dev/null >>"$dir/$name.log"
            else
                config "$reference" "$schedule" "$seed" >"$dir/configs/$name.toml"
                "${program[@]}" train "$dir/configs/$name.toml" --runs "$dir" --name "$name" </dev/null >"$dir/$name.log"
            fi
            echo "$number of 12  $name  trained in $((SECONDS - started)) s"
        done
    done
done
exec python3 "$scripts/forecast_own_runs.py" "$dir"
