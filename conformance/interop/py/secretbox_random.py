"""Random secretbox cases from libsodium, by way of PyNaCl: secretbox_random.py [N [SEED]]

Prints N (1000) JSON lines {"key", "nonce", "plaintext", "box"}, all in hex; the box is tag, then
ciphertext. The same seed (1) gives the same lines, whatever the version of libsodium. Plaintexts
have 0 to 4,096 bytes: first the lengths beside every block edge, then any, small ones as often as
large ones.
"""

import json
import random
import sys

from nacl.bindings import crypto_secretbox

LARGEST = 4096
# Poly1305 works on 16 bytes, Salsa20 on 64, of which the tag's key takes the first 32.
EDGES = sorted(
    {
        length
        for edge in (0, 16, 32, 64, 96, 128, 256, 512, 1024, 2048, LARGEST)
        for length in (edge - 1, edge, edge + 1)
        if 0 <= length <= LARGEST
    }
)


def lengths(count, source):
    yield from EDGES[:count]
    for _ in range(count - len(EDGES)):
        yield source.randint(0, source.choice((64, 512, LARGEST)))


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    source = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    for length in lengths(count, source):
        key, nonce, plaintext = (source.randbytes(n) for n in (32, 24, length))
        case = {
            "key": key,
            "nonce": nonce,
            "plaintext": plaintext,
            "box": crypto_secretbox(plaintext, nonce, key),
        }
        print(json.dumps({name: value.hex() for name, value in case.items()}))


if __name__ == "__main__":
    main()
