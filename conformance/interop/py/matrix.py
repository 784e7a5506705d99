"""The matrix: every suite, frame length, size and context, both ways, against three peers.

    matrix.py FOLDER SDK-COMMAND CLI-COMMAND NODE-COMMAND

Each command is one argument, split at blanks; WAXSEAL names our program. Prints a line for each peer,
direction and suite, and how many cases there were, passed and failed, in the form that `run` reads.
"""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

WAXSEAL = os.environ["WAXSEAL"]
LIMIT_SECONDS = float(os.environ.get("LIMIT_SECONDS", "60"))
SUITES = "0014 0046 0078 0114 0146 0178 0214 0346 0378 0478 0578".split()
FRAMES = (1, 128, 4096, 65536, 1 << 20)
CONTEXTS = {
    "no context": {},
    "non-ASCII context": {"unit": "Zürich – 東京", "größe": "∞", "😀": "a=b", "ﬀ": "after the emoji in UTF-16"},
    "30 pairs": {f"name-{number:02}": f"value {number}" for number in range(30)},
}
PADDINGS = "pkcs1 oaep-sha1 oaep-sha256 oaep-sha384 oaep-sha512".split()


@dataclass
class Case:
    """One message, whoever writes it."""

    suite: str
    frame: int
    size: int
    context: str
    key: dict

    def __str__(self):
        key = {"aes": "AES", "rsa": f"RSA {self.key.get('padding')}"}[self.key["kind"]]
        return f"suite {self.suite}, frame {self.frame}, {self.size} bytes, {self.context}, {key}"

    def job(self, op, source, sink):
        return {"op": op, "in": source, "out": sink, "key": self.key, "suite": self.suite,
                "frame": self.frame, "context": CONTEXTS[self.context]}

    def ours(self, op):
        """Our options for the key: of RSA, the public half encrypts."""
        file, named = self.key["file"], f"namespace={self.key['namespace']}&name={self.key['name']}"
        if self.key["kind"] == "aes":
            return ["-k", f"raw-aes:{file}?{named}"]
        half = f"{file}.pub" if op == "encrypt" else file
        return ["-k", f"raw-rsa:{half}?{named}&padding={self.key['padding']}"]

    def policy(self):
        if self.suite in ("0478", "0578"):
            return []
        return ["--commitment-policy", "forbid-encrypt-allow-decrypt"]


def sizes(frame):
    return sorted({0, 1, frame - 1, frame, frame + 1, 3 * frame})


def cases(keys):
    """The matrix, then each kind of wrapping key once a suite."""
    aes = keys["aes"]
    for suite in SUITES:
        for frame in FRAMES:
            for size in sizes(frame):
                # Each length of wrapping key meets each suite.
                for number, context in enumerate(CONTEXTS):
                    yield Case(suite, frame, size, context, aes[number])
        for key in keys["rsa"]:
            yield Case(suite, 4096, 5000, "non-ASCII context", key)


