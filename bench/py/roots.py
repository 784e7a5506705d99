"""What a server's root, its many keys, and its disk cost. See bench/roots."""

import argparse
import concurrent.futures
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

from servers import load, resident, waxseal

parser = argparse.ArgumentParser()
parser.add_argument("--waxseal", required=True)
parser.add_argument("--softhsm", required=True)
parser.add_argument("--unaudited", help="a waxseal that was built with bench/unaudited.patch")
parser.add_argument("--seconds", type=int, default=5)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--keys", type=int, default=10_000)
options = parser.parse_args()


def device(place):
    """A SoftHSM token, as the environment of a server whose root is in it."""
    (place / "tokens").mkdir()
    configuration = place / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {place}/tokens\nobjectstore.backend = file\n"
    )
    environment = {"SOFTHSM2_CONF": str(configuration)}
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "bench"]
        + ["--so-pin", "12345678", "--pin", "4321"],
        env={**os.environ, **environment},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    pin = place / "pin"
    pin.touch(0o600)
    pin.write_text("4321\n")
    uri = f"pkcs11:token=bench;object=root?module-path={options.softhsm}&pin-source={pin}"
    return {**environment, "WAXSEAL_ROOT": uri}


def compare(servers, connections):
    """Requests a second of each, in turns: medians, and each against the first."""
    requests = {}
    for name, server in servers.items():
        key = server.client().create_key()["KeyMetadata"]["KeyId"]
        requests[name] = (server, {"KeyId": key, "KeySpec": "AES_256"})
    seen = {name: [] for name in servers}
    for _ in range(options.rounds):
        for name, (server, body) in requests.items():
            request = server.sign("GenerateDataKey", body)
            seen[name].append(load(server, request, connections, options.seconds)[0])
    medians = {name: statistics.median(rates) for name, rates in seen.items()}
    first = next(iter(medians.values()))
    for name, rate in medians.items():
        spread = f"{min(seen[name]):.0f} to {max(seen[name]):.0f}"
        print(
            f"GenerateDataKey, {connections} connections, {name:<24} {rate:>8.0f}/s"
            f" ({spread}), {rate / first:.2f} x"
        )


def start(home, key):
    """Milliseconds until a server on `home` has answered a request, and its memory then."""
    began = time.monotonic()
    server = waxseal(options.waxseal, home)
    server.client().describe_key(KeyId=key)
    took = 1000 * (time.monotonic() - began)
    memory = resident(server.process)
    server.end()
    return took, memory


with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
    disk, memory = pathlib.Path(disk), pathlib.Path(memory)
    for name in ("file", "device", "memory"):
        ((memory if name == "memory" else disk) / name).mkdir(0o700)
    in_device = device(disk / "device")

    servers = {
        "root in a file": waxseal(options.waxseal, disk / "file" / "home"),
        "root in SoftHSM": waxseal(options.waxseal, disk / "device" / "home", in_device),
    }
    for connections in (32, 256):
        compare(servers, connections)
    for server in servers.values():
        server.end()

    servers = {
        "home on the disk": waxseal(options.waxseal, disk / "file" / "home"),
        "home in memory": waxseal(options.waxseal, memory / "memory" / "home"),
    }
    for connections in (32, 256):
        compare(servers, connections)
    servers["home in memory"].end()

    if options.unaudited:
        (disk / "unaudited").mkdir(0o700)
        unaudited = waxseal(options.unaudited, disk / "unaudited" / "home")
        for connections in (32, 256):
            compare({"without audit": unaudited, "with": servers["home on the disk"]}, connections)
        unaudited.end()

    kms = servers["home on the disk"].client()
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    servers["home on the disk"].end()
    few_times = [start(disk / "file" / "home", key) for _ in range(options.rounds)]
    server = waxseal(options.waxseal, disk / "file" / "home")
    kms = server.client()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: kms.create_key(), range(options.keys)))
    server.end()
    many_times = [start(disk / "file" / "home", key) for _ in range(options.rounds)]
    for count, times in (("few", few_times), (f"{options.keys}", many_times)):
        took, held = (statistics.median(column) for column in zip(*times))
        print(f"start to the first answer with {count} keys: {took:.0f} ms, {held:.1f} MiB")
