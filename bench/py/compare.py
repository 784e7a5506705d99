"""The comparisons: `bench/compare` calls this with everything built and installed."""

import argparse
import contextlib
import datetime
import filecmp
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import secretbox_libsodium
from measure import Folder, Program, interleaved, peak_kib, table

MIB = 1 << 20
GIB = 1 << 30


class World:
    """Programs, inputs and keys, made once and only read by the runs."""

    def __init__(self, args, path, out):
        self.args, self.out, self.runs = args, out, args.runs
        self.folder = Folder(path)
        self.path = Path(path)
        # A copy: whoever builds meanwhile does not change what is measured.
        self.waxseal = self.path / "waxseal"
        shutil.copy2(args.waxseal, self.waxseal)
        (self.path / "key").write_bytes(os.urandom(32))
        self.raw = ["-k", f"raw-aes:{self.path / 'key'}"]
        self.home = {"WAXSEAL_HOME": self.path / "home", "HOME": self.path}
        os.environ["HOME"] = str(self.path)
        run("age-keygen", "-o", self.path / "age.key")
        self.recipient = run("age-keygen", "-y", self.path / "age.key").strip()

    def input(self, name, size):
        """A file of `size` random bytes; in the page cache, and on the disk, before it is used."""
        path = self.path / name
        if not path.exists() or path.stat().st_size != size:
            with open(path, "wb") as file:
                for at in range(0, size, MIB):
                    file.write(os.urandom(min(MIB, size - at)))
            os.sync()
        return path

    def sealed(self, plain, *options, env=None):
        """`plain` as a message, made beforehand."""
        tag = "".join(o.strip("-") for o in options if not str(o).startswith("raw-aes"))
        path = self.path / f"{plain.name}.{tag}.{'home' if env else 'raw'}.wax"
        if not path.exists():
            run(self.waxseal, "encrypt", *options, "-o", path, plain, env=env)
            os.sync()
        return path

    def encrypt(self, plain, *options):
        return [self.waxseal, "encrypt", *options, "-o", "{fresh}/out", plain]

    def decrypt(self, sealed, *options):
        return [self.waxseal, "decrypt", *options, "-o", "{fresh}/out", sealed]

    def age(self, plain):
        """Programs that encrypt and decrypt with age."""
        sealed = self.path / f"{plain.name}.age"
        if not sealed.exists():
            run("age", "-r", self.recipient, "-o", sealed, plain)
            os.sync()
        identity = self.path / "age.key"
        return (
            ["age", "-r", self.recipient, "-o", "{fresh}/out", plain],
            ["age", "-d", "-i", identity, "-o", "{fresh}/out", sealed],
        )

    def measure(self, title, programs, runs=None, like=None, plain=None):
        """Runs and prints. In the first round what decrypts is compared with `plain`."""

        def check(program, fresh):
            if plain and "decrypt" in program.name:
                assert filecmp.cmp(fresh / "out", plain, shallow=False), program.name

        load = os.getloadavg()[0]
        series = interleaved(programs, runs or self.runs, self.folder, like, check)
        table(title, programs, series, self.out)
        self.out(f"\nLoad before {load:.2f}, after {os.getloadavg()[0]:.2f}.")
        return {name: taken.medians()[0] for name, taken in series.items()}

    def target(self, text, value, bound, at_least=False):
        met = value >= bound if at_least else value <= bound
        sign = ">=" if at_least else "<="
        self.out(f"- {'met' if met else 'MISSED'}: {text}: {value:.3f} ({sign} {bound})")


def run(*argv, env=None):
    merged = {**os.environ, **{k: str(v) for k, v in (env or {}).items()}}
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, env=merged)
    if done.returncode:
        raise SystemExit(f"{argv}: {done.returncode}\n{done.stderr}")
    return done.stdout


# --- Suites ---


