#!/usr/bin/env bash
# waxseal as a KMS behind clients that others wrote, with nothing set but what `waxseal serve` prints:
# the AWS SDKs for JavaScript and for Go, Tink, sops. Each: a round trip, another context, a disabled
# key, in the client's own words. (kms-server.sh has boto3, the aws CLI and aws-encryption-cli; the
# AWS SDK for Rust is inside waxseal itself, in crates/cli/tests/serve.rs.)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_waxseal
[[ -x $KMS_PY && -x $SOPS && -x $GO_KMS ]] || die "run conformance/interop/setup first"

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

finish
