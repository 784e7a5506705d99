#!/usr/bin/env bash
# Root keys in PKCS #11 devices: SoftHSM, looked at with OpenSC's pkcs11-tool, and a TPM 2.0 (swtpm,
# tpm2-pkcs11).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_waxseal
MODULE=/usr/lib/softhsm/libsofthsm2.so
TPM_MODULE=/usr/lib/$(uname -m)-linux-gnu/libtpm2_pkcs11.so.1
[[ -e $MODULE && -e $TPM_MODULE ]] && command -v pkcs11-tool >/dev/null || die "run conformance/interop/setup first"

export SOFTHSM2_CONF=$T/softhsm2.conf WAXSEAL_HOME=$T/home
mkdir "$T/tokens"
printf 'directories.tokendir = %s\nobjectstore.backend = file\n' "$T/tokens" >"$SOFTHSM2_CONF"
for token in 'first device' second; do
    softhsm2-util --init-token --free --label "$token" --so-pin 12345678 --pin 4321 >/dev/null
done
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

finish
