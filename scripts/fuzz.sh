#!/usr/bin/env bash
# Fuzzes the parsers of outside bytes.
#
#   ./scripts/fuzz.sh                      a minute of each target
#   ./scripts/fuzz.sh 600                  ten minutes of each
#   ./scripts/fuzz.sh 600 icalendar …      of these only
#
# It needs cargo-fuzz (`cargo install cargo-fuzz --locked`) and a C++ compiler; stable Rust will do.
# What is found in between stays in target/fuzz/corpus. An input that fails is printed with its path;
# put it into fuzz/regressions/TARGET once it is mended: from then on `cargo test` runs it too.
# Targets of the runtime build Kafka's and SQLite's clients from C the first time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../fuzz"

readonly OPERATORS=(icalendar jsonld mapped charsets recurrence text_dates envelope sanitize)
readonly RUNTIME=(stored_log damaged_file progress_records)
readonly TOPOLOGIES=(config state_records table_records view_records job_commands schedules)

seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=("${OPERATORS[@]}" "${RUNTIME[@]}" "${TOPOLOGIES[@]}")

command -v cargo-fuzz >/dev/null || {
    echo "cargo-fuzz is missing: cargo install cargo-fuzz --locked" >&2
    exit 1
}

dictionary() {
    case $1 in
        icalendar | recurrence) echo icalendar ;;
        jsonld | mapped | state_records | table_records | view_records) echo json ;;
        job_commands | schedules) echo jobs ;;
        sanitize) echo html ;;
    esac
}

failed=()
for target in "${targets[@]}"; do
    features=()
    [[ " ${RUNTIME[*]} " != *" $target "* ]] || features=(--features runtime)
    [[ " ${TOPOLOGIES[*]} " != *" $target "* ]] || features=(--features topologies)
    corpus=../target/fuzz/corpus/$target
    artifacts=../target/fuzz/artifacts/$target
    mkdir -p "$corpus" "$artifacts"
    folders=("$corpus" "seeds/$target")
    [ ! -d "regressions/$target" ] || folders+=("regressions/$target")
    options=(-max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -max_len=16384 -artifact_prefix="$artifacts/" -print_final_stats=1)
    words=$(dictionary "$target")
    [ -z "$words" ] || options+=(-dict="dictionaries/$words.dict")
    printf '\n== %s, %s s\n' "$target" "$seconds"
    # Without a sanitizer, since there is no unsafe code of our own and stable Rust has none.
    log=../target/fuzz/$target.log
    if ! cargo fuzz run --sanitizer none --target-dir ../target/fuzz "${features[@]}" "$target" "${folders[@]}" -- "${options[@]}" >"$log" 2>&1; then
        failed+=("$target")
        tail -n 40 "$log"
    fi
    grep -aE '^(Done|stat::(number|slowest|peak))' "$log" || true
done

[ ${#failed[@]} -eq 0 ] || {
    printf '\nfailed: %s\n' "${failed[*]}" >&2
    exit 1
}
