"""The Amazon S3 Encryption Client for Python: seals before it uploads, with a data key of the KMS.

    kms_s3.py put|get KEY-ID OBJECT [NAME=VALUE]    from stdin, to stdout
"""

import sys

import boto3
from botocore.exceptions import ClientError
from s3_encryption import S3EncryptionClient, S3EncryptionClientConfig
from s3_encryption.materials.kms_keyring import KmsKeyring

BUCKET = "sealed"


def main(command, key, name, pair=""):
    s3 = boto3.client("s3")
    try:
        s3.create_bucket(
            Bucket=BUCKET,
            CreateBucketConfiguration={"LocationConstraint": "eu-west-1"},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
    keyring = KmsKeyring(boto3.client("kms"), key)
    client = S3EncryptionClient(s3, S3EncryptionClientConfig(keyring))
    context = {"EncryptionContext": dict([pair.split("=", 1)])} if pair else {}
    if command == "put":
        client.put_object(Bucket=BUCKET, Key=name, Body=sys.stdin.buffer.read(), **context)
    else:
        body = client.get_object(Bucket=BUCKET, Key=name, **context)["Body"]
        sys.stdout.buffer.write(body.read())


main(*sys.argv[1:])
