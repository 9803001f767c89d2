#!/usr/bin/env bash
# Checks the alert rules in deploy/prometheus and runs their tests.
#
#   scripts/alerts.sh
#
# It uses the promtool in PATH. Where there is none, it unpacks the one of Debian's package prometheus
# into target/tools; nothing is installed and no server started. Where that is impossible it fails if
# HEADWATER_REQUIRE_SERVICES is set, as it is in scripts/test.sh with CI=1, and else says that it skips.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly rules=deploy/prometheus/alerts.yml
readonly tests=deploy/prometheus/alerts_test.yml
readonly manifest=deploy/kubernetes/headwater.yaml

say() { printf 'alerts: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

case "${1:-}" in
'') ;;
*)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac

# Unpacks promtool into folder $1.
fetch() {
    local part="$1.part"
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
    say "fetching promtool from Debian's package prometheus"
    rm -rf "$part"
    mkdir -p "$part"
    # Lists of packages are not there in a fresh container.
    if [ -z "$(apt-cache madison prometheus 2>/dev/null)" ] && [ "$(id -u)" -eq 0 ]; then apt-get -qq update || return 1; fi
    (cd "$part" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download prometheus) || return 1
    dpkg-deb --fsys-tarfile "$part"/prometheus_*.deb | tar -x -O ./usr/bin/promtool >"$part/promtool" || return 1
    chmod +x "$part/promtool"
    rm -f "$part"/*.deb
    mkdir -p "$1"
    mv "$part/promtool" "$1/promtool"
    rmdir "$part"
}

tool="$(command -v promtool || true)"
if [ -z "$tool" ]; then
    tool=target/tools/promtool
    if [ ! -x "$tool" ] && ! fetch target/tools </dev/null >&2; then
        message="promtool is missing: install Prometheus, or what Debian calls prometheus"
        [ -z "${HEADWATER_REQUIRE_SERVICES:-}" ] || fail "$message"
        say "skipped: $message"
        exit 0
    fi
fi

# The rule for memory is about the container that is shipped.
limit="$(sed -n '/limits:/{n;s/.*memory: \([0-9]*\)Gi$/\1/p}' "$manifest")"
[ -n "$limit" ] || fail "$manifest: no memory limit in Gi"
grep -q "process_resident_memory_bytes > 0\.[0-9]* \* $limit \* 1024 ^ 3\$" "$rules" ||
    fail "$rules: the rule HeadwaterMemory is not about the limit of $limit GiB in $manifest"

"$tool" check rules "$rules"
"$tool" test rules "$tests"
