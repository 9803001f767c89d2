#!/usr/bin/env bash
# Tries the console in a real browser, over a real engine on free ports with a generated feed.
#
#   scripts/browser.sh                 builds the engine, and tries it; the pages of jobs over made-up ones
#   scripts/browser.sh all             and tries all pages over made-up data, in every state
#   scripts/browser.sh jobs            tries only the pages of jobs, without an engine
#   scripts/browser.sh screenshots     takes the pictures in docs/images
#
# Node 18 or newer and Chromium are needed; as root they are installed from Debian where they are missing.
#
# HEADWATER_BINARY   the engine to try (default: it is built like those of the tests)
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

if [ "${1:-}" = jobs ]; then
    node serve/console/test/jobs.mjs </dev/null
    exit
fi

binary="${HEADWATER_BINARY:-}"
if [ -z "$binary" ]; then
    cargo build --locked --bin discovery </dev/null
    binary="${CARGO_TARGET_DIR:-target}/debug/discovery"
fi
case "${1:-}" in
screenshots)
    mkdir -p docs/images
    node serve/console/test/screenshots.mjs "$binary" docs/images </dev/null
    ;;
*)
    scripts/console.sh --check
    node serve/console/test/browser.mjs "$binary" </dev/null
    node serve/console/test/jobs.mjs </dev/null
    node serve/console/test/pages.mjs $([ "${1:-}" = all ] || echo --real) "$binary" </dev/null
    ;;
esac
