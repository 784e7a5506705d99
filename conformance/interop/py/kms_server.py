"""boto3 against `waxseal serve`: every operation it has, the refusals a client relies on, pages.

Takes nothing but what the server printed (AWS_* in the environment). Prints one line a check:
`ok NAME` or `FAIL NAME: WHY`.
"""

import datetime
import hashlib
import hmac
import json
import os
import traceback

import boto3
import botocore.exceptions
import nacl.bindings
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

kms = boto3.client("kms")
checks = []


def check(function):
    checks.append(function)
    return function


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        seen = error.response["Error"]["Code"]
        assert seen == code, f"{seen}, not {code}"
        assert error.response["ResponseMetadata"]["RequestId"], "no request id"
        return error.response["Error"].get("Message", "")
    raise AssertionError(f"{code} was expected")


def new_key(**arguments):
    return kms.create_key(**arguments)["KeyMetadata"]


@check
def keys_are_described_as_created():
    made = new_key(Description="a key", Tags=[{"TagKey": "team", "TagValue": "blue"}])
    for name in (made["KeyId"], made["Arn"]):
        seen = kms.describe_key(KeyId=name)["KeyMetadata"]
        assert seen == made, (seen, made)
    assert made["KeyState"] == "Enabled" and made["Enabled"] is True
    kms.update_key_description(KeyId=made["KeyId"], Description="anew")
    assert kms.describe_key(KeyId=made["KeyId"])["KeyMetadata"]["Description"] == "anew"
    tags = kms.list_resource_tags(KeyId=made["KeyId"])["Tags"]
    assert tags == [{"TagKey": "team", "TagValue": "blue"}], tags
    kms.tag_resource(KeyId=made["KeyId"], Tags=[{"TagKey": "team", "TagValue": "red"}])
    kms.untag_resource(KeyId=made["KeyId"], TagKeys=["absent"])
    tags = kms.list_resource_tags(KeyId=made["KeyId"])["Tags"]
    assert tags == [{"TagKey": "team", "TagValue": "red"}], tags


@check
def blobs_open_under_their_context_only():
    key = new_key()
    context = {"a": "b", "unit": "Zürich"}
    sealed = kms.encrypt(KeyId=key["Arn"], Plaintext=b"x" * 4096, EncryptionContext=context)
    opened = kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext=context)
    assert opened["Plaintext"] == b"x" * 4096 and opened["KeyId"] == key["Arn"]
    for other in ({}, {"a": "b"}, {"a": "B", "unit": "Zürich"}):
        refused(
            "InvalidCiphertextException",
            kms.decrypt,
            CiphertextBlob=sealed["CiphertextBlob"],
            EncryptionContext=other,
        )
    refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=b"nonsense")
    refused(
        "IncorrectKeyException",
        kms.decrypt,
        CiphertextBlob=sealed["CiphertextBlob"],
        EncryptionContext=context,
        KeyId=new_key()["KeyId"],
    )
    again = kms.re_encrypt(
        CiphertextBlob=sealed["CiphertextBlob"],
        SourceEncryptionContext=context,
        DestinationKeyId=new_key()["KeyId"],
        DestinationEncryptionContext={"moved": "yes"},
    )
    assert again["SourceKeyId"] == key["Arn"]
    opened = kms.decrypt(
        CiphertextBlob=again["CiphertextBlob"], EncryptionContext={"moved": "yes"}
    )
    assert opened["Plaintext"] == b"x" * 4096


@check
def data_keys_have_the_length_that_was_asked_for():
    key = new_key()["KeyId"]
    for given, length in (
        ({"KeySpec": "AES_256"}, 32),
        ({"KeySpec": "AES_128"}, 16),
        ({"NumberOfBytes": 1}, 1),
        ({"NumberOfBytes": 1024}, 1024),
    ):
        made = kms.generate_data_key(KeyId=key, **given)
        assert len(made["Plaintext"]) == length
        opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], KeyId=key)
        assert opened["Plaintext"] == made["Plaintext"]
        hidden = kms.generate_data_key_without_plaintext(KeyId=key, **given)
        opened = kms.decrypt(CiphertextBlob=hidden["CiphertextBlob"])
        assert len(opened["Plaintext"]) == length and "Plaintext" not in hidden
    assert len(kms.generate_random(NumberOfBytes=1024)["Plaintext"]) == 1024
    refused("ValidationException", kms.generate_data_key, KeyId=key)


