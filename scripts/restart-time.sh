#!/usr/bin/env bash
# How long a restart takes with many live listings: after an orderly stop, where the outputs are
# trusted, and as after a crash, where they are compared. On the embedded log, in a folder of its own.
#
# The invented world has 24 cities with 1,024 venues each, and a year: with a million listings a venue
# has some thirty events in that year.
#
#   scripts/restart-time.sh [LISTINGS] [WORKERS]     default: 1000000 listings, 2 workers
#
# It takes the binaries of `cargo build --profile dist`; PROFILE=debug or release takes those of
# target/debug or target/release. FOLDER=… says where (default: target/restart).
set -euo pipefail
cd "$(dirname "$0")/.."
listings=${1:-1000000} workers=${2:-2}
bin=$PWD/target/${PROFILE:-dist} folder=${FOLDER:-target/restart}
rm -rf "$folder" && mkdir -p "$folder"
cp config/generated-sources.toml "$folder/generated-sources.toml"
cd "$folder"
{
    printf "name = 'restart'\nprefix = 'restart.'\nworkers = %s\n[log.embedded]\npath = 'log.db'\n" "$workers"
    printf "[retention]\npast_events = 'forever'\n[admin]\nlisten = '127.0.0.1:0'\n"
    cat generated-sources.toml
} >topology.toml

"$bin/headwater" generate --records "$listings" --cities 24 --venues 1024 --days 365 --updates 0 --withdrawals 0 --repeats 0 --to-topic raw.events --config topology.toml
"$bin/discovery" --config topology.toml --exit-when-idle --yes | tail -n 7

# Seconds until everything is restored, compared and committed, and the greatest resident memory.
restart() {
    local what=$1 began ended
    began=$(date +%s.%N)
    /usr/bin/env time -f '%M' -o memory "$bin/discovery" --config topology.toml --exit-when-idle >out 2>&1
    ended=$(date +%s.%N)
    awk -v what="$what" -v a="$began" -v b="$ended" -v kb="$(tail -n 1 memory)" \
        'BEGIN { printf "%-24s %8.1f s %8.2f GB\n", what, b - a, kb / 1048576 }'
    grep -h 'start  \|corrected' out || true
}

restart "after an orderly stop"
# A table that was written to since the last stop has everything compared, as after a crash.
"$bin/headwater" produce places --tombstone stray --config topology.toml >/dev/null
restart "as after a crash"
