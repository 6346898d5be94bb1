#!/usr/bin/env python3
"""Measures how long `heirloom train` takes to its first frame, at a terminal of its own.

    scripts/first_frame.py [--program PATH] [--text FILE] [--times N] [--limit MS]

Starts the program with configs/tiny.toml, and with configs/books.toml and a long text, N times each, in a pseudo-terminal of
80x24. The time goes from just before the program is executed to the frame that names the run, its device, its phases, the file
being read and how much of it has been read. Prints each median with its range, the limit, and ok or FAIL; the exit code is 1
after a FAIL.

FILE is the training text; without it, 60 MB of repeated Shakespeare. Build what is measured with `cargo build --release`.
Standard library only.
"""

import argparse
import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "measured"
LONG = 60_000_000
# Longest wait for a frame, in seconds.
PATIENCE = 60
ESCAPES = re.compile(rb"\x1b(\[[0-9;?]*[ -/]*[@-~]|\].*?(\x07|\x1b\\)|[()][A-Z0-9]|[=>])", re.S)


def start(command, cwd):
    """Starts a command in a pseudo-terminal of 80x24. Returns its id, the terminal, and when it was started."""
    # The child waits until the terminal has its size.
    ready, go = os.pipe()
    pid, terminal = pty.fork()
    if pid == 0:
        os.close(go)
        os.read(ready, 1)
        os.close(ready)
        os.chdir(cwd)
        for name in ("NO_COLOR", "ACCESSIBLE", "HEIRLOOM_PARENT"):
            os.environ.pop(name, None)
        os.environ.update(TERM="xterm-256color", LANG="C.UTF-8")
        os.environ.pop("LC_ALL", None)
        os.execv(command[0], command)
    os.close(ready)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    began = time.monotonic()
    os.write(go, b"x")
    os.close(go)
    return pid, terminal, began


def first_frame(command, cwd, wanted):
    """Returns the milliseconds until everything wanted is on the screen, and ends the program."""
    pid, terminal, began = start(command, cwd)
    written, milliseconds = b"", 0.0
    while not milliseconds and time.monotonic() - began < PATIENCE:
        if not select.select([terminal], [], [], 0.01)[0]:
            continue
        try:
            written += os.read(terminal, 1 << 16)
        except OSError:
            break
        now = time.monotonic()
        text = ESCAPES.sub(b" ", written).decode("utf-8", "replace")
        if all(re.search(pattern, text) for pattern in wanted):
            milliseconds = 1000 * (now - began)
    os.kill(pid, signal.SIGTERM)
    ended = time.monotonic()
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() - ended > PATIENCE:
            os.kill(pid, signal.SIGKILL)
        # The program ends only once its output has been read.
        if select.select([terminal], [], [], 0.01)[0]:
            try:
                written += os.read(terminal, 1 << 16)
            except OSError:
                time.sleep(0.01)
    os.close(terminal)
    if not milliseconds:
        sys.exit(f"the frame never came: {ESCAPES.sub(b' ', written).decode('utf-8', 'replace')[-2000:]}")
    return milliseconds


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/heirloom")
    parser.add_argument("--text", type=Path, help="a training text")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--limit", type=float, default=100, help="milliseconds")
    args = parser.parse_args()
    if not args.program.is_file():
        sys.exit(f"{args.program} is not there; build it with: cargo build --release")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        short = (ROOT / "src/corpus/tinyshakespeare.txt").read_bytes()
        text = args.text and args.text.resolve()
        if text is None:
            text = Path(folder, "train.txt")
            text.write_bytes(short * (LONG // len(short) + 1))
        Path(folder, "val.txt").write_bytes(short)
        data = [f"data.train={text}", f"data.val={folder}/val.txt"]
        cases = [
            ("configs/tiny.toml", [], "builtin:tinyshakespeare"),
            ("configs/books.toml", data, text.name),
        ]
        for config, settings, file in cases:
            command = [str(args.program.resolve()), "train", str(ROOT / config), "--name", NAME]
            for setting in settings:
                command += ["--set", setting]
            wanted = [
                NAME,
                "STARTING",
                "cpu|cuda",
                "phases",
                "Reference",
                "Round 1",
                "reading",
                re.escape(file),
                r"\d+ %",
            ]
            times = []
            for i in range(args.times):
                runs = Path(folder, f"{Path(config).stem}-{i}")
                times.append(first_frame([*command, "--runs", str(runs)], folder, wanted))
            median = statistics.median(times)
            good = median < args.limit
            failed |= not good
            print(
                f"{config:20} first frame {median:5.0f} ms ({min(times):.0f} to {max(times):.0f}, "
                f"{len(times)} times), limit {args.limit:.0f} ms: {'ok' if good else 'FAIL'}",
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
