"""An enclave that attests itself, and what a KMS may answer to it and to nobody else.

Certificates by PyCA cryptography, CBOR by cbor2, the COSE signature written out from RFC 9052, and the
answers opened by `openssl cms -decrypt`. The endpoint and credentials come from the environment.

    enclave.py roots FOLDER      makes a root certificate (FOLDER/root.pem) and keeps its key
    enclave.py FOLDER            the checks, one line each: "ok WHAT", or "FAIL WHAT: WHY"
"""

import datetime
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time

import boto3
import cbor2
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.timezone.utc)
HOUR = datetime.timedelta(hours=1)
PCRS = {0: b"\x01" * 48, 1: b"\x02" * 48, 2: b"\x03" * 48, 3: bytes(48), 4: b"\x05" * 48, 8: bytes(48)}


def certificate(name, key, issuer=None, issuer_key=None, is_ca=True, begin=-HOUR, end=3 * HOUR):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + begin)
        .not_valid_after(NOW + end)
        .add_extension(x509.BasicConstraints(is_ca, 3 if is_ca else None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_ca,
                key_cert_sign=is_ca,
                crl_sign=is_ca,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    return builder.sign(issuer_key or key, hashes.SHA384())


def der(one):
    return one.public_bytes(serialization.Encoding.DER)


def make_roots(folder):
    key = ec.generate_private_key(ec.SECP384R1())
    root = certificate("root", key, end=24 * HOUR)
    folder.joinpath("root.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    folder.joinpath("root.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


class Enclave:
    """Root, region, instance, enclave: the chain that the hypervisor makes."""

    def __init__(self, folder, root_key=None):
        self.folder = folder
        root = x509.load_pem_x509_certificate(folder.joinpath("root.pem").read_bytes())
        own_key = serialization.load_pem_private_key(folder.joinpath("root.key").read_bytes(), None)
        self.region_key = ec.generate_private_key(ec.SECP384R1())
        self.instance_key = ec.generate_private_key(ec.SECP384R1())
        self.key = ec.generate_private_key(ec.SECP384R1())
        self.region = certificate("region", self.region_key, root, root_key or own_key)
        self.instance = certificate("instance", self.instance_key, self.region, self.region_key)
        self.bundle = [der(root), der(self.region), der(self.instance)]
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        path = folder / "enclave.key"
        path.write_bytes(
            self.private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    def document(self, leaf=None, signer=None, tagged=False, algorithm=-35, tamper=None, **changed):
        leaf = leaf or certificate("enclave", self.key, self.instance, self.instance_key, is_ca=False)
        payload = {
            "module_id": "i-0123456789abcdef0-enc0123456789abcdef",
            "digest": "SHA384",
            "timestamp": int(time.time() * 1000),
            "pcrs": PCRS,
            "certificate": der(leaf),
            "cabundle": self.bundle,
            "public_key": self.private.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
            "user_data": None,
            "nonce": None,
        }
        payload = {name: value for name, value in (payload | changed).items() if value != "absent"}
        payload = cbor2.dumps(payload)
        protected = cbor2.dumps({1: algorithm})
        to_sign = cbor2.dumps(["Signature1", protected, b"", payload])
        signature = (signer or self.key).sign(to_sign, ec.ECDSA(hashes.SHA384()))
        r, s = decode_dss_signature(signature)
        signature = r.to_bytes(48, "big") + s.to_bytes(48, "big")
        if tamper:
            payload = tamper(payload)
        parts = [protected, {}, payload, signature]
        return cbor2.dumps(cbor2.CBORTag(18, parts) if tagged else parts)

    def open(self, envelope):
        path = self.folder / "envelope"
        path.write_bytes(envelope)
        opened = subprocess.run(
            ["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", path]
            + ["-inkey", self.folder / "enclave.key"],
            capture_output=True,
            check=True,
        )
        return opened.stdout


def recipient(document):
    return {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": document}


def main(folder):
    kms = boto3.client("kms")
    enclave = Enclave(folder)
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    secret = os.urandom(4096)
    blob = kms.encrypt(KeyId=key, Plaintext=secret)["CiphertextBlob"]

    def check(what, judge):
        try:
            judge()
            print("ok", what)
        except Exception as error:
            print("FAIL", f"{what}: {error!r}"[:300])

    def decrypt(document=None, **changed):
        return kms.decrypt(
            CiphertextBlob=blob, Recipient=recipient(document or enclave.document(**changed))
        )

    def handed(answer, member):
        assert member not in answer, f"{member} is there"
        return enclave.open(answer["CiphertextForRecipient"])

    def opens():
        for tagged in (False, True):
            assert handed(decrypt(tagged=tagged), "Plaintext") == secret

    def data_key():
        answer = kms.generate_data_key(
            KeyId=key, KeySpec="AES_256", Recipient=recipient(enclave.document())
        )
        plain = kms.decrypt(CiphertextBlob=answer["CiphertextBlob"])["Plaintext"]
        assert handed(answer, "Plaintext") == plain and len(plain) == 32

    def pair():
        answer = kms.generate_data_key_pair(
            KeyId=key, KeyPairSpec="RSA_4096", Recipient=recipient(enclave.document())
        )
        private = handed(answer, "PrivateKeyPlaintext")
        public = serialization.load_der_private_key(private, None).public_key()
        assert answer["PublicKey"] == public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def random():
        answer = kms.generate_random(
            NumberOfBytes=17, Recipient=recipient(enclave.document())
        )
        assert len(handed(answer, "Plaintext")) == 17

    def agreement():
        own = kms.create_key(KeySpec="ECC_NIST_P384", KeyUsage="KEY_AGREEMENT")["KeyMetadata"]["KeyId"]
        peer = ec.generate_private_key(ec.SECP384R1())
        answer = kms.derive_shared_secret(
            KeyId=own,
            KeyAgreementAlgorithm="ECDH",
            PublicKey=peer.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
            Recipient=recipient(enclave.document()),
        )
        public = serialization.load_der_public_key(kms.get_public_key(KeyId=own)["PublicKey"])
        assert handed(answer, "SharedSecret") == peer.exchange(ec.ECDH(), public)

    def conditions():
        def policy(condition):
            root = {"AWS": "arn:aws:iam::000000000000:root"}
            rest = {"Effect": "Allow", "Principal": root, "Resource": "*"}
            return json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        rest | {"NotAction": "kms:Decrypt"},
                        rest
                        | {
                            "Action": "kms:Decrypt",
                            "Condition": {"StringEqualsIgnoreCase": condition},
                        },
                    ],
                }
            )

        names = "kms:RecipientAttestation:"
        kms.put_key_policy(
            KeyId=key,
            Policy=policy(
                {f"{names}ImageSha384": "01" * 48, f"{names}PCR4": "05" * 48, f"{names}PCR8": "00" * 48}
            ),
        )
        assert handed(decrypt(), "Plaintext") == secret
        for refused in (
            lambda: kms.decrypt(CiphertextBlob=blob),
            lambda: decrypt(pcrs=PCRS | {0: b"\x09" * 48}),
            lambda: decrypt(pcrs="absent", nitrotpm_pcrs=PCRS),
        ):
            raises("AccessDeniedException", refused)
        kms.put_key_policy(KeyId=key, Policy=policy({f"{names}NitroTPMPCR4": "05" * 48}))
        assert handed(decrypt(pcrs="absent", nitrotpm_pcrs=PCRS), "Plaintext") == secret
        raises("AccessDeniedException", decrypt)
        kms.put_key_policy(KeyId=key, Policy=policy({"aws:PrincipalAccount": "000000000000"}))

    def raises(code, call):
        try:
            call()
        except ClientError as error:
            assert error.response["Error"]["Code"] == code, error
        else:
            raise AssertionError("it was answered")

    def leaf(**changed):
        made = {"issuer": enclave.instance, "issuer_key": enclave.instance_key, "is_ca": False}
        return certificate("enclave", enclave.key, **(made | changed))

    stranger = ec.generate_private_key(ec.SECP384R1())
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()
    as_der = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    refused = {
        "the chain begins with another root": lambda: kms.decrypt(
            CiphertextBlob=blob, Recipient=recipient(Enclave(folder, stranger).document())
        ),
        "somebody else signed": lambda: decrypt(signer=stranger),
        "the payload was altered": lambda: decrypt(
            tamper=lambda payload: payload.replace(b"\x01" * 48, b"\x07" * 48)
        ),
        "the certificate is over": lambda: decrypt(leaf=leaf(begin=-3 * HOUR, end=-HOUR)),
        "the certificate is not valid yet": lambda: decrypt(leaf=leaf(begin=HOUR)),
        "the certificate is its own": lambda: decrypt(leaf=leaf(issuer=None, issuer_key=None)),
        "an authority signed the document": lambda: decrypt(
            leaf=enclave.instance, signer=enclave.instance_key
        ),
        "the bundle is not whole": lambda: decrypt(cabundle=enclave.bundle[:2]),
        "the algorithm is another": lambda: decrypt(algorithm=-7),
        "there is no public key": lambda: decrypt(public_key=None),
        "the public key is not RSA": lambda: decrypt(
            public_key=stranger.public_key().public_bytes(*as_der)
        ),
        "the public key is short": lambda: decrypt(public_key=small.public_bytes(*as_der)),
        "there are no registers": lambda: decrypt(pcrs="absent"),
        "the digest is another": lambda: decrypt(digest="SHA256"),
        "it is no document": lambda: decrypt(document=b"\x84\x40\xa0\x40\x40"),
        "it is no CBOR": lambda: decrypt(document=os.urandom(64)),
        "there is no document": lambda: kms.decrypt(
            CiphertextBlob=blob, Recipient={"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
        ),
    }
    check("Decrypt answers to the enclave alone", opens)
    check("GenerateDataKey", data_key)
    check("GenerateDataKeyPair", pair)
    check("GenerateRandom", random)
    check("DeriveSharedSecret", agreement)
    check("policies ask what the enclave is", conditions)
    for what, call in refused.items():
        check(f"refused when {what}", lambda call=call: raises("ValidationException", call))


if sys.argv[1] == "roots":
    make_roots(pathlib.Path(sys.argv[2]))
else:
    main(pathlib.Path(sys.argv[1]))