@check
def a_disabled_key_does_nothing():
    key = new_key()["KeyId"]
    sealed = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=key)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"
    said = refused("DisabledException", kms.decrypt, CiphertextBlob=sealed)
    assert said.endswith(" is disabled."), said
    refused("DisabledException", kms.encrypt, KeyId=key, Plaintext=b"x")
    refused("DisabledException", kms.generate_data_key, KeyId=key, KeySpec="AES_256")
    kms.enable_key(KeyId=key)
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"


@check
def aliases_name_keys():
    one, two = new_key()["KeyId"], new_key()["KeyId"]
    kms.create_alias(AliasName="alias/interop/server", TargetKeyId=one)
    refused(
        "AlreadyExistsException",
        kms.create_alias,
        AliasName="alias/interop/server",
        TargetKeyId=one,
    )
    sealed = kms.encrypt(KeyId="alias/interop/server", Plaintext=b"x")["CiphertextBlob"]
    kms.update_alias(AliasName="alias/interop/server", TargetKeyId=two)
    listed = kms.list_aliases(KeyId=two)["Aliases"]
    assert [alias["AliasName"] for alias in listed] == ["alias/interop/server"], listed
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"
    kms.delete_alias(AliasName="alias/interop/server")
    refused("NotFoundException", kms.describe_key, KeyId="alias/interop/server")


@check
def rotation_keeps_what_was_sealed():
    key = new_key()["KeyId"]
    sealed = kms.encrypt(KeyId=key, Plaintext=b"old")["CiphertextBlob"]
    kms.rotate_key_on_demand(KeyId=key)
    assert len(kms.list_key_rotations(KeyId=key)["Rotations"]) == 1
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"old"
    anew = kms.encrypt(KeyId=key, Plaintext=b"new")["CiphertextBlob"]
    materials = {kms.decrypt(CiphertextBlob=blob)["KeyMaterialId"] for blob in (sealed, anew)}
    assert len(materials) == 2


HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}


def verified(public, algorithm, message, signature):
    """Verifies with the `cryptography` package; raises when the signature is wrong."""
    if algorithm == "ED25519_SHA_512":
        return public.verify(signature, message)
    if algorithm == "ED25519_PH_SHA_512":
        # libsodium; the message is the digest, which is hashed again.
        state = nacl.bindings.crypto_sign_ed25519ph_state()
        nacl.bindings.crypto_sign_ed25519ph_update(state, hashlib.sha512(message).digest())
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return nacl.bindings.crypto_sign_ed25519ph_final_verify(state, signature, raw)
    if algorithm == "ML_DSA_SHAKE_256":
        return public.verify(signature, message)
    digest = HASHES[algorithm[-3:]]()
    if algorithm.startswith("ECDSA"):
        return public.verify(signature, message, ec.ECDSA(digest))
    pad = padding.PKCS1v15()
    if "PSS" in algorithm:
        pad = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
    return public.verify(signature, message, pad, digest)


@check
def signatures_are_those_of_pyca_cryptography():
    seen = 0
    for spec in (
        "RSA_2048 RSA_3072 RSA_4096 ECC_NIST_P256 ECC_NIST_P384 ECC_NIST_P521 ECC_SECG_P256K1 "
        "ECC_NIST_EDWARDS25519 ML_DSA_44 ML_DSA_65 ML_DSA_87"
    ).split():
        key = new_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")
        public = kms.get_public_key(KeyId=key["KeyId"])["PublicKey"]
        public = serialization.load_der_public_key(public)
        for algorithm in key["SigningAlgorithms"]:
            arguments = {"KeyId": key["Arn"], "SigningAlgorithm": algorithm}
            message, other = b"message", b"other"
            if algorithm == "ED25519_PH_SHA_512":
                arguments["MessageType"] = "DIGEST"
                message, other = (hashlib.sha512(text).digest() for text in (message, other))
            signature = kms.sign(Message=message, **arguments)["Signature"]
            verified(public, algorithm, b"message", signature)
            assert kms.verify(Message=message, Signature=signature, **arguments)["SignatureValid"]
            refused(
                "KMSInvalidSignatureException",
                kms.verify,
                Message=other,
                Signature=signature,
                **arguments,
            )
            if algorithm[-3:] in HASHES and not algorithm.startswith(("ED", "ML")):
                digest = hashlib.new("sha" + algorithm[-3:], b"message").digest()
                signature = kms.sign(Message=digest, MessageType="DIGEST", **arguments)
                verified(public, algorithm, b"message", signature["Signature"])
            seen += 1
    assert seen == 3 * 6 + 9, seen


