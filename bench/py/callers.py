"""Whoever may use a key of waxseal serve, by each way to let somebody; and a load by each of them.

    callers.py --waxseal PROGRAM [--seconds N] [--rounds N]
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

import boto3
from servers import load, waxseal

EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}],
}


class Caller:
    """Who asks, for which body."""

    def __init__(self, name, body, access, secret, token=None):
        self.name, self.body = name, body
        self.access, self.secret, self.token = access, secret, token

    def sign(self, server, operation):
        return server.sign(operation, self.body, (self.access, self.secret, self.token))


class Principals:
    """Makes users and roles in the home of a server."""

    def __init__(self, program, home):
        self.program, self.home = program, home

    def call(self, *arguments, document=None):
        out = subprocess.run(
            [self.program, *arguments, "--json"],
            env={**os.environ, "WAXSEAL_HOME": str(self.home)},
            input=None if document is None else json.dumps(document),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        return json.loads(out.splitlines()[0])

    def user(self, name, policy=None):
        given = [] if policy is None else ["--policy", "-"]
        return self.call("user", "create", name, *given, document=policy)

    def role(self, name, trusted, policy):
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"AWS": trusted}, "Action": "sts:AssumeRole"}
            ],
        }
        made = self.call("role", "create", name, "--trust", "-", document=trust)
        self.call("role", "policy", name, "-", document=policy)
        return made


def callers(server, program, home):
    """The owner, and everyone else whom a policy or a grant lets use a key."""
    principals, kms = Principals(program, home), server.client()
    ann, bob = principals.user("ann", EVERYTHING), principals.user("bob")
    cid, dan = principals.user("cid"), principals.user("dan")
    key = kms.create_key()["KeyMetadata"]
    root = f"arn:aws:iam::{key['AWSAccountId']}:root"
    conditions = {
        "StringEquals": {
            "kms:EncryptionContext:app": "pay",
            "aws:PrincipalAccount": key["AWSAccountId"],
        },
        "IpAddress": {"aws:SourceIp": "127.0.0.0/8"},
    }
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*"},
            {
                "Effect": "Allow",
                "Principal": {"AWS": bob["arn"]},
                "Action": ["kms:GenerateDataKey*", "kms:Decrypt"],
                "Resource": "*",
                "Condition": conditions,
            },
        ],
    }
    bound = kms.create_key(Policy=json.dumps(policy))["KeyMetadata"]["KeyId"]
    kms.create_grant(
        KeyId=key["KeyId"], GranteePrincipal=cid["arn"], Operations=["GenerateDataKey"]
    )
    role = principals.role("app", dan["arn"], EVERYTHING)
    sts = boto3.client(
        "sts",
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=dan["accessKeyId"],
        aws_secret_access_key=dan["secretAccessKey"],
    )
    session = sts.assume_role(RoleArn=role["arn"], RoleSessionName="bench")["Credentials"]
    plain = {"KeyId": key["KeyId"], "KeySpec": "AES_256"}
    narrow = {"KeyId": bound, "KeySpec": "AES_256", "EncryptionContext": {"app": "pay"}}

    def user(name, body, made):
        return Caller(name, body, made["accessKeyId"], made["secretAccessKey"])

    return [
        Caller("owner", plain, server.access(), server.secret()),
        user("user by an identity policy", plain, ann),
        user("user by a key policy with conditions", narrow, bob),
        user("user by a grant", plain, cid),
        Caller(
            "session of a role",
            plain,
            session["AccessKeyId"],
            session["SecretAccessKey"],
            session["SessionToken"],
        ),
    ]


def spent(process):
    """Seconds of CPU."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--waxseal", required=True)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        server = waxseal(options.waxseal, f"{place}/home")
        everyone = callers(server, options.waxseal, f"{place}/home")
        print(f"{'GenerateDataKey by':<38} {'conns':>5} {'req/s':>8} {'p50 ms':>8} {'CPU us':>8}")
        for connections in (32, 256):
            seen = {caller.name: [] for caller in everyone}
            for _ in range(options.rounds):
                for caller in everyone:
                    before = spent(server.process)
                    request = caller.sign(server, "GenerateDataKey")
                    rate, half, _ = load(server, request, connections, options.seconds)
                    took = spent(server.process) - before
                    seen[caller.name].append((rate, half, 1e6 * took / (rate * options.seconds)))
            for name, results in seen.items():
                rate, half, cpu = (statistics.median(column) for column in zip(*results))
                print(f"{name:<38} {connections:>5} {rate:>8.0f} {half:>8.2f} {cpu:>8.1f}", flush=True)
        server.end()


if __name__ == "__main__":
    main()
