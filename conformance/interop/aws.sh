#!/usr/bin/env bash
# waxseal as a client of Amazon KMS: every format both ways against Amazon's own clients on one
# server (moto), the usual ways to say endpoint, region and credentials, and what each failure of a
# KMS becomes. moto refuses neither credentials nor disabled keys: failures come from a stub that
# answers in Amazon's words.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_waxseal

# --- What the exit codes are; a changed mind is changed here ---

EXIT_NOT_AUTHENTIC=3            # InvalidCiphertextException, where no context was in play
EXIT_ACCESS=4                   # AccessDenied, ExpiredToken, UnrecognizedClient
EXIT_KEY_STATE=5                # Disabled, KMSInvalidState
EXIT_NOT_FOUND=5                # NotFoundException: no such key or alias
EXIT_UNREACHABLE=6              # no connection, no answer in time, 5xx, throttled to the end
EXIT_CONTEXT=7                  # the header itself shows another context
EXIT_WRONG_CONTEXT='3|7'        # direct: a KMS says the same of a wrong context and a corrupt blob
EXIT_LIMIT=8
EXIT_NO_CREDENTIALS=78
EXIT_NO_REGION=78

# --- A KMS with two keys, and a user's configuration ---

serve moto_kms.py
moto=$endpoint

mkdir "$HOME/.aws"
cat >"$HOME/.aws/credentials" <<CREDENTIALS
[default]
aws_access_key_id = AKIDDEFAULT
aws_secret_access_key = secret
[interop]
aws_access_key_id = AKIDINTEROP
aws_secret_access_key = secret
aws_session_token = TOKENINTEROP
[regionless]
aws_access_key_id = AKIDINTEROP
aws_secret_access_key = secret
[with-endpoint]
aws_access_key_id = AKIDINTEROP
aws_secret_access_key = secret
[with-service]
aws_access_key_id = AKIDINTEROP
aws_secret_access_key = secret
CREDENTIALS
cat >"$HOME/.aws/config" <<CONFIG
[default]
region = eu-west-1
[profile interop]
region = eu-west-1
[profile with-endpoint]
region = eu-west-1
endpoint_url = $moto
[profile with-service]
region = eu-west-1
services = local
[services local]
kms =
  endpoint_url = $moto
[profile nobody]
region = eu-west-1
CONFIG
# A copy under other names, for the variables; the checks of ~/.aws unset them.
cp -r "$HOME/.aws" "$T/aws"

export AWS_SHARED_CREDENTIALS_FILE=$T/aws/credentials AWS_CONFIG_FILE=$T/aws/config
export AWS_PROFILE=interop AWS_ENDPOINT_URL_KMS=$moto

kms() {
    "$PY" "$HERE/py/kms.py" "$@"
}

arn=$(kms create-key --alias alias/interop)
second=$(kms create-key)
bytes 20 "$T/secret"
bytes 200000 "$T/data"
pairs=(a=b 'unit=Zürich office')
context=(-c "${pairs[0]}" -c "${pairs[1]}")

# The one slow failure runs beside everything else.
serve stub_kms.py hang
(
    status=0
    AWS_MAX_ATTEMPTS=1 AWS_ENDPOINT_URL_KMS=$endpoint \
        wax encrypt --kms aws -k "$arn" -o "$T/hung" "$T/secret" >"$T/hang.said" 2>&1 || status=$?
    echo "$status" >"$T/hang.status"
) &
hanging=$!

# --- direct ---

boto3_reads_ours() { # PLAIN [-c N=V]…
    local plain=$1
    shift
    wax encrypt --kms aws -k "$arn" -f direct "$@" -o "$T/blob" "$plain"
    kms decrypt "$@" <"$T/blob" | cmp - "$plain"
}

ours_reads_boto3() { # PLAIN [-c N=V]…
    local plain=$1
    shift
    kms encrypt --key alias/interop "$@" <"$plain" >"$T/blob"
    wax decrypt --kms aws "$@" -o "$T/opened" "$T/blob"
    cmp "$T/opened" "$plain"
    wax decrypt -k "$arn" "$@" <"$T/blob" | cmp - "$plain"
}

for size in 1 20 4096; do
    bytes "$size" "$T/plain"
    check "direct, $size bytes: boto3 reads ours" boto3_reads_ours "$T/plain"
    check "direct, $size bytes: waxseal reads boto3's" ours_reads_boto3 "$T/plain"
done
check "direct with context: boto3 reads ours" boto3_reads_ours "$T/secret" "${context[@]}"
check "direct with context: waxseal reads boto3's" ours_reads_boto3 "$T/secret" "${context[@]}"

