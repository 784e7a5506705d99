#!/usr/bin/env bash
# waxseal as a KMS behind clients that others wrote, with nothing set but what `waxseal serve` prints:
# the AWS SDKs for JavaScript and for Go, Tink, sops, the aws CLI 2, the S3 Encryption Client, OpenBao. Each: a round trip, another context, a disabled
# key, in the client's own words. (kms-server.sh has boto3, the aws CLI and aws-encryption-cli; the
# AWS SDK for Rust is inside waxseal itself, in crates/cli/tests/serve.rs.)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_waxseal
[[ -x $KMS_PY && -x $SOPS && -x $GO_KMS && -x $BAO && -x $AWSCLI2 ]] || die "run conformance/interop/setup first"

start_serve
key=$("$AWSCLI" --output text kms create-key --query KeyMetadata.KeyId)
arn=$("$AWSCLI" --output text kms describe-key --key-id "$key" --query KeyMetadata.Arn)
bytes 4000 "$T/plain"

disabled() { # COMMAND…: fails while the key is disabled, in the words of AWS's error
    "$AWSCLI" kms disable-key --key-id "$key"
    local status=0
    "$@" >"$T/none" 2>"$T/why" || status=$?
    "$AWSCLI" kms enable-key --key-id "$key"
    ((status != 0))
    grep -q 'DisabledException\|is disabled' "$T/why"
}

# --- AWS SDK for JavaScript ---

node_kms() {
    node "$HERE/node/kms.mjs" "$NODE_PACKAGES" "$@"
}
node_round_trip() {
    node_kms encrypt "$key" a=b <"$T/plain" >"$T/node.blob"
    node_kms decrypt a=b <"$T/node.blob" | cmp - "$T/plain"
}
node_context() {
    fails node_kms decrypt a=c <"$T/node.blob" 2>"$T/why"
    grep -q '^InvalidCiphertextException' "$T/why"
}
node_disabled() {
    disabled node_kms decrypt a=b <"$T/node.blob"
}
node_signature() {
    node_kms sign "$("$AWSCLI" --output text kms create-key --key-spec ECC_NIST_P256 \
        --key-usage SIGN_VERIFY --query KeyMetadata.KeyId)"
}
check "SDK for JavaScript: round trip" node_round_trip
check "SDK for JavaScript: another context is refused" node_context
check "SDK for JavaScript: a disabled key is refused" node_disabled
check "SDK for JavaScript: a signature holds for Node.js" node_signature

# --- AWS SDK for Go, version 1 ---

go_round_trip() {
    "$GO_KMS" encrypt "$arn" a=b <"$T/plain" >"$T/go.blob"
    "$GO_KMS" decrypt a=b <"$T/go.blob" | cmp - "$T/plain"
    # What one SDK sealed, the other opens.
    "$GO_KMS" decrypt a=b <"$T/node.blob" | cmp - "$T/plain"
    "$GO_KMS" data-key "$key" | grep -Eq '^32 [0-9]+$'
}
go_context() {
    fails "$GO_KMS" decrypt a=c <"$T/go.blob" 2>"$T/why"
    grep -q 'InvalidCiphertextException' "$T/why"
}
go_disabled() {
    disabled "$GO_KMS" decrypt a=b <"$T/go.blob"
}
check "SDK for Go: round trip" go_round_trip
check "SDK for Go: another context is refused" go_context
check "SDK for Go: a disabled key is refused" go_disabled

# --- Tink ---

tink() { # COMMAND ASSOCIATED-DATA
    AAD=$2 "$KMS_PY" "$HERE/py/kms_tink.py" "$1" "$arn"
}
tink_round_trip() {
    bytes 200000 "$T/large"
    tink encrypt unit=interop <"$T/large" >"$T/tink"
    tink decrypt unit=interop <"$T/tink" | cmp - "$T/large"
}
tink_context() {
    fails tink decrypt unit=other <"$T/tink" >"$T/none" 2>"$T/why"
    test -s "$T/why"
}
tink_disabled() {
    disabled tink decrypt unit=interop <"$T/tink"
}
check "Tink: round trip" tink_round_trip
check "Tink: other associated data is refused" tink_context
check "Tink: a disabled key is refused" tink_disabled

# --- sops ---

sops() {
    HOME=$T/user "$SOPS" "$@"
}
sops_round_trip() {
    printf 'password: hunter2\nport: 5432\n' >"$T/secrets.yaml"
    sops encrypt --kms "$arn" --encryption-context unit:interop "$T/secrets.yaml" >"$T/sealed.yaml"
    fails grep -q hunter2 "$T/sealed.yaml"
    sops decrypt "$T/sealed.yaml" | cmp - "$T/secrets.yaml"
}
sops_context() {
    sed 's/unit: interop/unit: other/' "$T/sealed.yaml" >"$T/bent.yaml"
    fails cmp -s "$T/sealed.yaml" "$T/bent.yaml"
    fails sops decrypt "$T/bent.yaml" 2>"$T/why"
    grep -q InvalidCiphertextException "$T/why"
}
sops_disabled() {
    disabled sops decrypt "$T/sealed.yaml"
}
check "sops: round trip" sops_round_trip
check "sops: another context is refused" sops_context
check "sops: a disabled key is refused" sops_disabled

# --- aws CLI, version 2, as Debian has it ---

