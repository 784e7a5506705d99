#!/usr/bin/env bash
# waxseal as a KMS: `waxseal serve`, and clients by Amazon that know of it only what it printed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_waxseal

aws() {
    "$AWSCLI" --output text "$@"
}

mkdir -p "$T/enclave"
"$PY" "$HERE/py/enclave.py" roots "$T/enclave"
start_serve --attestation-root "$T/enclave/root.pem"

# --- boto3 ---

# judged NAME SCRIPT ARG…: a check for each line that the script prints.
judged() {
    local name=$1 script=$2 verdict what
    shift 2
    "$PY" "$HERE/py/$script" "$@" >"$T/judged" 2>&1 || true
    while read -r verdict what; do
        case $verdict in
            ok) ok "$name: $what" ;;
            *) fail "$name: $verdict $what" ;;
        esac
    done <"$T/judged"
}
judged boto3 kms_server.py

# --- answers for enclaves that attest themselves ---

judged enclave enclave.py "$T/enclave"

# --- every member of every operation, at the edges of the service model ---

judged model kms_bounds.py

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

# --- users and roles ---

# as FILE PROFILE ARG…: the aws CLI with the credentials in FILE and the config beside it.
as() {
    local file=$1 profile=$2
    shift 2
    AWS_SHARED_CREDENTIALS_FILE=$file AWS_CONFIG_FILE=$T/config AWS_PROFILE=$profile aws "$@"
}
allow() {
    printf '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"%s","Resource":"*"}]}' "$1"
}
users_are_let_in() {
    allow kms:Encrypt >"$T/encrypt.json"
    wax user create ann --policy "$T/encrypt.json" >"$T/ann"
    test "$(as "$T/ann" default sts get-caller-identity --query Arn)" = \
        arn:aws:iam::000000000000:user/ann
    as "$T/ann" default kms encrypt --key-id alias/interop --plaintext fileb://"$T/encrypt.json" \
        --query CiphertextBlob | base64 -d >"$T/by-ann"
    fails as "$T/ann" default kms decrypt --ciphertext-blob "fileb://$T/by-ann" 2>"$T/why"
    grep -q 'AccessDeniedException.*user/ann is not authorized to perform: kms:Decrypt' "$T/why"
    allow 'kms:*' | wax user policy ann -
    as "$T/ann" default kms decrypt --ciphertext-blob "fileb://$T/by-ann" --query Plaintext |
        base64 -d | cmp - "$T/encrypt.json"
}
profiles_assume_roles() {
    cat >"$T/trust.json" <<'END'
{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",
 "Principal":{"AWS":"arn:aws:iam::000000000000:user/ann"},
 "Condition":{"StringEquals":{"sts:ExternalId":"e-1"}}}]}
END
    wax role create app --trust "$T/trust.json"
    allow kms:Decrypt | wax role policy app -
    cat >"$T/config" <<'END'
