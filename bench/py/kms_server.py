"""Load on waxseal serve, a bare hyper server and its peers. See bench/kms-server."""

import argparse
import base64
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import botocore.awsrequest
from callers import EVERYTHING, Principals
from servers import Server, free_port, load, resident, wait_for, waxseal

parser = argparse.ArgumentParser()
for name in ("waxseal", "bare", "load", "moto", "openbao"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--fakecloud")
parser.add_argument("--signed", action="store_true")
parser.add_argument("--seconds", type=int, default=8)
parser.add_argument("--rounds", type=int, default=3)
options = parser.parse_args()

CONNECTIONS = (1, 32, 256)
# Of the peers: moto has one thread, and many waiting connections only make it fail.
PEER_CONNECTIONS = (1, 32)
OPERATIONS = ("GenerateDataKey", "Encrypt", "Decrypt")


class Transit:
    """OpenBao's transit engine, in memory and without an audit device: encrypt, decrypt and data keys
    under its own names, with a token and no signature."""

    name = "openbao"
    TOKEN = "root"
    PATHS = {
        "GenerateDataKey": "datakey/plaintext/key",
        "Encrypt": "encrypt/key",
        "Decrypt": "decrypt/key",
    }

    def __init__(self, program, place):
        address = f"127.0.0.1:{free_port()}"
        self.endpoint = f"http://{address}"
        self.process = subprocess.Popen(
            [program, "server", "-dev", "-dev-no-store-token"]
            + [f"-dev-root-token-id={self.TOKEN}", f"-dev-listen-address={address}"],
            env={**os.environ, "HOME": place},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(int(address.rsplit(":", 1)[1]))
        for _ in range(100):
            try:
                self.call("sys/health", None)
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        self.call("sys/mounts/transit", {"type": "transit"})
        self.call("transit/keys/key", {})
        plaintext = base64.b64encode(b"x" * 32).decode()
        sealed = self.call("transit/encrypt/key", {"plaintext": plaintext})
        self.bodies = {
            "GenerateDataKey": {},
            "Encrypt": {"plaintext": plaintext},
            "Decrypt": {"ciphertext": sealed["data"]["ciphertext"]},
        }

    def call(self, path, body):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.endpoint}/v1/{path}", data, {"X-Vault-Token": self.TOKEN}
        )
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or "{}")

    def sign(self, operation, body):
        return botocore.awsrequest.AWSRequest(
            "POST",
            f"{self.endpoint}/v1/transit/{self.PATHS[operation]}",
            data=json.dumps(body),
            headers={"Content-Type": "application/json", "X-Vault-Token": self.TOKEN},
        )

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def load_signed(server, operation, body, connections, seconds):
    """As `load`, with each request signed by itself (crates/server/examples/load.rs)."""
    out = subprocess.run(
        [options.load, server.endpoint.removeprefix("http://"), str(connections), str(seconds)]
        + [server.region, operation, json.dumps(body)],
        env={
            **os.environ,
            "AWS_ACCESS_KEY_ID": server.access(),
            "AWS_SECRET_ACCESS_KEY": server.secret(),
        },
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return tuple(float(number) for number in out.split())


with tempfile.TemporaryDirectory() as place:
    began = time.monotonic()
    ours = waxseal(options.waxseal, f"{place}/home")
    ready = time.monotonic() - began
    print(f"waxseal: {1000 * ready:.0f} ms to the first connection (looked every 50 ms), ", end="")
    print(f"{resident(ours.process):.1f} MiB resident at rest")
    # The owner needs no policy: who is measured is somebody whom one lets.
    ann = Principals(options.waxseal, f"{place}/home").user("ann", EVERYTHING)
    ours.access, ours.secret = lambda: ann["accessKeyId"], lambda: ann["secretAccessKey"]

    port_file = f"{place}/moto"
    moto_process = subprocess.Popen(
        [sys.executable, options.moto, port_file],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not os.path.exists(port_file):
        time.sleep(0.05)
    moto = Server.__new__(Server)
    moto.name, moto.process = "moto", moto_process
    moto.endpoint = "http://127.0.0.1:" + pathlib.Path(port_file).read_text().strip()
    moto.region, moto.access, moto.secret = "us-east-1", lambda: "AKID", lambda: "secret"

    port = free_port()
    bare = Server(
        "bare hyper",
        [options.bare, f"127.0.0.1:{port}", "420"],
        f"http://127.0.0.1:{port}",
        "local",
        lambda: "AKID",
        lambda: "secret",
    )

    bao = Transit(options.openbao, place)
    peers, fakes = [moto, bao], [ours, moto]
    if options.fakecloud:
        port = free_port()
        fakecloud = Server(
            "fakecloud",
            [options.fakecloud, "--addr", f"127.0.0.1:{port}", "--log-level", "error"],
            f"http://127.0.0.1:{port}",
            "us-east-1",
            lambda: "AKID",
            lambda: "secret",
        )
        peers.append(fakecloud)
        fakes.append(fakecloud)

    bodies = {bao.name: bao.bodies}
    for server in fakes:
        kms = server.client()
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        sealed = kms.encrypt(KeyId=key, Plaintext=b"x" * 32)["CiphertextBlob"]
        bodies[server.name] = {
            "GenerateDataKey": {"KeyId": key, "KeySpec": "AES_256"},
            "Encrypt": {"KeyId": key, "Plaintext": base64.b64encode(b"x" * 32).decode()},
            "Decrypt": {"CiphertextBlob": base64.b64encode(sealed).decode()},
        }
    bodies[bare.name] = bodies[ours.name]

    print(f"{'operation':<16} {'conns':>5} {'server':<11} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8}")
    for operation in OPERATIONS:
        for connections in CONNECTIONS:
            seen = {}
            for _ in range(options.rounds):
                for server in (bare, ours, *peers):
                    if server in peers and connections not in PEER_CONNECTIONS:
                        continue
                    body = bodies[server.name][operation]
                    if options.signed and server in (bare, ours):
                        result = load_signed(server, operation, body, connections, options.seconds)
                    else:
                        request = server.sign(operation, body)
                        result = load(server, request, connections, options.seconds)
                    seen.setdefault(server.name, []).append(result)
            for name, results in seen.items():
                rate, half, most = (statistics.median(column) for column in zip(*results))
                print(
                    f"{operation:<16} {connections:>5} {name:<11} {rate:>8.0f} {half:>8.2f} {most:>8.2f}"
                )
            median = {
                name: statistics.median(result[0] for result in results)
                for name, results in seen.items()
            }
            line = f"  waxseal is {median['waxseal'] / median['bare hyper']:.2f} x bare hyper"
            for peer in peers:
                if peer.name in median:
                    line += f", {median['waxseal'] / median[peer.name]:.1f} x {peer.name}"
            print(line, flush=True)
    print(f"waxseal: {resident(ours.process):.1f} MiB resident after the load")
    for server in (ours, bare, *peers):
        server.end()
