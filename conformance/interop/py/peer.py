"""A peer of the matrix: one process that seals and opens many messages.

A peer says `ready` on a line of stdout; what stands before it is no answer. Then each line of stdin
is a job in JSON, and each line of stdout its answer, `ok` or `FAIL why`:

    op         "encrypt" or "decrypt"
    in, out    files
    key        {"kind": "aes", "file": 16, 24 or 32 bytes, "namespace": ..., "name": ...} or
               {"kind": "rsa", "file": private key in PEM, "padding": "pkcs1" or "oaep-sha256"..., ...}
    suite      "0478": four hexadecimal digits
    frame      frame length in bytes, 0 for a body without frames
    context    object of strings

A message that is opened must be of that suite, frame length and context.
"""

import json
import sys

PUBLIC_KEY = "aws-crypto-public-key"


class Mismatch(Exception):
    """The message is authentic, but not what the job says it is."""


def is_committing(job):
    return job["suite"] in ("0478", "0578")


def is_signed(job):
    return job["suite"] in ("0214", "0346", "0378", "0578")


def compare(job, suite_id, frame, context):
    """Holds an authentic header against the job."""
    context = dict(context)
    if (context.pop(PUBLIC_KEY, None) is not None) != is_signed(job):
        raise Mismatch("a public key in the context belongs to signed messages, and to them alone")
    if context != job["context"]:
        raise Mismatch(f"encryption context {context}, expected {job['context']}")
    if suite_id != int(job["suite"], 16):
        raise Mismatch(f"suite {suite_id:04x}, expected {job['suite']}")
    if frame != job["frame"]:
        raise Mismatch(f"frames of {frame} bytes, expected {job['frame']}")


def serve(encrypt, decrypt):
    """Answers until stdin ends."""
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        try:
            {"encrypt": encrypt, "decrypt": decrypt}[job["op"]](job)
            answer = "ok"
        except Exception as error:  # whatever is thrown is this job's answer
            answer = "FAIL " + " ".join(f"{type(error).__name__}: {error}".split())
        print(answer, flush=True)
