#!/usr/bin/env bash
# The types of the wire against the service model of the installed botocore: operations, members,
# constraints, values, errors. Fails when they drift apart.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

MODEL=${WAXSEAL_MODEL:-$REPO/target/release/examples/model}
[[ -x $MODEL ]] || die "no $MODEL: cargo build --release -p waxseal-kms-api --examples"

"$MODEL" >"$T/ours"
"$PY" "$HERE/py/kms_model.py" <"$T/ours" >"$T/compared" || true
while read -r verdict what; do
    case $verdict in
        ok) ok "$what" ;;
        *) fail "$what" ;;
    esac
done <"$T/compared"

finish
