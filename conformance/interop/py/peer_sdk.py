"""The AWS Encryption SDK for Python as a peer (peer.py says how to talk to it)."""

import shutil

from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import AlgorithmSuite

from peer import compare, is_committing, serve
from raw_keys import master_key

COMMITTING = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
OTHERS = EncryptionSDKClient(commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)


def client(job):
    return COMMITTING if is_committing(job) else OTHERS


def encrypt(job):
    with open(job["in"], "rb") as source, open(job["out"], "wb") as sink, client(job).stream(
        mode="e",
        source=source,
        key_provider=master_key(**job["key"]),
        algorithm=AlgorithmSuite.get_by_id(int(job["suite"], 16)),
        frame_length=job["frame"],
        encryption_context=job["context"],
    ) as message:
        shutil.copyfileobj(message, sink, 1 << 20)


def decrypt(job):
    with open(job["in"], "rb") as source, open(job["out"], "wb") as sink, client(job).stream(
        mode="d", source=source, key_provider=master_key(**job["key"])
    ) as message:
        header = message.header
        compare(job, header.algorithm.algorithm_id, header.frame_length, header.encryption_context)
        shutil.copyfileobj(message, sink, 1 << 20)


if __name__ == "__main__":
    serve(encrypt, decrypt)