[profile app]
role_arn = arn:aws:iam::000000000000:role/app
source_profile = default
role_session_name = interop
external_id = e-1
[profile stranger]
role_arn = arn:aws:iam::000000000000:role/app
source_profile = default
END
    test "$(as "$T/ann" app sts get-caller-identity --query Arn)" = \
        arn:aws:sts::000000000000:assumed-role/app/interop
    as "$T/ann" app kms decrypt --ciphertext-blob "fileb://$T/by-ann" --query Plaintext |
        base64 -d | cmp - "$T/encrypt.json"
    fails as "$T/ann" app kms encrypt --key-id alias/interop --plaintext fileb://"$T/ann" 2>"$T/why"
    grep -q AccessDeniedException "$T/why"
    fails as "$T/ann" stranger sts get-caller-identity 2>"$T/why"
    grep -q 'AccessDenied.*AssumeRole' "$T/why"
}
users_are_let_in_no_more() {
    wax user disable ann
    fails as "$T/ann" default kms list-keys 2>"$T/why"
    grep -q UnrecognizedClientException "$T/why"
    fails as "$T/ann" default sts get-caller-identity 2>"$T/why"
    grep -q InvalidClientTokenId "$T/why"
    wax user enable ann
    wax user rotate-key ann >"$T/ann-anew"
    fails as "$T/ann" default kms list-keys 2>"$T/why"
    as "$T/ann-anew" default kms list-keys
}
check "aws CLI: users are let in as far as their policies say" users_are_let_in
check "aws CLI: profiles assume roles" profiles_assume_roles
web_identities() {
    local issuer=https://ci.example.com/realms/one algorithm bad
    mkdir -p "$T/oidc"
    "$PY" "$HERE/py/oidc.py" "$T/oidc" "$issuer"
    wax oidc create "$issuer" --keys "$T/oidc/jwks.json" >"$T/out"
    test "$(cat "$T/out")" = arn:aws:iam::000000000000:oidc-provider/ci.example.com/realms/one
    cat >"$T/trust.json" <<'END'
{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRoleWithWebIdentity",
 "Principal":{"Federated":"arn:aws:iam::000000000000:oidc-provider/ci.example.com/realms/one"},
 "Condition":{"StringLike":{"ci.example.com/realms/one:sub":
   ["repo:waxseal:*","system:serviceaccount:prod:*"]}}}]}
END
    wax role create ci --trust "$T/trust.json"
    allow kms:Decrypt | wax role policy ci -
    for algorithm in RS256 RS384 RS512 PS256 ES256 ES384 EdDSA kubernetes; do
        test "$(by_token "$algorithm" sts get-caller-identity --query Arn)" = \
            arn:aws:sts::000000000000:assumed-role/ci/interop
    done
    by_token kubernetes kms decrypt --ciphertext-blob "fileb://$T/by-ann" --query Plaintext |
        base64 -d | cmp - "$T/encrypt.json"
    fails by_token RS256 kms encrypt --key-id alias/interop --plaintext fileb://"$T/ann" 2>"$T/why"
    grep -q AccessDeniedException "$T/why"
    for bad in key audience issuer none shared; do
        fails by_token "bad-$bad" sts get-caller-identity 2>"$T/why"
        grep -q 'InvalidIdentityToken' "$T/why"
    done
    fails by_token bad-expired sts get-caller-identity 2>"$T/why"
    grep -q 'ExpiredTokenException' "$T/why"
}
# Like a pod or a CI job: no credentials but the token in a file.
by_token() {
    local token=$T/oidc/$1
    shift
    env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY -u AWS_PROFILE \
        AWS_WEB_IDENTITY_TOKEN_FILE="$token" AWS_ROLE_SESSION_NAME=interop \
        AWS_ROLE_ARN=arn:aws:iam::000000000000:role/ci \
        AWS_SHARED_CREDENTIALS_FILE=/nonexistent AWS_CONFIG_FILE=/nonexistent \
        "$AWSCLI" --output text "$@"
}
check "aws CLI: tokens of CI jobs and service accounts assume roles" web_identities
check "aws CLI: a disabled user and an old access key are refused" users_are_let_in_no_more

# --- doctor, from the client's side ---

doctors() {
    as "$T/ann-anew" default sts get-caller-identity
    AWS_SHARED_CREDENTIALS_FILE=$T/ann-anew wax --kms aws doctor -k alias/interop >"$T/out"
    test "$(grep -c '^ok ' "$T/out")" = 5
    allow kms:Encrypt | wax user policy ann -
    AWS_SHARED_CREDENTIALS_FILE=$T/ann-anew fails wax --kms aws doctor -k alias/interop >"$T/out"
    grep -q '^FAIL  decrypt: .*is not authorized to perform: kms:Decrypt' "$T/out"
    fails wax --kms aws doctor -k alias/nobody >"$T/out"
    grep -q '^FAIL  key: .*NotFoundException' "$T/out"
    AWS_ENDPOINT_URL_KMS=http://127.0.0.1:9 fails wax --kms aws doctor -k alias/interop >"$T/out"
    grep -q '^FAIL  endpoint: no answer' "$T/out"
}
check "doctor says what stands between a user and a key" doctors

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
