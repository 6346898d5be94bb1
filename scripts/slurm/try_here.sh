#!/usr/bin/env bash
# Tries the templates under a real SLURM of one machine: starts munged, slurmctld and slurmd in a temporary directory, runs
# jobs, and ends the daemons. Needs root, and the Debian packages slurmd slurmctld slurm-client munge; takes about seven
# minutes. Nothing outside the temporary directory is written, and no running SLURM is touched.
#
#   scripts/slurm/try_here.sh [PROGRAM [MPI]]
#
#   PROGRAM    default target/debug/heirloom; jobs have two ranks if it is linked to an MPI library, else one
#   MPI        the plugin of srun [default: pmix for Open MPI, pmi2 for MPICH]
#   HEIRLOOM_TRY_KEEP=1 keeps the directory
#
# Prints one line a case, and "ok" or "FAIL" at the end; exit code 0 or 1.
set -u
here=$(cd "$(dirname "$0")" && pwd)
program=$(realpath "${1:-target/debug/heirloom}")
[ "$(id -u)" = 0 ] || { echo "FAIL: run this as root: slurmd starts jobs as their users"; exit 1; }
[ -x "$program" ] || { echo "FAIL: $program is not a program: cargo build, or name one"; exit 1; }
for tool in munged slurmctld slurmd srun sbatch; do
    command -v $tool >/dev/null || { echo "FAIL: $tool is missing: apt-get install slurmd slurmctld slurm-client munge"; exit 1; }
done

libraries=$(ldd "$program")
case $libraries in
    *libmpich*) mpi=${2:-pmi2} ranks=2 other=pmix ;;
    *libmpi*) mpi=${2:-pmix} ranks=2 other=pmi2 ;;
    *) mpi=${2:-none} ranks=1 other= ;;
esac
# Open MPI's own programs refuse root, and SLURM's jobs here are root's.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

work=$(mktemp -d /tmp/slurm-here.XXXXXX)
host=$(hostname -s)
daemons=()
failed=0