refused "direct without its context" "$EXIT_WRONG_CONTEXT" decrypt --kms aws "$T/blob"
refused "direct with another context" "$EXIT_WRONG_CONTEXT" decrypt --kms aws -c a=WRONG "$T/blob"
kms encrypt --key "$arn" <"$T/secret" >"$T/blob"
flip "$T/blob" -1 "$T/flipped"
refused "direct with a flipped byte" "$EXIT_NOT_AUTHENTIC" decrypt --kms aws "$T/flipped"
bytes 4097 "$T/plain"
refused "direct, 4097 bytes" "$EXIT_LIMIT" encrypt --kms aws -k "$arn" -f direct "$T/plain"

reads_what_aws_prints() { # text in base64, as everybody has it from the AWS command line
    "$AWSCLI" kms encrypt --key-id "$arn" --plaintext "fileb://$T/secret" \
        --query CiphertextBlob --output text >"$T/base64"
    wax decrypt --kms aws <"$T/base64" | cmp - "$T/secret"
}
check "direct: waxseal reads the base64 that aws kms encrypt prints" reads_what_aws_prints

# --- message ---

# The command line of the Encryption SDK exits with 0 after skipping a message whose context it does
# not like: only its output counts.
cli_reads_ours() { # KEY [OPTION…], where KEY encrypts and $arn must open
    wax encrypt --kms aws -k "$1" "${context[@]}" "${@:2}" -o "$T/message" "$T/data"
    "$ENCRYPTION_CLI" --decrypt -S -w key="$arn" -c "${pairs[@]}" -i "$T/message" -o "$T/opened"
    cmp "$T/opened" "$T/data"
    rm "$T/opened"
}

ours_reads_cli() { # ALGORITHM
    "$ENCRYPTION_CLI" --encrypt -S -w key="$arn" -c a=b --algorithm "$1" -i "$T/data" -o "$T/message"
    wax decrypt --kms aws -c a=b -o "$T/opened" "$T/message"
    cmp "$T/opened" "$T/data"
    wax decrypt -k "$arn" <"$T/message" | cmp - "$T/data" # the header has the context
    rm "$T/message"
}

check "message: aws-encryption-cli reads ours" cli_reads_ours "$arn"
check "message, signed: aws-encryption-cli reads ours" cli_reads_ours "$arn" --signed
# An alias must become the key's ARN in the header, or no other reader finds the key.
check "message under alias/interop: aws-encryption-cli reads ours" cli_reads_ours alias/interop
check "message under two keys: aws-encryption-cli reads ours with the second" \
    cli_reads_ours "$second" -k "$arn"
check "message: waxseal reads aws-encryption-cli's" \
    ours_reads_cli AES_256_GCM_HKDF_SHA512_COMMIT_KEY
check "message, signed: waxseal reads aws-encryption-cli's" \
    ours_reads_cli AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384

second_key_opens() {
    "$ENCRYPTION_CLI" --encrypt -S -w key="$arn" key="$second" -i "$T/data" -o "$T/two"
    wax decrypt -k "$second" <"$T/two" | cmp - "$T/data"
}
check "message under two keys: waxseal reads aws-encryption-cli's with the second" second_key_opens

check "message with context: written" \
    wax encrypt --kms aws -k "$arn" -c a=b -o "$T/message" "$T/data"
refused "message with another context" "$EXIT_CONTEXT" decrypt --kms aws -c a=WRONG "$T/message"

# --- secretbox; against Go in go-payload.sh ---

secretbox_round_trip() {
    wax encrypt --kms aws -k alias/interop -f secretbox -c a=b <"$T/data" >"$T/payload"
    wax decrypt --kms aws -c a=b <"$T/payload" | cmp - "$T/data"
}
check "secretbox: there and back" secretbox_round_trip

# --- Endpoint, region, credentials ---

# without NAME… -- COMMAND…: inside a check, which is a subshell.
without() {
    while [[ $1 != -- ]]; do
        unset "$1"
        shift
    done
    shift
    "$@"
}

# The alias exists in eu-west-1 alone, and moto takes the region from the signature.
reaches_moto() {
    wax encrypt --kms aws -k alias/interop -o "$T/there" "$T/secret"
    wax decrypt --kms aws <"$T/there" | cmp - "$T/secret"
}

files=(AWS_SHARED_CREDENTIALS_FILE AWS_CONFIG_FILE)
nowhere=http://127.0.0.1:1

check "the profile's region" reaches_moto
check "a profile of ~/.aws" without "${files[@]}" -- reaches_moto
check "the default profile of ~/.aws" without "${files[@]}" AWS_PROFILE -- reaches_moto
AWS_ENDPOINT_URL=$moto check "AWS_ENDPOINT_URL alone" without AWS_ENDPOINT_URL_KMS -- reaches_moto
AWS_ENDPOINT_URL=$nowhere check "AWS_ENDPOINT_URL_KMS before AWS_ENDPOINT_URL" reaches_moto
AWS_PROFILE=regionless AWS_REGION=eu-west-1 \
    check "AWS_REGION where the profile has no region" reaches_moto
