#!/usr/bin/env bash
# The other people's programs against each other, without waxseal: what fails here is no fault of
# ours, and a judge that cannot refuse proves nothing.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# --- The Go program against the stored payloads ---

vectors_file() {
    local folder
    for folder in "${WAXSEAL_VECTORS:-}" "$REPO/conformance/vectors" "$REPO/../shared/vectors"; do
        if [[ -e $folder/gob-secretbox/vectors.json ]]; then
            echo "$folder/gob-secretbox/vectors.json"
            return 0
        fi
    done
    echo "no gob-secretbox/vectors.json: set WAXSEAL_VECTORS" >&2
    return 1
}

# One line a vector: name, data key, wrapped key, nonce, plaintext, payload; all but the name in hex.
# A dash stands for nothing.
print_vectors() {
    "$PY" -c '
import base64, json, sys
for case in json.load(open(sys.argv[1])):
    fields = ("DataKey", "WrappedKey", "Nonce", "Plaintext", "Payload")
    print(case["Name"], *(base64.b64decode(case[f]).hex() or "-" for f in fields))
' "$(vectors_file)"
}

unhex() {
    [[ $1 == - ]] || "$PY" -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))' <<<"$1"
}

go_agrees() { # KEY WRAPPED NONCE, with $T/plain and $T/payload
    "$PAYLOAD" open "$1" <"$T/payload" | cmp - "$T/plain"
    "$PAYLOAD" seal "$1" "${2#-}" "$3" <"$T/plain" | cmp - "$T/payload"
    [[ $("$PAYLOAD" wrapped <"$T/payload") == "${2#-}" ]]
    [[ $("$PAYLOAD" nonce <"$T/payload") == "$3" ]]
}

check "stored payloads are found" vectors_file
print_vectors >"$T/vectors"
while read -r name key wrapped nonce plain payload; do
    unhex "$plain" >"$T/plain"
    unhex "$payload" >"$T/payload"
    check "Go opens payload $name and seals it to the same bytes" go_agrees "$key" "$wrapped" "$nonce"
done <"$T/vectors"

go_refuses() {
    flip "$T/payload" -2 "$T/flipped" # the last byte is gob's end of struct
    fails "$PAYLOAD" open "$key" <"$T/flipped"
}
check "Go refuses a flipped byte" go_refuses

# --- libsodium against Go's secretbox ---

go_seals_as_libsodium() {
    "$PY" "$HERE/py/secretbox_random.py" 40 7 >"$T/random"
    "$PY" "$HERE/py/secretbox_random.py" 40 7 | cmp - "$T/random"
    "$PY" -c '
import json, subprocess, sys
for line in sys.stdin:
    case = {name: bytes.fromhex(value) for name, value in json.loads(line).items()}
    seal = [sys.argv[1], "seal", case["key"].hex(), "00", case["nonce"].hex()]
    payload = subprocess.run(seal, input=case["plaintext"], stdout=subprocess.PIPE, check=True).stdout
    assert payload.endswith(case["box"] + b"\0"), len(case["plaintext"])
' "$PAYLOAD" <"$T/random"
}
check "Go seals 40 random cases as libsodium does" go_seals_as_libsodium

# --- The AWS Encryption SDK, both ways ---

esdk() {
    "$PY" "$HERE/py/esdk.py" "$1" --key "$T/key" --namespace ns --name name "${@:2}"
}

esdk_round_trip() { # SUITE FRAME
    esdk encrypt -c a=b --suite "$1" --frame "$2" <"$T/data" >"$T/message"
    esdk decrypt -c a=b --suite "$1" --frame "$2" <"$T/message" | cmp - "$T/data"
    fails esdk decrypt -c a=WRONG <"$T/message"
    flip "$T/message" -200 "$T/flipped"
    fails esdk decrypt -c a=b <"$T/flipped"
}

bytes 32 "$T/key"
bytes 70000 "$T/data"
check "esdk.py, suite 0478" esdk_round_trip 0478 4096
check "esdk.py, suite 0578" esdk_round_trip 0578 128
check "esdk.py, non-framed" esdk_round_trip 0478 0

# --- boto3, moto, the Encryption SDK's command line ---

serve moto_kms.py
export AWS_ENDPOINT_URL_KMS=$endpoint AWS_REGION=eu-west-1 AWS_DEFAULT_REGION=eu-west-1
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test

kms() {
    "$PY" "$HERE/py/kms.py" "$@"
}

arn=$(kms create-key --alias alias/interop)

kms_round_trip() {
    echo hello | kms encrypt --key alias/interop -c a=b >"$T/blob"
    [[ $(kms decrypt -c a=b <"$T/blob") == hello ]]
    fails kms decrypt -c a=WRONG <"$T/blob"
    local key wrapped
    read -r key wrapped < <(kms generate-data-key --key "$arn")
    [[ $("$PY" -c "import sys; sys.stdout.buffer.write(bytes.fromhex('$wrapped'))" |
        kms decrypt --key "$arn" | hex) == "$key" ]]
}
check "boto3 and moto" kms_round_trip

cli_round_trip() {
    "$ENCRYPTION_CLI" -e -S -w key="$arn" -c a=b -i "$T/data" -o "$T/message"
    "$ENCRYPTION_CLI" -d -S -w key="$arn" -c a=b -i "$T/message" -o - | cmp - "$T/data"
}
check "aws-encryption-cli and moto" cli_round_trip

# --- The KMS that only fails, as boto3 sees it ---

stub_says() { # FAILURE WORDS: without retries, which would only take time
    local said
    if said=$(AWS_MAX_ATTEMPTS=1 kms decrypt <"$T/blob" 2>&1); then
        return 1
    fi
    echo "$said"
    [[ $said == *"$1"* ]]
}
for failure in ExpiredTokenException com.amazonaws.kms#DisabledException KMSInternalException 503; do
    serve stub_kms.py "$failure" "$T/log"
    AWS_ENDPOINT_URL_KMS=$endpoint check "boto3 meets the stub's $failure" stub_says "${failure#*#}"
done
serve stub_kms.py drop "$T/log"
AWS_ENDPOINT_URL_KMS=$endpoint check "boto3 meets the stub's drop" stub_says "Connection was closed"
check "the stub's log names operation, access key, region and token" \
    test "$(sort "$T/log" | uniq -c | xargs)" == "5 Decrypt test eu-west-1 -"

finish
