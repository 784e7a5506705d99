# shellcheck shell=bash disable=SC2034 # the names are for those who source this
# What the interop scripts share. A script sources this file first, then checks, then calls finish.
#
#   check WHAT COMMAND…            COMMAND (often a function) succeeds
#   refused WHAT CODES ARG…        `waxseal ARG… -o FILE` exits with one of CODES (3, or '3|7'),
#                                  says why on stderr and leaves no FILE
#   fails COMMAND…                 inside a check: COMMAND fails
#   finish                         prints the closing line, decides the exit code
#
# $T is the script's own folder, removed at the end; WAXSEAL_HOME and HOME are inside it.

. "$(dirname "${BASH_SOURCE[0]}")/paths.sh"

SUITE=$(basename "$0" .sh)
WAXSEAL=${WAXSEAL:-$REPO/target/release/waxseal}
LIMIT_SECONDS=${WAXSEAL_INTEROP_LIMIT:-60} # for one run of waxseal; past it the check fails

[[ -x $PY && -x $ENCRYPTION_CLI && -x $PAYLOAD ]] || die "run conformance/interop/setup first"

passed=0
failed=0
servers=()

clean_up() {
    if ((${#servers[@]})); then
        # What runs under faketime is a child of it.
        pkill -P "$(IFS=,; echo "${servers[*]}")" 2>/dev/null || true
        kill "${servers[@]}" 2>/dev/null || true
        wait "${servers[@]}" 2>/dev/null || true
    fi
    rm -rf "$T"
}

T=$(mktemp -d)
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Nothing of the caller's own accounts, keys or proxies reaches a check.
unset "${!AWS_@}"
# Files with secrets that others could read are refused.
umask 077
export AWS_EC2_METADATA_DISABLED=true NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
export HOME=$T/user WAXSEAL_HOME=$T/waxseal
mkdir "$HOME"

# fails COMMAND…: for use inside a check, where `! COMMAND` would not end it.
fails() {
    if "$@"; then
        return 1
    fi
}

need_waxseal() {
    [[ -x $WAXSEAL ]] || die "no waxseal at $WAXSEAL: cargo build --release, or set WAXSEAL"
}

wax() {
    timeout --kill-after=5 "$LIMIT_SECONDS" "$WAXSEAL" "$@"
}

ok() {
    passed=$((passed + 1))
    printf 'ok   %s: %s\n' "$SUITE" "$1"
}

# fail WHAT [FILE]: FILE is what the command said.
fail() {
    failed=$((failed + 1))
    printf 'FAIL %s: %s\n' "$SUITE" "$1"
    [[ -z ${2:-} ]] || tail -n 20 "$2" | tr -d '\0' | sed 's/^/       | /'
}

check() {
    local what=$1 status
    shift
    # In a subshell that is no condition, so that a failing step inside a function ends it.
    set +e
    (set -e; "$@") </dev/null >"$T/said" 2>&1
    status=$?
    set -e
    if ((status == 0)); then
        ok "$what"
    else
        fail "$what (exit code $status)" "$T/said"
    fi
}

refused() {
    local what=$1 codes=$2 status=0
    shift 2
    rm -f "$T/refused"
    wax "$@" -o "$T/refused" </dev/null >"$T/said" 2>&1 || status=$?
    if [[ "|$codes|" != *"|$status|"* ]]; then
        fail "$what (exit code $status, not $codes)" "$T/said"
    elif [[ -e $T/refused ]]; then
        fail "$what (exit code $status, but it left an output file)" "$T/said"
    elif [[ ! -s $T/said ]]; then
        fail "$what (exit code $status, without a word)"
    else
        ok "$what: exit code $status"
    fi
}

# start_serve ARG…: starts waxseal serve and exports what it prints.
start_serve() {
    local told=$T/told waited
    rm -f "$told"
    "$WAXSEAL" serve --listen 127.0.0.1:0 "$@" </dev/null >"$told" 2>"$told.log" &
    servers+=($!)
    for ((waited = 0; waited < 600; waited++)); do
        if grep -qs '^AWS_DEFAULT_REGION=' "$told"; then
            sleep 0.1 # for the last line
            set -a
            . "$told"
            set +a
            return 0
        fi
        kill -0 "${servers[-1]}" 2>/dev/null || break
        sleep 0.05
    done
    cat "$told.log" >&2
    die "waxseal serve does not answer"
}

finish() {
    printf '%d passed, %d failed\n' "$passed" "$failed"
    ((failed == 0 && passed > 0))
}

# serve PROGRAM ARG…: starts a server of py/ on a free loopback port, and sets $endpoint. Not to be
# called in a subshell, which would forget whom to end.
serve() {
    local port_file=$T/port.${#servers[@]} program=$1 waited
    shift
    "$PY" "$HERE/py/$program" "$port_file" "$@" </dev/null >"$port_file.log" 2>&1 &
    servers+=($!)
    for ((waited = 0; waited < 600; waited++)); do
        if [[ -e $port_file ]]; then
            endpoint=http://127.0.0.1:$(<"$port_file")
            return 0
        fi
        kill -0 "${servers[-1]}" 2>/dev/null || break
        sleep 0.05
    done
    cat "$port_file.log" >&2
    die "$program does not answer"
}

# bytes N FILE: N random bytes.
bytes() {
    head -c "$1" /dev/urandom >"$2"
}

# flip FILE OFFSET OUT: OUT is FILE with the lowest bit of one byte changed. A negative offset
# counts from the end.
flip() {
    local at=$2 byte
    ((at >= 0)) || at=$(($(stat -c %s "$1") + at))
    cp "$1" "$3"
    byte=$(od -An -tu1 -j "$at" -N 1 "$1")
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$3" bs=1 seek="$at" conv=notrunc status=none
}

hex() {
    od -An -v -tx1 | tr -d ' \n'
}
