#!/usr/bin/env bash
# Brings up what the tests need and runs every one of them.
#
#   ./scripts/test.sh           format, alert rules, lints, all tests on Kafka, Postgres and the embedded
#                               log, and the console in Chromium; at the end the ten slowest tests
#   ./scripts/test.sh NAME      only the tests whose names contain NAME
#
# Kafka and Postgres come from scripts/services.sh: those at KAFKA_BROKERS and DATABASE_URL where
# set, else in Docker, else started natively. What it starts it stops again. What takes longer than
# a change can wait for is in scripts/nightly.sh.
#
# CI, HEADWATER_REQUIRE_SERVICES   where one is set, a test that cannot run is a failure, not skipped
# HEADWATER_CRASH_KILLS            kills of each crash test (default 22: every fail point on one of the logs,
#                                  and a few random moments)
# HEADWATER_TEST_THREADS           tests at the same time (default: four times the processors, since
#                                  the long ones wait for a broker most of their time)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "${1:-}" in
-*)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
[ -z "${CI:-}" ] || export HEADWATER_REQUIRE_SERVICES=1
export HEADWATER_CRASH_KILLS="${HEADWATER_CRASH_KILLS:-22}"
log="$(mktemp)"
readonly log

began=$SECONDS
step_began=$SECONDS
step() {
    took
    step_began=$SECONDS
    printf '\n== %s\n' "$*"
}
took() { if [ "$SECONDS" -gt "$step_began" ]; then printf '   took %d s\n' "$((SECONDS - step_began))"; fi; }

complete=
finish() {
    local code=$?
    # A signal leaves the code of whatever ended last.
    if [ -z "$complete" ] && [ "$code" -eq 0 ]; then code=1; fi
    took
    show_slowest
    # Waits for an `up` that is still at work.
    scripts/services.sh down </dev/null || code=1
    rm -f "$log"
    printf '\n== %s after %d s\n' "$([ "$code" -eq 0 ] && echo "all is well" || echo "FAILED")" "$((SECONDS - began))"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# libtest tells the times of tests to those who allow unstable options. The variable that allows
# them is for the test programs alone: builds would take it for another compiler.
timed_tests() {
    local host
    host="$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')"
    env "CARGO_TARGET_${host}_RUNNER=env RUSTC_BOOTSTRAP=1" \
        cargo test --workspace --locked --lib --bins --tests --no-fail-fast -- \
        -Zunstable-options --report-time --test-threads "${HEADWATER_TEST_THREADS:-$((4 * $(nproc)))}" "$@" \
        </dev/null 2>&1 | tee "$log"
}

show_slowest() {
    [ -s "$log" ] || return 0
    printf '\nThe slowest tests:\n'
    sed -n 's/^test \([^ ]*\) .*<\([0-9.]*\)s>$/\2 s  \1/p' "$log" | sort -rn | sed -n 1,10p
}

step "format"
cargo fmt --all --check

step "alert rules"
scripts/alerts.sh

# Before the tests, since they are what fails most often. Build scripts, among them those that
# compile C, and procedural macros are built here for both; only metadata of libraries is extra.
step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "services and build"
scripts/services.sh up </dev/null &
services=$!
cargo test --workspace --locked --lib --bins --tests --no-run </dev/null
wait "$services"
eval "$(scripts/services.sh env)"

step "tests"
timed_tests "$@"

if [ $# -eq 0 ]; then
    step "browser"
    HEADWATER_BINARY="${CARGO_TARGET_DIR:-target}/debug/discovery" scripts/browser.sh </dev/null
fi

step "examples in the documentation"
cargo test --workspace --locked --doc -- "$@" </dev/null
complete=yes
