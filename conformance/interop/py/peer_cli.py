"""aws-encryption-cli as a peer (peer.py says how to talk to it).

Its main function is called with a command line for each job, in one process: the program takes half
a second to start. Raw keys come from a plugin, as its documentation describes.
"""

import json
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "plugin"))

from aws_encryption_sdk.identifiers import AlgorithmSuite  # noqa: E402
from aws_encryption_sdk_cli import cli  # noqa: E402

from peer import compare, is_committing, serve  # noqa: E402

METADATA = os.path.join(tempfile.mkdtemp(), "metadata")


class Refused(Exception):
    """What the program said."""


def run(job, *more):
    key = dict(job["key"])
    wrapping = [f"key={key.pop('name')}"] + [f"{name}={value}" for name, value in key.items()]
    policy = "require-encrypt-require-decrypt" if is_committing(job) else "forbid-encrypt-allow-decrypt"
    line = ["--" + job["op"], "-i", job["in"], "-o", job["out"], "--commitment-policy", policy]
    line += ["--wrapping-keys", "provider=waxseal-raw", *wrapping]
    if job["context"]:
        line += ["--encryption-context", *(f"{name}={value}" for name, value in job["context"].items())]
    said = cli([*line, *more])
    if said is not None:
        raise Refused(said)


def encrypt(job):
    suite = AlgorithmSuite.get_by_id(int(job["suite"], 16)).name
    run(job, "--suppress-metadata", "--algorithm", suite, "--frame-length", str(job["frame"]))


def decrypt(job):
    run(job, "--metadata-output", METADATA, "--overwrite-metadata")
    with open(METADATA, encoding="utf-8") as file:
        header = json.loads(file.read())["header"]
    suite = AlgorithmSuite[header["algorithm"]].algorithm_id
    compare(job, suite, header["frame_length"], header["encryption_context"])


if __name__ == "__main__":
    serve(encrypt, decrypt)
