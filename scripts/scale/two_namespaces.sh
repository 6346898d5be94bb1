#!/usr/bin/env bash
# Measures how long ranks wait per step over a slow network, with sums in buckets during the backward pass and without:
# two network namespaces of this machine, joined by a veth that tbf shapes to 1 Gbit/s in each direction, with a rank of
# one thread in each, over TCP alone. Needs root, iproute2, Open MPI (mpicc too: the rate of the link is measured first)
# and a heirloom built with --features mpi over it; takes some minutes.
#
#   scripts/scale/two_namespaces.sh [PROGRAM] [GBIT]
#
#   PROGRAM    default target/mpi/release/heirloom; "none": the network and MPI alone
#   GBIT       default 1
#   BUCKETS="25 off"   sizes of buckets in MiB;  STEPS=20   steps of each turn;  TURNS=3   turns of both kinds;  CONTEXT=256   tokens of each of the 8 windows of a step
#
# Prints the rates, what rank 1 has sent and what the formula of docs/scale.md gives, and, for each kind, the medians over ranks and events: seconds per step of computation, waiting and
# exchange. Ends with "ok", or with "FAIL" and exit code 1 where the namespaces cannot be made or a run fails.
set -u
here=$(cd "$(dirname "$0")" && pwd)
program=${1:-target/mpi/release/heirloom}
gbit=${2:-1}
steps=${STEPS:-20}
turns=${TURNS:-3}
context=${CONTEXT:-256}
kinds=${BUCKETS:-25 off}
fail() {
    echo "FAIL: $*"
    exit 1
}
[ "$(id -u)" = 0 ] || fail "run this as root: it makes network namespaces"
mpirun=$(command -v mpirun.openmpi || command -v mpirun) || fail "mpirun is missing: apt-get install openmpi-bin libopenmpi-dev"
[ "$program" = none ] || program=$(realpath -e "$program") || fail "no such program; build it with: cargo build --release --features mpi --target-dir target/mpi"
work=$(mktemp -d)
a=hl-a-$$ b=hl-b-$$
finish() {
    ip netns del "$a" 2>/dev/null
    ip netns del "$b" 2>/dev/null
    [ -n "${KEEP:-}" ] && echo "see $work" || rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

ip netns add "$a" && ip netns add "$b" || fail "this kernel or container does not allow network namespaces"
ip link add veth netns "$a" type veth peer name veth netns "$b" || fail "this kernel has no veth"
n=1
for one in "$a" "$b"; do
    ip -n "$one" addr add 10.77.0.$n/24 dev veth
    ip -n "$one" link set lo up
    ip -n "$one" link set veth up
    # A burst of 1 ms and more, as tbf needs; packets wait 50 ms at most.
    ip netns exec "$one" tc qdisc add dev veth root tbf rate "${gbit}gbit" burst 256kb latency 50ms || fail "this kernel has no tbf (sch_tbf)"
    n=$((n + 1))
done

# In place of ssh: a command "on host 10.77.0.2". Each namespace has its own host name, by which MPI tells machines apart.
cat >"$work/agent" <<END
#!/bin/sh
shift
exec ip netns exec $b unshare --uts sh -c "hostname $b; \$*"
END
chmod +x "$work/agent"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# two COMMAND...: runs it as rank 0 in one namespace and rank 1 in the other, over TCP alone.
two() {
    ip netns exec "$a" unshare --uts sh -c "hostname $a; exec \"\$@\"" sh \
        "$mpirun" -n 2 --host 10.77.0.1:1,10.77.0.2:1 --bind-to none --wdir "$work" -x HEIRLOOM_BUCKETS \
        --mca plm_rsh_agent "$work/agent" --mca pml ob1 --mca btl tcp,self \
        --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 "$@"
}

cat >"$work/tcp.py" <<'END'
import socket, sys, time
at, mib = ("10.77.0.2", 5999), 64
if sys.argv[1] == "listen":
    listener = socket.create_server(at)
    print("listening", flush=True)
    peer, _ = listener.accept()
    while peer.recv(1 << 20):
        pass
else:
    peer = socket.create_connection(at)
    began = time.monotonic()
    for _ in range(mib):
        peer.sendall(bytes(1 << 20))
    peer.shutdown(socket.SHUT_WR)
    peer.recv(1)
    print(f"{mib * 8 * (1 << 20) / (time.monotonic() - began) / 1e9:.3f}")
END
if command -v python3 >/dev/null; then
    ip netns exec "$b" python3 "$work/tcp.py" listen >"$work/listening" &
    for _ in $(seq 50); do
        [ -s "$work/listening" ] && break
        sleep 0.1
    done
    echo "one TCP connection: $(ip netns exec "$a" python3 "$work/tcp.py" send) Gbit/s of $gbit"
fi
export HEIRLOOM_BUCKETS=off
mpicc=$(command -v mpicc.openmpi || command -v mpicc)
if [ -n "$mpicc" ]; then
    "$mpicc" -O2 -o "$work/allreduce" "$here/allreduce.c" || fail "mpicc"
    rate=$(two "$work/allreduce" 16 5 2>"$work/allreduce.err") || fail "no all-reduce over the veth: $(tail -n 3 "$work/allreduce.err")"
    echo "all-reduce over MPI: $rate"
fi
[ "$program" = none ] && echo ok && exit 0

# Shape C of docs/performance.md in f32: 10.7M parameters, 43 MB of gradients, 2048 tokens a step, four micro-batches.
cat >"$work/config.toml" <<END
[model]
n_layer = 6
n_head = 6
n_embd = 384
context_length = $context
[data]
train = "builtin:tinyshakespeare"
tokenizer = "byte"
[reference.train]
steps = $steps
lr = 1e-3
warmup = 2
[train]
lr = 1e-3
warmup = 0
log_every = 2
batch_tokens = $((8 * context))
micro_batch = 2
dtype = "f32"
steps = 1
[eval]
every = 1000000
windows = 8
[probe]
windows = 1
length = 32
[grow]
max_layers = 3
[policy]
mode = "auto"
[control]
random = false
reference_continued = false
[checkpoint]
every = 0
END
cat >"$work/times.py" <<'END'
import json, statistics, sys
times = {"compute": [], "wait": [], "exchange": []}
for path in sys.argv[2:]:
    for line in open(path):
        event = json.loads(line)
        # The first steps make buffers and connections.
        if event["kind"] != "ranks" or event["phase"] != "reference" or event["step"] <= 2:
            continue
        for key, all in times.items():
            all.extend(event[key] if isinstance(event[key], list) else [event[key]])
if not times["wait"]:
    sys.exit("no ranks events in the journal")
words = ", ".join(f"{key} {statistics.median(all):.3f} s" for key, all in times.items())
print(f"{sys.argv[1]}: {words} per step (medians of {len(times['wait'])} times)")
END
# Bytes that rank 1 has sent, with headers.
sent() {
    ip netns exec "$b" cat /sys/class/net/veth/statistics/tx_bytes
}

for turn in $(seq "$turns"); do
    for buckets in $kinds; do
        before=$(sent)
        HEIRLOOM_BUCKETS=$buckets two "$program" train "$work/config.toml" --threads 1 --plain --name "$buckets-$turn" >"$work/$buckets-$turn.out" 2>&1 ||
            fail "heirloom with HEIRLOOM_BUCKETS=$buckets: $(tail -n 3 "$work/$buckets-$turn.out")"
        echo $(($(sent) - before)) >>"$work/sent"
    done
done
cat >"$work/volume.py" <<'END'
import json, statistics, sys
# 2 (N-1)/N 4 P bytes of N = 2 ranks, for each step of each phase; what else rank 1 sends is small.
volume = 0
for line in open(sys.argv[2]):
    event = json.loads(line)
    if event["kind"] == "phase" and event.get("result"):
        volume += 4 * event["parameters"] * event["result"]["steps"]
sent = statistics.median(map(int, open(sys.argv[1])))
print(f"sent by rank 1: {sent / 1e6:.0f} MB in a run with TCP's headers, {volume / 1e6:.0f} MB by the formula ({sent / volume - 1:+.1%})")
END
python3 "$work/volume.py" "$work/sent" "$work/runs/${kinds%% *}-1/events.jsonl" || fail "no volume"
for buckets in $kinds; do
    python3 "$work/times.py" "HEIRLOOM_BUCKETS=$buckets" "$work"/runs/$buckets-*/events.jsonl || fail "no times of $buckets"
done
echo ok
