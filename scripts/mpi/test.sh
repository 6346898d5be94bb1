#!/usr/bin/env bash
# Trains small models by several ranks over Open MPI and over MPICH, and compares them with one process; then kills and
# stops ranks. Prints figures with their limits, one line a check, and "ok" or "FAIL" at the end; exit code 0 or 1.
#
#   scripts/mpi/test.sh [--only openmpi|mpich] [--kills N] [--quick] [--parts "PART ..."]
#
#   --kills N   kill a random rank N times at random moments, half of them while checkpoints are written or a model grows
#               [default: 10]
#   --quick     worlds of 1 and 2 alone
#   --parts     some of: same_training resumed refused signalled stopped killed
#
# Builds both programs, each in a directory of its own under target/, unless HEIRLOOM_OPENMPI and HEIRLOOM_MPICH name them
# (debug builds: faults are wanted). Needs both libraries with headers (Debian: libopenmpi-dev openmpi-bin libmpich-dev
# mpich), libclang, python3. About ten minutes on two cores.
set -u
root=$(realpath "$(dirname "$0")/../..")
kills=10 only= worlds="1 2 3 4" parts="same_training resumed refused signalled stopped killed"
while [ $# -gt 0 ]; do
    case $1 in
    --only) only=$2; shift ;;
    --kills) kills=$2; shift ;;
    --quick) worlds="1 2" ;;
    --parts) parts=$2; shift ;;
    *) echo "unknown option $1"; exit 2 ;;
    esac
    shift
done
compare() { python3 "$root/scripts/mpi/compare.py" "$@"; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0
# Root in a container; more ranks than cores.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1

cat >small.toml <<'END'
[model]
n_layer = 4
n_head = 2
n_embd = 16
context_length = 16
[data]
train = "builtin:tinyshakespeare"
tokenizer = "byte"
[reference.train]
steps = 50
lr = 3e-3
warmup = 5
[inherit]
layers = 1
[train]
steps = 20
batch_tokens = 192
micro_batch = 1
lr = 3e-3
log_every = 1
dtype = "f32"
[eval]
every = 25
windows = 8
[probe]
windows = 2
length = 16
[grow]
step = 1
max_layers = 2
[match]
tolerance = -1.0
[policy]
mode = "auto"
[control]
random = false
reference_continued = false
[checkpoint]
every = 20
keep = 2
END

# check WORDS CONDITION: one line of the report.
check() {
    if eval "$2"; then echo "  ok    $1"; else
        echo "  FAIL  $1"
        failed=1
    fi
}

# below FIGURE LIMIT
below() { python3 -c 'import sys; sys.exit(not float(sys.argv[1]) <= float(sys.argv[2]))' "$1" "$2"; }

# launch WORLD COMMAND...: with the library in $library.
launch() {
    local world=$1
    shift
    case $library in
    openmpi) exec mpirun.openmpi --bind-to none -n "$world" "$@" ;;
    mpich) exec mpiexec.hydra -disable-auto-cleanup -n "$world" "$@" ;;
    esac
}

# ranks WORLD NAME ARGS...: a run to its end; what it prints is in NAME.out.
ranks() {
    local world=$1 name=$2
    shift 2
    (launch "$world" timeout 300 "$program" train small.toml --name "$name" --threads 1 "$@") >"$name.out" 2>&1
}

# pids NAME: the processes of a run, by their command line.
pids() { pgrep -f "^$program train .*(--name|--resume) $1( |\$)"; }

# rank_pid NAME RANK
rank_pid() {
    local pid
    for pid in $(pids "$1"); do
        if tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qE "^(OMPI_COMM_WORLD_RANK|PMI_RANK)=$2\$"; then
            echo "$pid"
            return
        fi
    done
}

# until_event NAME PATTERN: waits for a line of the journal.
until_event() {
    for _ in $(seq 1200); do
        grep -qsE "$2" "runs/$1/events.jsonl" && return 0
        sleep 0.05
    done
    return 1
}

# gone NAME SECONDS: whether no process of the run is left in time; prints the seconds.
gone() {
    local begin end
    begin=$(date +%s.%N)
    while [ -n "$(pids "$1")" ]; do
        end=$(date +%s.%N)
        python3 -c "import sys; sys.exit(not $end - $begin > $2)" && { echo "more than $2"; pids "$1" | xargs -r kill -9; return 1; }
        sleep 0.1
    done
    end=$(date +%s.%N)
    python3 -c "print(f'{$end - $begin:.1f}')"
}

