#!/usr/bin/env bash
# Tries the console in a real browser, over real engines on free ports: one with a generated feed, and one of jobs.
#
#   scripts/browser.sh                 builds the engines, and tries them; the pages of jobs over made-up ones, too
#   scripts/browser.sh all             and tries all pages over made-up data, in every state
#   scripts/browser.sh jobs            tries only the pages of jobs
#   scripts/browser.sh screenshots     takes the pictures in docs/images
#
# Node 18 or newer and Chromium are needed; as root they are installed from Debian where they are missing.
#
# HEADWATER_BINARY   `discovery`, with `headwater-jobs` beside it (default: they are built like those of the tests)
# CHROMIUM           the browser
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf 'browser: %s\n' "$*" >&2
    exit 1
}

case "${1:-}" in
"" | all | jobs | screenshots) ;;
*)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac

install() {
    command -v apt-get >/dev/null || fail "please install what Debian calls $*"
    [ "$(id -u)" -eq 0 ] || fail "please install it first: sudo apt-get install $*"
    printf 'browser: installing %s\n' "$*" >&2
    {
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "$@"
    } </dev/null >&2 || fail "installing $* failed"
}

command -v npm >/dev/null || install nodejs npm
if [ -z "${CHROMIUM:-}" ] && ! command -v chromium chromium-browser google-chrome >/dev/null; then
    install chromium fonts-liberation
fi
scripts/console.sh --packages

binary="${HEADWATER_BINARY:-}"
if [ -z "$binary" ]; then
    cargo build --locked --bin discovery --bin headwater-jobs </dev/null
    binary="${CARGO_TARGET_DIR:-target}/debug/discovery"
fi
jobs="$(dirname "$binary")/headwater-jobs"
[ -x "$jobs" ] || fail "$jobs is not there: cargo build --bin headwater-jobs"
case "${1:-}" in
screenshots)
    mkdir -p docs/images
    node serve/console/test/screenshots.mjs "$binary" docs/images </dev/null
    ;;
jobs)
    node serve/console/test/jobs.mjs "$jobs" </dev/null
    ;;
*)
    scripts/console.sh --check
    node serve/console/test/browser.mjs "$binary" </dev/null
    node serve/console/test/jobs.mjs "$jobs" </dev/null
    node serve/console/test/pages.mjs $([ "${1:-}" = all ] || echo --real) "$binary" </dev/null
    ;;
esac