def make_keys(folder):
    def named(kind, file, **more):
        return {"kind": kind, "file": file, "namespace": "interop NS", "name": f"näme {os.path.basename(file)}", **more}

    aes = []
    for bits in (256, 128, 192):
        path = os.path.join(folder, f"aes{bits}")
        with open(path, "wb") as file:
            file.write(os.urandom(bits // 8))
        aes.append(named("aes", path))
    pem = os.path.join(folder, "rsa.pem")
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", pem], **quiet)
    subprocess.run(["openssl", "pkey", "-in", pem, "-pubout", "-out", f"{pem}.pub"], **quiet)
    return {"aes": aes, "rsa": [named("rsa", pem, padding=padding) for padding in PADDINGS]}


def plain(folder, size):
    path = os.path.join(folder, f"plain.{size}")
    if not os.path.exists(path):
        with open(path, "wb") as file:
            file.write(os.urandom(size))
    return path


def same(a, b):
    with open(a, "rb") as one, open(b, "rb") as other:
        return one.read() == other.read()


def waxseal(*args):
    """Why it failed, or None."""
    try:
        ran = subprocess.run([WAXSEAL, *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"took longer than {LIMIT_SECONDS} s"
    if ran.returncode == 0:
        return None
    return f"exit code {ran.returncode}: " + " ".join(ran.stderr.decode(errors="replace").split())


def ours_writes(case, source, sink):
    pairs = [arg for name, value in CONTEXTS[case.context].items() for arg in ("-c", f"{name}={value}")]
    return waxseal("encrypt", "--quiet", "--no-sync", "--suite", f"0x{case.suite}", *case.policy(),
                   "--frame", str(case.frame), *case.ours("encrypt"), *pairs, "-o", sink, source)


def ours_reads(case, source, sink):
    pairs = [arg for name, value in CONTEXTS[case.context].items() for arg in ("-c", f"{name}={value}")]
    return waxseal("decrypt", "--quiet", "--no-sync", *case.policy(), *case.ours("decrypt"), *pairs, "-o", sink, source)


class Peer:
    """One of the other programs: answers a line for a line."""

    def __init__(self, name, command):
        self.name = name
        self.process = subprocess.Popen(command.split(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.seconds = 0.0
        for line in self.process.stdout:
            if line == b"ready\n":
                return
        sys.exit(f"{name} does not start")

    def ask(self, job):
        begin = time.monotonic()
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().decode().strip()
        self.seconds += time.monotonic() - begin
        if answer == "ok":
            return None
        return answer or f"{self.name} ended early"

    def can_write(self, case):
        # Python, and so its command line, writes frames of multiples of a cipher block only.
        return case.frame % 16 == 0 or self.name == "Node"


class Results:
    """Counts by peer, direction and suite; keeps why the first of each failed."""

    def __init__(self):
        self.counts = {}
        self.lock = threading.Lock()

    def add(self, key, case, why):
        with self.lock:
            good, bad = self.counts.setdefault(key, (0, []))
            self.counts[key] = (good + (why is None), bad + ([(str(case), why)] if why else []))

    def tell(self):
        passed = failed = 0
        for (what, suite), (good, bad) in sorted(self.counts.items()):
            passed, failed = passed + good, failed + len(bad)
            verdict = "FAIL" if bad else "ok  "
            print(f"{verdict} esdk-matrix: {what}, suite {suite}: {good} of {good + len(bad)} cases")
            for case, why in bad[:3]:
                print(f"       | {case}: {why}")
        return passed, failed


def main():
    folder, *commands = sys.argv[1:]
    peers = [Peer(name, command) for name, command in zip(("Python SDK", "aws-encryption-cli", "Node"), commands, strict=True)]
    everything = list(cases(make_keys(folder)))
    results = Results()
    for size in {case.size for case in everything}:
        plain(folder, size)

    # What waxseal writes, once; the peers read it.
    def write_ours(numbered):
        number, case = numbered
        why = ours_writes(case, plain(folder, case.size), os.path.join(folder, f"ours.{number}"))
        results.add(("waxseal writes", case.suite), case, why)

    begin = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write_ours, enumerate(everything)))
    print(f"waxseal wrote {len(everything)} messages in {time.monotonic() - begin:.1f} s")

    def with_peer(peer):
        mine = os.path.join(folder, peer.name.replace(" ", "-"))
        sealed, opened = f"{mine}.sealed", f"{mine}.opened"
        for number, case in enumerate(everything):
            source = plain(folder, case.size)
            ours = os.path.join(folder, f"ours.{number}")
            why = peer.ask(case.job("decrypt", ours, opened))
            if why is None and not same(opened, source):
                why = "another plaintext"
            results.add((f"{peer.name} reads ours", case.suite), case, why)
            if not peer.can_write(case):
                continue
            why = peer.ask(case.job("encrypt", source, sealed)) or ours_reads(case, sealed, opened)
            if why is None and not same(opened, source):
                why = "another plaintext"
            results.add((f"waxseal reads {peer.name}'s", case.suite), case, why)
            for path in (sealed, opened):
                if os.path.exists(path):
                    os.remove(path)

    with ThreadPoolExecutor(len(peers)) as pool:
        list(pool.map(with_peer, peers))
    passed, failed = results.tell()
    for peer in peers:
        peer.process.stdin.close()
        peer.process.wait()
        print(f"{peer.name} took {peer.seconds:.1f} s")
    print(f"{passed} passed, {failed} failed")
    sys.exit(0 if failed == 0 and passed else 1)


if __name__ == "__main__":
    main()
