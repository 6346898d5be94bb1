#!/usr/bin/env python3
"""Injects faults into a miniature run and checks that no finished result is lost.

    scripts/sweep.py [--program PATH] [--seconds N] snapshots|syscalls|disk|descriptors|threads|all

One promise is checked everywhere: the run ends done, with the results of an undisturbed run to the last bit; or it pauses,
says why, and ends done when the fault is over; or it ends with a sentence and a documented exit code, and a resume
brings the same results without training a finished phase again. No panic (101), no other signal's death, no hang.

Each sweep prints its figures, the limit, and ok or FAIL; the exit code is 1 after a FAIL. It needs strace for
`syscalls`, and root for `disk` and `threads`. Standard library only.
"""

import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = """
[model]
n_layer = 2
n_head = 2
n_embd = 16
context_length = 16
[data]
train = "builtin:tinyshakespeare"
val_fraction = 0.02
tokenizer = "byte"
[reference.train]
steps = 40
lr = 3e-3
[inherit]
layers = 1
[train]
steps = 40
batch_tokens = 64
lr = 1e-5
[eval]
every = 10
windows = 8
[probe]
windows = 2
length = 8
[grow]
step = 1
[policy]
mode = "auto"
[control]
random = true
reference_continued = true
[checkpoint]
every = 10
keep = 2
"""

# What `docs/exit-codes.md` lists.
CODES = {0, 1, 2, 3, 75, 130}
PATIENCE = 60  # seconds after which a run hangs
OTHER_USER = 65534

# System calls and the error that each fails with.
SYSCALLS = {
    "openat": "EIO", "read": "EIO", "pread64": "EIO", "write": "ENOSPC", "pwrite64": "EIO", "fsync": "EIO",
    "fdatasync": "EIO", "rename": "EIO", "renameat": "EIO", "renameat2": "EIO", "link": "EIO", "linkat": "EIO",
    "mkdir": "ENOSPC", "mkdirat": "ENOSPC", "unlink": "EIO", "unlinkat": "EIO", "rmdir": "EIO", "symlink": "ENOSPC",
    "symlinkat": "ENOSPC", "readlink": "EIO", "readlinkat": "EIO", "ftruncate": "EIO", "fstat": "EIO",
    "newfstatat": "EIO", "statx": "EIO", "statfs": "EIO", "fstatfs": "EIO", "getdents64": "EIO", "fchmod": "EPERM",
    "fchmodat": "EPERM", "fcntl": "ENOLCK", "flock": "ENOLCK", "utimensat": "EPERM", "mmap": "ENOMEM",
    "munmap": "ENOMEM", "madvise": "EINVAL", "clone3": "EAGAIN", "clone": "EAGAIN", "socket": "EMFILE",
    "socketpair": "EMFILE", "bind": "EADDRINUSE", "listen": "EADDRINUSE", "accept4": "EMFILE", "connect": "EIO",
    "epoll_create1": "EMFILE", "eventfd2": "EMFILE", "pipe2": "EMFILE", "inotify_init1": "EMFILE",
    "setpriority": "EPERM", "sched_getaffinity": "EPERM",
}
# Not in the list: getrandom, which does not fail on any supported kernel and which the standard library assumes to
# succeed. A write to an eventfd cannot fail either, but strace cannot exclude it; tokio then panics with this line.
NOT_REAL = re.compile(r"panicked at .*/tokio-[^/]*/src/runtime/io/driver.rs")


