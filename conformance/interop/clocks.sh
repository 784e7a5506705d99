#!/usr/bin/env bash
# The machine's clock is wrong, by libfaketime: what the official CLI signs is judged by the server's clock,
# and nothing ends early.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_waxseal
command -v faketime >/dev/null || die "run conformance/interop/setup first"

# serve_at OFFSET: ends the server that is there, and starts another one whose clock is so far off.
printf '#!/bin/sh\nexec faketime --exclude-monotonic -f "$OFFSET" "%s" "$@"\n' "$WAXSEAL" >"$T/clocked"
chmod +x "$T/clocked"
serve_at() {
    if ((${#servers[@]})); then
        # faketime waits for it.
        pkill -P "${servers[-1]}"
        wait "${servers[-1]}" 2>/dev/null || true
        unset 'servers[-1]'
    fi
    WAXSEAL=$T/clocked OFFSET=$1 start_serve
}
kms() {
    "$AWSCLI" --output text kms "$@"
}
used() {
    kms encrypt --key-id "$KEY" --plaintext c2VjcmV0 >"$T/used" 2>"$T/why"
}
in_the_window() {
    used
}
# outside SAYS
outside() {
    fails used
    grep -q 'InvalidSignatureException' "$T/why"
    grep -q "$1" "$T/why"
}
state() {
    test "$(kms describe-key --key-id "$1" --query KeyMetadata.KeyState)" = "$2"
}

serve_at +0s
KEY=$(kms create-key --query KeyMetadata.KeyId)
GOING=$(kms create-key --query KeyMetadata.KeyId)
KEPT=$(kms create-key --query KeyMetadata.KeyId)
for key in "$GOING" "$KEPT"; do
    kms schedule-key-deletion --key-id "$key" --pending-window-in-days 7 >/dev/null
done
check "the clock is right" in_the_window
# A few seconds less than 5 minutes: the CLI takes its time.
for offset in -290s +280s; do
    serve_at "$offset"
    check "a clock that is off by $offset" in_the_window
done
for offset in -310s -1d; do
    serve_at "$offset"
    check "a clock that is off by $offset" outside 'Signature not yet current'
done
for offset in +310s +1d +6d; do
    serve_at "$offset"
    check "a clock that is off by $offset" outside 'Signature expired'
done

# Callers whose clock is as wrong, for what is left to be asked.
printf '#!/bin/sh\nexec faketime -f "$OFFSET" "%s" "$@"\n' "$AWSCLI" >"$T/aws"
chmod +x "$T/aws"
AWSCLI=$T/aws
at() {
    export OFFSET=$1
    shift
    "$@"
}
serve_at -1d
check "a day back, both keys wait" at -1d state "$GOING" PendingDeletion
serve_at +6d
check "six days on, both keys wait" at +6d state "$GOING" PendingDeletion
check "one of them is taken back" at +6d kms cancel-key-deletion --key-id "$KEPT"
serve_at +8d
gone() {
    local waited
    for ((waited = 0; waited < 100; waited++)); do
        kms describe-key --key-id "$GOING" >"$T/told" 2>"$T/why" || break
        sleep 0.2
    done
    grep -q 'NotFoundException' "$T/why"
}
check "eight days on, the other one is gone" at +8d gone
check "and this one is there" at +8d state "$KEPT" Disabled
serve_at +0s
at_last() {
    export OFFSET=+0s
    fails kms describe-key --key-id "$GOING" 2>"$T/why"
    grep -q 'NotFoundException' "$T/why"
    used
}
check "the clock is right again: what is gone stays so, the rest is there" at_last
check "the log keeps its order" wax audit verify
finish
