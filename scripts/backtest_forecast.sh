#!/usr/bin/env bash
# Backtests `heirloom forecast` on published training logs ($HEIRLOOM_DATA/inheritune-logs, 7 pairs of a smaller model and the
# full one of its family): forecast gap, interval, what it came to, and verdict at 10 to 70 % of the steps; then errors
# compared with the difference at equal steps and with a line in ln(step). Exit code 1 when a limit is missed.
#
#   HEIRLOOM_DATA=DIR scripts/backtest_forecast.sh
#
# HEIRLOOM: the program to run [cargo run --release --quiet --].
set -eu
scripts=$(cd "$(dirname "$0")" && pwd)
exec python3 "$scripts/backtest_forecast.py" "$@"
