#!/usr/bin/env bash
# Every KMS keyring of the AWS Encryption SDK, both ways: waxseal against the official SDK for
# Python with the keyrings of its material providers library, on one server (moto, mended). What one
# side must refuse, the other refuses too.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_waxseal

EXIT_USAGE=2
EXIT_NOT_AUTHENTIC=3
EXIT_NOBODYS=4                  # no key given can open it
EXIT_KEY_STATE=5
EXIT_CONFIGURATION=78

serve moto_kms.py
export AWS_ENDPOINT_URL_KMS=$endpoint AWS_REGION=eu-west-1 AWS_DEFAULT_REGION=eu-west-1
export AWS_ACCESS_KEY_ID=AKIDINTEROP AWS_SECRET_ACCESS_KEY=secret

kms() {
    "$PY" "$HERE/py/kms.py" "$@"
}

sdk() {
    "$PY" "$HERE/py/kms_keyrings.py" "$@"
}

ACCOUNT=123456789012 # moto's own
UNSIGNED=AES_256_GCM_HKDF_SHA512_COMMIT_KEY

single=$(kms create-key)
ireland=$(kms create-key --multi-region)
virginia=$(kms replicate-key --key "$ireland" --region us-east-1)
far=$(AWS_DEFAULT_REGION=us-east-1 kms create-key)
rsa=$(kms create-key --spec RSA_2048)
kms public-key --key "$rsa" >"$T/rsa.pem"
bytes 70000 "$T/data"
context=(-c a=b -c 'unit=Zürich office')

sdk_reads_ours() { # OURS THEIRS [OPTION…]
    wax encrypt -k "$1" "${context[@]}" "${@:3}" -o "$T/message" "$T/data"
    sdk decrypt "$2" "${context[@]}" <"$T/message" | cmp - "$T/data"
}

ours_reads_sdk() { # OURS THEIRS [SUITE]
    sdk encrypt "$2" "${context[@]}" --suite "${3:-$UNSIGNED}" <"$T/data" >"$T/theirs"
    wax decrypt -k "$1" "${context[@]}" <"$T/theirs" | cmp - "$T/data"
}

both() { # WHAT OURS THEIRS
    check "$1: the SDK reads ours" sdk_reads_ours "$2" "$3"
    check "$1: waxseal reads the SDK's" ours_reads_sdk "$2" "$3"
}

# --- Symmetric keys ---

both "strict" "aws-kms:///$single" "strict:$single"
check "strict, signed: the SDK reads ours" \
    sdk_reads_ours "aws-kms:$single" "strict:$single" --signed
check "strict, signed: waxseal reads the SDK's" \
    ours_reads_sdk "aws-kms:$single" "strict:$single" "${UNSIGNED}_ECDSA_P384"
both "multi-Region, same Region" "aws-kms-mrk:///$ireland" "mrk:$ireland"
both "multi-Region, the other's replica" "aws-kms-mrk:///$ireland" "mrk:$virginia"
both "multi-Region keyring of a single-Region key" "aws-kms-mrk:///$single" "mrk:$single"
check "two keys: the SDK reads ours with the replica of the second" \
    sdk_reads_ours "aws-kms-mrk:$single" "mrk:$virginia" -k "aws-kms-mrk:$ireland"

discovery=aws-kms-discovery:
check "discovery: the SDK reads ours" \
    sdk_reads_ours "aws-kms:$single" "discovery:eu-west-1:$ACCOUNT"
check "Region discovery: the SDK reads ours" \
    sdk_reads_ours "aws-kms:$ireland" "mrk-discovery:us-east-1:$ACCOUNT"
for ours in "$discovery" "$discovery?account=$ACCOUNT" \
    "$discovery?account=1&account=$ACCOUNT&partition=aws" "$discovery?region=eu-west-1" \
    "$discovery?region=us-east-1&region=eu-west-1&account=$ACCOUNT"; do
    check "$ours: waxseal reads the SDK's" ours_reads_sdk "$ours" "strict:$single"
done
check "$discovery?region=us-east-1: waxseal reads what the replica in Ireland wrapped" \
    ours_reads_sdk "$discovery?region=us-east-1" "mrk:$ireland"

sdk encrypt "strict:$single" <"$T/data" >"$T/theirs"
refused "discovery: another account" "$EXIT_NOBODYS" \
    decrypt -k "$discovery?account=111122223333" "$T/theirs"
refused "discovery: another partition" "$EXIT_NOBODYS" \
    decrypt -k "$discovery?account=$ACCOUNT&partition=aws-cn" "$T/theirs"
