"""Every member of every operation at the edges of its constraint, generated from the installed
service model: the least and greatest length or number that are allowed and the ones beyond, a value
that breaks the pattern, one that is no value of the enum, a required member left out, null, and a
value of another type. What is beyond must be refused with AWS's sentence for that member and that
constraint; what is allowed must not. Takes what the server printed; prints one line a check."""

import base64
import datetime
import json
import os
import urllib.error
import urllib.request

import boto3
import botocore.auth
import botocore.awsrequest

client = boto3.client("kms")
model = client.meta.service_model
credentials = boto3.Session().get_credentials()
endpoint = client.meta.endpoint_url


def send(operation, body):
    """The answer's status and JSON; nothing checks the body before it is sent."""
    request = botocore.awsrequest.AWSRequest(
        "POST",
        endpoint + "/",
        data=json.dumps(body),
        headers={
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"TrentService.{operation}",
        },
    )
    botocore.auth.SigV4Auth(credentials, "kms", client.meta.region_name).add_auth(request)
    prepared = urllib.request.Request(
        request.url, request.body, dict(request.headers), method="POST"
    )
    try:
        with urllib.request.urlopen(prepared, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


# Values that satisfy each pattern there is, of the length that is asked for.
SAMPLES = {
    "^[a-zA-Z0-9:/_-]+$": "a",
    "[\\u0020-\\u00FF]*": "a",
    "[\\u0009\\u000A\\u000D\\u0020-\\u00FF]+": " ",
    "[\\w]+": "a",
    "^[\\w+=,.@:/-]+$": "a",
    "^[a-f0-9]+$": "a",
    "^[a-zA-Z0-9:/_\\s.-]+$": "a",
    "^[A-Z2-7]+$": "A",
    "^[a-zA-Z0-9\\/+=]+$": "a",
    "^[a-zA-Z0-9-_.]+$": "a",
    "[0-9]{12}": "1",
}
FIXED = {
    "^([a-z]+-){2,3}\\d+$": "eu-west-1",
    "cluster-[2-7a-zA-Z]{11,16}": "cluster-2a23b4cdefg",
    "^https://[a-zA-Z0-9.-]+$": "https://example.com",
    "^([A-Za-z0-9\\-]+)\\.([A-Za-z0-9\\-]+)(\\.[A-Za-z0-9\\-]+)+$": "a.amazonaws.com",
}


def text(shape, length=None):
    """A text that the model allows, of `length` where that is free."""
    meta = shape.metadata
    if "enum" in meta:
        return meta["enum"][0]
    pattern = meta.get("pattern")
    if pattern in FIXED:
        return FIXED[pattern]
    unit = SAMPLES.get(pattern, "a") if pattern else "a"
    return unit * (meta.get("min", 1) or 1 if length is None else length)


def value(shape):
    """A value that the model allows."""
    kind = shape.type_name
    if kind == "string":
        return text(shape)
    if kind in ("integer", "long"):
        return shape.metadata.get("min", 1)
    if kind == "blob":
        return base64.b64encode(b"a" * max(1, shape.metadata.get("min", 1))).decode()
    if kind == "boolean":
        return False
    if kind == "timestamp":
        return int(datetime.datetime.now().timestamp()) + 1000
    if kind == "list":
        return [value(shape.member)] * max(1, shape.metadata.get("min", 0))
    if kind == "map":
        return {"a": "b"}
    return {name: value(member) for name, member in shape.members.items() if name in shape.required_members}


def lower(name):
    return name[0].lower() + name[1:]


def edges(shape):
    """(what, value, constraint that it breaks or None) at the edges of a member."""
    meta, kind = shape.metadata, shape.type_name
    low, high = meta.get("min"), meta.get("max")
    if kind == "string" and "enum" in meta:
        yield "no value of the enum", "no-such-value", "satisfy enum value set: "
        for one in meta["enum"]:
            yield f"{one}", one, None
    elif kind == "string":
        pattern = meta.get("pattern")
        # A pattern without repetition of its own length fixes the text.
        is_free = pattern is None or (pattern in SAMPLES and pattern != "[0-9]{12}")
        if is_free and low and low > 0:
            yield "shortest", text(shape, low), None
            yield "too short", text(shape, low - 1), f"have length greater than or equal to {low}"
        if is_free and high and high <= 10_000:
            yield "longest", text(shape, high), None
            yield "too long", text(shape, high + 1), f"have length less than or equal to {high}"
        if pattern:
            yield "against the pattern", "\u0100" * max(low or 1, 1), f"satisfy regular expression pattern: {pattern}"
    elif kind in ("integer", "long"):
        if low is not None:
            yield "least", low, None
            yield "too little", low - 1, f"have value greater than or equal to {low}"
        if high is not None:
            yield "greatest", high, None
            yield "too much", high + 1, f"have value less than or equal to {high}"
    elif kind == "blob":
        blob = lambda length: base64.b64encode(b"a" * length).decode()
        if low:
            yield "shortest", blob(low), None
            yield "too short", blob(low - 1), f"have length greater than or equal to {low}"
        if high:
            yield "longest", blob(high), None
            yield "too long", blob(high + 1), f"have length less than or equal to {high}"
    elif kind == "list":
        if high and shape.member.type_name == "string":
            one = value(shape.member)
            yield "most", [one] * high, None
            yield "too many", [one] * (high + 1), f"have length less than or equal to {high}"


OTHER_TYPE = {"string": 5, "integer": "x", "long": "x", "blob": 5, "boolean": "x", "timestamp": "x",
              "list": "x", "map": "x", "structure": "x"}


def refused(answer, path, constraint):
    status, body = answer
    message = body.get("message", "")
    return (
        status == 400
        and body.get("__type") == "ValidationException"
        and f"at '{path}' failed to satisfy constraint" in message
        and constraint in message
    )


def breaks_rule(answer, path):
    """Whether the member itself is refused for a rule of the model."""
    message = answer[1].get("message", "") if answer[0] == 400 else ""
    return f"at '{path}' failed to satisfy constraint" in message


count, failed = 0, []


def expect(name, is_right, answer):
    global count
    count += 1
    if not is_right:
        failed.append(f"{name}: {json.dumps(answer[1])[:300]}")


for operation in model.operation_names:
    shape = model.operation_model(operation).input_shape
    if shape is None:
        continue
    base = value(shape)
    for name, member in shape.members.items():
        path, where = lower(name), f"{operation}.{name}"
        for what, given, constraint in edges(member):
            answer = send(operation, {**base, name: given})
            if constraint is None:
                expect(f"{where} {what}", not breaks_rule(answer, path), answer)
            else:
                expect(f"{where} {what}", refused(answer, path, constraint), answer)
        if name in shape.required_members:
            for left in ({k: v for k, v in base.items() if k != name}, {**base, name: None}):
                answer = send(operation, left)
                expect(f"{where} left out", refused(answer, path, "Member must not be null"), answer)
        answer = send(operation, {**base, name: OTHER_TYPE[member.type_name]})
        expect(
            f"{where} of another type",
            answer[0] == 400 and answer[1].get("__type") == "SerializationException",
            answer,
        )
    print(f"{'FAIL' if failed else 'ok'} {operation}: {'; '.join(failed) if failed else 'its members at their edges'}")
    failed.clear()
print(f"ok {count} requests")
os._exit(0)
