#!/usr/bin/env bash
# Every suite × frame length × size × encryption context, both ways, against three official clients
# that were written apart: the SDK for Python 4.x, aws-encryption-cli (on SDK 3.x) and the SDK for
# JavaScript. Each of them is one process for all cases; waxseal is started for every message.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_waxseal
[[ -d $NODE_PACKAGES/node_modules ]] || die "run conformance/interop/setup first"

# Node.js opens no RSA with PKCS #1 v1.5 any more unless it is told to.
node=node
if node --security-revert=CVE-2023-46809 -e 0 2>/dev/null; then
    node+=' --security-revert=CVE-2023-46809'
fi

export WAXSEAL LIMIT_SECONDS
"$PY" "$HERE/py/matrix.py" "$T" \
    "$PY $HERE/py/peer_sdk.py" \
    "${ENCRYPTION_CLI%/*}/python $HERE/py/peer_cli.py" \
    "$node $HERE/node/peer.mjs $NODE_PACKAGES"
