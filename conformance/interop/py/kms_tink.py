"""Tink with its keys in a KMS: kms_tink.py encrypt|decrypt ARN, data on stdin and stdout, the
associated data (which becomes the encryption context) in $AAD. Knows what is in the environment."""

import os
import sys

import tink
from tink import aead
from tink.integration import awskms

command, arn = sys.argv[1:]
aead.register()
client = awskms.AwsKmsClient("aws-kms://" + arn, None)
template = aead.aead_key_templates.AES256_GCM
remote = client.get_aead("aws-kms://" + arn)
envelope = aead.KmsEnvelopeAead(template, remote)
data, associated = sys.stdin.buffer.read(), os.environ["AAD"].encode()
try:
    done = getattr(envelope, command)(data, associated)
except tink.TinkError as error:
    sys.exit(f"tink: {error}")
sys.stdout.buffer.write(done)
