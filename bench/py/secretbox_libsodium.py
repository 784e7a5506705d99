"""secretbox by waxseal and by libsodium, in turns: a worker process of ours, libsodium in here.

`box-seal` and `box-open` work between buffers that exist; `seal` and `open` are what a program
does that has the input and wants the output: theirs with malloc, sodium_memzero of opened text and
free around it, as ours wipes and frees what it gave.
"""

import ctypes
import ctypes.util
import subprocess
import time

KEY, NONCE = bytes([7]) * 32, bytes([9]) * 24
TAG_BYTES = 16

SODIUM = ctypes.CDLL("libsodium.so.23")
SODIUM.sodium_init()
SODIUM.sodium_version_string.restype = ctypes.c_char_p
VERSION = f"libsodium {SODIUM.sodium_version_string().decode()}"
for _function in (SODIUM.crypto_secretbox_easy, SODIUM.crypto_secretbox_open_easy):
    _function.argtypes = [
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulonglong, ctypes.c_char_p, ctypes.c_char_p,
    ]
SODIUM.sodium_memzero.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

LIBC = ctypes.CDLL(None)
LIBC.malloc.argtypes, LIBC.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
LIBC.free.argtypes = [ctypes.c_void_p]
LIBC.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]


class Libsodium:
    """The steps, by name."""

    def __init__(self, size):
        self.size = size
        self.text = LIBC.malloc(size)
        self.boxed = LIBC.malloc(size + TAG_BYTES)
        LIBC.memset(self.text, 1, size)
        self._seal(self.boxed)

    def run(self, step):
        begin = time.perf_counter_ns()
        if step == "box-seal":
            self._seal(self.boxed)
        elif step == "box-open":
            self._open(self.text)
        elif step == "seal":
            out = LIBC.malloc(self.size + TAG_BYTES)
            self._seal(out)
            LIBC.free(out)
        else:
            out = LIBC.malloc(self.size)
            self._open(out)
            SODIUM.sodium_memzero(out, self.size)
            LIBC.free(out)
        return time.perf_counter_ns() - begin

    def _seal(self, out):
        done = SODIUM.crypto_secretbox_easy(out, self.text, self.size, NONCE, KEY)
        assert done == 0

    def _open(self, out):
        sealed_bytes = self.size + TAG_BYTES
        done = SODIUM.crypto_secretbox_open_easy(out, self.boxed, sealed_bytes, NONCE, KEY)
        assert done == 0


def compare(worker, size, runs):
    """For each step the nanoseconds of our runs and of theirs."""
    theirs = Libsodium(size)
    with subprocess.Popen(
        [worker, "--serve", str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def ours(step):
            process.stdin.write(f"{step}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        times = {step: ([], []) for step in ("box-seal", "box-open", "seal", "open")}
        for turn in range(runs + 1):
            for step, (our_times, their_times) in times.items():
                taken = ours(step), theirs.run(step)
                if turn > 0:
                    our_times.append(taken[0])
                    their_times.append(taken[1])
        process.stdin.close()
    return times