def small(world):
    """A 20-byte secret, whole process."""
    plain = world.input("secret", 20)
    home, raw = world.home, world.raw
    by_home = world.sealed(plain, env=home)
    by_raw = world.sealed(plain, *raw)
    age_encrypt, age_decrypt = world.age(plain)
    with moto(world) as (arn, aws):
        esdk = ["-S", "-w", f"key={arn}", "-o", "{fresh}/out", "-i"]
        by_esdk = world.path / "secret.esdk"
        cli = world.args.encryption_cli
        run(cli, "--encrypt", *[by_esdk if a == "{fresh}/out" else a for a in esdk], plain, env=aws)
        few = max(3, world.runs // 5)
        kms = ["--kms", "aws", "-k", arn]
        programs = [
            Program("cp", ["cp", plain, "{fresh}/out"]),
            Program("cp, sync", ["sh", "-c", f"cp {plain} {{fresh}}/out && sync {{fresh}}/out"]),
            Program("encrypt raw", world.encrypt(plain, "--no-sync", *raw), "cp"),
            Program("decrypt raw", world.decrypt(by_raw, "--no-sync", *raw), "cp"),
            Program("encrypt raw, synced", world.encrypt(plain, *raw), "cp, sync"),
            Program("encrypt signed raw", world.encrypt(plain, "--no-sync", "--signed", *raw), "cp"),
            Program("aws-encryption-cli encrypt", [cli, "--encrypt", *esdk, plain], "", few, aws),
            Program("aws-encryption-cli decrypt", [cli, "--decrypt", *esdk, by_esdk], "", few, aws),
            Program("encrypt embedded", world.encrypt(plain),
                    "aws-encryption-cli encrypt", 0, home),
            Program("decrypt embedded", world.decrypt(by_home),
                    "aws-encryption-cli decrypt", 0, home),
            Program("encrypt embedded, no-sync", world.encrypt(plain, "--no-sync"),
                    "aws-encryption-cli encrypt", 0, home),
            Program("encrypt embedded, first use", world.encrypt(plain), "", few,
                    {"WAXSEAL_HOME": "{fresh}/home"}),
            Program("encrypt --kms aws (moto)", world.encrypt(plain, *kms),
                    "aws-encryption-cli encrypt", few, {**home, **aws}),
            Program("age encrypt", age_encrypt, "cp"),
            Program("age decrypt", age_decrypt, "cp"),
            Program("openssl enc", ["openssl", "enc", "-aes-256-ctr", "-K", "00" * 32, "-iv",
                                    "00" * 16, "-in", plain, "-out", "{fresh}/out"], "cp"),
        ]
        wall = world.measure("20 bytes, whole process", programs, plain=plain)
    for way in ("encrypt", "decrypt"):
        ours = wall[f"{way} embedded"]
        world.target(f"{way} with the embedded KMS, ms", ours * 1e3, 10)
        world.target(f"{way} over aws-encryption-cli", ours / wall[f"aws-encryption-cli {way}"], 1 / 40)
        world.target(f"{way} with a raw key over cp", wall[f"{way} raw"] / wall["cp"], 2)


def large(world):
    """1 GiB from file to file, page cache."""
    plain = world.input("large", world.args.large_mib * MIB)
    raw, runs = world.raw, max(3, world.runs // 4)
    age_encrypt, age_decrypt = world.age(plain)
    frame = ["--frame", "4096"]
    by_raw = world.sealed(plain, *raw)
    programs = [
        Program("cp", ["cp", plain, "{fresh}/out"]),
        Program("encrypt", world.encrypt(plain, "--no-sync", *raw), "cp"),
        Program("decrypt", world.decrypt(by_raw, "--no-sync", *raw), "cp"),
        Program("encrypt -j1", world.encrypt(plain, "--no-sync", "-j", "1", *raw), "cp"),
        Program("decrypt -j1", world.decrypt(by_raw, "--no-sync", "-j", "1", *raw), "cp"),
        Program("age encrypt", age_encrypt, "cp"),
        Program("age decrypt", age_decrypt, "cp"),
        Program("encrypt 4 KiB", world.encrypt(plain, "--no-sync", *frame, *raw), "encrypt"),
        Program("decrypt 4 KiB",
                world.decrypt(world.sealed(plain, *frame, *raw), "--no-sync", *raw), "decrypt"),
    ]
    if rage := world.args.rage:
        programs += [
            Program("rage encrypt", [rage, *age_encrypt[1:]], "cp"),
            Program("rage decrypt", [rage, *age_decrypt[1:]], "cp"),
        ]
    wall = world.measure(f"{world.args.large_mib} MiB file to file, not synced", programs, runs,
                         like=plain, plain=plain)
    for way in ("encrypt", "decrypt"):
        world.target(f"{way} over cp", wall[way] / wall["cp"], 1)
        world.target(f"age {way} over {way}", wall[f"age {way}"] / wall[way], 3, at_least=True)
        if rage:
            world.target(f"rage {way} over {way}", wall[f"rage {way}"] / wall[way], 5, at_least=True)
        world.target(f"{way} 4 KiB over 64 KiB frames", wall[f"{way} 4 KiB"] / wall[way], 1.4)


def signed(world):
    """1 GiB signed, from file to file, page cache."""
    plain = world.input("large", world.args.large_mib * MIB)
    raw, runs = world.raw, max(3, world.runs // 4)
    by_raw = world.sealed(plain, "--signed", *raw)
    hashing = "openssl sha384"
    seal, unseal = ["--no-sync", "--signed", *raw], ["--no-sync", *raw]
    programs = [
        Program(hashing, ["openssl", "dgst", "-sha384", plain]),
        Program("encrypt", world.encrypt(plain, *seal), hashing),
        Program("decrypt", world.decrypt(by_raw, *unseal), hashing),
    ]
    if other := world.args.with_openssl:
        programs += [
            Program("encrypt, openssl", [other, *world.encrypt(plain, *seal)[1:]], hashing),
            Program("decrypt, openssl", [other, *world.decrypt(by_raw, *unseal)[1:]], hashing),
        ]
    wall = world.measure(f"{world.args.large_mib} MiB signed, not synced", programs, runs,
                         like=plain, plain=plain)
    for name in wall:
        if name != hashing:
            world.target(f"{name} over {hashing}", wall[name] / wall[hashing], 1.1)


def peers(world):
    """128 MiB with the other programs and libraries for the same format."""
    plain = world.input("middle", 128 * MIB)
    raw, few = world.raw, 3
    by_raw = world.sealed(plain, *raw)
    key = world.path / "key"
    node = ["node", Path(__file__).parent / "client_node.mjs", world.args.node, key]
    by_node = world.path / "middle.node"
    run(*node, "encrypt", plain, by_node)
    with moto(world) as (arn, aws):
        cli = world.args.encryption_cli
        esdk = ["-S", "-w", f"key={arn}", "-o", "{fresh}/out", "-i"]
        by_esdk = world.path / "middle.esdk"
        run(cli, "--encrypt", *[by_esdk if a == "{fresh}/out" else a for a in esdk], plain, env=aws)
        programs = [
            Program("encrypt", world.encrypt(plain, "--no-sync", *raw)),
            Program("decrypt", world.decrypt(by_raw, "--no-sync", *raw)),
            Program("encrypt signed", world.encrypt(plain, "--no-sync", "--signed", *raw)),
            Program("aws-encryption-cli encrypt", [cli, "--encrypt", *esdk, plain],
                    "encrypt", few, aws),
            Program("aws-encryption-cli decrypt", [cli, "--decrypt", *esdk, by_esdk],
                    "decrypt", few, aws),
            Program("client-node encrypt", [*node, "encrypt", plain, "{fresh}/out"], "encrypt", few),
            Program("client-node decrypt", [*node, "decrypt", by_node, "{fresh}/out"],
                    "decrypt", few),
        ]
        wall = world.measure("128 MiB file to file: programs for the same format (theirs sign)",
                             programs, max(3, world.runs // 4), like=plain, plain=plain)
    for way in ("encrypt", "decrypt"):
        world.target(f"aws-encryption-cli {way} over {way}",
                     wall[f"aws-encryption-cli {way}"] / wall[way], 20, at_least=True)
        world.target(f"client-node {way} over {way}", wall[f"client-node {way}"] / wall[way], 1,
                     at_least=True)


def synced(world):
    """1 GiB from file to file, on the disk when the command ends."""
    plain = world.input("large", world.args.large_mib * MIB)
    raw, runs = world.raw, max(3, world.runs // 5)
    programs = [
        Program("cp, sync", ["sh", "-c", f"cp {plain} {{fresh}}/out && sync {{fresh}}/out"]),
        Program("encrypt", world.encrypt(plain, *raw), "cp, sync"),
        Program("decrypt", world.decrypt(world.sealed(plain, *raw), *raw), "cp, sync"),
    ]
    wall = world.measure(f"{world.args.large_mib} MiB file to file, synced", programs, runs,
                         like=plain, plain=plain)
    for way in ("encrypt", "decrypt"):
        world.target(f"{way} over cp and sync", wall[way] / wall["cp, sync"], 1.05)


def pipe(world):
    """1 GiB through pipes."""
    plain = world.input("large", world.args.large_mib * MIB)
    runs = max(3, world.runs // 4)
    raw = " ".join(world.raw)
    sealed = world.sealed(plain, *world.raw)

    def line(middle, source=plain):
        return ["sh", "-c", f"cat {source} | {middle} | cat >/dev/null"]

    age = f"age -r {world.recipient}"
    programs = [
        Program("cat", line("cat")),
        Program("encrypt", line(f"{world.waxseal} encrypt {raw}"), "cat"),
        Program("decrypt", line(f"{world.waxseal} decrypt {raw}", sealed), "cat"),
        Program("age encrypt", line(age), "cat"),
    ]
    wall = world.measure(f"{world.args.large_mib} MiB through pipes", programs, runs,
                         like=plain)
    for way in ("encrypt", "decrypt"):
        world.target(f"{way} over cat", wall[way] / wall["cat"], 1)


def memory(world):
    """Peak memory."""
    sizes = [(1, "small1"), (world.args.large_mib, "large")]
    if world.args.huge:
        sizes.append((8 * 1024, "huge"))
    world.out("\n## Peak resident memory, MiB, the larger of two runs\n")
    world.out("| MiB | shape | encrypt | decrypt | encrypt, pipes | decrypt, pipes |")
    world.out("|---|---|---|---|---|---|")
    worst = 0
    for mib, name in sizes:
        plain = world.input(name, mib * MIB)
        for shape in ([], ["--frame", "4096"], ["--signed"]):
            if name == "huge" and shape:
                continue
            sealed = world.sealed(plain, *shape, *world.raw)
            raw = " ".join(world.raw)
            commands = [
                world.encrypt(plain, "--no-sync", *shape, *world.raw),
                world.decrypt(sealed, "--no-sync", *world.raw),
                # GNU time watches the shell and all it waited for: cat is small.
                ["sh", "-c", f"cat {plain} | {world.waxseal} encrypt {' '.join(shape)} {raw} | cat"],
                ["sh", "-c", f"cat {sealed} | {world.waxseal} decrypt {raw} | cat"],
            ]
            peaks = [max(peak_kib(c, world.folder) for _ in range(2)) / 1024 for c in commands]
            worst = max(worst, *peaks)
            cells = " | ".join(f"{peak:.1f}" for peak in peaks)
            world.out(f"| {mib} | {' '.join(shape) or '64 KiB frames'} | {cells} |")
    plain = world.input("secret", 20)
    home = {key: str(value) for key, value in world.home.items()}
    world.sealed(plain, env=home)
    peak = peak_kib(world.encrypt(plain), world.folder, home) / 1024
    world.out(f"\n20 bytes with the embedded KMS: {peak:.1f} MiB.")
    world.target("peak memory, MiB", worst, 16)


def secretbox(world):
    """A payload in memory against libsodium."""
    mib = world.args.secretbox_mib
    times = secretbox_libsodium.compare(world.args.worker, mib * MIB, max(5, world.runs // 2))
    world.out(f"\n## secretbox of {mib} MiB in memory, GB/s (medians, interleaved)\n")
    world.out("| step | waxseal | libsodium | waxseal × |")
    world.out("|---|---|---|---|")
    ratios = {}
    for step, (ours, theirs) in times.items():
        ours, theirs = statistics.median(ours), statistics.median(theirs)
        ratios[step] = theirs / ours
        speeds = " | ".join(f"{mib * MIB / ns:.2f}" for ns in (ours, theirs))
        world.out(f"| {step} | {speeds} | {theirs / ours:.2f} |")
    world.out(f"\n{secretbox_libsodium.VERSION}; box-…: between buffers that are there already;"
              " seal and open: output allocated, opened text wiped, both freed.")
    for step, ratio in ratios.items():
        world.target(f"{step} over libsodium", ratio, 1, at_least=True)


def files(world):
    """Ten thousand files of 4 KiB in one command."""
    tree = world.path / "tree"
    for at in range(10_000):
        path = tree / f"{at // 100}" / f"file{at}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(4096))
    os.sync()
    runs = max(3, world.runs // 4)

    def ours(*options):
        return [world.waxseal, "encrypt", "-r", *options, "-o", "{fresh}/out", tree]

    programs = [
        Program("cp -r", ["cp", "-r", tree, "{fresh}/out"]),
        Program("encrypt -r raw", ours("--no-sync", *world.raw), "cp -r"),
        Program("encrypt -r -j1 raw", ours("-j", "1", "--no-sync", *world.raw), "cp -r"),
        Program("encrypt -r embedded", ours("--no-sync"), "cp -r", 3, world.home),
        Program("encrypt -r raw, synced", ours(*world.raw), "cp -r", 3),
    ]
    wall = world.measure("10,000 files of 4 KiB", programs, runs)
    world.target("encrypt -r over cp -r", wall["encrypt -r raw"] / wall["cp -r"], 1)


# Those with many small files first: they suffer from inodes that others have just freed.
SUITES = [small, files, large, signed, synced, pipe, peers, memory, secretbox]


@contextlib.contextmanager
def moto(world):
    """A KMS on loopback with one key: its ARN, and the environment that leads to it."""
    port_file = world.path / "port"
    server = subprocess.Popen(
        [sys.executable, world.args.moto, port_file],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        while not port_file.exists():
            assert server.poll() is None, "moto ended"
            time.sleep(0.05)
        url = f"http://127.0.0.1:{port_file.read_text().strip()}"
        env = {
            "AWS_ACCESS_KEY_ID": "AKIDBENCH", "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL_KMS": url, "AWS_EC2_METADATA_DISABLED": "true",
        }
        import boto3

        client = boto3.client("kms", endpoint_url=url, region_name="eu-west-1",
                              aws_access_key_id="AKIDBENCH", aws_secret_access_key="secret")
        yield client.create_key()["KeyMetadata"]["Arn"], env
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def main():
    parser = argparse.ArgumentParser(prog="bench/compare")
    parser.add_argument("--runs", type=int, default=20, help="runs of the fast suites; slow ones take a part")
    parser.add_argument("--huge", action="store_true", help="peak memory at 8 GiB too")
    parser.add_argument("--large-mib", type=int, default=1024, help="size of the large file")
    parser.add_argument("--secretbox-mib", type=int, default=256)
    parser.add_argument("--folder", help="where files are made [default: below target/bench]")
    for name in ("waxseal", "worker", "encryption-cli", "moto", "out"):
        parser.add_argument(f"--{name}", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--node", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rage", help=argparse.SUPPRESS)
    parser.add_argument("--with-openssl", help=argparse.SUPPRESS)
    parser.add_argument("suites", nargs="*", choices=[[], *(suite.__name__ for suite in SUITES)])
    args = parser.parse_args()

    results = Path(args.out) / "results"
    results.mkdir(parents=True, exist_ok=True)
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    with open(results / f"{stamp}.md", "w", encoding="utf-8") as file:

        def out(line):
            print(line, flush=True)
            print(line, file=file, flush=True)

        with tempfile.TemporaryDirectory(dir=args.folder or args.out, prefix="compare-") as path:
            world = World(args, path, out)
            out(f"# {stamp}: {run(world.waxseal, '--version').strip()}, {args.runs} runs")
            for suite in SUITES:
                if not args.suites or suite.__name__ in args.suites:
                    suite(world)


if __name__ == "__main__":
    main()
