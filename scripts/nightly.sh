#!/usr/bin/env bash
# What takes longer than a change can wait for: long kills, outages, fuzzing, and a soak.
#
#   scripts/nightly.sh              all of it; takes hours
#   scripts/nightly.sh PART …       only these parts, in this order
#
# kills      the crash tests with NIGHTLY_KILLS kills each, at moments that differ from night to night
# outages    broker and database stopped and stalled NIGHTLY_OUTAGES times under load
# clients    producers and readers whose only broker restarts again and again (ten minutes)
# poison     NIGHTLY_POISON hostile records through the binary
# replay     real listings in three orders, against clusters from scratch; skipped where HEADWATER_DATA is missing
# mutations  NIGHTLY_MUTATIONS random mutations of each fuzz target's inputs
# fuzz       each target for NIGHTLY_FUZZ_SECONDS with cargo-fuzz, which it has to find installed
# browser    the console over made-up data, in every state, in a real browser
# soak       NIGHTLY_SOAK_MINUTES at a steady rate, after which memory has to be flat
#
# A part that fails does not keep the others from running; the exit code is 1 then. Kafka and Postgres
# come from scripts/services.sh, as in scripts/test.sh, and the tests fail where they are missing.
# Output of each part is kept in target/nightly.
#
# NIGHTLY_KILLS          default 500
# NIGHTLY_SEED           of the moments of kills; default: the day, as 20260131
# NIGHTLY_OUTAGES        default 3
# NIGHTLY_POISON         default 300000
# NIGHTLY_MUTATIONS      default 20000
# NIGHTLY_FUZZ_SECONDS   default 300
# NIGHTLY_SOAK_MINUTES   default 20
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly parts=(kills outages clients poison replay mutations fuzz browser soak)
readonly seed="${NIGHTLY_SEED:-$(date +%Y%m%d)}"
readonly logs=target/nightly

usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}

kills() {
    HEADWATER_SERVE_KILLS=20 HEADWATER_SERVE_CUTS=50 HEADWATER_CRASH_KILLS="${NIGHTLY_KILLS:-500}" HEADWATER_CRASH_SEED="$seed" tests kills_on_
}
outages() { HEADWATER_CRASH_OUTAGES="${NIGHTLY_OUTAGES:-3}" tests outages_of_broker; }
clients() { tests clients_find_back --ignored; }
poison() { POISON_RECORDS="${NIGHTLY_POISON:-300000}" tests hostile_records_do_no_harm; }
replay() { cargo test --release --workspace --locked --test replay -- --ignored --nocapture; }
mutations() {
    HEADWATER_FUZZ_CASES="${NIGHTLY_MUTATIONS:-20000}" cargo test --workspace --locked --test hostile --no-fail-fast
}
fuzz() { scripts/fuzz.sh "${NIGHTLY_FUZZ_SECONDS:-300}"; }
browser() { scripts/browser.sh all; }
soak() { SOAK_PROFILE=release scripts/soak.sh "${NIGHTLY_SOAK_MINUTES:-20}"; }

# The end-to-end tests whose names contain $1. None at all is a mistake in this script.
tests() {
    local name="$1"
    shift
    cargo test --workspace --locked --tests --no-fail-fast -- "$name" --nocapture "$@" | tee "$logs/last"
    grep -q '^running [1-9]' "$logs/last" || {
        echo "nightly: no test is called $name" >&2
        return 1
    }
}

chosen=("$@")
[ ${#chosen[@]} -gt 0 ] || chosen=("${parts[@]}")
for part in "${chosen[@]}"; do
    [[ " ${parts[*]} " == *" $part "* ]] || usage
done

mkdir -p "$logs"
export HEADWATER_REQUIRE_SERVICES=1
trap 'scripts/services.sh down </dev/null' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
scripts/services.sh up </dev/null
eval "$(scripts/services.sh env)"

failed=()
for part in "${chosen[@]}"; do
    printf '\n== %s\n' "$part"
    began=$SECONDS
    # Not as a condition, in which `set -e` does not hold.
    set +e
    (
        set -e
        "$part"
    ) </dev/null >"$logs/$part.log" 2>&1
    code=$?
    set -e
    if [ "$code" -ne 0 ]; then
        failed+=("$part")
        tail -n 60 "$logs/$part.log"
    fi
    grep -ahE 'summary|^test result|^Done' "$logs/$part.log" || true
    printf '   %s took %d s; %s\n' "$part" "$((SECONDS - began))" "$logs/$part.log"
done

[ ${#failed[@]} -eq 0 ] || {
    printf '\nfailed: %s\n' "${failed[*]}" >&2
    exit 1
}
