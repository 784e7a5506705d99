#!/usr/bin/env bash
# `--format secretbox` against the Go program it descends from: gob, nacl/secretbox and a data key
# that a KMS wrapped. Go asks no KMS itself, so boto3 does between two steps, as its user would.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_waxseal

# A KMS answers "invalid ciphertext" to a wrong context and to a corrupt wrapped key alike, and this
# payload does not store its context: 3 (not authentic) and 7 (context) are both true.
EXIT_WRONG_CONTEXT='3|7'

serve moto_kms.py
export AWS_ENDPOINT_URL_KMS=$endpoint AWS_REGION=eu-west-1 AWS_DEFAULT_REGION=eu-west-1
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test

kms() {
    "$PY" "$HERE/py/kms.py" "$@"
}

arn=$(kms create-key)

# data_key PAYLOAD [-c N=V]…: what a reader in Go does first.
data_key() {
    local payload=$1
    shift
    "$PAYLOAD" wrapped <"$payload" | unhex | kms decrypt --key "$arn" "$@" | hex
}

unhex() {
    "$PY" -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))'
}

ours_opens_in_go() { # PLAIN PAYLOAD [-c N=V]…
    local plain=$1 payload=$2 key
    shift 2
    wax encrypt --kms aws -k "$arn" -f secretbox "$@" -o "$payload" "$plain"
    key=$(data_key "$payload" "$@")
    "$PAYLOAD" open "$key" <"$payload" | cmp - "$plain"
    # Given the same parts, Go writes the very same bytes.
    "$PAYLOAD" seal "$key" "$("$PAYLOAD" wrapped <"$payload")" "$("$PAYLOAD" nonce <"$payload")" \
        <"$plain" | cmp - "$payload"
}

gos_opens_in_ours() { # PLAIN PAYLOAD [-c N=V]…
    local plain=$1 payload=$2 key wrapped
    shift 2
    read -r key wrapped < <(kms generate-data-key --key "$arn" "$@")
    "$PAYLOAD" seal "$key" "$wrapped" <"$plain" >"$payload"
    wax decrypt --kms aws "$@" -o "$T/opened" "$payload"
    cmp "$T/opened" "$plain"
    wax decrypt -k "$arn" "$@" <"$payload" | cmp - "$plain"
}

# The sizes stand beside the steps of gob's lengths (one byte to 127, then 1, 2, 3 and 4 more), less
# the tag of 16 bytes.
for size in 0 1 20 111 112 239 240 4097 65519 65520 1000003 16777200; do
    bytes "$size" "$T/plain"
    check "$size bytes: Go opens ours, and writes the same bytes" \
        ours_opens_in_go "$T/plain" "$T/ours"
    check "$size bytes: waxseal opens Go's" gos_opens_in_ours "$T/plain" "$T/gos"
done

bytes 300 "$T/plain"
context=(-c purpose=interop -c 'unit=Zürich office')
check "Go opens ours with an encryption context" \
    ours_opens_in_go "$T/plain" "$T/ours" "${context[@]}"
check "waxseal opens Go's with an encryption context" \
    gos_opens_in_ours "$T/plain" "$T/gos" "${context[@]}"

refused "Go's without its context" "$EXIT_WRONG_CONTEXT" decrypt --kms aws "$T/gos"
refused "Go's with another context" "$EXIT_WRONG_CONTEXT" \
    decrypt --kms aws -c purpose=other "$T/gos"

flip "$T/gos" -2 "$T/flipped" # the last byte is gob's end of struct
refused "a flipped byte of the message" 3 decrypt --kms aws "${context[@]}" "$T/flipped"
head -c -1 "$T/gos" >"$T/short"
refused "a byte too few" 3 decrypt --kms aws "${context[@]}" "$T/short"
{ cat "$T/gos"; printf x; } >"$T/long"
refused "a byte too many" 3 decrypt --kms aws "${context[@]}" "$T/long"
cat "$T/gos" "$T/gos" >"$T/twice"
refused "a second payload behind the first" 3 decrypt --kms aws "${context[@]}" "$T/twice"

finish
