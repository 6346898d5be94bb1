#!/usr/bin/env python3
"""Shortens the output of `ptxas -v` for a file (standard input) to a line per kernel: registers and spills, and every other message.

Exit code 1 where wgmma instructions were serialized (C7510 to C7514): each product then waits for the one before.
"""
import re
import sys

where = sys.argv[1]
kernel, spills, worst, bad = None, "", (0, ""), False
for line in sys.stdin:
    if entry := re.search(r"Compiling entry function '(\w+)'", line):
        kernel, spills = entry[1], ""
    elif found := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
        stored, loaded = int(found[1]), int(found[2])
        if stored or loaded:
            spills = f", spills {stored} bytes (loads {loaded})"
        worst = max(worst, (stored, kernel or ""))
    elif used := re.search(r"Used (\d+) registers", line):
        print(f"{where}: {kernel}: {used[1]} registers{spills}")
    elif "(C75" in line or "warning" in line or "error" in line:
        serialized = re.search(r"\(C751[0-4]\)", line) is not None
        bad |= serialized
        print(f"{'FAIL ' if serialized else ''}{where}: {line.strip()}")
if worst[0]:
    print(f"{where}: most spills: {worst[0]} bytes in {worst[1]}")
sys.exit(bad)