finish() {
    scancel --quiet --state=PENDING 2>/dev/null
    scancel --quiet --full --signal=KILL --state=RUNNING 2>/dev/null
    # Last started first.
    for ((i = ${#daemons[@]} - 1; i >= 0; i--)); do
        kill "${daemons[i]}" 2>/dev/null
        for _ in $(seq 30); do
            kill -0 "${daemons[i]}" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "${daemons[i]}" 2>/dev/null
    done
    if [ $failed = 0 ] && [ -z "${HEIRLOOM_TRY_KEEP:-}" ]; then
        rm -rf "$work"
    else
        echo "see $work"
    fi
}
trap finish EXIT
trap 'failed=1; exit 1' INT TERM

# say WORD TEXT: prints a verdict, and remembers a failure.
say() {
    echo "$1: $2"
    [ "$1" = ok ] || failed=1
}

# until_true SECONDS COMMAND...: repeats a command until it succeeds.
until_true() {
    local tries=$(($1 * 5))
    shift
    for _ in $(seq $tries); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.2
    done
    return 1
}

start() {
    mkdir -p "$work"/{state,spool,log,munge,jobs}
    head -c 1024 /dev/urandom >"$work/munge/key"
    chmod 600 "$work/munge/key"
    chmod 755 "$work" "$work/munge"
    cat >"$work/slurm.conf" <<END
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/log/slurmctld
SlurmdLogFile=$work/log/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
ReturnToService=2
KillWait=10
JobRequeue=1
MinJobAge=600
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=low Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60
PartitionName=high Nodes=$host MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
END
    export SLURM_CONF=$work/slurm.conf
    munged --foreground --force --key-file="$work/munge/key" --socket="$work/munge/socket" \
        --pid-file="$work/munge/pid" --log-file="$work/log/munged" --seed-file="$work/munge/seed" >"$work/log/munged.out" 2>&1 &
    daemons+=($!)
    until_true 10 test -S "$work/munge/socket" || { say FAIL "munged has not begun"; exit 1; }
    slurmctld -D >"$work/log/slurmctld.out" 2>&1 &
    daemons+=($!)
    until_true 20 scontrol ping || { say FAIL "slurmctld has not begun"; exit 1; }
    slurmd -D >"$work/log/slurmd.out" 2>&1 &
    daemons+=($!)
    until_true 30 idle || { say FAIL "the node is not idle: $(sinfo --noheader)"; exit 1; }
    say ok "$(srun --version) of one node with $(nproc) CPUs; plugins of srun --mpi: $(srun --mpi=list 2>&1 | sed -n 's/^\t//p' | tr '\n' ' ')"
}

idle() {
    [ "$(sinfo --noheader --partition low --format %T)" = idle ]
}

# trains NAME: whether the run has trained in its present process.
trains() {
    tail -n +"${from:-1}" "$work/jobs/runs/$1/events.jsonl" | grep -q '"kind":"train"'
}

# count TEXT NAME: how many events of the run have the text.
count() {
    grep -c -- "$1" "$work/jobs/runs/$2/events.jsonl"
}

# The ranks that the run's first event names.
world() {
    [ -e "$work/jobs/runs/$1/events.jsonl" ] &&
    sed -n '1s/.*"ranks":{[^}]*"world":\([0-9]*\).*/\1/p' "$work/jobs/runs/$1/events.jsonl"
}

start
cd "$work/jobs" || exit 1
# Small enough for an unoptimised program; it trains until it is stopped, unless steps are set.
cat >small.toml <<END
[model]
n_layer = 2
n_head = 2
n_embd = 16
context_length = 32
[data]
train = "builtin:tinyshakespeare"
tokenizer = "byte"
[reference.train]
steps = 10000000
lr = 3e-3
warmup = 5
[train]
steps = 10
lr = 1e-3
warmup = 2
batch_tokens = 256
micro_batch = 2
log_every = 5
[eval]
every = 1000000
windows = 8
[probe]
windows = 1
length = 32
[grow]
max_layers = 1
[policy]
mode = "auto"
[control]
random = false
reference_continued = false
[checkpoint]
every = 0
END

# Every task of a step has its place.
tasks=$(srun --ntasks=2 sh -c 'echo $SLURM_PROCID/$SLURM_STEP_NUM_TASKS' | sort | tr '\n' ' ')
[ "$tasks" = "0/2 1/2 " ] && say ok "srun --ntasks=2 runs tasks $tasks" || say FAIL "srun --ntasks=2 runs tasks $tasks"

# A program without MPI, or with the wrong plugin, must not train twice.
wrong=${other:-none}
timeout 120 srun --mpi="$wrong" --ntasks=2 "$program" train small.toml --name twice --plain --threads 1 >refused.out 2>&1
code=$?
if [ -n "$other" ] && [ $code != 0 ] && [ ! -e runs/twice ]; then
    # Open MPI's own message for its missing plugin, or heirloom's.
    say ok "srun --mpi=$wrong with this library is refused (exit code $code): $(grep -m1 -iE 'rank|pmi' refused.out)"
elif [ -z "$other" ] && [ $code = 2 ] && [ ! -e runs/twice ]; then
    say ok "two tasks without MPI are refused with exit code 2: $(grep -m1 'this is rank' refused.out)"
else
    say FAIL "two tasks that cannot exchange: exit code $code, $(ls runs 2>/dev/null | wc -l) runs: $(tail -n 1 refused.out)"
fi
rm -rf runs

if [ "$ranks" = 2 ]; then
    timeout 300 srun --mpi="$mpi" --ntasks=2 "$program" train small.toml --name two --plain --threads 1 \
        --set reference.train.steps=20 >two.out 2>&1
    code=$?
    if [ $code = 0 ] && [ "$(world two)" = 2 ] && [ "$(ls runs | wc -l)" = 1 ]; then
        say ok "srun --mpi=$mpi --ntasks=2 trains one run with 2 ranks"
    else
        say FAIL "srun --mpi=$mpi --ntasks=2: exit code $code, $(ls runs 2>/dev/null | wc -l) runs of $(world two) ranks: $(tail -n 1 two.out)"
    fi
fi

# submit NAME MINUTES SIGNAL: the template, for this machine.
submit() {
    HEIRLOOM=$program CONFIG=small.toml NAME=$1 MPI=$mpi ARGS="--threads 1" \
        sbatch --parsable --job-name "$1" --nodes=1 --ntasks-per-node=$ranks --gpus-per-node=0 --cpus-per-task=1 \
        --time="$2" --signal="$3" "$here/requeue.sbatch"
}

# SLURM starts a requeued job two minutes later at the earliest.
job=$(submit preempted 30 B:USR1@120)
if until_true 120 trains preempted; then
    from=$(($(wc -l <runs/preempted/events.jsonl) + 1))
    sbatch --quiet --partition=high --exclusive --output=high.out --wrap 'sleep 3'
    if until_true 90 grep -qs "ended with exit code 75" "preempted-$job.out" &&
        until_true 200 trains preempted; then
        say ok "preempted: exit code 75, $(count '"kind":"checkpoint".*"reason":"signal"' preempted) checkpoint(s) by signal, resumed $(count '"kind":"resumed"' preempted) time(s) by SLURM's requeue"
    else
        say FAIL "preempted: $(squeue --noheader --job "$job") $(tail -n 2 "preempted-$job.out")"
    fi
else
    say FAIL "preempted has not begun within 120 s: $(tail -n 2 "preempted-$job.out")"
fi
scancel --full "$job"
until_true 60 idle || say FAIL "the cancelled job has left $(squeue --noheader)"

# The signal comes 45 s before the limit of two minutes (SLURM checks every half minute).
from=1
job=$(submit limited 2 B:USR1@75)
if until_true 120 trains limited && until_true 120 grep -qs "attempt 0 ended with exit code 75" "limited-$job.out"; then
    from=$(($(wc -l <runs/limited/events.jsonl) + 1))
    if until_true 200 trains limited && [ "$(count '"kind":"resumed"' limited)" -ge 1 ]; then
        say ok "time limit: USR1 to the batch shell, exit code 75, requeued, resumed"
    else
        say FAIL "time limit: not resumed: $(squeue --noheader --job "$job") $(tail -n 2 "limited-$job.out")"
    fi
else
    say FAIL "time limit: $(tail -n 2 "limited-$job.out")"
fi
scancel --full "$job"
until_true 60 idle || say FAIL "the cancelled job has left $(squeue --noheader)"

[ $failed = 0 ] && echo ok && exit 0
echo FAIL
exit 1
