#!/usr/bin/env bash
# `--format message` against the official AWS Encryption SDK for Python, both ways, with a raw AES
# key: sizes around the frame's edges, both committing suites, with and without context, small to
# large frames. The cases of one direction are one batch for Python, which takes longer to start
# than to work.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_waxseal

SIZES=(0 1 4096 65536 65537 1000003)
DEFAULT_FRAME=65536
CONTEXT=(-c a=b -c 'unit=Zürich office')

bytes 32 "$T/key"
KEY="raw-aes:$T/key?namespace=NS&name=NAME"
esdk_key=(--key "$T/key" --namespace NS --name NAME)

for size in "${SIZES[@]}"; do
    bytes "$size" "$T/plain.$size"
done

# each COMMAND FRAME…: COMMAND NAME SIZE SUITE FRAME [-c N=V]… for every combination.
each() {
    local command=$1 size suite frame
    shift
    for size in "${SIZES[@]}"; do
        for suite in 0478 0578; do
            for frame in "$@"; do
                "$command" "$size bytes, suite $suite, frame $frame" "$size" "$suite" "$frame"
                "$command" "$size bytes, suite $suite, frame $frame, context" \
                    "$size" "$suite" "$frame" "${CONTEXT[@]}"
            done
        done
    done
}

# job ESDK-ARGUMENT…: one more line for `esdk.py batch`.
job() {
    printf '%q ' "$@" >>"$T/jobs"
    printf '\n' >>"$T/jobs"
}

# batch: what Python says, a line a job, in $T/answers.
batch() {
    "$PY" "$HERE/py/esdk.py" batch <"$T/jobs" >"$T/answers"
}

declare -a names
number=0

# --- What waxseal writes, Python reads ---

write_ours() { # NAME SIZE SUITE FRAME [-c N=V]…
    local size=$2 suite=$3 frame=$4 options=() expect=(--suite "$3" --frame "$4")
    names[number]=$1
    shift 4
    [[ $suite == 0478 ]] || options+=(--signed)
    if [[ $frame == default ]]; then
        expect[3]=$DEFAULT_FRAME
    else
        options+=(--frame "$frame")
    fi
    wax encrypt -k "$KEY" "$@" "${options[@]}" -o "$T/ours.$number" "$T/plain.$size" \
        >"$T/ours.$number.said" 2>&1 || true # Python then finds no message
    job decrypt "${esdk_key[@]}" "$@" "${expect[@]}" -i "$T/ours.$number" -o "$T/read.$number"
    ln -s "$T/plain.$size" "$T/plain-of.$number"
    number=$((number + 1))
}

each write_ours 128 4096 default
batch
number=0
while read -r answer; do
    if [[ $answer == ok ]] && cmp "$T/read.$number" "$T/plain-of.$number" >"$T/said" 2>&1; then
        ok "Python reads ours: ${names[number]}"
    else
        printf '%s\n' "$answer" >>"$T/ours.$number.said"
        fail "Python reads ours: ${names[number]}" "$T/ours.$number.said"
    fi
    rm -f "$T/ours.$number" "$T/read.$number"
    number=$((number + 1))
done <"$T/answers"
check "Python answered every case" test "$number" -eq "${#names[@]}"

# --- What Python writes, waxseal reads ---

write_theirs() { # NAME SIZE SUITE FRAME [-c N=V]…
    local size=$2 suite=$3 frame=$4
    shift 4
    job encrypt "${esdk_key[@]}" "$@" --suite "$suite" --frame "$frame" \
        -i "$T/plain.$size" -o "$T/theirs.$number"
    number=$((number + 1))
}

read_theirs() { # NAME SIZE SUITE FRAME [-c N=V]…
    local name=$1 size=$2
    shift 4
    check "waxseal reads Python's: $name" opens "$T/theirs.$number" "$T/plain.$size" "$@"
    number=$((number + 1))
}

opens() { # MESSAGE PLAIN [-c N=V]…
    wax decrypt -k "$KEY" "${@:3}" -o "$T/opened" "$1"
    cmp "$T/opened" "$2"
}

: >"$T/jobs"
number=0
each write_theirs 0 128 4096 65536 # 0: one non-framed body
check "Python writes every case" batch
check "Python has no complaint" fails grep -v '^ok$' "$T/answers"
number=0
each read_theirs 0 128 4096 65536

# --- Pipes ---

# shellcheck disable=SC2094 # cmp reads too
piped_to_python() {
    wax encrypt -k "$KEY" <"$T/plain.1000003" |
        "$PY" "$HERE/py/esdk.py" decrypt "${esdk_key[@]}" | cmp - "$T/plain.1000003"
}

# shellcheck disable=SC2094
piped_from_python() {
    "$PY" "$HERE/py/esdk.py" encrypt "${esdk_key[@]}" <"$T/plain.1000003" |
        wax decrypt -k "$KEY" | cmp - "$T/plain.1000003"
}

check "waxseal pipes into Python" piped_to_python
check "Python pipes into waxseal" piped_from_python

# --- What must be refused ---

SMALL=5000
bytes "$SMALL" "$T/small"
for suite in 0478 0578; do
    "$PY" "$HERE/py/esdk.py" encrypt "${esdk_key[@]}" -c a=b --suite "$suite" --frame 4096 \
        <"$T/small" >"$T/message"
    check "suite $suite: the message is good before it is spoilt" opens "$T/message" "$T/small" -c a=b

    # Two frames: 4 + 12 + 4096 + 16 bytes, and a final one of 4 + 4 + 12 + 4 + 904 + 16. Behind
    # them the signature, when there is one: 2 + 103. Before them the header's tag.
    footer=$([[ $suite == 0578 ]] && echo 105 || echo 0)
    body=$((4128 + 40 + SMALL - 4096))
    while read -r offset where; do
        flip "$T/message" "$offset" "$T/flipped"
        refused "suite $suite: a flipped byte in $where" 3 decrypt -k "$KEY" "$T/flipped"
    done <<WHERE
$((-footer - body - 1)) the header's tag
$((-footer - body - 17)) the key commitment
$((-footer - body + 100)) the first frame
$((-footer - 100)) the final frame
-1 the last byte
WHERE
    size=$(stat -c %s "$T/message")
    head -c -1 "$T/message" >"$T/short"
    refused "suite $suite: a byte too few" 3 decrypt -k "$KEY" "$T/short"
    head -c $((size - footer - 40 - SMALL + 4096)) "$T/message" >"$T/short"
    refused "suite $suite: no final frame" 3 decrypt -k "$KEY" "$T/short"
    { cat "$T/message"; printf x; } >"$T/long"
    refused "suite $suite: a byte too many, which Python lets pass" 3 decrypt -k "$KEY" "$T/long"
    refused "suite $suite: another value in the context" 7 decrypt -k "$KEY" -c a=WRONG "$T/message"
    refused "suite $suite: a name that is not in the context" 7 \
        decrypt -k "$KEY" -c a=b -c more=x "$T/message"

    bytes 32 "$T/other"
    refused "suite $suite: another key under the same name" 3 \
        decrypt -k "raw-aes:$T/other?namespace=NS&name=NAME" "$T/message"
done

finish
