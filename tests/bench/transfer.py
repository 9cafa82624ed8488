#!/usr/bin/env python3
"""Content over loopback from seeds to fetchers: how fast, and at what cost of either side.

    tests/bench/transfer.py [--mib 1024] [--runs 3] [--pairs SEED:FETCHER,...]
        [--piece-kib 1024 | --pieces] [--fetchers 4 | --seeds 4] [--quick]

One seed and one fetcher, unless told otherwise. With `--fetchers` as many fetch at once from one seed. With
`--seeds` the content is a folder of as many files, and each seed has, and wants, another one of them: a fetcher
gets every piece from one seed only, and needs them all.

Runs take turns, so that a change of the machine's mood meets every pair. The time is from the first fetcher's
start to the last one's end (libtorrent's has none: to the word that it has everything), and a run counts only if
every fetcher has the same bytes. MB/s are those of all fetchers together.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import lab
import peers

NETWORK = "10.97.0"
SEED, FETCHER, TRACKER = f"{NETWORK}.1", f"{NETWORK}.2", f"{NETWORK}.3:6969"
PAIRS = "floor,swarm,rqbit,libtorrent,aria2"
#: Piece lengths of `--pieces`, in KiB; the others are compared with the one of 1 MiB.
SWEEP = [16, 64, 1024, 16384]
MIDDLE = 1024


@dataclass
class Shape:
    """Who fetches from whom."""

    fetchers: int = 1
    seeds: int = 1

    def seed_address(self, number):
        return SEED if self.seeds == 1 else f"{NETWORK}.{100 + number}"

    def fetcher_address(self, number):
        return FETCHER if self.fetchers == 1 else f"{NETWORK}.{150 + number}"

    def addresses(self):
        yield TRACKER.rpartition(":")[0]
        yield from (self.seed_address(number) for number in range(self.seeds))
        yield from (self.fetcher_address(number) for number in range(self.fetchers))


class Scene:
    """The content, its torrents, and the ports not used yet."""

    def __init__(self, options, pieces, shape=None):
        self.options = options
        self.shape = shape or Shape()
        self.place = lab.workplace(options.work)
        room = options.mib * (1 + self.shape.fetchers) + 256
        lab.room_for(self.place, room)
        if options.warm:
            lab.warm_up(self.place, room)
        if self.shape.seeds > 1:
            self.content = os.path.join(self.place, "source", "payload")
            lab.parts(self.content, self.shape.seeds, options.mib)
        else:
            self.content = os.path.join(self.place, "source", "payload.bin")
            os.mkdir(os.path.dirname(self.content))
            lab.content(self.content, options.mib)
        self.torrents = {}
        for piece in pieces:
            path = os.path.join(self.place, f"payload-{piece}.torrent")
            info_hash = lab.torrent(path, self.content, piece, f"http://{TRACKER}/announce")
            self.torrents[piece] = (path, info_hash)
        self.ports = 7000
        self.runs = 0

    def job(self, piece, address, **more):
        # Fresh ports: an ended peer leaves its old one waiting.
        self.ports += 1
        torrent, _ = self.torrents[piece]
        return peers.Job(torrent, self.content, piece, address, self.ports, **more)


def listens(port):
    shown = subprocess.run(["ss", "-Hltn", "sport", "=", f":{port}"], capture_output=True, check=True)
    return bool(shown.stdout.strip())


def has_all(process, peer):
    """Whether a fetcher has everything; fails if it ended otherwise."""
    if process.alive():
        process.watch_rss()
        if peer.done_word is None:
            return False
        with open(process.log, "rb") as log:
            return peer.done_word in log.read()
    if process.code != 0:
        process.check()
    return True


def partial(scene, job, place):
    """Lays out the one file that a partial seed has: the same bytes under another name, not copied."""
    job.folder = os.path.join(place, f"part-{job.only}")
    os.makedirs(job.target)
    name = f"{job.only:02}.bin"
    os.link(os.path.join(scene.content, name), os.path.join(job.target, name))


class Run:
    """One transfer; everything it starts ends with it."""

    def __init__(self, scene, piece, seed, fetcher):
        scene.runs += 1
        self.scene, self.piece, self.seed, self.fetcher = scene, piece, seed, fetcher
        self.place = os.path.join(scene.place, f"run-{scene.runs}")
        self.tracker = seed.needs_tracker or fetcher.needs_tracker
        self.started = []

    def __enter__(self):
        if self.scene.shape.seeds > 1 and not self.seed.can_be_partial:
            raise lab.Failure("cannot serve a part")
        os.makedirs(self.place)
        if self.tracker:
            _, info_hash = self.scene.torrents[self.piece]
            self.started.append(peers.opentracker(self.place, TRACKER, info_hash))
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            process.stop()
        shutil.rmtree(self.place)

    def start(self, name, command):
        self.started.append(lab.Process(command, os.path.join(self.place, name)))
        return self.started[-1]

    def sources(self):
        """Starts the seeds; returns them, ready to serve, with their addresses."""
        jobs, running = [], []
        shape = self.scene.shape
        for number in range(shape.seeds):
            job = self.scene.job(self.piece, shape.seed_address(number), tracker=self.tracker)
            if shape.seeds > 1:
                job.only = number
                partial(self.scene, job, self.place)
            jobs.append(job)
            running.append(self.start(f"seed-{number}", self.seed.seed(job)))
        for job, source in zip(jobs, running):
            lab.wait_until("the seed to listen", lambda: source.check() or listens(job.port), 120)
            if self.seed.hashes_first:
                lab.wait_quiet(source)
        return running, [job.endpoint for job in jobs]

    def sinks(self, known):
        """Starts the fetchers; returns them with what they are to leave."""
        jobs = []
        for number in range(self.scene.shape.fetchers):
            folder = os.path.join(self.place, f"out-{number}")
            os.makedirs(folder)
            address = self.scene.shape.fetcher_address(number)
            job = self.scene.job(self.piece, address, tracker=self.tracker, folder=folder)
            job.peers = [] if self.tracker else known
            jobs.append(job)
        running = [self.start(f"fetch-{at}", self.fetcher.fetch(job)) for at, job in enumerate(jobs)]
        return running, [job.target for job in jobs]


def transfer(scene, piece, seed, fetcher):
    """One run; returns its figures."""
    with Run(scene, piece, seed, fetcher) as run:
        sources, known = run.sources()
        before = [(source.cpu(), *source.switches()) for source in sources]
        sinks, targets = run.sinks(known)

        def all_done():
            for source in sources:
                source.check()
            return all([has_all(sink, fetcher) for sink in sinks])

        try:
            end = lab.wait_until("the fetch", all_done, scene.options.timeout, pause=0.01)
        except lab.Failure as failure:
            raise lab.Failure(f"{failure}\n{sinks[0].words()}") from None
        spent = [0.0, 0, 0]
        for source, then in zip(sources, before):
            source.watch_rss()
            now = (source.cpu(), *source.switches())
            spent = [sum_ + new - old for sum_, new, old in zip(spent, now, then)]
        for sink, target in zip(sinks, targets):
            sink.stop()
            if not lab.same(scene.content, target):
                raise lab.Failure(f"different bytes\n{sink.words()}")
        return figures(scene, end - sinks[0].started, spent, sources, sinks)


def figures(scene, seconds, spent, sources, sinks):
    mib = scene.options.mib * scene.shape.fetchers
    gib = mib / 1024
    switches = [sink.switches() for sink in sinks]
    return {
        "speed": mib * lab.MIB / 1e6 / seconds,
        "seed_cpu": spent[0] / gib,
        "fetch_cpu": sum(sink.cpu() for sink in sinks) / gib,
        "seed_rss": max(source.peak_rss for source in sources) / lab.MIB,
        "fetch_rss": max(sink.peak_rss for sink in sinks) / lab.MIB,
        "seed_voluntary": spent[1] / gib,
        "seed_involuntary": spent[2] / gib,
        "fetch_voluntary": sum(voluntary for voluntary, _ in switches) / gib,
        "fetch_involuntary": sum(involuntary for _, involuntary in switches) / gib,
    }


def medians(runs):
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def report(results):
    """One piece length: a row for every pair."""
    middle = {pair: medians(runs) for pair, runs in results.items() if runs}

    def ratio(pair, other, name):
        return f"{middle[pair][name] / middle[other][name]:.2f}" if other in middle else "-"

    rows = []
    for pair, runs in results.items():
        if not runs:
            rows.append([pair, "failed", *["-"] * 9])
            continue
        m = middle[pair]
        rows.append([
            pair,
            lab.spread([run["speed"] for run in runs]),
            ratio(pair, "floor", "speed"),
            ratio(pair, "rqbit", "speed"),
            f"{m['seed_cpu']:.2f}",
            f"{m['fetch_cpu']:.2f}",
            f"{min(run['seed_cpu'] + run['fetch_cpu'] for run in runs):.2f}",
            f"{m['seed_rss']:.0f}",
            f"{m['fetch_rss']:.0f}",
            f"{m['seed_voluntary']:.0f} / {m['seed_involuntary']:.0f}",
            f"{m['fetch_voluntary']:.0f} / {m['fetch_involuntary']:.0f}",
        ])
    lab.table(
        [
            "pair", "MB/s median (min-max)", "x floor", "x rqbit", "seed CPU s/GiB", "fetch CPU s/GiB",
            "both, best run", "seed peak RSS MiB", "fetch peak RSS MiB", "seed switches/GiB vol/invol",
            "fetch switches/GiB vol/invol",
        ],
        rows,
    )


def compare(results):
    """All piece lengths: medians, and how they compare with the middle one."""
    rows = []
    for pair in next(iter(results.values())):
        row = [pair]
        base = results.get(MIDDLE, {}).get(pair)
        for by_pair in results.values():
            if not (runs := by_pair[pair]):
                row.append("failed")
                continue
            speed = medians(runs)["speed"]
            row.append(f"{speed:.0f} ({speed / medians(base)['speed']:.2f})" if base else f"{speed:.0f}")
        rows.append(row)
    print(f"\nMB/s by piece length, and x the case of {MIDDLE} KiB:\n")
    lab.table(["pair", *[f"{kib} KiB" for kib in results]], rows)


def options_given():
    parser = lab.arguments(__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the content")
    parser.add_argument("--piece-kib", default=str(MIDDLE), help="KiB of a piece; several with commas between")
    parser.add_argument("--pieces", action="store_true", help=f"piece lengths of {SWEEP} KiB")
    parser.add_argument("--fetchers", type=int, default=1, help="fetchers at once, at most 50")
    parser.add_argument("--seeds", type=int, default=1, help="partial seeds, at most 50")
    parser.add_argument("--runs", type=int, default=3, help="runs of every pair")
    parser.add_argument("--pairs", default=PAIRS, help="SEED:FETCHER, or one name for both")
    parser.add_argument("--timeout", type=float, default=600, help="seconds a run may take")
    parser.add_argument("--quick", action="store_true", help="64 MiB and one run: whether it works")
    options = parser.parse_args()
    if options.quick:
        options.mib, options.runs = 64, 1
    options.lengths = SWEEP if options.pieces else [int(kib) for kib in options.piece_kib.split(",")]
    part = options.mib * 1024 / options.seeds
    if any(part % kib for kib in options.lengths) and options.seeds > 1:
        sys.exit("the part of a seed must be whole pieces")
    if max(options.fetchers, options.seeds) > 50 or options.fetchers < 1 or options.seeds < 1:
        sys.exit("from 1 to 50 fetchers and seeds")
    return options


def main():
    options = options_given()
    lab.isolate()
    shape = Shape(options.fetchers, options.seeds)
    for address in shape.addresses():
        lab.run("ip", "address", "add", f"{address}/32", "dev", "lo")
    scene = Scene(options, [kib * 1024 for kib in options.lengths], shape)
    results = {kib: {pair: [] for pair in options.pairs.split(",")} for kib in options.lengths}
    cast = f"{shape.seeds} seed(s), {shape.fetchers} fetcher(s)"
    print(f"{options.mib} MiB, {cast}, {options.runs} run(s); {lab.conditions()}", flush=True)
    for number in range(options.runs):
        for kib, by_pair in results.items():
            for pair, runs in by_pair.items():
                seed, _, fetcher = pair.partition(":")
                try:
                    kinds = [peers.KINDS[kind](options) for kind in (seed, fetcher or seed)]
                    runs.append(transfer(scene, kib * 1024, *kinds))
                    lab.note(f"{number + 1} {pair}, {kib} KiB: {runs[-1]['speed']:.0f} MB/s")
                except lab.Failure as failure:
                    lab.note(f"{number + 1} {pair}, {kib} KiB failed: {failure}")
                time.sleep(0.2)
    for kib, by_pair in results.items():
        print(f"\nPieces of {kib} KiB:\n")
        report(by_pair)
    if len(results) > 1:
        compare(results)
    print(f"\nload at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
