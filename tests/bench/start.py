#!/usr/bin/env python3
"""How long to the first byte on the disk, and from SIGINT to the end; how much memory a big fetch takes.

    tests/bench/start.py [--runs 7] [--kinds swarm,rqbit] [--big 4096]

`first byte` is from the fetcher's start, with a seed it is told of, to the first block that the
file system holds. `end` is from SIGINT, sent while the fetcher is in the middle, to its exit.
`empty process` is the floor of the first: `swarm --version`, from start to exit.
"""

import contextlib
import os
import shutil
import signal
import statistics
import time

import lab
import peers
from transfer import FETCHER, SEED, Scene, has_all, listens

TIMEOUT = 60
BIG_TIMEOUT = 600
#: Between two looks at the disk: the figures' grain.
GRAIN = 0.0005
#: So slow that a fetch of the small file is far from its end when it is interrupted.
SLOW_BYTES = 16_000_000


def has_bytes(job):
    """Whether the file holds anything: one that only has its length holds no blocks."""
    with contextlib.suppress(FileNotFoundError):
        return os.stat(job.written() or job.target).st_blocks > 0
    return False


@contextlib.contextmanager
def pair(scene, kind, limit=0):
    """A seed that is ready and a fetcher that has just been started."""
    peer = peers.KINDS[kind](scene.options)
    scene.runs += 1
    place = os.path.join(scene.place, f"run-{scene.runs}")
    there = scene.job(scene.options.piece, SEED)
    here = scene.job(scene.options.piece, FETCHER, folder=os.path.join(place, "out"), limit=limit)
    here.peers = [there.endpoint]
    os.makedirs(here.folder)
    started = []
    try:
        started.append(lab.Process(peer.seed(there), os.path.join(place, "seed")))
        lab.wait_until("the seed to listen", lambda: started[0].check() or listens(there.port), TIMEOUT)
        lab.wait_quiet(started[0])
        started.append(lab.Process(peer.fetch(here), os.path.join(place, "fetch")))
        yield peer, here, started[1]
    finally:
        for process in reversed(started):
            process.stop()
        shutil.rmtree(place)


def first_byte(scene, kind):
    with pair(scene, kind) as (_, here, sink):
        return lab.wait_until("the first byte", lambda: has_bytes(here), TIMEOUT, GRAIN) - sink.started


def interrupted(scene, kind):
    with pair(scene, kind, SLOW_BYTES) as (_, here, sink):
        lab.wait_until("the first byte", lambda: sink.check() or has_bytes(here), TIMEOUT)
        time.sleep(0.3)
        sink.check()
        begin = time.monotonic()
        sink.signal(signal.SIGINT)
        return lab.wait_until("the end", lambda: not sink.alive(), TIMEOUT, GRAIN) - begin


def empty(scene):
    process = lab.Process([scene.options.swarm, "--version"], os.path.join(scene.place, "empty"))
    return lab.wait_until("the end", lambda: not process.alive(), TIMEOUT, GRAIN) - process.started


def peak_rss(scene, kind):
    with pair(scene, kind) as (peer, here, sink):
        lab.wait_until("the fetch", lambda: has_all(sink, peer), BIG_TIMEOUT)
        sink.stop()
        if not lab.same(scene.content, here.target):
            raise lab.Failure(f"different bytes\n{sink.words()}")
        return sink.peak_rss


def main():
    parser = lab.arguments(__doc__)
    parser.add_argument("--mib", type=int, default=128, help="size of the file for the times")
    parser.add_argument("--big", type=int, default=4096, help="MiB of the file for the memory, 0 for none; two must fit")
    parser.add_argument("--piece", type=int, default=1 << 20, help="bytes of a piece")
    parser.add_argument("--runs", type=int, default=7, help="runs of each time")
    parser.add_argument("--kinds", default="swarm,rqbit", help="of swarm and rqbit")
    options = parser.parse_args()
    lab.isolate()
    for address in (SEED, FETCHER):
        lab.run("ip", "address", "add", f"{address}/32", "dev", "lo")
    print(f"{lab.conditions()}", flush=True)
    kinds = options.kinds.split(",")
    scene = Scene(options, [options.piece])
    milliseconds = {kind: ([], []) for kind in kinds}
    floor = []
    for number in range(options.runs):
        floor.append(empty(scene) * 1000)
        for kind, (begins, ends) in milliseconds.items():
            begins.append(first_byte(scene, kind) * 1000)
            ends.append(interrupted(scene, kind) * 1000)
            lab.note(f"{number + 1} {kind}: {begins[-1]:.0f} ms, {ends[-1]:.0f} ms")
    shutil.rmtree(scene.place)
    memory = {}
    if options.big:
        options.mib = options.big
        scene = Scene(options, [options.piece])
        for kind in kinds:
            memory[kind] = peak_rss(scene, kind) / lab.MIB
            lab.note(f"{kind}: {memory[kind]:.0f} MiB")
    rows = [["empty process", lab.spread(floor, 1), "1.0", "-", "-"]]
    for kind, (begins, ends) in milliseconds.items():
        times = f"{statistics.median(begins) / statistics.median(floor):.1f}"
        peak = f"{memory[kind]:.0f}" if kind in memory else "-"
        rows.append([kind, lab.spread(begins, 1), times, lab.spread(ends, 1), peak])
    head = ["client", "first byte ms", "x empty process", "SIGINT to end ms"]
    lab.table([*head, f"peak RSS MiB of {options.big} MiB"], rows)
    print(f"load at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
