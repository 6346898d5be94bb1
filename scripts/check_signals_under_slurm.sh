#!/usr/bin/env bash
# Checks that the warning signals of SLURM end a training with a checkpoint and exit code 75: in a task without a
# terminal, in one with a terminal, and through the batch shell alone. Needs a cluster that takes jobs at once; takes
# about three minutes, most of it the time limit of a batch job.
#
#   scripts/check_signals_under_slurm.sh [PROGRAM]        PROGRAM defaults to target/debug/heirloom
#
# Prints one line a case, and "ok" or "FAIL" at the end; exit code 0 or 1.
set -u
program=$(realpath "${1:-target/debug/heirloom}")
work=$(mktemp -d)
cd "$work" || exit 1
# A debug build takes 1.5 s for each checkpoint, so that repeated signals come while it is written.
export HEIRLOOM_FAULT=rename:1500
train="$program train tiny --threads 1 --set reference.train.steps=1000000 --set checkpoint.every=0"
failed=0

# verdict NAME SIGNAL CODE: whether the run was stopped once, by this signal, with one checkpoint and this exit code.
verdict() {
    local events=runs/$1/events.jsonl word=FAIL
    if [ "$3" = 75 ] &&
        [ "$(grep -c "\"kind\":\"log\",\"message\":\"SIG$2 received: checkpoint and stop\"" "$events")" = 1 ] &&
        [ "$(grep -c '"kind":"checkpoint".*"reason":"signal"' "$events")" = 1 ]; then
        word=ok
    else
        failed=1
    fi
    echo "$word: $1: exit code $3"
}

# until_trained NAME: waits until the run trains.
until_trained() {
    for _ in $(seq 600); do
        grep -qs '"kind":"train"' "runs/$1/events.jsonl" && return
        sleep 0.1
    done
    echo "FAIL: $1 did not begin within a minute"
    exit 1
}

# signalled NAME SIGNAL TIMES: signals the steps of the job of this name.
signalled() {
    local job
    job=$(squeue --noheader --name "$1" --format %i)
    for _ in $(seq "$3"); do
        scancel --signal="$2" "$job"
        sleep 0.3
    done
}

cat >batch.sh <<END
#!/bin/bash
exec $train --name batch
END
sbatch --quiet --wait --ntasks 1 --time 2 --signal=B:USR1@60 --output batch.out --job-name batch --chdir "$work" batch.sh &
batch=$!

for signal in USR1 USR2 XCPU TERM; do
    times=3
    [ "$signal" = TERM ] && times=1
    name=srun-$signal
    srun --ntasks 1 --job-name "$name" $train --name "$name" >"$name.out" 2>&1 &
    until_trained "$name"
    signalled "$name" "$signal" $times
    wait $!
    verdict "$name" "$signal" $?

    name=pty-$signal
    TERM=xterm-256color script --quiet --return --command \
        "srun --ntasks 1 --pty --job-name $name $train --name $name" "$name.out" </dev/null >/dev/null 2>&1 &
    until_trained "$name"
    signalled "$name" "$signal" $times
    wait $!
    verdict "$name" "$signal" $?
done

# The batch shell, which has become the program, gets its signal about a minute before its limit of two.
wait "$batch"
verdict batch USR1 $?

[ $failed = 0 ] && echo ok && rm -rf "$work" && exit 0
echo "FAIL: see $work"
exit 1
