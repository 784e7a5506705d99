#!/usr/bin/env bash
# Root keys in PKCS #11 devices, and keys that live in one: SoftHSM, looked at with OpenSC's pkcs11-tool,
# and a TPM 2.0 (swtpm, tpm2-pkcs11).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_waxseal
MODULE=/usr/lib/softhsm/libsofthsm2.so
TPM_MODULE=/usr/lib/$(uname -m)-linux-gnu/libtpm2_pkcs11.so.1
[[ -e $MODULE && -e $TPM_MODULE ]] && command -v pkcs11-tool >/dev/null && command -v faketime >/dev/null || die "run conformance/interop/setup first"

export SOFTHSM2_CONF=$T/softhsm2.conf WAXSEAL_HOME=$T/home
mkdir "$T/tokens"
printf 'directories.tokendir = %s\nobjectstore.backend = file\n' "$T/tokens" >"$SOFTHSM2_CONF"
for token in 'first device' second; do
    softhsm2-util --init-token --free --label "$token" --so-pin 12345678 --pin 4321 >/dev/null
done
PASSWORD=kmsuser-4321
softhsm2-util --init-token --free --label keys --so-pin 12345678 --pin "$PASSWORD" >/dev/null
umask 077 # secrets that others can read are refused
printf '4321\n' >"$T/pin"
printf '9999\n' >"$T/wrong-pin"

device() { # TOKEN [PIN-FILE]
    printf 'pkcs11:token=%s;object=root?module-path=%s&pin-source=%s' "$1" "$MODULE" "${2:-$T/pin}"
}
tool() {
    pkcs11-tool --module "$MODULE" --token-label "first device" --login --pin 4321 "$@" 2>/dev/null
}
opens() {
    wax decrypt "$T/sealed" | cmp - "$T/plain"
}

