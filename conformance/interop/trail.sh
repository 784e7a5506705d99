#!/usr/bin/env bash
# The audit log as a CloudTrail: a day of digests, checked by `aws cloudtrail validate-logs`, and what it
# says when anything was changed. The day passes by libfaketime; a year before it there was another one, whose
# key was replaced since, and at noon the bucket changes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_waxseal
command -v faketime >/dev/null || die "run conformance/interop/setup first"

HOURS=25
YEAR=$((365 * 24))
ENCRYPTIONS=$((HOURS + 2))
DIGESTS=$((HOURS + 2))
# What digests name in the end.
BUCKET=company-trail
export WAXSEAL_HOME=$T/home
trail=$WAXSEAL_HOME/audit/trail
arn=arn:aws:cloudtrail:local:000000000000:trail/waxseal

# hour_ago N: one encryption and one delivery.
hour_ago() {
    printf 'hour %s' "$1" | faketime -f "-$1h" "$WAXSEAL" encrypt -c "hour=$1" >"$T/sealed"
    faketime -f "-$1h" "$WAXSEAL" audit deliver >/dev/null
}
# named_bucket NAME N: a server that is told N hours ago which bucket digests are to name.
named_bucket() {
    local server waited
    faketime -f "-$2h" "$WAXSEAL" serve --listen 127.0.0.1:0 --trail-bucket "$1" \
        </dev/null >"$T/named" 2>"$T/named.log" &
    server=$!
    for ((waited = 0; waited < 200; waited++)); do
        ! grep -qs '^AWS_REGION=' "$T/named" || break
        sleep 0.05
    done
    # faketime waits for it.
    if ! { kill "$(pgrep -P "$server")" && wait "$server"; }; then
        die "serve --trail-bucket does not serve: $(<"$T/named.log")"
    fi
}

# Two hours of a year ago; one encryption and one delivery an hour from a day ago until now.
hour_ago $((YEAR + 30))
hour_ago $((YEAR + 29))
for ((hour = HOURS; hour > 0; hour--)); do
    hour_ago "$hour"
    ((hour != 12)) || named_bucket "$BUCKET" "$hour"
done
wax audit deliver >/dev/null
start_serve
export AWS_ENDPOINT_URL_S3=$AWS_ENDPOINT_URL_KMS