class Bench:
    """A folder to work in, the program, and the results of an undisturbed run."""

    def __init__(self, program, seconds, base=None):
        self.program = str(Path(program).resolve())
        self.seconds = seconds
        self.dir = Path(base or tempfile.mkdtemp(prefix="heirloom-sweep-"))
        self.config = self.dir / "sweep.toml"
        self.config.write_text(CONFIG)
        self.failures = []
        self.settings = []
        self.whole = None

    def measure(self, *settings):
        """Makes the undisturbed run that all others are compared with."""
        self.settings = [word for setting in settings for word in ("--set", setting)]
        ended = self.run(self.train("whole"))
        if ended.code != 0:
            sys.exit(f"the undisturbed run ended with {ended.code}: {ended.text[-500:]}")
        self.whole = self.results(self.dir / "whole")

    def train(self, name, runs=None):
        runs = runs or self.dir
        return [self.program, "train", str(self.config), "--runs", str(runs), "--name", name, "--threads", "1",
                *self.settings]

    def run(self, command, before=None, during=None, prefix=()):
        """Runs a command to its end. `before` is called in the new process, `during(process, text)` while it runs."""
        return Ended([*prefix, *command], self.dir, before, during)

    def results(self, run):
        """Every loss by phase and step, as last told, and a hash of the final weights."""
        losses = {}
        for event in events(run):
            key = (event["phase"], event["phase_step"], event["kind"])
            if event["kind"] == "train":
                losses[key] = event["loss"]
            elif event["kind"] == "eval":
                losses[key] = event["val_loss"]
        weights = (run / "checkpoints" / "latest" / "model.safetensors").read_bytes()
        return losses, hashlib.sha256(weights).hexdigest()

    def judge(self, what, ended, run):
        """Checks the promise for a run that has ended; a failure is remembered. Returns how it ended, in a word."""
        word, fault = self.verdict(ended, run)
        if fault:
            self.failures.append(f"{what}: {fault}")
            if os.environ.get("SWEEP_VERBOSE"):
                print(f"    {what}: {fault}", flush=True)
        shutil.rmtree(run, ignore_errors=True)
        return word

    def verdict(self, ended, run):
        if ended.hung:
            return "FAIL", f"still running after {PATIENCE} s: {ended.text[-300:]}"
        if NOT_REAL.search(ended.text):
            return "no real fault", None
        if "panicked" in ended.text:
            return "FAIL", f"panic: {line_with('panicked', ended.text)}"
        if ended.code == 127:
            return "not started", None  # the loader's own sentence
        if ended.code not in CODES:
            return "FAIL", f"ended with {ended.code}: {ended.text[-300:]}"
        if ended.code == 0:
            return ("paused, done" if ended.paused else "done"), self.differs(run)
        if not ended.text.strip():
            return "FAIL", f"ended with {ended.code} without a word"
        if not (run / "events.jsonl").exists():
            if run.exists() and ended.code == 2:
                return "not begun", f"a half-made run is left: {sorted(os.listdir(run))}"
            return "not begun", None
        told = events(run)
        resumed = self.run([self.program, "train", "--resume", str(run), "--threads", "1"])
        if resumed.code != 0:
            return "FAIL", (f"ended with {ended.code} ({last_line(ended.text)}), and the resume with {resumed.code}: "
                            f"{resumed.text[-300:]}")
        fault = self.differs(run) or trained_again(told, events(run))
        return "resumed", fault

    def differs(self, run):
        """What is not as in the undisturbed run, if anything."""
        losses, weights = self.results(run)
        other = sum(losses.get(key) != loss for key, loss in self.whole[0].items())
        if other or len(losses) != len(self.whole[0]):
            return f"{other} of {len(self.whole[0])} losses differ or are missing"
        return None if weights == self.whole[1] else "the final weights differ"

    def report(self, name, figures, limit):
        good = not self.failures
        print(f"{name}: {figures}; limit: {limit}: {'ok' if good else 'FAIL'}", flush=True)
        for failure in self.failures:
            print(f"  FAIL {failure}", flush=True)
        self.failures = []
        return good


class Ended:
    """How a process ended: its code, what it printed, whether it hung, and whether it paused."""

    def __init__(self, command, cwd, before, during):
        with tempfile.TemporaryFile() as out:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd,
                                     preexec_fn=before, start_new_session=True)
            began, self.hung, self.paused = time.monotonic(), False, False
            while child.poll() is None:
                time.sleep(0.02)
                if during and not self.paused and "paused: " in read_all(out):
                    self.paused = True
                    during(child)
                    began = time.monotonic()
                if time.monotonic() - began > PATIENCE:
                    self.hung = True
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
            self.code, self.text = child.returncode, read_all(out)
            self.paused = self.paused or "paused: " in self.text


