#!/usr/bin/env bash
# Brings up what the tests need and runs every one of them.
#
#   ./scripts/test.sh           format, lints, and all tests on Kafka, Postgres and the embedded log
#   ./scripts/test.sh NAME      only the tests whose names contain NAME
#
# Kafka and Postgres come from scripts/services.sh: those at KAFKA_BROKERS and DATABASE_URL where
# set, else in Docker, else started natively. What it starts it stops again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '\n== %s\n' "$*"; }

began=$SECONDS
complete=
finish() {
    local code=$?
    # A signal leaves the code of whatever ended last.
    if [ -z "$complete" ] && [ "$code" -eq 0 ]; then code=1; fi
    scripts/services.sh down </dev/null || code=1
    printf '\n== %s after %d s\n' "$([ "$code" -eq 0 ] && echo "all is well" || echo "FAILED")" "$((SECONDS - began))"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step "format"
cargo fmt --all --check

step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "services"
scripts/services.sh up </dev/null
eval "$(scripts/services.sh env)"

step "tests"
cargo test --workspace --locked --no-fail-fast -- "$@" </dev/null
complete=yes