aws() {
    "$AWSCLI" --output text "$@"
}
validated() {
    aws cloudtrail validate-logs --trail-arn "$arn" --verbose \
        --start-time "$(date -u -d '-400 days' +%FT%TZ)"
}
all_is_valid() {
    validated >"$T/out"
    grep -q "^$DIGESTS/$DIGESTS digest files valid" "$T/out"
    # Those from before the change are in the bucket that they name.
    test "$(grep -c "^Digest file.s3://waxseal-trail/.*valid" "$T/out")" = $((DIGESTS - 12))
    test "$(grep -c "^Digest file.s3://$BUCKET/.*valid" "$T/out")" = 12
    grep -Eq '^([0-9]+)/\1 log files valid' "$T/out"
}
trails_are_described() {
    test "$(aws cloudtrail describe-trails --query 'trailList[0].[Name,S3BucketName,TrailARN]')" = \
        $'waxseal\t'"$BUCKET"$'\t'"$arn"
}
events_are_found() {
    key=$(aws kms list-keys --query 'Keys[0].KeyArn')
    test "$(aws cloudtrail lookup-events --query 'length(Events)' \
        --lookup-attributes "AttributeKey=EventName,AttributeValue=GenerateDataKey")" = "$ENCRYPTIONS"
    test "$(aws cloudtrail lookup-events --max-items 3 --query 'length(Events)' \
        --lookup-attributes "AttributeKey=ResourceName,AttributeValue=$key")" = 3
    wax --json audit list --key "$key" --operation GenerateDataKey --outcome done >"$T/out"
    test "$(wc -l <"$T/out")" = "$ENCRYPTIONS"
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
    fails aws s3 rm "s3://$BUCKET/$(cd "$trail" && find AWSLogs -name '*.gz' | head -1)" 2>"$T/why"
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
keys_are_enough() {
    wax audit public-key >"$T/key.pem"
    openssl pkey -pubin -in "$T/key.pem" -noout
    # The keys are those that CloudTrail's API gives: the present one, and the other for its time.
    test "$(aws cloudtrail list-public-keys --query 'length(PublicKeyList)')" = 1
    aws cloudtrail list-public-keys --start-time "$(date -u -d '-400 days' +%FT%TZ)" \
        --query 'PublicKeyList[].[Value]' >"$T/keys"
    "$PY" - "$T/key.pem" "$T/keys" <<'END'
import base64, re, sys
from cryptography.hazmat.primitives import serialization
section = rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----"
pems = re.findall(section, open(sys.argv[1], "rb").read(), re.DOTALL)
keys = [serialization.load_pem_public_key(pem) for pem in pems]
forms = serialization.Encoding.DER, serialization.PublicFormat.PKCS1
printed = [base64.b64encode(key.public_bytes(*forms)).decode() for key in keys]
assert len(printed) == 2 and printed == open(sys.argv[2]).read().split()
END
    WAXSEAL_HOME=/nonexistent own_verifier | grep -q "under $DIGESTS digests"
    wax audit verify --public-key "$T/key.pem"
    # The second key alone does not verify what the first one signed.
    sed '1,/END PUBLIC KEY/d' "$T/key.pem" >"$T/second.pem"
    fails wax audit verify --public-key "$T/second.pem" --trail "$trail" 2>"$T/why"
    grep -q 'not among the public keys' "$T/why"
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
import gzip, pathlib, random, subprocess, sys, zlib
waxseal, trail, key = sys.argv[1:]
random.seed(1)
files = sorted(path for path in pathlib.Path(trail).rglob("*") if path.is_file() and path.name != "lock")
def verify():
    command = [waxseal, "audit", "verify", "--public-key", key, "--trail", trail]
    return subprocess.run(command, capture_output=True, text=True)
def expect(found, what):
    run = verify()
    assert (run.returncode == 3) == found, (what, run)
def content(path, data):
    if path.suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return None
for _ in range(200):
    path = random.choice(files)
    data = path.read_bytes()
    at = random.randrange(len(data))
    bent = data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]
    if content(path, bent) == content(path, data):
        continue # bits that mean nothing: time and system in a gzip header, what fills up the last byte
    path.write_bytes(bent)
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

changes_are_found() {
    local count=200
    [[ -z ${WAXSEAL_LONG:-} ]] || count=10000
    "$PY" "$HERE/py/trail_mutations.py" "$trail" "$count" "$AWSCLI" --output text cloudtrail validate-logs \
        --trail-arn "$arn" --start-time "$(date -u -d '-400 days' +%FT%TZ)"
    all_is_valid
}

# --- the trail in another bucket ---

in_moto() {
    env "${moto_environment[@]}" "$@"
}
shipped() {
    in_moto timeout "$LIMIT_SECONDS" "$WAXSEAL" --json audit ship "$@"
}
shipping_is_resumed() {
    fails shipped --to "s3://$BUCKET" 2>"$T/why"
    grep -q NoSuchBucket "$T/why"
    local bucket
    # Each digest is found in the bucket that it names.
    for bucket in waxseal-trail "$BUCKET"; do
        in_moto "$AWSCLI" s3api create-bucket --bucket "$bucket"
        shipped --to "s3://$bucket" | grep -q "\"digests\":$DIGESTS"
        shipped --to "s3://$bucket" | grep -q '"digests":0'
    done
    # All objects, and nothing else.
    in_moto "$AWSCLI" s3 ls --recursive "s3://$BUCKET" | awk '{print $4}' | sort >"$T/there"
    (cd "$trail" && find AWSLogs -type f | sort) | cmp - "$T/there"
}
shipped_copy_is_valid() {
    export AWS_ENDPOINT_URL_S3=$moto
    all_is_valid
    local object
    object=$(grep /CloudTrail/ "$T/there" | tail -1)
    in_moto "$AWSCLI" s3 rm "s3://$BUCKET/$object"
    fails validated >"$T/out" 2>&1
    grep -q "$object.INVALID: not found" "$T/out"
    # A bucket that was not shipped to gets everything.
    in_moto "$AWSCLI" s3api create-bucket --bucket other
    shipped --to s3://other/a/place | grep -q "\"digests\":$DIGESTS"
}
# With AWS's tool and the public keys, and nothing else of ours.
shipped_copy_is_verified() {
    in_moto "$AWSCLI" s3 cp --recursive s3://other/a/place "$T/copy" >/dev/null
    wax audit public-key >"$T/key.pem"
    WAXSEAL_HOME=/nonexistent wax audit verify --public-key "$T/key.pem" --trail "$T/copy" |
        grep -q "under $DIGESTS digests"
    find "$T/copy" -name '*.signature' | sed -n 5p | xargs rm
    fails wax audit verify --public-key "$T/key.pem" --trail "$T/copy" 2>"$T/why"
    grep -q 'its signature is not there' "$T/why"
}
server_ships() {
    in_moto "$AWSCLI" s3api create-bucket --bucket served
    env "${moto_environment[@]}" "$WAXSEAL" serve --listen 127.0.0.1:0 --ship-to s3://served \
        </dev/null >"$T/shipping" 2>"$T/shipping.log" &
    local server=$! waited
    for ((waited = 0; waited < 30; waited++)); do
        in_moto "$AWSCLI" s3 ls --recursive s3://served | awk '{print $4}' | sort >"$T/served"
        ! cmp -s "$T/served" "$T/there" || break
        sleep 1
    done
    kill "$server"
    wait "$server"
    cmp "$T/served" "$T/there"
    grep -q "digests name the bucket $BUCKET" "$T/shipping.log"
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
    test "$(wc -l <"$T/export.jsonl")" = "$ENCRYPTIONS"
    wax audit export --cloudtrail --operation GenerateDataKey | "$PY" -c \
        'import json, sys; print(len(json.load(sys.stdin)["Records"]))' | grep -qx "$ENCRYPTIONS"
}

check "aws cloudtrail validate-logs: digests of two keys in two buckets are valid" all_is_valid
check "aws cloudtrail: describe-trails" trails_are_described
check "aws cloudtrail: lookup-events, and audit list, filter" events_are_found
check "a user sees the trail once a policy says so" strangers_see_nothing
check "the trail can only be read" nothing_is_written
check "aws cloudtrail validate-logs: every change is found" changes_are_found

serve moto_kms.py
moto=$endpoint
moto_environment=(-u AWS_SHARED_CREDENTIALS_FILE AWS_ENDPOINT_URL_S3="$moto" AWS_REGION=us-east-1
    AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any)
check "audit ship: into a bucket of moto, resumed" shipping_is_resumed
check "aws cloudtrail validate-logs: the shipped copy is valid" shipped_copy_is_valid
check "audit verify: the shipped copy, as aws s3 cp has it" shipped_copy_is_verified
check "serve --ship-to: what audit ship does" server_ships
check "audit checkpoint, audit export" checkpoints_and_exports

check "audit verify: the public keys are enough" keys_are_enough
check "audit verify: a log that lost its end is found" a_log_without_its_end_is_found
check "audit verify: changes are found" own_verifier_finds_changes

finish
