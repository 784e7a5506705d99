# shellcheck shell=bash disable=SC2034 # the names are for those who source this
# Where things are. Sourced by setup and by lib.sh.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO=$(cd "$HERE/../.." && pwd)
INTEROP=${WAXSEAL_INTEROP_DIR:-$REPO/target/interop}

PY=$INTEROP/venv/bin/python               # boto3, aws-encryption-sdk, PyNaCl, moto
AWSCLI=$INTEROP/venv/bin/aws
ENCRYPTION_CLI=$INTEROP/venv-cli/bin/aws-encryption-cli
PAYLOAD=$INTEROP/bin/payload              # go/payload.go
NODE_PACKAGES=$INTEROP/node               # @aws-crypto/client-node, @aws-sdk/client-kms
KMS_PY=$INTEROP/venv-kms/bin/python       # tink, the S3 Encryption Client
AWSCLI2=/usr/bin/aws                      # Debian's
BAO=$INTEROP/venv-kms/bin/bao             # OpenBao
SOPS=$INTEROP/venv-kms/bin/sops
GO_KMS=$INTEROP/bin/kms                   # go/kms/kms.go

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}
