"""Runs of commands, one after the other in turns, and what they took.

Wall time, and the CPU time and exit code of the process and of all it waited for, come from wait4.
Peak memory comes from GNU time: what wait4 says about memory begins with that of this interpreter.
"""

import os
import random
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Program:
    """One line of a table. In `argv` and `env`, {fresh} is a folder that is new for each run.

    `against` names the program that the ratios of this one are over; `runs` replaces the number
    that was asked for, where a run takes long.
    """

    name: str
    argv: list
    against: str = ""
    runs: int = 0
    env: dict = field(default_factory=dict)


@dataclass
class Series:
    """What the runs of one program took, in seconds."""

    wall: list = field(default_factory=list)
    cpu: list = field(default_factory=list)

    def medians(self):
        return statistics.median(self.wall), statistics.median(self.cpu)


class Folder:
    """Where everything happens: each run gets a new folder."""

    def __init__(self, path):
        self.path = Path(path)
        self.count = 0

    def fresh(self):
        self.count += 1
        path = self.path / f"run{self.count}"
        path.mkdir()
        return path

    def settle(self, like):
        """Before a run with large files: nothing waits for the disk, and memory for as much as
        `like` was in use just now. Memory that lay free for some seconds goes back to the host of a
        virtual machine and is slow to get again: 1 GiB of it costs a second. It is asked for in
        large pieces, as programs that write in large pieces get it: cp makes small ones, and who
        came after it would get others than it had freed.
        """
        os.sync()
        scratch = self.path / "scratch"
        with open(like, "rb", 0) as source, open(scratch, "wb", 0) as target:
            while piece := source.read(1 << 18):
                target.write(piece)
        scratch.unlink()


def once(program, folder, keep, check=None):
    """Seconds of wall and CPU time of one run. A run that fails ends everything.

    `keep` leaves the outputs where they are: ext4 is slow to make files again whose inodes became
    free in the last minutes. Large outputs are removed all the same, for the sake of memory.
    """
    fresh = folder.fresh()

    def placed(text):
        return str(text).replace("{fresh}", str(fresh))

    argv = [placed(part) for part in program.argv]
    env = {**os.environ, **{k: placed(v) for k, v in program.env.items()}}
    log = os.open(folder.path / "said", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, log, 2),
    ]
    begin = time.perf_counter_ns()
    child = os.posix_spawnp(argv[0], argv, env, file_actions=actions)
    _, status, usage = os.wait4(child, 0)
    wall = (time.perf_counter_ns() - begin) / 1e9
    os.close(log)
    if status != 0:
        said = (folder.path / "said").read_text(errors="replace")
        raise SystemExit(f"{program.name} failed (status {status}): {argv}\n{said}")
    if check:
        check(program, fresh)
    if not keep:
        shutil.rmtree(fresh)
    return wall, usage.ru_utime + usage.ru_stime


def interleaved(programs, runs, folder, like=None, check=None):
    """Each program once, then each again in another order, `runs` times; the first round does not
    count. `like` is the input where it is large (see `Folder.settle`).
    """
    series = {program.name: Series() for program in programs}
    for turn in range(runs + 1):
        for program in random.Random(turn).sample(programs, len(programs)):
            if turn > (program.runs or runs):
                continue
            if like:
                folder.settle(like)
            wall, cpu = once(program, folder, not like, check if turn == 0 else None)
            if turn > 0:
                series[program.name].wall.append(wall)
                series[program.name].cpu.append(cpu)
    return series


def table(title, programs, series, out):
    """Medians, and ratios of medians over the program that each names; N is the number of runs."""
    unit, factor = ("ms", 1e3) if min(s.medians()[0] for s in series.values()) < 0.1 else ("s", 1)
    out(f"\n## {title}\n")
    out(f"| program | wall {unit} | min | max | CPU {unit} | wall × | CPU × | over | N |")
    out("|---|---|---|---|---|---|---|---|---|")
    for program in programs:
        taken = series[program.name]
        wall, cpu = taken.medians()
        cells = [program.name]
        cells += [f"{v * factor:.2f}" for v in (wall, min(taken.wall), max(taken.wall), cpu)]
        if program.against:
            other_wall, other_cpu = series[program.against].medians()
            cells += [f"{wall / other_wall:.3f}", f"{cpu / other_cpu:.3f}", program.against]
        else:
            cells += ["", "", ""]
        out("| " + " | ".join([*cells, str(len(taken.wall))]) + " |")


def peak_kib(argv, folder, env=None):
    """The largest resident set of a run, in KiB."""
    fresh = folder.fresh()
    argv = [str(part).replace("{fresh}", str(fresh)) for part in argv]
    said = fresh / "peak"
    command = ["/usr/bin/time", "-f", "%M", "-o", said, *argv]
    subprocess.run(
        command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )
    peak = int(said.read_text())
    shutil.rmtree(fresh)
    return peak