bytes 5000 "$T/plain"
made_in_the_device() {
    wax encrypt -o "$T/sealed" "$T/plain"
    opens
    fails test -e "$WAXSEAL_HOME/root.key"
    wax root status | grep -q "^1  the key 'root' in the PKCS #11 device .* it opens the store"
}
never_leaves_it() {
    tool --list-objects >"$T/objects"
    grep -q 'Access: *sensitive, always sensitive, never extractable, local' "$T/objects"
    test "$(grep -c 'AES length 32' "$T/objects")" = 1
    fails tool --read-object --type secrkey --label root
}
no_device_no_data() {
    fails env -u WAXSEAL_ROOT "$WAXSEAL" decrypt "$T/sealed" 2>"$T/why"
    grep -q "hangs from the key 'root' in the PKCS #11 device" "$T/why"
    WAXSEAL_ROOT=$(device second) fails wax decrypt "$T/sealed" 2>"$T/why"
    grep -q 'WAXSEAL_ROOT leads to' "$T/why"
    WAXSEAL_ROOT=$(device absent) fails wax decrypt "$T/sealed" 2>"$T/why"
    grep -q "there is no token 'absent'" "$T/why"
    WAXSEAL_ROOT="pkcs11:token=second;object=root?module-path=$T/none.so&pin-source=$T/pin" \
        fails wax decrypt "$T/sealed" 2>"$T/why"
    grep -q 'cannot be loaded' "$T/why"
    opens
}
pin_is_tried_once() {
    # SoftHSM marks the PIN as tried; a device would lock after three.
    WAXSEAL_ROOT=$(device 'first%20device' "$T/wrong-pin") fails wax decrypt "$T/sealed" 2>"$T/why"
    grep -q 'refused the PIN; it was not tried again' "$T/why"
    opens
}
pin_stays_secret() {
    cp "$T/pin" "$T/open-pin"
    chmod 644 "$T/open-pin"
    WAXSEAL_ROOT=$(device 'first%20device' "$T/open-pin") fails wax decrypt "$T/sealed" 2>"$T/why"
    grep -q 'others can read it' "$T/why"
    local uri
    uri=$(device 'first%20device' | sed "s/pin-source=.*/x-pin-env=THE_PIN/")
    THE_PIN=4321 WAXSEAL_ROOT=$uri opens
    THE_PIN=9999 WAXSEAL_ROOT=$uri fails opens
    WAXSEAL_ROOT=$uri fails wax decrypt "$T/sealed" 2>"$T/why"
    grep -q 'THE_PIN' "$T/why"
}
weak_keys_are_refused() {
    # A key that was brought in from outside, and one that can be taken out.
    head -c 32 /dev/urandom >"$T/outside"
    tool --write-object "$T/outside" --type secrkey --key-type AES:32 --label outside
    tool --keygen --key-type AES:32 --label loose --extractable
    tool --keygen --key-type AES:16 --label short --sensitive
    local label
    for label in outside loose short; do
        WAXSEAL_HOME=$T/weak WAXSEAL_ROOT="$(device 'first%20device' | sed "s/object=root/object=$label/")" \
            fails wax key create 2>"$T/why"
        grep -q 'not fit for a root key' "$T/why"
    done
    tool --keygen --key-type AES:32 --label twice --sensitive
    tool --keygen --key-type AES:32 --label twice --sensitive
    WAXSEAL_HOME=$T/weak WAXSEAL_ROOT="$(device 'first%20device' | sed 's/object=root/object=twice/')" \
        fails wax key create 2>"$T/why"
    grep -q 'there are 2 keys' "$T/why"
}
# Two devices are replicas: either of them opens the store. A file is taken in, and let go.
several_roots() {
    local first second
    first=$(device 'first%20device') second=$(device second)
    wax root add "$second"
    fails wax root add "$second" 2>"$T/why"
    grep -q 'hangs from that already' "$T/why"
    WAXSEAL_ROOT="$first $second" wax root status >"$T/status"
    test "$(grep -c 'it opens the store' "$T/status")" = 2
    WAXSEAL_ROOT=$second opens
    # One device is gone: the other one is taken, and the status says which.
    WAXSEAL_ROOT="$(device absent) $second" opens
    WAXSEAL_ROOT="$second" wax root status >"$T/status"
    grep -q "^1  .*WAXSEAL_ROOT" "$T/status"
    grep -q "^2  .*it opens the store" "$T/status"
    # Both are gone: every failure is told.
    WAXSEAL_ROOT="$(device absent) $(device second "$T/wrong-pin")" fails wax decrypt "$T/sealed" 2>"$T/why"
    grep -q 'no root opens the store' "$T/why"
    grep -q 'refused the PIN' "$T/why"
    grep -q 'absent' "$T/why"
    WAXSEAL_ROOT="$first" wax root add file
    env -u WAXSEAL_ROOT "$WAXSEAL" decrypt "$T/sealed" | cmp - "$T/plain"
    mv "$WAXSEAL_HOME/root.key" "$T/aside"
    opens
    # What cannot be opened without it is not let go.
    fails env -u WAXSEAL_ROOT "$WAXSEAL" root remove 1 2>"$T/why"
    mv "$T/aside" "$WAXSEAL_HOME/root.key"
    wax root remove file
    fails test -e "$WAXSEAL_HOME/root.key"
    wax root remove 2
    WAXSEAL_ROOT=$second fails opens
    opens
    fails wax root remove 1 2>"$T/why"
    grep -q 'the last root is not removed' "$T/why"
}
made_by_init() {
    export WAXSEAL_HOME=$T/init
    wax root init file "$(device second)"
    fails wax root init file 2>"$T/why"
    grep -q 'already' "$T/why"
    wax encrypt -o "$T/init-sealed" "$T/plain"
    rm "$WAXSEAL_HOME/root.key"
    WAXSEAL_ROOT=$(device second) wax decrypt "$T/init-sealed" | cmp - "$T/plain"
}
# A TPM 2.0: a software one, behind the resource manager that its library needs, on a bus of its own.
start_tpm() {
    mkdir "$T/tpm" "$T/tpm-store"
    cat >"$T/bus.conf" <<-EOF
	<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
	 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
	<busconfig>
	  <type>session</type><listen>unix:path=$T/bus</listen><auth>EXTERNAL</auth>
	  <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
	</busconfig>
	EOF
    swtpm socket --tpm2 --tpmstate "dir=$T/tpm" --server "type=unixio,path=$T/tpm.sock" \
        --ctrl "type=unixio,path=$T/tpm.sock.ctrl" --flags not-need-init,startup-clear >"$T/swtpm.log" 2>&1 &
    servers+=($!)
    dbus-daemon --config-file="$T/bus.conf" --nofork >"$T/bus.log" 2>&1 &
    servers+=($!)
    export DBUS_SESSION_BUS_ADDRESS=unix:path=$T/bus
    local waited
    for ((waited = 0; waited < 100; waited++)); do
        [[ -S $T/bus && -S $T/tpm.sock && -S $T/tpm.sock.ctrl ]] && break
        sleep 0.1
    done
    tpm2-abrmd --session --allow-root --tcti="swtpm:path=$T/tpm.sock" >"$T/abrmd.log" 2>&1 &
    servers+=($!)
    export TPM2_PKCS11_STORE=$T/tpm-store TPM2_PKCS11_TCTI=tabrmd:bus_type=session
    export TPM2TOOLS_TCTI=tabrmd:bus_type=session TPM2_PKCS11_LOG_LEVEL=0
    for ((waited = 0; waited < 100; waited++)); do
        timeout 5 tpm2_getcap properties-fixed >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    cat "$T/abrmd.log" "$T/swtpm.log" >&2
    die "there is no TPM"
}
tpm_makes_a_key() {
    tpm2_ptool init >/dev/null
    tpm2_ptool addtoken --pid=1 --label=tpm --sopin=87654321 --userpin=4321 >/dev/null
    tpm2_ptool addkey --label=tpm --key-label=root --algorithm=aes256 --userpin=4321 >/dev/null
    pkcs11-tool --module "$TPM_MODULE" --token-label tpm --login --pin 4321 --list-objects >"$T/objects" 2>/dev/null
    grep -q 'Access: *sensitive, always sensitive, never extractable, local' "$T/objects"
}
tpm() { # LABEL
    printf 'pkcs11:token=tpm;object=%s?module-path=%s&pin-source=%s' "$1" "$TPM_MODULE" "$T/pin"
}
rooted_in_a_tpm() {
    export WAXSEAL_HOME=$T/tpm-home
    WAXSEAL_ROOT=$(tpm root)
    wax encrypt -o "$T/tpm-sealed" "$T/plain"
    fails test -e "$WAXSEAL_HOME/root.key"
    wax decrypt "$T/tpm-sealed" | cmp - "$T/plain"
    wax root status | grep -q "^1  the key 'root' in the PKCS #11 device .* it opens the store"
    WAXSEAL_ROOT=$(tpm other) fails wax decrypt "$T/tpm-sealed" 2>"$T/why"
    WAXSEAL_ROOT="pkcs11:token=tpm;object=root?module-path=$TPM_MODULE&pin-source=$T/wrong-pin" \
        fails wax decrypt "$T/tpm-sealed" 2>"$T/why"
    grep -q 'refused the PIN' "$T/why"
}
makes_no_key_by_itself() {
    export WAXSEAL_HOME=$T/tpm-none
    WAXSEAL_ROOT=$(tpm other) fails wax key create 2>"$T/why"
    grep -q 'tpm2_ptool addkey' "$T/why"
}
a_tpm_and_a_device() {
    export WAXSEAL_HOME=$T/tpm-home
    WAXSEAL_ROOT=$(tpm root) wax root add "$(device second)"
    WAXSEAL_ROOT=$(device second) wax decrypt "$T/tpm-sealed" | cmp - "$T/plain"
    WAXSEAL_ROOT="$(tpm root) $(device second)" wax root rotate
    WAXSEAL_ROOT=$(tpm root) wax decrypt "$T/tpm-sealed" | cmp - "$T/plain"
    WAXSEAL_ROOT=$(device second) wax decrypt "$T/tpm-sealed" | cmp - "$T/plain"
}

