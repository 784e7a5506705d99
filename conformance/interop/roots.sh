#!/usr/bin/env bash
# Root keys that are not in devices: a second Waxseal as the KMS, shares, new domain keys, leases.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_waxseal
umask 077

bytes 5000 "$T/plain"
opens() {
    wax decrypt "$T/sealed" | cmp - "$T/plain"
}
kms() {
    "$AWSCLI" --output text kms "$@"
}

# The first Waxseal serves; the second one hangs from a key in it.
WAXSEAL_HOME=$T/first start_serve
first=${servers[-1]}
cp "$T/told" "$T/told.first"
KEY=$(kms create-key --query KeyMetadata.Arn)
OTHER=$(kms create-key --query KeyMetadata.Arn)
rooted_in_another_kms() {
    wax encrypt -o "$T/sealed" "$T/plain"
    opens
    fails test -e "$WAXSEAL_HOME/root.key"
    wax root status | grep -qF "1  the key $KEY in another KMS: it opens the store"
    # What it asks of the other one names the store.
    grep -ah '"eventName":"Decrypt"' "$T"/first/audit/*.jsonl >"$T/asked"
    grep -q '"store-id":"[0-9a-f]\{32\}"' "$T/asked"
}
no_other_key_is_asked() {
    WAXSEAL_ROOT=aws-kms:///$OTHER fails wax decrypt "$T/sealed" 2>"$T/why"
    grep -q 'WAXSEAL_ROOT does not name it' "$T/why"
    env -u WAXSEAL_ROOT "$WAXSEAL" decrypt "$T/sealed" >"$T/none" 2>"$T/why" && return 1
    grep -q 'WAXSEAL_ROOT does not name it' "$T/why"
    WAXSEAL_ROOT=aws-kms:///alias/root fails wax decrypt "$T/sealed" 2>"$T/why"
    grep -q 'ARN' "$T/why"
}
disabled_key_opens_nothing() {
    kms disable-key --key-id "$KEY"
    fails wax decrypt "$T/sealed" 2>"$T/why"
    kms enable-key --key-id "$KEY"
    opens
}
export WAXSEAL_HOME=$T/second WAXSEAL_ROOT=aws-kms:///$KEY
check "a second Waxseal hangs from a key in the first" rooted_in_another_kms
check "no KMS is asked for a key that is not named" no_other_key_is_asked
check "a key that is disabled there opens nothing here" disabled_key_opens_nothing

# Shares. They are printed once, and nowhere else.
shares_are_handed_out() {
    wax root add shares:3/5 >"$T/printed"
    grep '^WXSHARE1-' "$T/printed" >"$T/shares"
    test "$(wc -l <"$T/shares")" = 5
    test "$(sort -u "$T/shares" | wc -l)" = 5
    local share
    for ((share = 1; share <= 5; share++)); do
        sed -n "${share}p" "$T/shares" >"$T/share.$share"
        # What is secret of it is in no file of the home.
        fails grep -rqF "$(cut -d- -f6 "$T/share.$share")" "$WAXSEAL_HOME"
    done
}
with_shares() { # NUMBER…
    local files=() number
    for number; do files+=("$T/share.$number"); done
    (IFS=: && env -u WAXSEAL_ROOT WAXSEAL_SHARES="${files[*]}" "$WAXSEAL" decrypt "$T/sealed" 2>"$T/why" |
        cmp - "$T/plain")
}
three_of_five_open() {
    with_shares 1 2 3
    with_shares 5 3 1
    with_shares 1 2 3 4 5
}
others_do_not() {
    wax root rotate 2 >"$T/printed" # new shares: those from before are of nothing
    grep '^WXSHARE1-' "$T/printed" >"$T/new-shares"
    fails with_shares 1 2 3
    cp "$T/why" "$T/foreign"
    local share
    for ((share = 1; share <= 5; share++)); do
        mv "$T/share.$share" "$T/share.1$share"
        sed -n "${share}p" "$T/new-shares" >"$T/share.$share"
    done
    with_shares 2 4 5
    # Too few, repeated, foreign: the same words.
    fails with_shares 1 2
    cmp "$T/why" "$T/foreign"
    fails with_shares 1 2 2
    cmp "$T/why" "$T/foreign"
    fails with_shares 1 2 13
    cmp "$T/why" "$T/foreign"
    # One that was mistyped says so.
    sed 's/-[0-9a-f]\{8\}$/-00000000/' "$T/share.1" >"$T/share.21"
    fails with_shares 21 2 3
    grep -q 'mistyped' "$T/why"
    chmod 644 "$T/share.2"
    fails with_shares 1 2 3
    grep -q 'others can read it' "$T/why"
    chmod 600 "$T/share.2"
}
no_home_by_accident() {
    WAXSEAL_HOME=$T/accident WAXSEAL_ROOT=shares:2/3 fails wax key create 2>"$T/why"
    grep -q 'root init' "$T/why"
    WAXSEAL_HOME=$T/made wax root init shares:2/3 | grep -c '^WXSHARE1-2of3-' | grep -qx 3
}
check "shares are printed once" shares_are_handed_out
check "any three of five shares open" three_of_five_open
check "others do not, and it is not said which are wrong" others_do_not
check "a home that hangs from shares is made on purpose" no_home_by_accident

# New domain keys and root keys while a server is used.
used_while_it_rotates() {
    local mine blob round
    mine=$(kms create-key --query KeyMetadata.KeyId)
    kms encrypt --key-id "$mine" --plaintext "fileb://$T/share.1" --query CiphertextBlob | base64 -d >"$T/blob"
    for round in 1 2 3; do
        wax root rotate
        kms decrypt --ciphertext-blob "fileb://$T/blob" --query Plaintext | base64 -d | cmp - "$T/share.1"
        kms disable-key --key-id "$mine"
        fails kms decrypt --ciphertext-blob "fileb://$T/blob" 2>"$T/why"
        kms enable-key --key-id "$mine"
        opens
    done
    cp "$WAXSEAL_HOME/root.key" "$T/old.key"
    wax root rotate file
    fails cmp -s "$WAXSEAL_HOME/root.key" "$T/old.key"
    opens
    kms decrypt --ciphertext-blob "fileb://$T/blob" --query Plaintext | base64 -d | cmp - "$T/share.1"
    wax audit list >"$T/log"
    test "$(grep -c BeginDomainKeyRotation "$T/log")" = 3
    test "$(grep -c EndDomainKeyRotation "$T/log")" = 3
    wax audit verify >/dev/null
}
passphrases_are_exchanged() {
    export WAXSEAL_HOME=$T/phrase
    printf 'correct horse\n' >"$T/phrase-1"
    printf 'battery staple\n' >"$T/phrase-2"
    WAXSEAL_PASSPHRASE_FILE=$T/phrase-1 wax encrypt -o "$T/phrase-sealed" "$T/plain"
    WAXSEAL_PASSPHRASE_FILE=$T/phrase-1 WAXSEAL_NEW_PASSPHRASE_FILE=$T/phrase-2 wax root rotate passphrase
    WAXSEAL_PASSPHRASE_FILE=$T/phrase-1 fails wax decrypt "$T/phrase-sealed" 2>"$T/why"
    WAXSEAL_PASSPHRASE_FILE=$T/phrase-2 wax decrypt "$T/phrase-sealed" | cmp - "$T/plain"
    chmod 640 "$T/phrase-2"
    WAXSEAL_PASSPHRASE_FILE=$T/phrase-2 fails wax decrypt "$T/phrase-sealed" 2>"$T/why"
    grep -q 'others can read it' "$T/why"
}
export WAXSEAL_HOME=$T/third
unset WAXSEAL_ROOT
wax encrypt -o "$T/sealed" "$T/plain"
start_serve
check "domain keys and a root key file are exchanged while a server is used" used_while_it_rotates
check "a passphrase is exchanged" passphrases_are_exchanged

# The fourth one hangs from the first alone, which goes away.
health() {
    curl -s "$AWS_ENDPOINT_URL_KMS/healthz"
}
becomes() { # WORD
    local waited
    for ((waited = 0; waited < 200; waited++)); do
        [[ $(health) == *"\"$1\""* ]] && return 0
        sleep 0.1
    done
    health
    return 1
}
sealed_without_its_root() {
    kms list-keys >/dev/null
    kill -STOP "$first"
    becomes sealed
    fails kms list-keys 2>"$T/why"
    grep -q 'sealed' "$T/why"
    kill -CONT "$first"
    becomes ok
    kms list-keys >/dev/null
    # A machine that is busy may let a lease of two seconds end more than once.
    cat "$T"/fourth/audit/*.jsonl >"$T/edges"
    test "$(grep -ac '"eventName":"SealKms"' "$T/edges")" -ge 1
    test "$(grep -ac '"eventName":"SealKms"' "$T/edges")" = "$(grep -ac '"eventName":"UnsealKms"' "$T/edges")"
}
set -a
. "$T/told.first"
set +a
WAXSEAL_HOME=$T/fourth WAXSEAL_ROOT=aws-kms:///$KEY start_serve --root-lease 2
check "a server without its root is sealed, and serves again with it" sealed_without_its_root

finish
