#!/usr/bin/env bash
# The audit log as a CloudTrail: a day of digests, checked by `aws cloudtrail validate-logs`, and what it
# says when anything was changed. The day passes by libfaketime.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_waxseal
command -v faketime >/dev/null || die "run conformance/interop/setup first"

HOURS=25
export WAXSEAL_HOME=$T/home
trail=$WAXSEAL_HOME/audit/trail
arn=arn:aws:cloudtrail:local:000000000000:trail/waxseal

# One encryption and one delivery an hour, from a day ago until now.
for ((hour = HOURS; hour > 0; hour--)); do
    printf 'hour %s' "$hour" | faketime -f "-${hour}h" "$WAXSEAL" encrypt -c "hour=$hour" >"$T/sealed"
    faketime -f "-${hour}h" "$WAXSEAL" audit deliver >/dev/null
done
wax audit deliver >/dev/null
start_serve
export AWS_ENDPOINT_URL_S3=$AWS_ENDPOINT_URL_KMS

aws() {
    "$AWSCLI" --output text "$@"
}
validated() {
    aws cloudtrail validate-logs --trail-arn "$arn" --verbose \
        --start-time "$(date -u -d '-30 hours' +%FT%TZ)"
}
all_is_valid() {
    validated >"$T/out"
    grep -q "^$HOURS/$HOURS digest files valid" "$T/out"
    grep -Eq '^([0-9]+)/\1 log files valid' "$T/out"
}
trails_are_described() {
    test "$(aws cloudtrail describe-trails --query 'trailList[0].[Name,S3BucketName,TrailARN]')" = \
        $'waxseal\twaxseal-trail\t'"$arn"
}
events_are_found() {
    key=$(aws kms list-keys --query 'Keys[0].KeyArn')
    test "$(aws cloudtrail lookup-events --query 'length(Events)' \
        --lookup-attributes "AttributeKey=EventName,AttributeValue=GenerateDataKey")" = "$HOURS"
    test "$(aws cloudtrail lookup-events --max-items 3 --query 'length(Events)' \
        --lookup-attributes "AttributeKey=ResourceName,AttributeValue=$key")" = 3
    wax --json audit list --key "$key" --operation GenerateDataKey --outcome done >"$T/out"
    test "$(wc -l <"$T/out")" = "$HOURS"
    wax audit list --operation GenerateDataKey \
        --since "$(date -u -d '-12 hours' +%FT%TZ)" >"$T/out"
    test "$(wc -l <"$T/out")" = 11
}
strangers_see_nothing() {
    wax user create eve >"$T/eve"
    export AWS_SHARED_CREDENTIALS_FILE=$T/eve
    fails aws cloudtrail describe-trails 2>"$T/why"
    grep -q AccessDenied "$T/why"
    fails aws s3api list-objects --bucket waxseal-trail 2>"$T/why"
    grep -q AccessDenied "$T/why"
    printf '%s' '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*",
        "Action":["cloudtrail:*","s3:Get*","s3:ListBucket"]}]}' | wax user policy eve -
    all_is_valid
}
nothing_is_written() {
    fails aws s3 cp "$T/sealed" s3://waxseal-trail/new 2>"$T/why"
    fails aws s3 rm "s3://waxseal-trail/$(cd "$trail" && find AWSLogs -name '*.gz' | head -1)" 2>"$T/why"
    fails aws s3api get-object --bucket waxseal-trail --key ../../../store.db "$T/none" 2>"$T/why"
    fails aws s3api get-object --bucket waxseal-trail --key lock "$T/none" 2>"$T/why"
    grep -q NoSuchKey "$T/why"
    fails aws s3api list-objects --bucket other 2>"$T/why"
    grep -q NoSuchBucket "$T/why"
}

# --- waxseal's own verifier, with the public key alone ---

