#!/usr/bin/env bash
# Compares the speed of two commits on this machine, in alternation, so that both meet the same weather.
#
#   scripts/bench-guard.sh OLD NEW [-- options of `headwater bench pipeline`]
#   scripts/bench-guard.sh HEAD~1 HEAD -- --records 300000 --workers 2
#
# Each commit is built, with the profile `dist` where it has one, in a worktree of its own under
# target/guard, which is kept: the next comparison compiles only what has changed. Prints the median rate of each, and the median of the ratios NEW/OLD
# of the pairs of runs with the least and the greatest of them, by the clock and by processor time.
# The latter says more where other programs run. A ratio below 1 is a slowdown; where the spread
# reaches across 1, it may be none. Needs git, cargo and jq. Not part of CI: its machines are shared.
#
# GUARD_RUNS    pairs of runs (default 5)
set -euo pipefail

usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}

fail() {
    printf 'bench-guard: %s\n' "$*" >&2
    exit 1
}

[ $# -ge 2 ] || usage
old="$1"
new="$2"
shift 2
if [ $# -gt 0 ]; then
    [ "$1" = -- ] || usage
    shift
fi
[ $# -gt 0 ] || set -- --records 200000 --workers 2

command -v jq >/dev/null || fail "jq is not installed"
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
folder="$repository/target/guard"
runs="${GUARD_RUNS:-5}"
results="$(mktemp)"
trap 'rm -f "$results"' EXIT

# The profile with link-time optimisation: commits before `dist` have it in `release`.
profile() { if grep -qF '[profile.dist]' "$folder/$1/Cargo.toml"; then echo dist; else echo release; fi; }

# Builds commit $2 in the worktree $1.
build() {
    local tree="$folder/$1" commit
    commit="$(git -C "$repository" rev-parse --verify --quiet "$2^{commit}")" || fail "$2 is no commit"
    if [ -e "$tree/.git" ]; then
        git -C "$tree" checkout --quiet --detach "$commit"
    else
        git -C "$repository" worktree prune
        git -C "$repository" worktree add --quiet --detach "$tree" "$commit"
    fi
    printf 'bench-guard: building %s, %s\n' "$1" "$(git -C "$tree" log -1 --format='%h %s')" >&2
    (cd "$tree" && CARGO_TARGET_DIR="$folder/$1-target" cargo build --quiet --profile "$(profile "$1")" --locked --bin headwater)
}

# One run of $1; commits from before `--runs` and processor time do without.
measure() {
    local program single=()
    program="$folder/$1-target/$(profile "$1")/headwater"
    shift
    if "$program" bench pipeline --help | grep -q -- '--runs'; then single=(--runs 1); fi
    (cd "$folder" && "$program" bench pipeline "$@" "${single[@]}" --json) |
        jq -c '[.recordsPerSecond, .recordsPerCpuSecond]'
}

mkdir -p "$folder"
build old "$old"
build new "$new"
for run in $(seq "$runs"); do
    # Who is first changes from pair to pair.
    if ((run % 2)); then
        a="$(measure old "$@")"
        b="$(measure new "$@")"
    else
        b="$(measure new "$@")"
        a="$(measure old "$@")"
    fi
    printf '[%s,%s]\n' "$a" "$b" >>"$results"
    printf 'bench-guard: pair %s of %s: old %s, new %s records/s\n' "$run" "$runs" \
        "$(jq '.[0] | floor' <<<"$a")" "$(jq '.[0] | floor' <<<"$b")" >&2
done

jq -rs '
    def median: sort | .[(length - 1) / 2 | floor];
    def shown: . * 1000 | round | . / 1000;
    def told: "\(median | shown) (\(min | shown) to \(max | shown))";
    "old            \(map(.[0][0]) | median | floor) records/s",
    "new            \(map(.[1][0]) | median | floor) records/s",
    "new / old      \(map(.[1][0] / .[0][0]) | told)",
    (if all(.[0][1] and .[1][1]) then
        "by processor   \(map(.[1][1] / .[0][1]) | told)"
    else empty end)
' "$results"
