#!/usr/bin/env bash
# Builds the bundle of the console, which is committed: who builds Headwater needs no node.
#
#   scripts/console.sh              checks the types, and writes serve/console/dist
#   scripts/console.sh --check      fails where serve/console/dist is not what the sources give
#   scripts/console.sh --packages   only installs the packages of serve/console/package-lock.json
#
# Node 18 or newer with npm is needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../serve/console"

fail() {
    printf 'console: %s\n' "$*" >&2
    exit 1
}

case "${1:-}" in
"" | --check | --packages) ;;
*)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' ../../scripts/console.sh >&2
    exit 2
    ;;
esac
command -v npm >/dev/null || fail "node 18 or newer with npm is needed"

if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
    npm ci --no-audit --no-fund --ignore-scripts --loglevel=error </dev/null >&2
    touch node_modules/.package-lock.json
fi
[ "${1:-}" != --packages ] || exit 0

node_modules/.bin/tsc --noEmit </dev/null
if [ -z "${1:-}" ]; then
    node build.mjs </dev/null
    exit
fi
built="$(mktemp -d)"
trap 'rm -rf "$built"' EXIT
node build.mjs "$built/dist" </dev/null >/dev/null
diff -rq dist "$built/dist" >&2 ||
    fail "serve/console/dist is not what the sources give: run scripts/console.sh, and commit it"
echo "console: serve/console/dist is what the sources give"
