"""What `aws cloudtrail validate-logs` says of a trail with many changes in it.

trail_mutations.py TRAIL COUNT COMMAND…: COUNT changes, several in each run of COMMAND (validate-logs with
its arguments) where they do not hide each other. Each file that was changed must be named as invalid, and
no other. The trail is as before afterwards. Prints how many there were, and in how many runs.
"""

import gzip
import json
import pathlib
import random
import re
import subprocess
import sys
import zlib

TOGETHER = 20  # changes in one run
DIGESTS = 8  # of them to digests, at most
INVALID = re.compile(r"^(?:Digest|Log) file\ts3://[^/]+/(\S+)\tINVALID: (.*)$", re.MULTILINE)
FREE = range(3, 10)  # time and system in a gzip header, which nobody relies on


def unpacked(data):
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return None


def packed(value):
    text = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return gzip.compress(text, mtime=0)


class Trail:
    def __init__(self, folder, command, dice):
        self.folder, self.command, self.dice = pathlib.Path(folder), command, dice
        paths = sorted(self.folder.rglob("*.json.gz"))
        self.content = {path: path.read_bytes() for path in paths}
        self.digests = sorted((path for path in paths if "Digest" in path.name), key=self.end)
        self.logs = {}  # which digest speaks of it
        for digest in self.digests:
            for file in self.json(digest)["logFiles"]:
                self.logs[self.folder / file["s3Object"]] = digest
        for path in self.digests:
            signature = self.signature(path)
            self.content[signature] = signature.read_bytes()

    def end(self, path):
        return path.name[-24:-8]

    def json(self, path):
        return json.loads(gzip.decompress(self.content[path]))

    def signature(self, digest):
        return digest.with_name(digest.name + ".signature")

    # --- changes to any file ---

    def flip(self, path):
        data = self.content[path]
        while True:
            at = self.dice.choice([at for at in range(len(data)) if at not in FREE])
            bent = data[:at] + bytes([data[at] ^ 1 << self.dice.randrange(8)]) + data[at + 1 :]
            # The bits that fill up the last byte mean nothing.
            if unpacked(bent) != unpacked(data):
                break
        path.write_bytes(bent)

    def cut(self, path):
        # The last bytes alone are its length, which CloudTrail's verifier does not look at in logs.
        data = self.content[path]
        path.write_bytes(data[: self.dice.randrange(len(data) - 40)])

    def remove(self, path):
        path.unlink()

    def empty(self, path):
        path.write_bytes(b"")

    def other_json(self, path):
        path.write_bytes(packed({"Records": []}))

    def other_text(self, path):
        path.write_bytes(packed(b"this is no JSON"))

    def swap(self, path):
        same = self.digests if path in self.digests else list(self.logs)
        path.write_bytes(self.content[self.dice.choice([other for other in same if other != path])])

    # --- to files of events ---

    def event(self, path):
        value = self.json(path)
        event = self.dice.choice(value["Records"])
        event[self.dice.choice(["eventName", "eventTime", "sourceIPAddress"])] = "other"
        path.write_bytes(packed(value))

    def event_removed(self, path):
        value = self.json(path)
        value["Records"].pop(self.dice.randrange(len(value["Records"])))
        path.write_bytes(packed(value))

    def event_twice(self, path):
        value = self.json(path)
        value["Records"].append(value["Records"][0])
        path.write_bytes(packed(value))

    def events_turned(self, path):
        value = self.json(path)
        value["Records"].reverse()
        value["Records"].append({})
        path.write_bytes(packed(value))

    # --- to digests ---

    def member(self, path):
        value = self.json(path)
        names = [name for name, old in value.items() if isinstance(old, str)]
        value[self.dice.choice(names)] += "0"
        path.write_bytes(packed(value))

    def member_removed(self, path):
        value = self.json(path)
        value.pop(self.dice.choice(list(value)))
        path.write_bytes(packed(value))

    def files_left_out(self, path):
        value = self.json(path)
        value["logFiles"] = []
        path.write_bytes(packed(value))

    def hash_replaced(self, path):
        value = self.json(path)
        value["logFiles"][0]["hashValue"] = "0" * 64
        path.write_bytes(packed(value))

    def signature_changed(self, path):
        text = self.content[self.signature(path)].decode()
        at = self.dice.randrange(len(text))
        digit = self.dice.choice([digit for digit in "0123456789abcdef" if digit != text[at]])
        self.signature(path).write_text(text[:at] + digit + text[at + 1 :])

    def signature_of_another(self, path):
        other = self.dice.choice([other for other in self.digests if other != path])
        self.signature(path).write_bytes(self.content[self.signature(other)])

    def signature_removed(self, path):
        self.signature(path).unlink()

    ANY = [flip, cut, remove, empty, other_json, other_text, swap]
    LOG = ANY + [event, event_removed, event_twice, events_turned]
    DIGEST = ANY + [
        member,
        member_removed,
        files_left_out,
        hash_replaced,
        signature_changed,
        signature_of_another,
        signature_removed,
    ]

    def run(self):
        ran = subprocess.run(self.command, capture_output=True, text=True)
        return ran, dict(INVALID.findall(ran.stdout + ran.stderr))

    def chosen(self):
        """As many files as fit into one run. What a digest speaks of is not looked at once it is invalid
        itself, and the one before is found in the list of its bucket. So no two are neighbours, and none
        is the first in another bucket than the one before. Nothing speaks of the newest digest yet."""
        crossing = lambda digest: digest["previousDigestS3Bucket"] not in (None, digest["digestS3Bucket"])
        free = [at for at, path in enumerate(self.digests[:-1]) if not crossing(self.json(path))]
        places = []
        while free and len(places) < DIGESTS:
            at = self.dice.choice(free)
            places.append(at)
            free = [other for other in free if abs(other - at) > 1]
        digests = [self.digests[at] for at in places]
        logs = [path for path, digest in self.logs.items() if digest not in digests]
        return digests, self.dice.sample(logs, min(len(logs), TOGETHER - len(digests)))

    def together(self, turn):
        digests, logs = self.chosen()
        changed = {}
        for kinds, paths in ((self.DIGEST, digests), (self.LOG, logs)):
            for index, path in enumerate(paths):
                kind = kinds[(turn * len(paths) + index) % len(kinds)]
                kind(self, path)
                changed[str(path.relative_to(self.folder))] = kind.__name__
        ran, invalid = self.run()
        self.restore()
        missed = {path: kind for path, kind in changed.items() if path not in invalid}
        extra = {path: why for path, why in invalid.items() if path not in changed}
        if ran.returncode != 1 or missed or extra:
            sys.exit(f"not found: {missed}\nfound, though nobody changed it: {extra}\n{ran}")
        return len(changed)

    def restore(self):
        for path, data in self.content.items():
            path.write_bytes(data)


def main():
    folder, count, *command = sys.argv[1:]
    trail = Trail(folder, command, random.Random(23))
    done = runs = 0
    while done < int(count):
        done += trail.together(runs)
        runs += 1
    ran, invalid = trail.run()
    if ran.returncode or invalid:
        sys.exit(f"the trail is not as before: {ran}")
    print(f"{done} changes found in {runs} runs")


main()