refused "discovery: another Region" "$EXIT_NOBODYS" \
    decrypt -k "$discovery?region=us-east-1" "$T/theirs"
refused "strict: another key" "$EXIT_NOBODYS" decrypt -k "aws-kms:$far" "$T/theirs"
sdk encrypt "mrk:$ireland" <"$T/data" >"$T/theirs"
refused "strict: a replica" "$EXIT_NOBODYS" decrypt -k "aws-kms:$virginia" "$T/theirs"
refused "Region discovery: no replica there" "$EXIT_KEY_STATE" \
    decrypt -k "$discovery?region=sa-east-1" "$T/theirs"
refused "discovery encrypts nothing" "$EXIT_CONFIGURATION" encrypt -k "$discovery" "$T/data"
refused "two replicas of one key" "$EXIT_USAGE" \
    encrypt -k "aws-kms-mrk:$ireland" -k "aws-kms-mrk:$virginia" "$T/data"
refused "a filter without accounts" "$EXIT_USAGE" decrypt -k "$discovery?partition=aws" "$T/theirs"

# --- RSA ---

for padding in 256 1; do
    ours="aws-kms-rsa:///$rsa?padding=oaep-sha$padding"
    theirs="rsa:RSAES_OAEP_SHA_$padding:$T/rsa.pem:$rsa"
    both "RSA, SHA-$padding" "$ours" "$theirs"
    check "RSA, SHA-$padding, key from a file: the SDK reads ours" \
        sdk_reads_ours "$ours&public-key=$T/rsa.pem" "$theirs"
done
check "RSA beside a symmetric key: the SDK reads ours" \
    sdk_reads_ours "aws-kms:$single" "$theirs" -k "$ours"

wraps_without_the_service() {
    AWS_ENDPOINT_URL_KMS=http://127.0.0.1:1 wax encrypt \
        -k "aws-kms-rsa:$rsa?public-key=$T/rsa.pem" "${context[@]}" -o "$T/message" "$T/data"
    wax decrypt -k "aws-kms-rsa:$rsa" <"$T/message" | cmp - "$T/data"
}
check "RSA: wrapping with a public key in a file needs no service" wraps_without_the_service
refused "RSA: another padding" "$EXIT_NOT_AUTHENTIC" \
    decrypt -k "aws-kms-rsa:$rsa?padding=oaep-sha1" "$T/message"
refused "RSA: a signing suite" "$EXIT_CONFIGURATION" encrypt --signed -k "aws-kms-rsa:$rsa" "$T/data"
refused "RSA: a symmetric key" "$EXIT_KEY_STATE|$EXIT_CONFIGURATION" \
    encrypt -k "aws-kms-rsa:$single" "$T/data"

# --- ECDH ---

while read -r curve spec; do
    ours=$(kms create-key --spec "$spec" --usage KEY_AGREEMENT)
    theirs=$(kms create-key --spec "$spec" --usage KEY_AGREEMENT)
    kms public-key --key "$ours" >"$T/ours.pem"
    kms public-key --key "$theirs" >"$T/theirs.pem"
    both "ECDH, $curve, static pair" \
        "aws-kms-ecdh:///$ours?peer=$T/theirs.pem" "ecdh:$spec:$T/ours.pem:$theirs"
    both "ECDH, $curve, the same end" \
        "aws-kms-ecdh:$ours?peer=$T/theirs.pem&public-key=$T/ours.pem" \
        "ecdh:$spec:$T/theirs.pem:$ours"
    check "ECDH, $curve, discovery: the SDK reads ours" sdk_reads_ours \
        "aws-kms-ecdh:$ours?peer=$T/theirs.pem" "ecdh-discovery:$spec:$theirs"
    check "ECDH, $curve, discovery: waxseal reads the SDK's" ours_reads_sdk \
        "aws-kms-ecdh:$ours" "ecdh:$spec:$T/ours.pem:$theirs"
done <<CURVES
P-256 ECC_NIST_P256
P-384 ECC_NIST_P384
P-521 ECC_NIST_P521
CURVES
refused "ECDH: discovery encrypts nothing" "$EXIT_CONFIGURATION" \
    encrypt -k "aws-kms-ecdh:$ours" "$T/data"
refused "ECDH: a message for somebody else" "$EXIT_NOBODYS" \
    decrypt -k "aws-kms-ecdh:$theirs" "$T/theirs"
refused "ECDH: a key that encrypts" "$EXIT_KEY_STATE|$EXIT_CONFIGURATION" \
    encrypt -k "aws-kms-ecdh:$rsa?peer=$T/ours.pem" "$T/data"

finish