# A server goes on while its store is hung from another root key, and another.
migrates_while_it_serves() {
    aws() { "$AWSCLI" --output text kms "$@"; }
    key=$(wax key create)
    aws encrypt --key-id "$key" --plaintext "fileb://$T/pin" --query CiphertextBlob | base64 -d >"$T/blob"
    local root
    for root in "$(device second)" file "$(device 'first%20device')" passphrase "$(device second)"; do
        printf 'correct horse\n' >"$T/passphrase"
        WAXSEAL_PASSPHRASE_FILE=$T/passphrase wax root migrate "$root"
        aws decrypt --ciphertext-blob "fileb://$T/blob" --query Plaintext | base64 -d | cmp - "$T/pin"
        # The way to the old one leads nowhere any more.
        [[ $root != pkcs11:* ]] || fails wax decrypt "$T/sealed" >"$T/none" 2>"$T/why"
        export WAXSEAL_ROOT=$root WAXSEAL_PASSPHRASE_FILE=$T/passphrase
        opens
    done
    fails test -e "$WAXSEAL_HOME/root.key"
}

# --- keys that live in a device: custom key stores ---

CLUSTER=cluster-a2b3c4d5e6f
kms() {
    "$AWSCLI" --output text kms "$@"
}
keys() { # pkcs11-tool on the token of the store
    pkcs11-tool --module "$MODULE" --token-label keys --login --pin "$PASSWORD" "$@" 2>/dev/null
}
state() {
    kms describe-custom-key-stores --custom-key-store-id "$(<"$T/store")" \
        --query 'CustomKeyStores[0].[ConnectionState,ConnectionErrorCode]' | tr '\t' ' '
}
create_store() { # NAME PASSWORD [CERTIFICATE]
    kms create-custom-key-store --custom-key-store-name "$1" --cloud-hsm-cluster-id "$CLUSTER" \
        --key-store-password "$2" --trust-anchor-certificate "file://${3:-$T/customerCA.crt}" \
        --query CustomKeyStoreId
}
a_wrong_pin_is_tried_once() {
    fails create_store vault wrong-password "$T/other.crt" 2>"$T/why"
    grep -q IncorrectTrustAnchorException "$T/why"
    create_store vault wrong-password >"$T/store"
    test "$(state)" = 'DISCONNECTED None'
    kms connect-custom-key-store --custom-key-store-id "$(<"$T/store")"
    test "$(state)" = 'FAILED INVALID_CREDENTIALS'
    fails kms connect-custom-key-store --custom-key-store-id "$(<"$T/store")" 2>"$T/why"
    grep -q CustomKeyStoreInvalidStateException "$T/why"
    kms disconnect-custom-key-store --custom-key-store-id "$(<"$T/store")"
    kms update-custom-key-store --custom-key-store-id "$(<"$T/store")" --key-store-password "$PASSWORD"
    kms connect-custom-key-store --custom-key-store-id "$(<"$T/store")"
    test "$(state)" = 'CONNECTED None'
}
a_key_is_made_in_the_device() {
    kms create-key --origin AWS_CLOUDHSM --custom-key-store-id "$(<"$T/store")" \
        --query KeyMetadata.KeyId >"$T/key"
    kms describe-key --key-id "$(<"$T/key")" \
        --query 'KeyMetadata.[Origin,CloudHsmClusterId,KeyState]' | tr '\t' ' ' >"$T/told"
    test "$(<"$T/told")" = "AWS_CLOUDHSM $CLUSTER Enabled"
    keys --list-objects --type secrkey >"$T/objects"
    test "$(grep -c 'AES length 32' "$T/objects")" = 1
    grep -q "label: *$(<"$T/key")" "$T/objects"
    grep -q 'Usage: *derive$' "$T/objects"
    grep -q 'Access: *sensitive, always sensitive, never extractable, local' "$T/objects"
    fails keys --read-object --type secrkey --label "$(<"$T/key")"
}
every_operation_is_done_there() {
    local key context='--encryption-context purpose=test'
    key=$(<"$T/key")
    bytes 4096 "$T/plain4096"
    # shellcheck disable=SC2086
    kms encrypt --key-id "$key" --plaintext "fileb://$T/plain4096" $context --query CiphertextBlob |
        base64 -d >"$T/hosted"
    test "$(stat -c %s "$T/hosted")" = $((4096 + 107))
    test "$(head -c 6 "$T/hosted" | hex)" = 57584b420102
    # shellcheck disable=SC2086
    kms decrypt --ciphertext-blob "fileb://$T/hosted" $context --query Plaintext | base64 -d |
        cmp - "$T/plain4096"
    fails kms decrypt --ciphertext-blob "fileb://$T/hosted" 2>"$T/why"
    grep -q InvalidCiphertextException "$T/why"
    kms generate-data-key --key-id "$key" --key-spec AES_256 --query '[Plaintext,CiphertextBlob]' >"$T/data-key"
    cut -f 2 "$T/data-key" | base64 -d >"$T/wrapped"
    test "$(kms decrypt --ciphertext-blob "fileb://$T/wrapped" --query Plaintext)" = "$(cut -f 1 "$T/data-key")"
    kms generate-data-key-without-plaintext --key-id "$key" --number-of-bytes 1024 --query CiphertextBlob |
        base64 -d >"$T/wrapped"
    test "$(kms decrypt --ciphertext-blob "fileb://$T/wrapped" --query Plaintext | base64 -d | wc -c)" = 1024
    # From the device to an ordinary key, and back.
    local ordinary
    ordinary=$(kms create-key --query KeyMetadata.KeyId)
    kms re-encrypt --ciphertext-blob "fileb://$T/hosted" --source-encryption-context purpose=test \
        --destination-key-id "$ordinary" --query CiphertextBlob | base64 -d >"$T/moved"
    kms re-encrypt --ciphertext-blob "fileb://$T/moved" --destination-key-id "$key" \
        --query CiphertextBlob | base64 -d >"$T/back"
    kms decrypt --ciphertext-blob "fileb://$T/back" --query Plaintext | base64 -d | cmp - "$T/plain4096"
    test "$(kms generate-random --number-of-bytes 32 --custom-key-store-id "$(<"$T/store")" --query Plaintext |
        base64 -d | wc -c)" = 32
    fails kms generate-data-key-pair --key-id "$key" --key-pair-spec ECC_NIST_P256 2>"$T/why"
    grep -q UnsupportedOperationException "$T/why"
    fails kms enable-key-rotation --key-id "$key" 2>"$T/why"
    grep -q UnsupportedOperationException "$T/why"
}
disconnected_is_unavailable() {
    kms disconnect-custom-key-store --custom-key-store-id "$(<"$T/store")"
    test "$(kms describe-key --key-id "$(<"$T/key")" --query KeyMetadata.KeyState)" = Unavailable
    fails kms decrypt --ciphertext-blob "fileb://$T/back" 2>"$T/why"
    grep -q 'KMSInvalidStateException.* is unavailable' "$T/why"
    kms connect-custom-key-store --custom-key-store-id "$(<"$T/store")"
    kms decrypt --ciphertext-blob "fileb://$T/back" --query Plaintext | base64 -d | cmp - "$T/plain4096"
}
many_at_once() {
    local n
    for n in 1 2 3 4 5 6; do
        kms decrypt --ciphertext-blob "fileb://$T/back" --query Plaintext >"$T/many.$n" &
    done
    wait
    for n in 1 2 3 4 5 6; do
        base64 -d "$T/many.$n" | cmp - "$T/plain4096"
    done
}
another_key_is_not_taken_for_it() {
    # Somebody with the PIN puts a key of their own in its place.
    keys --delete-object --type secrkey --label "$(<"$T/key")"
    fails kms decrypt --ciphertext-blob "fileb://$T/back" 2>"$T/why"
    grep -q 'the device has no such key any more' "$T/why"
    head -c 32 /dev/urandom >"$T/outside"
    keys --write-object "$T/outside" --type secrkey --key-type AES:32 --label "$(<"$T/key")" --usage-derive
    fails kms decrypt --ciphertext-blob "fileb://$T/back" 2>"$T/why"
    grep -q 'KMSInvalidStateException.*is not fit' "$T/why"
    keys --delete-object --type secrkey --label "$(<"$T/key")"
}
makes_another_key() {
    kms create-key --origin AWS_CLOUDHSM --custom-key-store-id "$(<"$T/store")" \
        --query KeyMetadata.KeyId >"$T/key"
    kms encrypt --key-id "$(<"$T/key")" --plaintext "fileb://$T/pin" --query CiphertextBlob |
        base64 -d >"$T/hosted"
}
the_device_forgets() {
    kms decrypt --ciphertext-blob "fileb://$T/hosted" --query Plaintext | base64 -d | cmp - "$T/pin"
    kms schedule-key-deletion --key-id "$(<"$T/key")" --pending-window-in-days 7
    keys --list-objects --type secrkey | grep -q "$(<"$T/key")"
}
gone_from_the_device() {
    local waited
    for ((waited = 0; waited < 100; waited++)); do
        keys --list-objects --type secrkey | grep -q "$(<"$T/key")" || break
        sleep 0.1
    done
    fails grep -q . <(keys --list-objects --type secrkey | grep "$(<"$T/key")")
    wax audit list | grep -q DeleteKey
}

