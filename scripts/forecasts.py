"""What backtest_forecast.py and forecast_own_runs.py share: the program's forecasts, the readings they are compared with, and limits."""

import json
import math
import os
import shlex
import subprocess
import sys

PROGRAM = shlex.split(os.environ.get("HEIRLOOM", "cargo run --release --quiet --"))


def forecast(*arguments):
    """Runs `heirloom forecast ARGUMENTS --json`."""
    command = [*PROGRAM, "forecast", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)}: exit status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def line(points, to):
    """Extrapolates (step, loss) by a line in ln(step) through the last six evaluations."""
    last = [(math.log(step), loss) for step, loss in points if step > 0][-6:]
    if len(last) < 2:
        return points[-1][1]
    mx, my = mean(p[0] for p in last), mean(p[1] for p in last)
    slope = sum((x - mx) * (y - my) for x, y in last) / sum((x - mx) ** 2 for x, _ in last)
    return my + slope * (math.log(to) - mx)


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else math.nan


class Limits:
    """Prints figures with their limits, and remembers whether one was missed."""

    def __init__(self):
        self.missed = 0

    def check(self, what, value, limit, is_met, figure=".4f"):
        """Prints a figure; `limit` is shown, `is_met` is its outcome."""
        self.missed += not is_met
        print(f"  {'ok  ' if is_met else 'FAIL'}  {what}: {value:{figure}} ({limit})")

    def exit(self):
        """Ends the program: with status 1 where a limit was missed."""
        if self.missed:
            print(f"{self.missed} limit{'s' * (self.missed > 1)} missed")
        sys.exit(1 if self.missed else 0)