@check
def external_mu_is_that_of_pyca_cryptography_and_of_python():
    for bits, made in (
        (44, mldsa.MLDSA44PrivateKey.generate()),
        (65, mldsa.MLDSA65PrivateKey.generate()),
        (87, mldsa.MLDSA87PrivateKey.generate()),
    ):
        spec = {"KeySpec": f"ML_DSA_{bits}", "KeyUsage": "SIGN_VERIFY"}
        key = new_key(Origin="EXTERNAL", **spec)["KeyId"]
        der = made.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        imported(key, der)
        arguments = {"KeyId": key, "SigningAlgorithm": "ML_DSA_SHAKE_256"}
        public = made.public_key()
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        tr = hashlib.shake_256(raw).digest(64)
        mu = hashlib.shake_256(tr + bytes(2) + b"message").digest(64)
        # Ours for theirs, of mu and of the message: the signatures are the same kind of thing.
        signature = kms.sign(Message=mu, MessageType="EXTERNAL_MU", **arguments)["Signature"]
        public.verify(signature, b"message")
        public.verify_mu(signature, mu)
        kms.verify(Message=b"message", Signature=signature, **arguments)
        # Theirs for ours.
        for signature in (made.sign(b"message"), made.sign_mu(mu)):
            kms.verify(Message=mu, MessageType="EXTERNAL_MU", Signature=signature, **arguments)
            kms.verify(Message=b"message", Signature=signature, **arguments)
        refused(
            "KMSInvalidSignatureException",
            kms.verify,
            Message=bytes(64),
            MessageType="EXTERNAL_MU",
            Signature=signature,
            **arguments,
        )


@check
def macs_are_those_of_python():
    for bits in ("224", "256", "384", "512"):
        key = new_key(KeySpec=f"HMAC_{bits}", KeyUsage="GENERATE_VERIFY_MAC")
        arguments = {"KeyId": key["KeyId"], "MacAlgorithm": f"HMAC_SHA_{bits}"}
        made = kms.generate_mac(Message=b"message", **arguments)["Mac"]
        assert len(made) * 8 == int(bits)
        assert kms.verify_mac(Message=b"message", Mac=made, **arguments)["MacValid"]
        refused("KMSInvalidMacException", kms.verify_mac, Message=b"x", Mac=made, **arguments)


@check
def rsa_keys_open_what_pyca_cryptography_sealed():
    for spec in ("RSA_2048", "RSA_3072", "RSA_4096"):
        key = new_key(KeySpec=spec, KeyUsage="ENCRYPT_DECRYPT")["KeyId"]
        public = serialization.load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
        for algorithm, digest in (
            ("RSAES_OAEP_SHA_1", hashes.SHA1()),
            ("RSAES_OAEP_SHA_256", hashes.SHA256()),
        ):
            oaep = padding.OAEP(mgf=padding.MGF1(digest), algorithm=digest, label=None)
            opened = kms.decrypt(
                KeyId=key,
                EncryptionAlgorithm=algorithm,
                CiphertextBlob=public.encrypt(b"secret", oaep),
            )
            assert opened["Plaintext"] == b"secret"


@check
def secrets_are_agreed_with_pyca_cryptography():
    for spec, curve in (
        ("ECC_NIST_P256", ec.SECP256R1()),
        ("ECC_NIST_P384", ec.SECP384R1()),
        ("ECC_NIST_P521", ec.SECP521R1()),
    ):
        key = new_key(KeySpec=spec, KeyUsage="KEY_AGREEMENT")["KeyId"]
        theirs = serialization.load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
        own = ec.generate_private_key(curve)
        public = own.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        derived = kms.derive_shared_secret(
            KeyId=key, KeyAgreementAlgorithm="ECDH", PublicKey=public
        )
        assert derived["SharedSecret"] == own.exchange(ec.ECDH(), theirs)


@check
def data_key_pairs_are_pairs_for_pyca_cryptography():
    key = new_key()["KeyId"]
    for spec in (
        "RSA_2048 ECC_NIST_P256 ECC_NIST_P384 ECC_NIST_P521 ECC_SECG_P256K1 ECC_NIST_EDWARDS25519 "
        "ML_KEM_768 ML_KEM_1024"
    ).split():
        made = kms.generate_data_key_pair(KeyId=key, KeyPairSpec=spec)
        private = serialization.load_der_private_key(made["PrivateKeyPlaintext"], password=None)
        public = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        assert public == made["PublicKey"], spec
        opened = kms.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"])
        assert opened["Plaintext"] == made["PrivateKeyPlaintext"]
    for spec in ("ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"):
        made = kms.generate_data_key_pair_without_plaintext(KeyId=key, KeyPairSpec=spec)
        private = kms.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"])["Plaintext"]
        # The seed, whichever the key spec.
        assert len(private) == 86, (spec, len(private))


