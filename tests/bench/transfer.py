#!/usr/bin/env python3
"""One seed, one fetcher, one file over loopback: how fast, and at what cost of either side.

    tests/bench/transfer.py [--mib 1024] [--piece 1048576] [--runs 3] [--pairs SEED:FETCHER,...]

Runs take turns, so that a change of the machine's mood meets every pair. The time is from the
fetcher's start to its end (libtorrent's has none: to the word that it has everything), and a
run counts only if the file is the same, byte for byte.
"""

import os
import shutil
import statistics
import subprocess
import time

import lab
import peers

SEED, FETCHER, TRACKER = "10.97.0.1", "10.97.0.2", "10.97.0.3:6969"
PAIRS = "floor,swarm,rqbit,libtorrent,aria2"
TIMEOUT = 300


class Scene:
    """The content, its torrent, and the ports not used yet."""

    def __init__(self, options):
        self.options = options
        self.place = lab.workplace(options.work)
        self.content = os.path.join(self.place, "source", "payload.bin")
        os.mkdir(os.path.dirname(self.content))
        lab.content(self.content, options.mib)
        self.torrent = os.path.join(self.place, "payload.torrent")
        tracker = f"http://{TRACKER}/announce"
        self.info_hash = lab.torrent(self.torrent, self.content, options.piece, tracker)
        self.runs = 0

    def job(self, number, address, **more):
        # Fresh ports: an ended peer leaves its old one waiting.
        port = 7000 + 2 * self.runs + number
        return peers.Job(self.torrent, self.content, self.options.piece, address, port, **more)


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


def transfer(scene, seed, fetcher):
    """One run; returns its figures."""
    scene.runs += 1
    place = os.path.join(scene.place, f"run-{scene.runs}")
    needs_tracker = seed.needs_tracker or fetcher.needs_tracker
    there = scene.job(0, SEED, tracker=needs_tracker)
    known = "" if needs_tracker else there.endpoint
    here = scene.job(1, FETCHER, tracker=needs_tracker, folder=os.path.join(place, "out"), peer=known)
    os.makedirs(here.folder)
    started = []
    try:
        if needs_tracker:
            started.append(peers.opentracker(place, TRACKER, scene.info_hash))
        source = lab.Process(seed.seed(there), os.path.join(place, "seed"))
        started.append(source)
        lab.wait_until("the seed to listen", lambda: source.check() or listens(there.port), 120)
        if seed.hashes_first:
            lab.wait_quiet(source)
        cpu, switches = source.cpu(), source.switches()
        sink = lab.Process(fetcher.fetch(here), os.path.join(place, "fetch"))
        started.append(sink)
        end = lab.wait_until("the fetch", lambda: has_all(sink, fetcher), TIMEOUT)
        source.watch_rss()
        spent = [source.cpu() - cpu, *(now - then for now, then in zip(source.switches(), switches))]
        sink.stop()
        if not lab.same(scene.content, here.target):
            raise lab.Failure(f"different bytes\n{sink.words()}")
        return figures(scene, end - sink.started, spent, source, sink)
    finally:
        for process in reversed(started):
            process.stop()
        shutil.rmtree(place)


def figures(scene, seconds, spent, source, sink):
    gib = scene.options.mib / 1024
    return {
        "speed": scene.options.mib * lab.MIB / 1e6 / seconds,
        "seed_cpu": spent[0] / gib,
        "fetch_cpu": sink.cpu() / gib,
        "seed_rss": source.peak_rss / lab.MIB,
        "fetch_rss": sink.peak_rss / lab.MIB,
        "seed_voluntary": spent[1] / gib,
        "seed_involuntary": spent[2] / gib,
        "fetch_voluntary": sink.switches()[0] / gib,
        "fetch_involuntary": sink.switches()[1] / gib,
    }


def report(results):
    middle = {
        pair: {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        for pair, runs in results.items()
        if runs
    }

    def ratio(pair, other, name):
        return f"{middle[pair][name] / middle[other][name]:.2f}" if other in middle else "-"

    rows = []
    for pair, runs in results.items():
        if not runs:
            rows.append([pair, "failed", *["-"] * 8])
            continue
        m = middle[pair]
        rows.append([
            pair,
            lab.spread([run["speed"] for run in runs]),
            ratio(pair, "floor", "speed"),
            ratio(pair, "rqbit", "speed"),
            f"{m['seed_cpu']:.2f}",
            f"{m['fetch_cpu']:.2f}",
            f"{m['seed_rss']:.0f}",
            f"{m['fetch_rss']:.0f}",
            f"{m['seed_voluntary']:.0f} / {m['seed_involuntary']:.0f}",
            f"{m['fetch_voluntary']:.0f} / {m['fetch_involuntary']:.0f}",
        ])
    lab.table(
        [
            "pair", "MB/s median (min-max)", "x floor", "x rqbit", "seed CPU s/GiB", "fetch CPU s/GiB",
            "seed peak RSS MiB", "fetch peak RSS MiB", "seed switches/GiB vol/invol", "fetch switches/GiB vol/invol",
        ],
        rows,
    )


def main():
    parser = lab.arguments(__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--piece", type=int, default=1 << 20, help="bytes of a piece")
    parser.add_argument("--runs", type=int, default=3, help="runs of every pair")
    parser.add_argument("--pairs", default=PAIRS, help="SEED:FETCHER, or one name for both")
    options = parser.parse_args()
    lab.isolate()
    for address in (SEED, FETCHER, TRACKER.split(":", maxsplit=1)[0]):
        lab.run("ip", "address", "add", f"{address}/32", "dev", "lo")
    scene = Scene(options)
    results = {pair: [] for pair in options.pairs.split(",")}
    print(f"{options.mib} MiB, pieces of {options.piece} bytes; {lab.conditions()}", flush=True)
    for number in range(options.runs):
        for pair, runs in results.items():
            seed, _, fetcher = pair.partition(":")
            try:
                kinds = [peers.KINDS[kind](options) for kind in (seed, fetcher or seed)]
                runs.append(transfer(scene, *kinds))
                lab.note(f"{number + 1} {pair}: {runs[-1]['speed']:.0f} MB/s")
            except lab.Failure as failure:
                lab.note(f"{number + 1} {pair} failed: {failure}")
            time.sleep(0.2)
    report(results)
    print(f"load at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
