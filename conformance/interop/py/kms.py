"""A KMS through boto3, for scripts: raw bytes on stdin and stdout.

kms.py create-key [--alias alias/NAME] [--multi-region] [--spec SPEC --usage USAGE]
                                                      prints the key's ARN
kms.py replicate-key --key KEY --region REGION        prints the replica's ARN
kms.py public-key --key KEY                           prints PEM
kms.py encrypt --key KEY [-c N=V]...                  plaintext in, ciphertext blob out
kms.py decrypt [--key KEY] [-c N=V]...                ciphertext blob in, plaintext out
kms.py generate-data-key --key KEY [-c N=V]...        prints data key and wrapped key, both in hex

Endpoint, region and credentials come from the environment (AWS_ENDPOINT_URL_KMS and the others).
"""

import argparse
import base64
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from context import pair


def create_key(kms, args):
    more = {"KeySpec": args.spec, "KeyUsage": args.usage} if args.spec else {}
    arn = kms.create_key(MultiRegion=args.multi_region, **more)["KeyMetadata"]["Arn"]
    if args.alias:
        kms.create_alias(AliasName=args.alias, TargetKeyId=arn)
    print(arn)


def replicate_key(kms, args):
    answer = kms.replicate_key(KeyId=args.key, ReplicaRegion=args.region)
    print(answer["ReplicaKeyMetadata"]["Arn"])


def public_key(kms, args):
    der = base64.encodebytes(kms.get_public_key(KeyId=args.key)["PublicKey"]).decode()
    print(f"-----BEGIN PUBLIC KEY-----\n{der}-----END PUBLIC KEY-----")


def encrypt(kms, args):
    answer = kms.encrypt(
        KeyId=args.key, Plaintext=sys.stdin.buffer.read(), EncryptionContext=dict(args.context)
    )
    sys.stdout.buffer.write(answer["CiphertextBlob"])


def decrypt(kms, args):
    named = {"KeyId": args.key} if args.key else {}
    answer = kms.decrypt(
        CiphertextBlob=sys.stdin.buffer.read(), EncryptionContext=dict(args.context), **named
    )
    sys.stdout.buffer.write(answer["Plaintext"])


def generate_data_key(kms, args):
    answer = kms.generate_data_key(
        KeyId=args.key, KeySpec="AES_256", EncryptionContext=dict(args.context)
    )
    print(answer["Plaintext"].hex(), answer["CiphertextBlob"].hex())


def main():
    parser = argparse.ArgumentParser(prog="kms.py")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("create-key")
    command.set_defaults(action=create_key)
    command.add_argument("--alias", metavar="alias/NAME")
    command.add_argument("--multi-region", action="store_true")
    command.add_argument("--spec")
    command.add_argument("--usage", default="ENCRYPT_DECRYPT")
    command = commands.add_parser("replicate-key")
    command.set_defaults(action=replicate_key)
    command.add_argument("--key", required=True)
    command.add_argument("--region", required=True)
    command = commands.add_parser("public-key")
    command.set_defaults(action=public_key)
    command.add_argument("--key", required=True)
    for name, action in (
        ("encrypt", encrypt),
        ("decrypt", decrypt),
        ("generate-data-key", generate_data_key),
    ):
        command = commands.add_parser(name)
        command.set_defaults(action=action)
        command.add_argument("--key", required=action is not decrypt)
        command.add_argument("-c", dest="context", action="append", default=[], type=pair)
    args = parser.parse_args()
    try:
        args.action(boto3.client("kms"), args)
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"kms.py: {error}")


if __name__ == "__main__":
    main()