def read_all(file):
    return os.pread(file.fileno(), 1 << 22, 0).decode(errors="replace")


def events(run):
    """The journal's events that can be read."""
    found = []
    try:
        lines = (run / "events.jsonl").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            pass
    return found


def trained_again(before, after):
    """Which finished phase a resume has trained again, if any: its result was in the journal before."""
    finished = {e["phase"] for e in before if e["kind"] == "phase" and e.get("result")}
    new = after[len(before):]
    again = sorted(finished & {e["phase"] for e in new if e["kind"] == "train"})
    return f"trained again although they were finished: {', '.join(again)}" if again else None


def line_with(word, text):
    return next(line for line in text.splitlines() if word in line)


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def count(words):
    return ", ".join(f"{words.count(w)} {w}" for w in sorted(set(words)))


def evenly(n, most):
    """Numbers from 1 to n, at most so many of them."""
    return sorted({1 + i * (n - 1) // max(1, min(n, most) - 1) for i in range(min(n, most))})


def snapshots(bench):
    """Copies of a live run, taken in a loop without stopping it, resume to the same results."""
    bench.measure("reference.train.steps=300", "train.steps=300")
    copies = bench.dir / "copies"
    copies.mkdir()
    live = subprocess.Popen(bench.train("live"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, cwd=bench.dir)
    until, n = time.monotonic() + bench.seconds / 2, 0
    while live.poll() is None and time.monotonic() < until:
        if (bench.dir / "live").exists():
            n += 1
            # Files come and go while cp reads: what it complains of is part of the test.
            subprocess.run(["cp", "-r", bench.dir / "live", copies / str(n)], stderr=subprocess.DEVNULL)
        time.sleep(0.01)
    live.wait()
    words, until = [], time.monotonic() + bench.seconds / 2
    taken = sorted(copies.iterdir(), key=lambda p: int(p.name))
    # If there is not enough time for all copies, a random selection is tried.
    random.Random(0).shuffle(taken)
    for copy in taken:
        if time.monotonic() > until:
            break
        if not (copy / "config.toml").exists():
            words.append("before its config")
            continue
        ended = bench.run([bench.program, "train", "--resume", str(copy), "--threads", "1"])
        words.append(bench.judge(f"copy {copy.name}", ended, copy))
    return bench.report("snapshots", f"{n} copies taken, {len(words)} resumed: {count(words)}",
                        "every one resumes to the bit")


def syscalls(bench):
    """Every system call of the list fails once, in every thread, at places spread over all its calls."""
    bench.measure()
    trace = bench.dir / "trace"
    listed = ",".join("?" + name for name in ["poll", *SYSCALLS])
    bench.run(bench.train("counted"), prefix=["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={listed}"])
    shutil.rmtree(bench.dir / "counted", ignore_errors=True)
    calls, loaders = {}, 0
    for line in trace.read_text(errors="replace").splitlines():
        found = re.match(r"(\d+) +([a-z0-9_]+)\(", line)
        if found:
            thread = calls.setdefault(found[2], {})
            thread[found[1]] = thread.get(found[1], 0) + 1
            # Rust's first call. What the loader maps before is not the program's, and it dies without a word.
            loaders += found[2] == "mmap" and "poll" not in calls
    # strace counts a thread's own calls.
    most = {name: max(threads.values()) for name, threads in calls.items() if name in SYSCALLS}
    until, words, places = time.monotonic() + bench.seconds, [], 0
    # The first places of every call first, then those between.
    plan = sorted((i, name, when) for name in most for i, when in enumerate(evenly(most[name], bench.places))
                  if name != "mmap" or when > loaders)
    for _, name, when in plan:
        if time.monotonic() > until:
            break
        places += 1
        inject = f"inject={name}:error={SYSCALLS[name]}:when={when}"
        ended = bench.run(bench.train("hurt"), prefix=["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject])
        words.append(bench.judge(f"{name} #{when} of {most[name]} fails with {SYSCALLS[name]}", ended,
                                 bench.dir / "hurt"))
    return bench.report("syscalls", f"{len(most)} calls, {places} of {len(plan)} places: {count(words)}",
                        "all end done, or are resumed to the bit")


def disk(bench):
    """File systems from too small to enough, in bytes and in inodes."""
    bench.measure()
    sizes = [f"size={k}k" for k in (4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)]
    sizes += [f"size={m}m" for m in (1, 8, 32, 64, 66, 67, 68, 70, 72, 80)]
    sizes += [f"size=200m,nr_inodes={n}" for n in (2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 60)]
    words, mount = [], bench.dir / "small"
    mount.mkdir()
    until = time.monotonic() + bench.seconds

    def widen(_):
        subprocess.run(["mount", "-o", "remount,size=400m,nr_inodes=10000", mount], check=True)

    for options in sizes:
        if time.monotonic() > until:
            break
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", mount], check=True)
        try:
            ended = bench.run(bench.train("hurt", runs=mount), during=widen)
            widen(None)
            words.append(bench.judge(options, ended, mount / "hurt"))
        finally:
            subprocess.run(["umount", "-l", mount], check=True)
    return bench.report("disk", f"{len(words)} of {len(sizes)} sizes: {count(words)}",
                        "all end done, or are resumed to the bit")


def limits(bench, name, which, numbers, others):
    """Runs under limits of a resource; a run that pauses gets more."""
    words, until = [], time.monotonic() + bench.seconds

    def widen(child):
        resource.prlimit(child.pid, which, (4096, 4096))

    def before(n):
        def limit():
            if others:
                os.setgroups([])
                os.setgid(OTHER_USER)
                os.setuid(OTHER_USER)
            resource.setrlimit(which, (n, 4096))
        return limit

    for n in numbers:
        if time.monotonic() > until:
            break
        ended = bench.run(bench.train("hurt"), before=before(n), during=widen)
        if others:
            # A run of another user is not resumed.
            subprocess.run(["chown", "-R", f"{os.getuid()}:{os.getgid()}", bench.dir / "hurt"], stderr=subprocess.DEVNULL)
        words.append(bench.judge(f"{name} {n}", ended, bench.dir / "hurt"))
    return bench.report(name, f"{len(words)} limits from {numbers[0]} to {numbers[-1]}: {count(words)}",
                        "all end done, or are resumed to the bit")


def descriptors(bench):
    """Limits of open descriptors (RLIMIT_NOFILE), from too few to enough."""
    bench.measure()
    return limits(bench, "descriptors", resource.RLIMIT_NOFILE, list(range(3, 48)), others=False)


def threads(bench):
    """Limits of a user's threads (RLIMIT_NPROC), from too few to enough. Root has no such limit: another user runs."""
    os.chmod(bench.dir, 0o777)
    program = bench.dir / "heirloom"
    shutil.copy(bench.program, program)
    program.chmod(0o755)
    bench.program = str(program)
    bench.measure()
    return limits(bench, "threads", resource.RLIMIT_NPROC, list(range(1, 25)), others=True)


SWEEPS = {"snapshots": snapshots, "syscalls": syscalls, "disk": disk, "descriptors": descriptors, "threads": threads}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", choices=[*SWEEPS, "all"])
    parser.add_argument("--program", default="target/release/heirloom")
    parser.add_argument("--seconds", type=float, default=600.0, help="time for one sweep [default: 600]")
    parser.add_argument("--places", type=int, default=12, help="places at which a system call fails [default: 12]")
    args = parser.parse_args()
    names = list(SWEEPS) if args.sweep == "all" else [args.sweep]
    good = True
    for name in names:
        bench = Bench(args.program, args.seconds)
        bench.places = args.places
        try:
            good = SWEEPS[name](bench) and good
        finally:
            shutil.rmtree(bench.dir, ignore_errors=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
