"""moto's AWS on a free loopback port until it is ended: moto_kms.py PORTFILE

It stands in for Amazon where the real clients meet our messages. It checks neither credentials nor
key states, so failures are stub_kms.py's part.

Mended here, after Amazon's API reference, is what moto leaves out: RSA keys decrypt, keys agree
(DeriveSharedSecret), GetPublicKey names the key by its ARN, ReplicateKey knows one, and the id of a
multi-Region key is mrk- with 32 digits (moto's blobs have no room for its own longer ones).
"""

import base64
import json
import signal
import sys
import uuid

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from moto.core.exceptions import JsonRESTError
from moto.kms import models
from moto.kms.responses import KmsResponse
from moto.server import ThreadedMotoServer

from serve import publish

HASHES = {"RSAES_OAEP_SHA_1": hashes.SHA1, "RSAES_OAEP_SHA_256": hashes.SHA256}


def key_id(multi_region=False):
    return "mrk-" + uuid.uuid4().hex if multi_region else str(uuid.uuid4())


def replicate_key(response):
    backend = response.kms_backend
    key = backend.any_id_to_key_id(response._get_param("KeyId"))
    replica = backend.replicate_key(key, response._get_param("ReplicaRegion"))
    return json.dumps({"ReplicaKeyMetadata": replica.to_dict()["KeyMetadata"]})


def asymmetric_key(response, usage):
    backend = response.kms_backend
    key = backend.keys[backend.any_id_to_key_id(response._get_param("KeyId"))]
    if key.key_usage != usage:
        raise JsonRESTError("InvalidKeyUsageException", f"{key.arn} is not for {usage}")
    return key


def oaep(algorithm):
    digest = HASHES[algorithm]
    return padding.OAEP(mgf=padding.MGF1(algorithm=digest()), algorithm=digest(), label=None)


def decrypt(response):
    algorithm = response._get_param("EncryptionAlgorithm") or "SYMMETRIC_DEFAULT"
    if algorithm not in HASHES:
        return symmetric_decrypt(response)
    key = asymmetric_key(response, "ENCRYPT_DECRYPT")
    blob = response._get_param("CiphertextBlob")  # moto decodes the base64 of this one
    try:
        plaintext = key.private_key.private_key.decrypt(blob, oaep(algorithm))
    except ValueError:
        raise JsonRESTError("InvalidCiphertextException", "")
    return json.dumps(
        {
            "KeyId": key.arn,
            "Plaintext": base64.b64encode(plaintext).decode(),
            "EncryptionAlgorithm": algorithm,
        }
    )


def get_public_key(response):
    backend = response.kms_backend
    key = backend.keys[backend.any_id_to_key_id(response._get_param("KeyId"))]
    answer = json.loads(symmetric_get_public_key(response))
    answer.update(KeyId=key.arn, KeySpec=key.key_spec)
    if key.key_usage == "KEY_AGREEMENT":
        answer["KeyAgreementAlgorithms"] = ["ECDH"]
        del answer["EncryptionAlgorithms"], answer["SigningAlgorithms"]
    return json.dumps(answer)


def derive_shared_secret(response):
    key = asymmetric_key(response, "KEY_AGREEMENT")
    peer = serialization.load_der_public_key(base64.b64decode(response._get_param("PublicKey")))
    try:
        secret = key.private_key.private_key.exchange(ec.ECDH(), peer)
    except ValueError:
        raise JsonRESTError("ValidationException", "the public key is of another curve")
    return json.dumps(
        {
            "KeyId": key.arn,
            "SharedSecret": base64.b64encode(secret).decode(),
            "KeyAgreementAlgorithm": "ECDH",
            "KeyOrigin": "AWS_KMS",
        }
    )


symmetric_decrypt = KmsResponse.decrypt
symmetric_get_public_key = KmsResponse.get_public_key


def mend():
    KmsResponse.replicate_key = replicate_key
    models.generate_key_id = key_id
    KmsResponse.decrypt = decrypt
    KmsResponse.get_public_key = get_public_key
    KmsResponse.derive_shared_secret = derive_shared_secret


def main():
    mend()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()  # returns when the socket listens
    publish(sys.argv[1], server.get_host_and_port()[1])
    signal.pause()


if __name__ == "__main__":
    main()
