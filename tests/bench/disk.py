#!/usr/bin/env python3
"""How fast we answer while the disk has too much to do: `stats()` of a session, and SIGINT of the command line.

    tests/bench/disk.py --disk FOLDER [--mib 1024] [--hogs 2] [--seconds 15] [--runs 20]

The seed's content lies in memory, the fetcher writes to `--disk`, and as many `--hogs` write to the same disk
and force it there, over and over. `stats()` is asked once a millisecond for so many `--seconds`, by the example
`stats` of swarm-core. SIGINT is sent to a fetch under way, in as many `--runs`: `said` is when its last line has come,
`ended` when the process has. It ends only when what is verified is forced to the disk and recorded, which
takes as long as the disk needs: `dirty` says how many MiB waited in the system, most of them the hogs'.
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time

import lab
import peers
from transfer import FETCHER, SEED, Scene, listens

TIMEOUT = 120
GRAIN = 0.0005
LAST_LINE = b"stopped"

HOG = """
import os, sys
chunk = os.urandom(8 << 20)
with open(sys.argv[1], "wb", buffering=0) as file:
    while True:
        file.seek(0)
        for _ in range(64):
            file.write(chunk)
        os.fdatasync(file.fileno())
"""


def dirty():
    """MiB that wait to be written to some disk."""
    with open("/proc/meminfo", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    return sum(int(lines[name].split()[0]) for name in ("Dirty", "Writeback")) / 1024


class Stage:
    """A seed in memory, hogs on the disk, and fetchers that write to it."""

    def __init__(self, options):
        self.options = options
        self.scene = Scene(options, [1 << 20])
        self.disk = lab.workplace(options.disk)
        self.seed = self.scene.job(1 << 20, SEED)
        place = self.scene.place
        seed = peers.Swarm(options)
        self.started = [lab.Process(seed.seed(self.seed), os.path.join(place, "seed"))]
        lab.wait_until("the seed to listen", lambda: self.started[0].check() or listens(self.seed.port), TIMEOUT)
        lab.wait_quiet(self.started[0])
        for number in range(options.hogs):
            file = os.path.join(self.disk, f"hog-{number}")
            self.started.append(lab.Process([sys.executable, "-c", HOG, file], os.path.join(place, f"hog-{number}")))

    def end(self):
        for process in self.started:
            process.stop()

    def stats(self):
        """What the example prints: count, median, 99th percentile and longest in us, ms to the end, bytes."""
        folder = os.path.join(self.disk, "stats")
        os.makedirs(folder)
        command = [self.options.stats, self.seed.torrent, folder, str(self.options.seconds), self.seed.endpoint]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        shutil.rmtree(folder)
        if done.returncode != 0:
            raise lab.Failure(done.stderr)
        return [int(word) for word in done.stdout.split()]

    def interrupted(self, number):
        """Milliseconds from SIGINT to the last line and to the end."""
        here = self.scene.job(1 << 20, FETCHER, folder=os.path.join(self.disk, f"run-{number}"))
        os.makedirs(here.folder)
        silent = ["--no-dht", "--no-lsd", "--no-upnp", "--no-tracker"]
        command = [self.options.swarm, "fetch", *silent, "--peer", self.seed.endpoint, "--listen", here.endpoint]
        command += ["--down", str(self.options.down), "-o", here.folder, here.torrent]
        sink = lab.Process(command, os.path.join(self.scene.place, f"fetch-{number}"))

        def has_bytes():
            sink.check()
            return here.written() and os.stat(here.written()).st_blocks > 0

        try:
            lab.wait_until("the first byte", has_bytes, TIMEOUT)
            time.sleep(1)
            sink.check()
            begin = time.monotonic()
            sink.signal(signal.SIGINT)
            said = lab.wait_until("the last line", lambda: LAST_LINE in sink.words().encode(), TIMEOUT, GRAIN)
            ended = lab.wait_until("the end", lambda: not sink.alive(), TIMEOUT, GRAIN)
            return (said - begin) * 1000, (ended - begin) * 1000
        finally:
            sink.stop()
            shutil.rmtree(here.folder)


def main():
    parser = lab.arguments(__doc__)
    example = os.path.join(lab.ROOT, "target/release/examples/stats")
    parser.add_argument("--stats", default=example, help="the example of swarm-core")
    parser.add_argument("--disk", required=True, help="folder on the disk that is to be busy")
    parser.add_argument("--mib", type=int, default=1024, help="size of the content")
    parser.add_argument("--down", type=int, default=100_000_000, help="bytes a second of a fetch that is interrupted")
    parser.add_argument("--hogs", type=int, default=2, help="processes that write as fast as the disk takes it")
    parser.add_argument("--seconds", type=int, default=15, help="how long stats() is asked")
    parser.add_argument("--runs", type=int, default=20, help="fetches that are interrupted")
    options = parser.parse_args()
    lab.isolate()
    for address in (SEED, FETCHER):
        lab.run("ip", "address", "add", f"{address}/32", "dev", "lo")
    print(f"{options.hogs} hogs; {lab.conditions()}\n", flush=True)
    stage = Stage(options)
    try:
        count, median, most, longest, end, have = stage.stats()
        print(f"stats(): {count} calls, median {median} us, 99 % within {most} us, longest {longest} us; ", end="")
        print(f"{have >> 20} MiB came; end of the session {end} ms; {dirty():.0f} MiB dirty\n", flush=True)
        runs, waiting = [], []
        for number in range(options.runs):
            waiting.append(dirty())
            runs.append(stage.interrupted(number))
            lab.note(f"{number + 1}: said after {runs[-1][0]:.1f} ms, ended after {runs[-1][1]:.1f} ms")
    finally:
        stage.end()
    if runs:
        said, ended = zip(*runs)
        rows = [[lab.spread(said, 1), lab.spread(ended, 1), f"{statistics.median(waiting):.0f}"]]
        lab.table(["SIGINT to said, ms", "SIGINT to ended, ms", "dirty MiB"], rows)
    print(f"\nload at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
