"""The official AWS Encryption SDK for Python with its own KMS keyrings: stdin to stdout.

kms_keyrings.py encrypt KEYRING... [-c N=V]... [--suite NAME]
kms_keyrings.py decrypt KEYRING... [-c N=V]...

KEYRING is one of
  strict:ARN  mrk:ARN  discovery:REGION[:ACCOUNT]  mrk-discovery:REGION[:ACCOUNT]
  rsa:PADDING:PUBLIC.pem:ARN            PADDING as RSAES_OAEP_SHA_256
  ecdh:CURVE:RECIPIENT.pem:SENDER-ARN   CURVE as ECC_NIST_P256
  ecdh-discovery:CURVE:RECIPIENT-ARN
Several become a multi-keyring. Endpoint and credentials come from the environment.
"""

import argparse
import sys

import boto3
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import (
    CreateAwsKmsDiscoveryKeyringInput,
    CreateAwsKmsEcdhKeyringInput,
    CreateAwsKmsKeyringInput,
    CreateAwsKmsMrkDiscoveryKeyringInput,
    CreateAwsKmsMrkKeyringInput,
    CreateAwsKmsRsaKeyringInput,
    CreateMultiKeyringInput,
    DiscoveryFilter,
    KmsEcdhStaticConfigurationsKmsPrivateKeyToStaticPublicKey,
    KmsEcdhStaticConfigurationsKmsPublicKeyDiscovery,
    KmsPrivateKeyToStaticPublicKeyInput,
    KmsPublicKeyDiscoveryInput,
)
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import AlgorithmSuite
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from context import pair

MPL = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
CLIENT = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)


def client(region):
    return boto3.client("kms", region_name=region)


def at(arn):
    return client(arn.split(":")[3])


def file(path):
    with open(path, "rb") as source:
        return source.read()


def account(rest):
    region, _, number = rest.partition(":")
    found = DiscoveryFilter(account_ids=[number], partition="aws") if number else None
    return region, found


def ecdh(curve, scheme, arn):
    return MPL.create_aws_kms_ecdh_keyring(
        CreateAwsKmsEcdhKeyringInput(
            key_agreement_scheme=scheme, curve_spec=curve, kms_client=at(arn)
        )
    )


def keyring(text):
    kind, _, rest = text.partition(":")
    if kind == "strict":
        return MPL.create_aws_kms_keyring(
            CreateAwsKmsKeyringInput(kms_key_id=rest, kms_client=at(rest))
        )
    if kind == "mrk":
        return MPL.create_aws_kms_mrk_keyring(
            CreateAwsKmsMrkKeyringInput(kms_key_id=rest, kms_client=at(rest))
        )
    if kind == "discovery":
        region, found = account(rest)
        return MPL.create_aws_kms_discovery_keyring(
            CreateAwsKmsDiscoveryKeyringInput(kms_client=client(region), discovery_filter=found)
        )
    if kind == "mrk-discovery":
        region, found = account(rest)
        return MPL.create_aws_kms_mrk_discovery_keyring(
            CreateAwsKmsMrkDiscoveryKeyringInput(
                kms_client=client(region), region=region, discovery_filter=found
            )
        )
    if kind == "rsa":
        padding, pem, arn = rest.split(":", 2)
        return MPL.create_aws_kms_rsa_keyring(
            CreateAwsKmsRsaKeyringInput(
                public_key=file(pem),
                kms_key_id=arn,
                encryption_algorithm=padding,
                kms_client=at(arn),
            )
        )
    if kind == "ecdh":
        curve, pem, arn = rest.split(":", 2)
        spki = load_pem_public_key(file(pem)).public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        own = at(arn).get_public_key(KeyId=arn)["PublicKey"]
        scheme = KmsPrivateKeyToStaticPublicKeyInput(
            sender_kms_identifier=arn, sender_public_key=own, recipient_public_key=spki
        )
        return ecdh(curve, KmsEcdhStaticConfigurationsKmsPrivateKeyToStaticPublicKey(scheme), arn)
    if kind == "ecdh-discovery":
        curve, arn = rest.split(":", 1)
        scheme = KmsPublicKeyDiscoveryInput(recipient_kms_identifier=arn)
        return ecdh(curve, KmsEcdhStaticConfigurationsKmsPublicKeyDiscovery(scheme), arn)
    raise ValueError(f"no keyring: {text}")


def keyrings(args):
    first, *others = map(keyring, args.keyrings)
    if not others:
        return first
    return MPL.create_multi_keyring(
        CreateMultiKeyringInput(generator=first, child_keyrings=others)
    )


def encrypt(args):
    more = {"algorithm": AlgorithmSuite[args.suite]} if args.suite else {}
    message, _ = CLIENT.encrypt(
        source=sys.stdin.buffer.read(),
        keyring=keyrings(args),
        encryption_context=dict(args.context),
        **more,
    )
    return message


def decrypt(args):
    plaintext, header = CLIENT.decrypt(source=sys.stdin.buffer.read(), keyring=keyrings(args))
    for name, value in args.context:
        if header.encryption_context.get(name) != value:
            raise ValueError(f"encryption context {header.encryption_context}")
    return plaintext


def main():
    parser = argparse.ArgumentParser(prog="kms_keyrings.py")
    commands = parser.add_subparsers(required=True)
    for name, action in (("encrypt", encrypt), ("decrypt", decrypt)):
        command = commands.add_parser(name)
        command.set_defaults(action=action)
        command.add_argument("keyrings", nargs="+", metavar="KEYRING")
        command.add_argument("-c", dest="context", action="append", default=[], type=pair)
        command.add_argument("--suite")
    args = parser.parse_args()
    try:
        sys.stdout.buffer.write(args.action(args))
    except Exception as error:  # whatever the SDK throws is the answer
        sys.exit(f"kms_keyrings.py: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