@check
def keys_that_wait_for_their_deletion_do_nothing():
    key = new_key()["KeyId"]
    sealed = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    scheduled = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert scheduled["KeyState"] == "PendingDeletion" and scheduled["DeletionDate"]
    said = refused("KMSInvalidStateException", kms.decrypt, CiphertextBlob=sealed)
    assert said.endswith(" is pending deletion."), said
    kms.cancel_key_deletion(KeyId=key)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"


@check
def rotation_at_intervals_is_told():
    key = new_key()["KeyId"]
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False
    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    status = kms.get_key_rotation_status(KeyId=key)
    assert status["KeyRotationEnabled"] and status["RotationPeriodInDays"] == 90
    assert status["NextRotationDate"]
    kms.disable_key_rotation(KeyId=key)
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False


@check
def dry_runs_say_so():
    key = new_key()["KeyId"]
    refused("DryRunOperationException", kms.encrypt, KeyId=key, Plaintext=b"x", DryRun=True)


@check
def a_policy_holds_for_the_next_request():
    made = new_key()
    key, account = made["KeyId"], made["AWSAccountId"]
    owner = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    red = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "kms:Decrypt",
        "Resource": "*",
        "Condition": {"StringEquals": {"kms:EncryptionContext:team": "red"}},
    }
    text = json.dumps({"Version": "2012-10-17", "Statement": [owner, red]}, indent=3)
    kms.put_key_policy(KeyId=key, Policy=text)
    assert kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"] == text
    for team in ("red", "blue"):
        context = {"team": team}
        sealed = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=context)
        arguments = {
            "CiphertextBlob": sealed["CiphertextBlob"],
            "EncryptionContext": context,
        }
        if team == "red":
            said = refused("AccessDeniedException", kms.decrypt, **arguments)
            assert said.endswith("with an explicit deny in a resource-based policy"), said
        else:
            assert kms.decrypt(**arguments)["Plaintext"] == b"x"
    nobody = json.dumps({"Version": "2012-10-17", "Statement": red})
    refused("MalformedPolicyDocumentException", kms.put_key_policy, KeyId=key, Policy=nobody)
    refused("MalformedPolicyDocumentException", kms.put_key_policy, KeyId=key, Policy="{}")


@check
def grants_are_made_listed_and_given_back():
    key = new_key()
    ann = "arn:aws:iam::111122223333:user/ann"
    arguments = {
        "KeyId": key["KeyId"],
        "GranteePrincipal": ann,
        "RetiringPrincipal": ann,
        "Operations": ["Encrypt", "Decrypt"],
        "Constraints": {"EncryptionContextSubset": {"team": "red"}},
        "Name": "interop",
    }
    made = kms.create_grant(**arguments)
    assert kms.create_grant(**arguments)["GrantId"] == made["GrantId"]
    listed = kms.list_grants(KeyId=key["Arn"])["Grants"]
    assert [grant["GrantId"] for grant in listed] == [made["GrantId"]]
    assert listed[0]["Constraints"] == arguments["Constraints"]
    assert sorted(listed[0]["Operations"]) == ["Decrypt", "Encrypt"]
    retirable = kms.list_retirable_grants(RetiringPrincipal=ann)["Grants"]
    assert [grant["GrantId"] for grant in retirable] == [made["GrantId"]]
    kms.retire_grant(GrantToken=made["GrantToken"])
    assert kms.list_grants(KeyId=key["KeyId"])["Grants"] == []
    made = kms.create_grant(**arguments)
    kms.revoke_grant(KeyId=key["KeyId"], GrantId=made["GrantId"])
    refused(
        "NotFoundException", kms.revoke_grant, KeyId=key["KeyId"], GrantId=made["GrantId"]
    )
    arguments["Operations"] = ["Sign"]
    refused("ValidationException", kms.create_grant, **arguments)


@check
def the_policy_is_the_default_one():
    key = new_key()["KeyId"]
    assert kms.list_key_policies(KeyId=key)["PolicyNames"] == ["default"]
    policy = json.loads(kms.get_key_policy(KeyId=key)["Policy"])
    assert policy["Statement"][0]["Action"] == "kms:*", policy
    refused("NotFoundException", kms.get_key_policy, KeyId=key, PolicyName="other")


