#!/usr/bin/env bash
# Loads a topology at a steady rate with listings that expire, and shows whether memory stays flat.
#
#   scripts/soak.sh [MINUTES] [RATE]      default: 20 minutes, 5000 records a second
#
# Every second memory, lag, live listings and latency are read from /metrics into soak.csv. At the end
# they are drawn (soak.svg) and the means of the quarters of the run are printed. The exit code is 1
# when memory in the last quarter is more than a tenth above that in the second one, or when not all
# was committed in the end. Needs python3, nothing else.
#
# SOAK_DIR      where everything is kept (default: target/soak); it is emptied first
# SOAK_PROFILE  dist (default), release or dev
# SOAK_BROKERS  a Kafka cluster to use instead of the embedded log
# SOAK_LIFE     for how many seconds a listing lives (default: a twentieth of the run, 10 to 120)
set -euo pipefail

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
profile="${SOAK_PROFILE:-dist}"
(cd "$repository" && cargo build --profile "$profile" --bin discovery --bin headwater --locked)
[ "$profile" != dev ] || profile=debug
exec python3 "$repository/scripts/soak.py" "$repository/target/$profile" \
    "${SOAK_DIR:-$repository/target/soak}" "${1:-20}" "${2:-5000}"
