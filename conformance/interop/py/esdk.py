"""The official AWS Encryption SDK for Python with a raw AES key: stdin to stdout.

esdk.py encrypt --key FILE --namespace NS --name NAME [-c N=V]... [--suite 0478|0578] [--frame N]
esdk.py decrypt --key FILE --namespace NS --name NAME [-c N=V]... [--suite 0478|0578] [--frame N]
esdk.py batch

What is given to `decrypt` beyond the key must be what the message says. A frame length of 0 means
one non-framed body. `batch` reads such command lines from stdin, with files named by -i and -o, and
answers each with a line, `ok` or `FAIL why`: hundreds of cases then cost one start of Python.
"""

import argparse
import shlex
import shutil
import sys

from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import (
    AlgorithmSuite,
    EncryptionKeyType,
    WrappingAlgorithm,
)
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKey

from context import pair

SUITES = {
    "0478": AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
    "0578": AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384,
}
WRAPPING = {
    16: WrappingAlgorithm.AES_128_GCM_IV12_TAG16_NO_PADDING,
    24: WrappingAlgorithm.AES_192_GCM_IV12_TAG16_NO_PADDING,
    32: WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
}
CLIENT = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)


class Mismatch(Exception):
    """The message is authentic, but not what the caller said it is."""


def master_key(args):
    with open(args.key, "rb") as file:
        key = file.read()
    if len(key) not in WRAPPING:
        raise Mismatch(f"{args.key}: {len(key)} bytes, an AES key has 16, 24 or 32")
    return RawMasterKey(
        provider_id=args.namespace,
        key_id=args.name,
        wrapping_key=WrappingKey(WRAPPING[len(key)], key, EncryptionKeyType.SYMMETRIC),
    )


def encrypt(args, source, sink):
    with CLIENT.stream(
        mode="e",
        source=source,
        key_provider=master_key(args),
        algorithm=SUITES[args.suite or "0478"],
        frame_length=65536 if args.frame is None else args.frame,
        encryption_context=dict(args.context),
    ) as message:
        shutil.copyfileobj(message, sink)


def decrypt(args, source, sink):
    with CLIENT.stream(mode="d", source=source, key_provider=master_key(args)) as message:
        compare(args, message.header)
        shutil.copyfileobj(message, sink)


def compare(args, header):
    """Holds the authenticated header against the command line."""
    context = dict(header.encryption_context)
    if context.pop("aws-crypto-public-key", None) is None and args.suite == "0578":
        raise Mismatch("no public key in the encryption context of a signed message")
    if context != dict(args.context):
        raise Mismatch(f"encryption context {context}, expected {dict(args.context)}")
    if args.suite and header.algorithm is not SUITES[args.suite]:
        raise Mismatch(f"suite {header.algorithm.name}, expected {args.suite}")
    if args.frame is not None and header.frame_length != args.frame:
        raise Mismatch(f"frames of {header.frame_length}, expected {args.frame}")


def parse(argv):
    parser = argparse.ArgumentParser(prog="esdk.py")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, action in (("encrypt", encrypt), ("decrypt", decrypt)):
        command = commands.add_parser(name)
        command.set_defaults(action=action)
        command.add_argument("--key", required=True, metavar="FILE")
        command.add_argument("--namespace", required=True)
        command.add_argument("--name", required=True)
        command.add_argument("-c", dest="context", action="append", default=[], type=pair)
        command.add_argument("--suite", choices=sorted(SUITES))
        command.add_argument("--frame", type=int, metavar="BYTES")
        command.add_argument("-i", dest="input", metavar="IN")
        command.add_argument("-o", dest="output", metavar="OUT")
    commands.add_parser("batch")
    return parser.parse_args(argv)


def work(args):
    source = open(args.input, "rb") if args.input else sys.stdin.buffer
    sink = open(args.output, "wb") if args.output else sys.stdout.buffer
    with source, sink:
        args.action(args, source, sink)


def batch():
    for line in sys.stdin:
        try:
            work(parse(shlex.split(line)))
            print("ok")
        except Exception as error:  # whatever the SDK throws is this case's answer
            print("FAIL", " ".join(f"{type(error).__name__}: {error}".split()))


def main():
    args = parse(sys.argv[1:])
    if args.command == "batch":
        batch()
        return
    try:
        work(args)
    except Exception as error:
        sys.exit(f"esdk.py: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