@check
def what_is_not_done_is_said_to_be_unsupported():
    refused("UnsupportedOperationException", new_key, KeySpec="SM2", KeyUsage="SIGN_VERIFY")


@check
def there_are_no_custom_key_stores():
    assert kms.describe_custom_key_stores()["CustomKeyStores"] == []
    store = "cks-1234567890abcdef0"
    for call in (
        kms.connect_custom_key_store,
        kms.disconnect_custom_key_store,
        kms.update_custom_key_store,
        kms.delete_custom_key_store,
    ):
        refused("CustomKeyStoreNotFoundException", call, CustomKeyStoreId=store)
    refused(
        "CustomKeyStoreNotFoundException",
        new_key,
        Origin="AWS_CLOUDHSM",
        CustomKeyStoreId=store,
    )
    refused(
        "CloudHsmClusterNotFoundException",
        kms.create_custom_key_store,
        CustomKeyStoreName="mine",
        CloudHsmClusterId="cluster-2a23b4cdefg",
        KeyStorePassword="kmsPswd",
        TrustAnchorCertificate="-----BEGIN CERTIFICATE-----",
    )


WRAPPING_HASHES = {"SHA_1": hashes.SHA1(), "SHA_256": hashes.SHA256()}


def wrapped(public_key, algorithm, material):
    """As the documentation of ImportKeyMaterial has it, by PyCA cryptography."""
    public = serialization.load_der_public_key(public_key)
    scheme, _, name = algorithm.partition("_SHA_")
    hash_ = WRAPPING_HASHES["SHA_" + name]
    oaep = padding.OAEP(mgf=padding.MGF1(hash_), algorithm=hash_, label=None)
    if scheme == "RSAES_OAEP":
        return public.encrypt(material, oaep)
    aes = os.urandom(32)
    return public.encrypt(aes, oaep) + aes_key_wrap_with_padding(aes, material)


def imported(key, material, algorithm="RSA_AES_KEY_WRAP_SHA_256", spec="RSA_2048", **more):
    given = kms.get_parameters_for_import(
        KeyId=key, WrappingAlgorithm=algorithm, WrappingKeySpec=spec
    )
    more.setdefault("ExpirationModel", "KEY_MATERIAL_DOES_NOT_EXPIRE")
    return kms.import_key_material(
        KeyId=key,
        ImportToken=given["ImportToken"],
        EncryptedKeyMaterial=wrapped(given["PublicKey"], algorithm, material),
        **more,
    )


@check
def material_wrapped_by_pyca_cryptography_is_imported():
    key = new_key(Origin="EXTERNAL", KeySpec="HMAC_384", KeyUsage="GENERATE_VERIFY_MAC")["KeyId"]
    material = os.urandom(48)
    for spec in ("RSA_2048", "RSA_3072", "RSA_4096"):
        for scheme in ("RSAES_OAEP", "RSA_AES_KEY_WRAP"):
            for name in WRAPPING_HASHES:
                imported(key, material, f"{scheme}_{name}", spec)
    mac = kms.generate_mac(KeyId=key, Message=b"message", MacAlgorithm="HMAC_SHA_384")["Mac"]
    assert mac == hmac.new(material, b"message", "sha384").digest()