export WAXSEAL_ROOT
WAXSEAL_ROOT=$(device 'first%20device')
check "the root key is made in the device" made_in_the_device
check "pkcs11-tool: it never leaves it" never_leaves_it
check "without the device, or with another, nothing opens" no_device_no_data
check "a wrong PIN is tried once" pin_is_tried_once
check "a PIN comes from a file that others cannot read, or from a variable" pin_stays_secret
check "pkcs11-tool: keys that were or could be elsewhere are refused" weak_keys_are_refused
check "two devices and a file: any of them opens, none is let go that is needed" several_roots
check "a home is made with several roots" made_by_init
start_tpm
check "pkcs11-tool: a TPM makes a key that never leaves it" tpm_makes_a_key
check "a home hangs from a TPM" rooted_in_a_tpm
check "a TPM that makes no keys for others says how" makes_no_key_by_itself
check "a TPM and another device open the same home" a_tpm_and_a_device
start_serve
check "a server goes on while its root key is migrated" migrates_while_it_serves

# Another home: one token is the root's or a store's, and not both.
export WAXSEAL_ROOT=file WAXSEAL_HOME=$T/keystore
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$T/ca.key" \
        -out "$1" -days 2 -subj "/CN=$2" 2>/dev/null
}
certificate "$T/customerCA.crt" customer
certificate "$T/other.crt" other
serve_keys() {
    start_serve --hsm-cluster "$CLUSTER=pkcs11:token=keys?module-path=$MODULE" \
        --hsm-trust-anchor "$CLUSTER=$T/customerCA.crt"
}
stop_serving() {
    kill "${servers[-1]}"
    wait "${servers[-1]}" || true
    unset 'servers[-1]'
}
serve_keys
check "a password that is wrong is tried once a connection" a_wrong_pin_is_tried_once
check "pkcs11-tool: a key is made in the device, and never leaves it" a_key_is_made_in_the_device
check "aws CLI: every operation is done in the device" every_operation_is_done_there
check "aws CLI: a store that is disconnected has no keys to use" disconnected_is_unavailable
check "aws CLI: several requests at once" many_at_once
check "pkcs11-tool: a key in the place of another is not taken for it" another_key_is_not_taken_for_it
check "aws CLI: another key, before the server ends" makes_another_key
stop_serving
serve_keys
check "a server that starts again is connected, and a key waits for its end" the_device_forgets
stop_serving
# Eight days later.
printf '#!/bin/sh\nexec faketime --exclude-monotonic -f +8d "%s" "$@"\n' "$WAXSEAL" >"$T/later"
chmod +x "$T/later"
WAXSEAL=$T/later serve_keys
check "pkcs11-tool: after its waiting period the key is gone from the device" gone_from_the_device

finish
