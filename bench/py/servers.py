"""Servers, signed requests for them, and a load of one request that is repeated. For the scripts here."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.credentials


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("a server does not answer")


class Server:
    """A server, how to reach it, and the signed requests for it."""

    def __init__(self, name, command, endpoint, region, access, secret, environment=None):
        self.name, self.endpoint, self.region = name, endpoint, region
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(int(endpoint.rsplit(":", 1)[1]))
        self.access, self.secret = access, secret

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def sign(self, operation, body, by=None):
        """A request by the owner, or by whoever has these: access key id, secret, session token."""
        by = by or (self.access(), self.secret(), None)
        request = botocore.awsrequest.AWSRequest(
            "POST",
            self.endpoint + "/",
            data=json.dumps(body),
            headers={
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": f"TrentService.{operation}",
            },
        )
        credentials = botocore.credentials.Credentials(*by)
        botocore.auth.SigV4Auth(credentials, "kms", self.region).add_auth(request)
        return request

    def client(self):
        return boto3.client(
            "kms",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access(),
            aws_secret_access_key=self.secret(),
        )


def waxseal(program, home, environment=None, arguments=()):
    """`waxseal serve` on a home, and its owner's access key."""
    port = free_port()
    key_file = pathlib.Path(home) / "access-key"

    def of_file(name):
        return lambda: re.search(rf"{name} = (\S+)", key_file.read_text()).group(1)

    return Server(
        "waxseal",
        [program, "serve", "--listen", f"127.0.0.1:{port}", *arguments],
        f"http://127.0.0.1:{port}",
        "local",
        of_file("aws_access_key_id"),
        of_file("aws_secret_access_key"),
        {"WAXSEAL_HOME": str(home), **(environment or {})},
    )


def load(server, request, connections, seconds):
    """Requests a second, and the median and 99th percentile of the time in milliseconds."""
    body = request.body if isinstance(request.body, str) else request.body.decode()
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write('wrk.method = "POST"\n')
        script.write(f"wrk.body = [==[{body}]==]\n")
        for name, value in request.headers.items():
            script.write(f"wrk.headers[ [==[{name}]==] ] = [==[{value}]==]\n")
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s"]
        out = subprocess.run(
            [*command, script.name, request.url],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    assert not wrong, f"{server.name}: {wrong.group(0)}"
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
    scale = {"us": 1e-3, "ms": 1, "s": 1e3}
    times = []
    for percent in ("50", "99"):
        number, unit = re.search(rf"\s{percent}%\s+([\d.]+)(us|ms|s)", out).groups()
        times.append(float(number) * scale[unit])
    return rate, *times


def resident(process):
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) / 1024