@check
def imported_keys_are_those_of_pyca_cryptography():
    pairs = [
        ("ECC_NIST_P256", "ECDSA_SHA_256", ec.generate_private_key(ec.SECP256R1())),
        ("ECC_NIST_P384", "ECDSA_SHA_384", ec.generate_private_key(ec.SECP384R1())),
        ("ECC_NIST_P521", "ECDSA_SHA_512", ec.generate_private_key(ec.SECP521R1())),
        ("ECC_SECG_P256K1", "ECDSA_SHA_256", ec.generate_private_key(ec.SECP256K1())),
        ("RSA_2048", "RSASSA_PSS_SHA_256", rsa.generate_private_key(65537, 2048)),
        ("RSA_3072", "RSASSA_PKCS1_V1_5_SHA_512", rsa.generate_private_key(65537, 3072)),
        ("ECC_NIST_EDWARDS25519", "ED25519_SHA_512", ed25519.Ed25519PrivateKey.generate()),
    ]
    for spec, algorithm, pair in pairs:
        key = new_key(Origin="EXTERNAL", KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyId"]
        der = pair.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        imported(key, der)
        public = kms.get_public_key(KeyId=key)["PublicKey"]
        own = pair.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        assert public == own, spec
        signature = kms.sign(KeyId=key, Message=b"message", SigningAlgorithm=algorithm)["Signature"]
        verified(pair.public_key(), algorithm, b"message", signature)
        kms.delete_imported_key_material(KeyId=key)
        refused(
            "KMSInvalidStateException",
            kms.sign,
            KeyId=key,
            Message=b"message",
            SigningAlgorithm=algorithm,
        )


@check
def imported_material_is_rotated_and_expires():
    key = new_key(Origin="EXTERNAL")["KeyId"]
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=2)
    one, two = os.urandom(32), os.urandom(32)
    imported(key, one, ExpirationModel="KEY_MATERIAL_EXPIRES", ValidTo=end)
    seen = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert abs((seen["ValidTo"] - end).total_seconds()) < 1, seen
    blob = kms.encrypt(KeyId=key, Plaintext=b"p")["CiphertextBlob"]
    imported(key, two, ImportType="NEW_KEY_MATERIAL", KeyMaterialDescription="second")
    kms.rotate_key_on_demand(KeyId=key)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"p"
    listed = kms.list_key_rotations(KeyId=key, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
    assert [entry["KeyMaterialState"] for entry in listed] == ["NON_CURRENT", "CURRENT"], listed
    assert listed[1]["KeyMaterialDescription"] == "second", listed
    refused("UnsupportedOperationException", kms.enable_key_rotation, KeyId=key)


@check
def replicas_open_what_any_of_them_sealed():
    there = boto3.client("kms", region_name="eu-north-1", endpoint_url=kms.meta.endpoint_url)
    key = new_key(MultiRegion=True)["KeyId"]
    refused("NotFoundException", there.describe_key, KeyId=key)
    kms.replicate_key(KeyId=key, ReplicaRegion="eu-north-1")
    blob = kms.encrypt(KeyId=key, Plaintext=b"p")["CiphertextBlob"]
    opened = there.decrypt(CiphertextBlob=blob)
    assert opened["Plaintext"] == b"p" and ":eu-north-1:" in opened["KeyId"], opened
    kms.update_primary_region(KeyId=key, PrimaryRegion="eu-north-1")
    there.rotate_key_on_demand(KeyId=key)
    blob = there.encrypt(KeyId=key, Plaintext=b"q")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"q"
    refused("UnsupportedOperationException", kms.rotate_key_on_demand, KeyId=key)


@check
def the_last_use_is_told():
    key = new_key()["KeyId"]
    assert kms.get_key_last_usage(KeyId=key)["KeyLastUsage"] == {}
    kms.encrypt(KeyId=key, Plaintext=b"p")
    last = kms.get_key_last_usage(KeyId=key)["KeyLastUsage"]
    assert last["Operation"] == "Encrypt" and last["CloudTrailEventId"], last


@check
def pages_join_to_the_whole():
    for _ in range(5):
        new_key()
    whole = [key["KeyId"] for key in kms.list_keys()["Keys"]]
    pages = kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 2})
    joined = [key["KeyId"] for page in pages for key in page["Keys"]]
    assert joined == whole and len(set(whole)) == len(whole)


@check
def names_that_mean_nothing_are_told_apart_from_keys_that_are_not_there():
    said = refused("NotFoundException", kms.describe_key, KeyId="nonsense")
    assert said == "Invalid keyId 'nonsense'", said
    absent = "12345678-1234-1234-1234-123456789012"
    said = refused("NotFoundException", kms.describe_key, KeyId=absent)
    assert said.startswith("Key 'arn:aws:kms:") and said.endswith("' does not exist"), said
    said = refused("NotFoundException", kms.describe_key, KeyId="alias/absent")
    assert said.startswith("Alias arn:aws:kms:") and said.endswith(" is not found."), said


@check
def other_callers_are_refused():
    for given, code in (
        ({"aws_access_key_id": "AKIAABCDEFGHIJKLMNOP"}, "UnrecognizedClientException"),
        ({}, "InvalidSignatureException"),
    ):
        given.setdefault(
            "aws_access_key_id", boto3.Session().get_credentials().access_key
        )
        other = boto3.client("kms", aws_secret_access_key="wrong" * 8, **given)
        refused(code, other.list_keys)


failed = 0
for function in checks:
    name = function.__name__.replace("_", " ")
    try:
        function()
        print(f"ok {name}")
    except Exception:
        failed += 1
        why = traceback.format_exc().strip().splitlines()
        print(f"FAIL {name}: {' | '.join(why[-3:])}")
os._exit(1 if failed else 0)