AWS_PROFILE=with-endpoint \
    check "endpoint_url of a profile" without AWS_ENDPOINT_URL_KMS -- reaches_moto
AWS_PROFILE=with-service \
    check "endpoint_url of a profile's services section" without AWS_ENDPOINT_URL_KMS -- reaches_moto

# signs_as LINE: what a server sees of the caller, from the stub's log.
signs_as() {
    : >"$T/stub.log"
    fails wax encrypt --kms aws -k alias/interop -f direct -o "$T/there" "$T/secret"
    tail -n 1 "$T/stub.log"
    [[ $(tail -n 1 "$T/stub.log") == "$1" ]]
}

serve stub_kms.py AccessDeniedException "$T/stub.log"
export AWS_ENDPOINT_URL_KMS=$endpoint
check "the profile's access key and session token sign" \
    signs_as "Encrypt AKIDINTEROP eu-west-1 TOKENINTEROP"
AWS_ACCESS_KEY_ID=AKIDENVIRONMENT AWS_SECRET_ACCESS_KEY=secret AWS_REGION=eu-central-1 \
    check "the environment's access key and region come first" \
    without AWS_PROFILE -- signs_as "Encrypt AKIDENVIRONMENT eu-central-1 -"
AWS_PROFILE=nobody refused "no credentials anywhere" "$EXIT_NO_CREDENTIALS" \
    encrypt --kms aws -k alias/interop "$T/secret"
AWS_PROFILE=regionless refused "no region anywhere" "$EXIT_NO_REGION" \
    encrypt --kms aws -k alias/interop "$T/secret"

# --- Failures ---

export AWS_ENDPOINT_URL_KMS=$moto
unknown=${arn%????}0000
refused "an unknown key" "$EXIT_NOT_FOUND" encrypt -k "$unknown" "$T/secret"
refused "an unknown alias" "$EXIT_NOT_FOUND" encrypt --kms aws -k alias/nobody "$T/secret"

fails_with() { # CODE WHAT: both directions, against $AWS_ENDPOINT_URL_KMS
    refused "encrypt, $2" "$1" encrypt -k "$arn" "$T/secret"
    refused "decrypt, $2" "$1" decrypt --kms aws "$T/message"
}

# One attempt: a client that tries again only takes longer to say the same.
export AWS_MAX_ATTEMPTS=1
AWS_ENDPOINT_URL_KMS=$nowhere fails_with "$EXIT_UNREACHABLE" "nothing listens"
while read -r failure code; do
    serve stub_kms.py "$failure"
    AWS_ENDPOINT_URL_KMS=$endpoint fails_with "$code" "$failure"
done <<FAILURES
AccessDeniedException $EXIT_ACCESS
ExpiredTokenException $EXIT_ACCESS
UnrecognizedClientException $EXIT_ACCESS
DisabledException $EXIT_KEY_STATE
com.amazonaws.kms#DisabledException $EXIT_KEY_STATE
KMSInvalidStateException $EXIT_KEY_STATE
KMSInternalException $EXIT_UNREACHABLE
DependencyTimeoutException $EXIT_UNREACHABLE
503 $EXIT_UNREACHABLE
drop $EXIT_UNREACHABLE
FAILURES

serve stub_kms.py InvalidCiphertextException
AWS_ENDPOINT_URL_KMS=$endpoint \
    refused "decrypt, InvalidCiphertextException" "$EXIT_NOT_AUTHENTIC" \
    decrypt --kms aws "$T/message"

# Throttling passes: it is tried again, as often as AWS_MAX_ATTEMPTS says.
: >"$T/throttled.log"
serve stub_kms.py ThrottlingException "$T/throttled.log"
AWS_MAX_ATTEMPTS=2 AWS_ENDPOINT_URL_KMS=$endpoint \
    refused "ThrottlingException to the end" "$EXIT_UNREACHABLE" encrypt -k "$arn" "$T/secret"
requests=$(wc -l <"$T/throttled.log")
check "throttled: $requests attempts of 2" test "$requests" -eq 2

keeps_what_stood_there() {
    echo precious >"$T/existing"
    AWS_ENDPOINT_URL_KMS=$nowhere fails wax encrypt -k "$arn" -o "$T/existing" "$T/secret"
    AWS_ENDPOINT_URL_KMS=$nowhere fails wax decrypt --kms aws -o "$T/existing" "$T/message"
    [[ $(<"$T/existing") == precious ]]
}
check "a failure leaves an existing output file alone" keeps_what_stood_there

wait "$hanging"
status=$(<"$T/hang.status")
if ((status == EXIT_UNREACHABLE)) && [[ ! -e $T/hung ]]; then
    ok "a KMS that never answers: exit code $status"
else
    fail "a KMS that never answers (exit code $status; 124 is none in $LIMIT_SECONDS s)" "$T/hang.said"
fi

finish
