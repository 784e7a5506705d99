#!/usr/bin/env bash
# waxseal as a KMS: `waxseal serve`, and clients by Amazon that know of it only what it printed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_waxseal

# start_serve ARG…: starts the server and exports what it prints.
start_serve() {
    local told=$T/told waited
    rm -f "$told"
    "$WAXSEAL" serve --listen 127.0.0.1:0 "$@" </dev/null >"$told" 2>"$told.log" &
    servers+=($!)
    for ((waited = 0; waited < 600; waited++)); do
        if grep -q '^AWS_DEFAULT_REGION=' "$told"; then
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

aws() {
    "$AWSCLI" --output text "$@"
}

start_serve

# --- boto3 ---

"$PY" "$HERE/py/kms_server.py" >"$T/boto3" 2>&1 || true
while read -r verdict what; do
    case $verdict in
        ok) ok "boto3: $what" ;;
        *) fail "boto3: $verdict $what" ;;
    esac
done <"$T/boto3"

# --- aws CLI ---

aws_cli_round_trip() {
    key=$(aws kms create-key --query KeyMetadata.KeyId)
    aws kms create-alias --alias-name alias/interop --target-key-id "$key"
    bytes 4096 "$T/plain"
    aws kms encrypt --key-id alias/interop --plaintext "fileb://$T/plain" \
        --encryption-context a=b --query CiphertextBlob | base64 -d >"$T/blob"
    aws kms decrypt --ciphertext-blob "fileb://$T/blob" --encryption-context a=b \
        --query Plaintext | base64 -d | cmp - "$T/plain"
}
aws_cli_wrong_context() {
    fails aws kms decrypt --ciphertext-blob "fileb://$T/blob" --encryption-context a=c 2>"$T/why"
    grep -q InvalidCiphertextException "$T/why"
}
aws_cli_disabled() {
    aws kms disable-key --key-id "$(aws kms describe-key --key-id alias/interop --query KeyMetadata.KeyId)"
    fails aws kms decrypt --ciphertext-blob "fileb://$T/blob" --encryption-context a=b 2>"$T/why"
    grep -q DisabledException "$T/why"
    aws kms enable-key --key-id "$(aws kms describe-key --key-id alias/interop --query KeyMetadata.KeyId)"
}
check "aws CLI: round trip by alias" aws_cli_round_trip
check "aws CLI: another context is refused" aws_cli_wrong_context
check "aws CLI: a disabled key is refused" aws_cli_disabled

# --- aws-encryption-cli ---

encryption_cli() {
    local verb=$1 input=$2 output=$3
    shift 3
    "$ENCRYPTION_CLI" "--$verb" --input "$input" --output "$output" --suppress-metadata \
        --commitment-policy require-encrypt-require-decrypt "$@"
}
encryption_cli_round_trip() {
    arn=$(aws kms describe-key --key-id alias/interop --query KeyMetadata.Arn)
    bytes 300000 "$T/data"
    encryption_cli encrypt "$T/data" "$T/data.enc" --wrapping-keys "key=$arn" \
        --encryption-context unit=interop
    encryption_cli decrypt "$T/data.enc" "$T/data.dec" --wrapping-keys "key=$arn" \
        --encryption-context unit=interop
    cmp "$T/data" "$T/data.dec"
    # The same message, opened by waxseal on the same data without any server.
    wax decrypt -c unit=interop -o "$T/data.wax" "$T/data.enc"
    cmp "$T/data" "$T/data.wax"
}
# It skips what has another context, and says so; there is no output.
encryption_cli_wrong_context() {
    encryption_cli decrypt "$T/data.enc" "$T/none" --wrapping-keys "key=$arn" \
        --encryption-context unit=other
    fails test -e "$T/none"
}
encryption_cli_disabled() {
    aws kms disable-key --key-id "$arn"
    fails encryption_cli decrypt "$T/data.enc" "$T/none" --wrapping-keys "key=$arn"
    aws kms enable-key --key-id "$arn"
}
arn=
check "aws-encryption-cli: round trip" encryption_cli_round_trip
arn=$(aws kms describe-key --key-id alias/interop --query KeyMetadata.Arn)
check "aws-encryption-cli: another context is refused" encryption_cli_wrong_context
check "aws-encryption-cli: a disabled key is refused" encryption_cli_disabled

# --- the record of all that ---

audited() {
    wax audit verify
    wax audit list --json >"$T/log"
    grep -q '"DisabledException"' "$T/log"
    grep -q 'InvalidCiphertextException' "$T/log"
}
check "every use is in the audit log" audited

stopped() {
    kill -TERM "${servers[0]}"
    for _ in {1..100}; do
        kill -0 "${servers[0]}" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}
check "SIGTERM ends it" stopped

finish