same_training() {
    echo "the same training"
    "$program" train small.toml --name solo --threads 1 >solo.out 2>&1 || { echo "FAIL: one process: $(tail -n 3 solo.out)"; failed=1; return; }
    "$program" train small.toml --name solo-1 --threads 1 --set train.clip=0 --set reference.train.steps=1 --set reference.train.warmup=0 --set train.steps=1 >solo-1.out 2>&1
    for world in $worlds; do
        ranks "$world" "g$world" --set train.clip=0 --set reference.train.steps=1 --set reference.train.warmup=0 --set train.steps=1
        local found
        found=$(compare gradients runs/solo-1/checkpoints/b0-s00000001-reference "runs/g$world/checkpoints/b0-s00000001-reference" 2>&1 | tail -n 1)
        check "$world ranks: gradient of step 1 differs by ${found% *} of ${found##* } tensors (limit 1e-6)" "below '${found%% *}' 1e-6"
        ranks "$world" "w$world"
        found=$(compare losses runs/solo "runs/w$world" 2>&1 | tail -n 1)
        check "$world ranks: losses of ${found##* } steps differ by ${found% *} nats (limit 2e-5)" "below '${found%% *}' 2e-5"
        ranks "$world" "v$world"
        found=$(compare bits "runs/w$world" "runs/v$world" 2>&1 | tail -n 1)
        check "$world ranks: run to run: $found" "[ '${found%% *}' = same ]"
    done
}

resumed() {
    echo "resumed"
    ranks 2 whole
    (launch 2 "$program" train small.toml --name killed --threads 1 >killed.out 2>&1) &
    until_event killed '"kind":"checkpoint"' && until_event killed '"phase":"round.1","phase_step":1[0-9],'
    pids killed | xargs kill -9
    gone killed 15 >/dev/null
    (launch 2 "$program" train --resume killed --threads 1) >>killed.out 2>&1
    check "2 ranks, killed and resumed: exit code $?" "[ $? = 0 ]"
    local found
    found=$(compare bits runs/whole runs/killed 2>&1 | tail -n 1)
    check "2 ranks, killed and resumed: $found" "[ '${found%% *}' = same ]"
    for world in 1 3; do
        (launch 2 "$program" train small.toml --name "to$world" --threads 1 >"to$world.out" 2>&1) &
        until_event "to$world" '"phase":"round.1","phase_step":1[0-9],'
        pids "to$world" | xargs kill -9
        gone "to$world" 15 >/dev/null
        (launch $world "$program" train --resume "to$world" --threads 1) >>"to$world.out" 2>&1
        local code=$?
        found=$(compare losses runs/solo "runs/to$world" 2>&1 | tail -n 1)
        check "2 ranks, resumed by $world: exit code $code, losses differ by ${found% *} nats (limit 1e-4)" "[ $code = 0 ] && below '${found%% *}' 1e-4"
    done
}

# differing NAME WORDS SCRIPT: a start whose rank 1 runs SCRIPT, which must be named with WORDS, exit code 2, no directory.
differing() {
    cat >odd.sh <<END
#!/bin/bash
rank=\${OMPI_COMM_WORLD_RANK:-\$PMI_RANK}
if [ "\$rank" = 1 ]; then
    $3
else
    exec $program train small.toml --name $1 --threads 1
fi
END
    chmod +x odd.sh
    (launch 2 timeout 60 ./odd.sh) >"$1.out" 2>&1
    local code=$?
    check "$1: exit code $code, $(grep -m1 'rank 1' "$1.out")" "[ $code = 2 ] && grep -q 'rank 1 differs from rank 0: .*$2' $1.out && ! [ -e runs/$1 ]"
}

refused() {
    echo "refused"
    differing config 'train.lr is 0.1, rank 0' "exec $program train small.toml --name config --threads 1 --set train.lr=0.1"
    cp "$program" other-program && echo >>other-program
    differing program 'the program is heirloom' "exec $work/other-program train small.toml --name program --threads 1"
    printf 'Other words than those of the others, again and again. %.0s' $(seq 200) >other.txt
    printf 'Words that all ranks but one have read, again and again. %.0s' $(seq 200) >text.txt
    sed -i.bak 's|"builtin:tinyshakespeare"|"$MPI_TEST_TEXT"|' small.toml
    export MPI_TEST_TEXT=$work/text.txt
    differing data 'data.train' "export MPI_TEST_TEXT=$work/other.txt; exec $program train small.toml --name data --threads 1"
    differing missing 'cannot' "export MPI_TEST_TEXT=$work/nothing.txt; exec $program train small.toml --name missing --threads 1"
    unset MPI_TEST_TEXT
    mv small.toml.bak small.toml
    ranks 2 detached -d
    check "-d: $(grep -m1 -o 'd starts a process.*' detached.out)" "grep -q 'heirloom attach' detached.out && ! [ -e runs/detached ]"
    ranks 5 many
    check "5 ranks, 12 windows: $(grep heirloom: many.out | tail -n 1)" "! [ -e runs/many ]"
    local other=mpiexec.hydra
    [ "$library" = mpich ] && other=mpirun.openmpi
    ("$other" -n 2 "$program" train small.toml --name stranger --threads 1) >stranger.out 2>&1
    local code=$?
    check "the other library's launcher: exit code $code, $(grep -m1 -o 'but MPI sees.*' stranger.out)" "[ $code = 2 ] && ! [ -e runs/stranger ]"
}

