"""An OpenID Connect issuer for the tests: its keys, and tokens that they sign, made by PyJWT.

    oidc.py FOLDER ISSUER

writes FOLDER/jwks.json, one token an algorithm (FOLDER/RS256, ...), one like those of a Kubernetes
service account (FOLDER/kubernetes), and tokens that are to be refused (FOLDER/bad-...).
"""

import json
import pathlib
import sys
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ALGORITHMS = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "RS384": jwt.algorithms.RSAAlgorithm,
    "RS512": jwt.algorithms.RSAAlgorithm,
    "PS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "ES384": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}


def private_key(algorithm):
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("ES"):
        return ec.generate_private_key(ec.SECP256R1() if algorithm == "ES256" else ec.SECP384R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def main(folder, issuer):
    folder = pathlib.Path(folder)
    keys = {algorithm: private_key(algorithm) for algorithm in ALGORITHMS}
    public = []
    for algorithm, key in keys.items():
        jwk = json.loads(ALGORITHMS[algorithm].to_jwk(key.public_key()))
        public.append(jwk | {"kid": algorithm, "use": "sig"})
    folder.joinpath("jwks.json").write_text(json.dumps({"keys": public}))

    now = int(time.time())
    claims = {
        "iss": issuer,
        "sub": "repo:waxseal:ref:main",
        "aud": "sts.amazonaws.com",
        "iat": now,
        "exp": now + 3600,
    }

    def write(name, algorithm, key=None, **changed):
        token = jwt.encode(
            claims | changed, key or keys[algorithm], algorithm, headers={"kid": algorithm}
        )
        folder.joinpath(name).write_text(token)

    for algorithm in keys:
        write(algorithm, algorithm)
    write(
        "kubernetes",
        "RS256",
        aud=["https://kubernetes.default.svc", "sts.amazonaws.com"],
        sub="system:serviceaccount:prod:backup",
        nbf=now,
        jti="00000000-0000-4000-8000-000000000000",
        **{"kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "backup"}}},
    )
    write("bad-key", "RS256", private_key("RS256"))
    write("bad-audience", "RS256", aud="somebody")
    write("bad-expired", "RS256", iat=now - 7200, exp=now - 1)
    write("bad-issuer", "RS256", iss="https://other.example.com")
    folder.joinpath("bad-none").write_text(jwt.encode(claims, None, "none"))
    # The public key as a shared secret: what a careless verifier falls for.
    folder.joinpath("bad-shared").write_text(
        jwt.encode(claims, public[0]["n"], "HS256", headers={"kid": "RS256"})
    )


main(*sys.argv[1:])