own_verifier() { # [trail or log]
    wax audit verify --public-key "$T/key.pem" --trail "$trail"
}
key_is_enough() {
    wax audit public-key >"$T/key.pem"
    openssl pkey -pubin -in "$T/key.pem" -noout
    # The key is the one that CloudTrail's API gives.
    aws cloudtrail list-public-keys --query 'PublicKeyList[0].Value' | base64 -d >"$T/key.der"
    openssl rsa -pubin -in "$T/key.pem" -RSAPublicKey_out -outform DER 2>/dev/null | cmp - "$T/key.der"
    WAXSEAL_HOME=/nonexistent own_verifier | grep -q "under $HOURS digests"
    wax audit verify --public-key "$T/key.pem"
}
a_log_without_its_end_is_found() {
    cp -r "$WAXSEAL_HOME" "$T/cut"
    local last
    last=$(find "$T/cut/audit" -maxdepth 1 -name '*.jsonl' | sort | tail -1)
    head -n 20 "$last" >"$T/short" && cp "$T/short" "$last"
    # The checkpoint beside it says so; without that, the digests do.
    WAXSEAL_HOME=$T/cut fails wax audit verify 2>"$T/why"
    grep -q 'the log has lost its end' "$T/why"
    rm "$T/cut/audit/checkpoint"
    WAXSEAL_HOME=$T/cut wax audit verify
    WAXSEAL_HOME=$T/cut fails wax audit verify --public-key "$T/key.pem" 2>"$T/why"
    grep -q 'the log has lost its end' "$T/why"
}
# 200 changes of one byte anywhere, and files that are removed or put beside: each is found.
own_verifier_finds_changes() {
    "$PY" - "$WAXSEAL" "$trail" "$T/key.pem" <<'END'
import pathlib, random, subprocess, sys
waxseal, trail, key = sys.argv[1:]
random.seed(1)
files = sorted(path for path in pathlib.Path(trail).rglob("*") if path.is_file() and path.name != "lock")
def verify():
    command = [waxseal, "audit", "verify", "--public-key", key, "--trail", trail]
    return subprocess.run(command, capture_output=True, text=True)
def expect(found, what):
    run = verify()
    assert (run.returncode == 3) == found, (what, run)
# A gzip header has a time and a system that nobody relies on.
free = range(3, 10)
for _ in range(200):
    path = random.choice(files)
    data = path.read_bytes()
    at = random.randrange(len(data))
    if path.suffix == ".gz" and at in free:
        continue
    path.write_bytes(data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :])
    expect(True, (path, at))
    path.write_bytes(data)
for path in files[:6] + files[30:36] + files[-6:]:
    data = path.read_bytes()
    path.unlink()
    # The newest digest and its signature can go without a trace: nothing speaks of them yet.
    run = verify()
    assert run.returncode == 3, (path, run)
    path.write_bytes(data + b"\0")
    expect(True, path)
    path.write_bytes(data)
log = next(path for path in files if "/CloudTrail/" in str(path))
extra = log.with_name("extra.json.gz")
extra.write_bytes(log.read_bytes())
expect(True, extra)
extra.unlink()
expect(False, "nothing")
END
}

