"""Random requests signed by botocore, one a line: for conformance/tests/promise_16_signatures.rs.

sigv4_random.py COUNT [SEED]. A line is {"method", "path", "query", "headers": [[name, value], …],
"body" in base64, "secret", "service", "at" in seconds since 1970}.
"""

import base64
import datetime
import json
import random
import string
import sys
from unittest import mock
from urllib.parse import quote, urlsplit

import botocore.auth
import botocore.awsrequest
import botocore.credentials

count = int(sys.argv[1])
chance = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 16)
UNRESERVED = string.ascii_letters + string.digits + "-._~"
# What clients send in paths without escaping it, and what they escape.
IN_PATHS = UNRESERVED + "!$&'()*+,;=:@"
VISIBLE = [chr(code) for code in range(33, 127)]


def text(letters, least, most):
    return "".join(chance.choice(letters) for _ in range(chance.randint(least, most)))


def path():
    segments = [
        chance.choice([".", "..", "", text(IN_PATHS, 1, 8), quote(text(VISIBLE, 1, 5), safe="")])
        for _ in range(chance.randint(0, 4))
    ]
    if segments and segments[-1] in (".", ".."):
        # botocore takes the slash away before them, RFC 3986 and the SDK for Rust do not.
        segments.append(text(UNRESERVED, 1, 3) + "x")
    return "/" + "/".join(segments)


def query():
    pairs = []
    for _ in range(chance.choice([0, 0, 1, 2, 4])):
        name = quote(text(VISIBLE, 1, 6), safe="-_.~")
        value = quote(text([*VISIBLE, " ", "ü", "€"], 0, 8), safe="-_.~")
        pairs.append(f"{name}={value}")
    return "&".join(pairs)


def headers():
    made = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "TrentService." + text(string.ascii_letters, 1, 12),
    }
    for _ in range(chance.randint(0, 3)):
        name = chance.choice(["X-Amz-", "X-", "Amz-Sdk-"]) + text(string.ascii_letters, 1, 8)
        words = [text(VISIBLE, 1, 6) for _ in range(chance.randint(0, 3))]
        made[name] = " ".join(word + " " * chance.randint(0, 2) for word in words)
    return made


for _ in range(count):
    at = chance.randint(1_000_000_000, 4_000_000_000)
    moment = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    region = chance.choice(["eu-west-1", "us-east-1", "local", "cn-north-1"])
    service = chance.choice(["kms", "sts"])
    host = chance.choice(["kms.example", "127.0.0.1:8470", "[::1]:8470", "KMS.example:443"])
    there = query()
    url = f"https://{host}{path()}" + (f"?{there}" if there else "")
    body = chance.randbytes(chance.choice([0, 1, 40, 300]))
    secret = text(string.ascii_letters + string.digits + "/+", 40, 40)
    token = text(UNRESERVED + "/+=", 20, 200) if chance.random() < 0.3 else None
    request = botocore.awsrequest.AWSRequest(
        chance.choice(["POST", "GET", "PUT"]), url, headers=headers(), data=body
    )
    credentials = botocore.credentials.Credentials("AKIDEXAMPLE", secret, token)
    with mock.patch.object(botocore.auth, "get_current_datetime", lambda *_: moment):
        botocore.auth.SigV4Auth(credentials, service, region).add_auth(request)
    parts = urlsplit(url)
    sent = [[name, value] for name, value in request.headers.items()]
    if not any(name.lower() == "host" for name, _ in sent):
        # http.client adds it.
        sent.append(["Host", botocore.auth._host_from_url(url)])
    line = {
        "method": request.method,
        "path": parts.path,
        "query": parts.query,
        "headers": sent,
        "body": base64.b64encode(body).decode(),
        "secret": secret,
        "service": service,
        "at": at,
    }
    print(json.dumps(line))