signalled() {
    echo "signals"
    for name in USR1 TERM; do
        ( (export HEIRLOOM_FAULT=${fault:-}; launch 2 "$program" train small.toml --name "sig$name" --threads 1 --set reference.train.steps=100000 --set checkpoint.every=0) >"sig$name.out" 2>&1; echo $? >"sig$name.code") &
        until_event "sig$name" '"kind":"train"'
        sleep 1
        pids "sig$name" | xargs kill -"$name"
        local seconds written
        seconds=$(gone "sig$name" 15)
        wait %% 2>/dev/null
        written=$(grep -c '"kind":"checkpoint".*"reason":"signal"' "runs/sig$name/events.jsonl")
        check "SIG$name to all ranks: exit code $(cat "sig$name.code"), $written checkpoint, $seconds s" "[ $(cat "sig$name.code") = 75 ] && [ $written = 1 ]"
    done
}

stopped() {
    echo "a rank that is stopped (dist.timeout_s = 5)"
    for rank in 1 0; do
        ( (export HEIRLOOM_FAULT=${fault:-}; launch 2 "$program" train small.toml --name "hang$rank" --threads 1 --set reference.train.steps=100000 --set dist.timeout_s=5) >"hang$rank.out" 2>&1; echo $? >"hang$rank.code") &
        until_event "hang$rank" '"kind":"train"'
        local pid seconds
        pid=$(rank_pid "hang$rank" $rank)
        kill -STOP "$pid"
        # A process that is stopped does not notice SIGTERM, so that only SIGKILL ends it.
        seconds=$(gone "hang$rank" 20)
        wait %% 2>/dev/null
        check "rank $rank: exit code $(cat "hang$rank.code") after $seconds s (limit 20), $(grep -m1 -o "rank $rank does not respond.*" "hang$rank.out")" \
            "[ $(cat "hang$rank.code") != 0 ] && grep -q 'rank $rank does not respond' hang$rank.out"
    done
    check "the journal names rank 1" "grep -q 'rank 1 does not respond' runs/hang1/events.jsonl"
}

killed() {
    echo "$kills kills at random moments"
    local n rank pid at seconds code worst=0 names=0 led=0 bad=0
    RANDOM=7
    for n in $(seq "$kills"); do
        local name=kill$n
        rank=$((RANDOM % 3))
        local fault=
        # Half of them while checkpoints are written, or a model grows.
        if [ $((n % 2)) = 0 ]; then fault=rename:400; fi
        ( (export HEIRLOOM_FAULT=${fault:-}; launch 3 "$program" train small.toml --name "$name" --threads 1 --set checkpoint.every=5 --set train.steps=12 --set reference.train.steps=12) >"$name.out" 2>&1; echo $? >"$name.code") &
        local job=$!
        if [ $((n % 4)) = 2 ]; then until_event "$name" '"kind":"decision"|"phase":"round.2"'; else until_event "$name" '"kind":"train"'; fi
        sleep "0.$((RANDOM % 9))"
        pid=$(rank_pid "$name" $rank)
        if [ -z "$pid" ]; then
            # It has ended before.
            wait $job
            continue
        fi
        kill -9 "$pid"
        seconds=$(gone "$name" 15) || bad=$((bad + 1))
        wait $job
        code=$(cat "$name.code")
        worst=$(python3 -c "print(max($worst, ${seconds##* }))")
        if [ "$rank" = 0 ]; then led=$((led + 1)); elif grep -q "rank $rank is lost" "runs/$name/events.jsonl" && grep -q "rank $rank is lost" "$name.out"; then
            names=$((names + 1))
        else
            echo "        kill $n: rank $rank is not named: $(tail -n 1 "runs/$name/events.jsonl" | cut -c1-200)"
            bad=$((bad + 1))
        fi
        [ "$code" = 0 ] && { echo "        kill $n: exit code 0"; bad=$((bad + 1)); }
        (launch $((1 + RANDOM % 4)) "$program" train --resume "$name" --threads 1) >"$name.resumed" 2>&1
        code=$?
        [ "$code" = 0 ] || { echo "        kill $n: resumed with exit code $code: $(tail -n 1 "$name.resumed")"; bad=$((bad + 1)); }
    done
    check "last process gone after $worst s at most (limit 15); $names times the rank was named, $led times it was rank 0; all resumed" "[ $bad = 0 ]"
}

for library in openmpi mpich; do
    [ -n "$only" ] && [ "$only" != "$library" ] && continue
    variable=HEIRLOOM_${library^^}
    program=${!variable:-}
    if [ -z "$program" ]; then
        echo "building with $library"
        (cd "$root" && MPICC=mpicc.$library CARGO_TARGET_DIR=target/mpi-$library cargo build --quiet --features mpi) || exit 1
        program=$root/target/mpi-$library/debug/heirloom
    fi
    program=$(realpath "$program")
    echo "$library: $(ldd "$program" | grep -o 'libmpi[^ ]*' | head -n 1)"
    rm -rf runs ./*.out
    for part in $parts; do "$part"; done
done
[ "$failed" = 0 ] && echo ok || echo FAIL
exit $failed