# bent FILE COMMAND…: what COMMAND does to FILE is found, and the file is as before afterwards.
bent() {
    local file=$1
    shift
    cp -p "$file" "$T/before"
    "$@" "$file"
    local status=0
    validated >"$T/out" 2>&1 || status=$?
    cp -p "$T/before" "$file"
    if ((status != 1)) || ! grep -q INVALID "$T/out"; then
        echo "not found: $* $file"
        return 1
    fi
}
another_byte() { # in what is compressed, which stays well-formed
    gzip -dc "$1" | sed 's/"awsRegion":"local"/"awsRegion":"locaL"/; s/"awsAccountId":"0/"awsAccountId":"1/' |
        gzip -nc >"$T/bent"
    fails cmp -s "$T/bent" "$1"
    cp "$T/bent" "$1"
}
flipped() {
    "$PY" - "$1" <<'END'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[len(data) // 2] ^= 1
open(sys.argv[1], "wb").write(data)
END
}
changes_are_found() {
    local file
    for file in $(find "$trail" -name '*.json.gz' | sort | sed -n '2p;20p;30p;48p'); do
        bent "$file" another_byte
        bent "$file" flipped
        bent "$file" rm
        bent "$file" truncate -s -40
    done
    file=$(find "$trail" -name '*.signature' | sort | sed -n 12p)
    bent "$file" sed -i 'y/0123456789abcdef/123456789abcdef0/'
    bent "$file" rm
    all_is_valid
}

# --- the trail in another bucket ---

in_moto() {
    env -u AWS_SHARED_CREDENTIALS_FILE AWS_ENDPOINT_URL_S3="$moto" AWS_REGION=us-east-1 \
        AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any "$@"
}
shipped() {
    in_moto timeout "$LIMIT_SECONDS" "$WAXSEAL" --json audit ship "$@"
}
shipping_is_resumed() {
    fails shipped --to s3://waxseal-trail 2>"$T/why"
    grep -q NoSuchBucket "$T/why"
    in_moto "$AWSCLI" s3api create-bucket --bucket waxseal-trail
    shipped --to s3://waxseal-trail | grep -q "\"digests\":$HOURS"
    shipped --to s3://waxseal-trail | grep -q '"digests":0'
    # All objects, and nothing else.
    in_moto "$AWSCLI" s3 ls --recursive s3://waxseal-trail | awk '{print $4}' | sort >"$T/there"
    (cd "$trail" && find AWSLogs -name '*.json.gz' | sort) | cmp - "$T/there"
    in_moto "$AWSCLI" s3 cp --recursive s3://waxseal-trail "$T/copy" >/dev/null
    (cd "$T/copy" && find . -name '*.json.gz' -exec cmp {} "$trail/{}" \;)
}
shipped_copy_is_valid() {
    export AWS_ENDPOINT_URL_S3=$moto
    all_is_valid
    local object
    object=$(sed -n 30p "$T/there")
    in_moto "$AWSCLI" s3 rm "s3://waxseal-trail/$object"
    fails validated >"$T/out" 2>&1
    grep -q INVALID "$T/out"
    # A bucket that was not shipped to gets everything.
    in_moto "$AWSCLI" s3api create-bucket --bucket other
    shipped --to s3://other/a/place | grep -q "\"digests\":$HOURS"
    in_moto "$AWSCLI" s3 ls s3://other/a/place/AWSLogs/
}
checkpoints_and_exports() {
    wax audit checkpoint >"$T/checkpoint"
    wax audit public-key >"$T/keys.pem"
    wax audit verify --checkpoint "$T/checkpoint" --public-key "$T/keys.pem" 2>"$T/why"
    grep -q 'its signature is good' "$T/why"
    sed -i '2s/.*/99999/' "$T/checkpoint"
    fails wax audit verify --checkpoint "$T/checkpoint" --public-key "$T/keys.pem" 2>"$T/why"
    grep -q 'not signed by this key' "$T/why"
    fails wax audit verify --checkpoint "$T/checkpoint" 2>"$T/why"
    grep -q 'lost its end' "$T/why"
    wax audit export --operation GenerateDataKey -o "$T/export.jsonl"
    test "$(wc -l <"$T/export.jsonl")" = "$HOURS"
    wax audit export --cloudtrail --operation GenerateDataKey | "$PY" -c \
        'import json, sys; print(len(json.load(sys.stdin)["Records"]))' | grep -qx "$HOURS"
}

check "aws cloudtrail validate-logs: a day of digests is valid" all_is_valid
check "aws cloudtrail: describe-trails" trails_are_described
check "aws cloudtrail: lookup-events, and audit list, filter" events_are_found
check "a user sees the trail once a policy says so" strangers_see_nothing
check "the trail can only be read" nothing_is_written
check "aws cloudtrail validate-logs: changes are found" changes_are_found

serve moto_kms.py
moto=$endpoint
check "audit ship: into a bucket of moto, resumed" shipping_is_resumed
check "aws cloudtrail validate-logs: the shipped copy is valid" shipped_copy_is_valid
check "audit checkpoint, audit export" checkpoints_and_exports

check "audit verify: the public key is enough" key_is_enough
check "audit verify: a log that lost its end is found" a_log_without_its_end_is_found
check "audit verify: changes are found" own_verifier_finds_changes

finish
