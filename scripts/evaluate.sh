#!/usr/bin/env bash
# Runs real listings through the whole pipeline and prints how well they were resolved.
#
#   ./scripts/evaluate.sh [FOLDER] [more arguments of `headwater evaluate`]
#
# FOLDER (or HEADWATER_DATA, or else ../shared/data beside the project) holds lists of conferences
# as NAME.jsonl for the sources of config/feeds.toml, calendars/TOWN/FEED.ics, and truth_pairs.csv.
# Where there is none, nothing is done. Towns elsewhere than America/Los_Angeles: EASTERN.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

EASTERN=${EASTERN:-"lancaster montclair"}
data=${HEADWATER_DATA:-../shared/data}
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then data=$1; shift; fi
if [ ! -f "$data/truth_pairs.csv" ]; then
    echo "skipped: there is no $data/truth_pairs.csv"
    exit 0
fi
data=$(cd "$data" && pwd)

cargo build --release --quiet --locked
bin=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

config=$work/evaluate.toml
cat >"$config" <<EOF
name = "evaluate"
prefix = "evaluate."
include = ["$PWD/config/feeds.toml"]
[log]
kind = "embedded"
[log.embedded]
path = "$work/log.db"
[retention]
past_events = "forever"
[limits]
horizon_past_days = 400
[extract.defaults]
timezone = "America/Los_Angeles"
EOF
for town in $EASTERN; do
    for feed in "$data/calendars/$town"/*.ics; do
        [ -f "$feed" ] || continue
        printf '[sources."community_calendar_%s.%s"]\ntimezone = "America/New_York"\n' \
            "$town" "$(basename "$feed" .ics)" >>"$config"
    done
done

produce() { "$bin/headwater" produce raw.events --config "$config" --json --timestamp 2026-03-26T12:00:00Z "$@" >/dev/null; }
for list in "$data"/*.jsonl; do
    produce "$list" --source "$(basename "$list" .jsonl)"
done
for town in "$data"/calendars/*/; do
    for feed in "$town"*.ics; do
        produce "$feed" --source "community_calendar_$(basename "$town").$(basename "$feed" .ics)"
    done
done
"$bin/discovery" --config "$config" --exit-when-idle >"$work/run.txt" 2>&1 || { cat "$work/run.txt" >&2; exit 1; }

"$bin/headwater" evaluate --config "$config" --truth "$data/truth_pairs.csv" "$@"
echo
echo "== with the web addresses of all listings withheld"
"$bin/headwater" evaluate --config "$config" --truth "$data/truth_pairs.csv" --without-urls "$@"
