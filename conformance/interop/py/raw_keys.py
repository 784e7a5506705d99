"""Raw keys of the AWS Encryption SDK for Python, versions 3 and 4."""

from aws_encryption_sdk.identifiers import EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKey

AES = {
    16: WrappingAlgorithm.AES_128_GCM_IV12_TAG16_NO_PADDING,
    24: WrappingAlgorithm.AES_192_GCM_IV12_TAG16_NO_PADDING,
    32: WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
}
RSA = {
    "pkcs1": WrappingAlgorithm.RSA_PKCS1,
    "oaep-sha1": WrappingAlgorithm.RSA_OAEP_SHA1_MGF1,
    "oaep-sha256": WrappingAlgorithm.RSA_OAEP_SHA256_MGF1,
    "oaep-sha384": WrappingAlgorithm.RSA_OAEP_SHA384_MGF1,
    "oaep-sha512": WrappingAlgorithm.RSA_OAEP_SHA512_MGF1,
}


def master_key(kind, file, namespace, name, padding=None):
    """A raw master key from a file."""
    with open(file, "rb") as opened:
        key = opened.read()
    if kind == "aes":
        wrapping = WrappingKey(AES[len(key)], key, EncryptionKeyType.SYMMETRIC)
    else:
        wrapping = WrappingKey(RSA[padding], key, EncryptionKeyType.PRIVATE)
    return RawMasterKey(provider_id=namespace, key_id=name, wrapping_key=wrapping)