aws2() { # this version knows no AWS_ENDPOINT_URL_KMS yet
    "$AWSCLI2" --endpoint-url "$AWS_ENDPOINT_URL_KMS" --output text kms "$@"
}
aws2_round_trip() {
    aws2 encrypt --key-id "$arn" --plaintext "fileb://$T/plain" --encryption-context a=b \
        --query CiphertextBlob | base64 -d >"$T/aws2.blob"
    aws2 decrypt --ciphertext-blob "fileb://$T/aws2.blob" --encryption-context a=b \
        --query Plaintext | base64 -d | cmp - "$T/plain"
}
aws2_context() {
    fails aws2 decrypt --ciphertext-blob "fileb://$T/aws2.blob" --encryption-context a=c 2>"$T/why"
    grep -q InvalidCiphertextException "$T/why"
}
aws2_disabled() {
    disabled aws2 decrypt --ciphertext-blob "fileb://$T/aws2.blob" --encryption-context a=b
}
check "aws CLI 2: round trip" aws2_round_trip
check "aws CLI 2: another context is refused" aws2_context
check "aws CLI 2: a disabled key is refused" aws2_disabled

# --- Amazon S3 Encryption Client for Python; the bucket is moto's ---

serve moto_kms.py
s3() { # put|get OBJECT [NAME=VALUE]
    local command=$1
    shift
    AWS_REGION=eu-west-1 AWS_DEFAULT_REGION=eu-west-1 AWS_ENDPOINT_URL_S3=$endpoint \
        "$KMS_PY" "$HERE/py/kms_s3.py" "$command" "$eu_key" "$@"
}
eu_key=$(AWS_REGION=eu-west-1 AWS_DEFAULT_REGION=eu-west-1 "$AWSCLI" --output text \
    kms create-key --query KeyMetadata.Arn)
s3_round_trip() {
    s3 put object unit=interop <"$T/large"
    s3 get object unit=interop | cmp - "$T/large"
}
s3_context() {
    fails s3 get object unit=other >"$T/none" 2>"$T/why"
    grep -qi 'context' "$T/why"
}
s3_disabled() {
    AWS_REGION=eu-west-1 "$AWSCLI" --region eu-west-1 kms disable-key --key-id "$eu_key"
    fails s3 get object unit=interop >"$T/none" 2>"$T/why"
    grep -q 'DisabledException\|is disabled' "$T/why"
}
check "S3 Encryption Client: round trip" s3_round_trip
check "S3 Encryption Client: another context is refused" s3_context
check "S3 Encryption Client: a disabled key is refused" s3_disabled

# --- OpenBao, unsealed by the key ---

free_ports() { # COUNT
    "$PY" - "$1" <<'END'
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for one in held:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))
END
}
bao_serve() { # starts the server; its address and data stay the same
    mkdir -p "$T/bao"
    [[ -n ${bao_port-} ]] || read -r bao_port bao_cluster_port < <(free_ports 2)
    cat >"$T/bao.hcl" <<END
storage "raft" {
  path    = "$T/bao"
  node_id = "one"
}
cluster_addr = "http://127.0.0.1:$bao_cluster_port"
api_addr     = "http://127.0.0.1:$bao_port"
listener "tcp" {
  address         = "127.0.0.1:$bao_port"
  cluster_address = "127.0.0.1:$bao_cluster_port"
  tls_disable     = true
}
seal "awskms" {
  region     = "$AWS_REGION"
  kms_key_id = "$arn"
  endpoint   = "$AWS_ENDPOINT_URL_KMS"
}
END
    "$BAO" server -config "$T/bao.hcl" >"$T/bao.log" 2>&1 </dev/null &
    servers+=($!)
}
bao() {
    BAO_ADDR=http://127.0.0.1:$bao_port BAO_TOKEN=$(cat "$T/bao.token" 2>/dev/null) "$BAO" "$@"
}
bao_is() { # sealed|unsealed|uninitialized: waits until it is
    local waited
    for ((waited = 0; waited < 100; waited++)); do
        bao status -format=json >"$T/status" 2>/dev/null || true
        case $1 in
            uninitialized) grep -q '"initialized": false' "$T/status" && return 0 ;;
            unsealed) grep -q '"sealed": false' "$T/status" && return 0 ;;
        esac
        sleep 0.1
    done
    cat "$T/bao.log" >&2
    return 1
}
bao_restart() {
    kill "${servers[-1]}"
    wait "${servers[-1]}" || true
    bao_serve
}
bao_round_trip() {
    bao_is uninitialized
    bao operator init -format=json -recovery-shares=1 -recovery-threshold=1 |
        "$PY" -c 'import json, sys; print(json.load(sys.stdin)["root_token"])' >"$T/bao.token"
    bao_is unsealed
    bao secrets enable -path=secret kv
    bao kv put secret/interop password=hunter2
}
bao_unseals() {
    bao_is unsealed
    test "$(bao kv get -field=password secret/interop)" = hunter2
}
bao_disabled() {
    local waited
    for ((waited = 0; waited < 100; waited++)); do
        grep -q 'DisabledException\|is disabled' "$T/bao.log" && return 0
        sleep 0.1
    done
    cat "$T/bao.log" >&2
    return 1
}
bao_serve
check "OpenBao: the KMS is its seal" bao_round_trip
bao_restart
check "OpenBao: it is unsealed after a restart" bao_unseals
"$AWSCLI" kms disable-key --key-id "$key"
bao_restart
check "OpenBao: a disabled key keeps it sealed" bao_disabled

finish
