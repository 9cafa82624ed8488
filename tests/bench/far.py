#!/usr/bin/env python3
"""One seed, one fetcher, a long path between them: whether requests, windows and buffers fill it.

    tests/bench/far.py [--rtt 20,100] [--mbits 0] [--mib 512] [--runs 3] [--kinds swarm,rqbit,libtorrent]
        [--buffers-mib 0] [--quick]        (as root)

The path is `delay.py`, which holds every packet back for half of the round trip; with `--mbits` it has a rate too.
`floor` is the same path with `sendfile` at one end and no requests at all: what TCP alone makes of it with the
system's limits on its buffers (`net.ipv4.tcp_rmem`, `tcp_wmem`), which are printed. `--buffers-mib` raises both.
"""

import os
import shutil
import statistics
import subprocess
import sys

import lab
import peers
from transfer import has_all

NEAR, FAR = "near", "distant"
SEED, FETCHER = "10.96.0.1", "10.96.0.2"
PORT = 7000
TIMEOUT = 300
LIMITS = ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "net.ipv4.tcp_congestion_control")


class Path:
    """Two namespaces and the delay between them."""

    def __init__(self, options, rtt, place):
        for space in (NEAR, FAR):
            lab.run("ip", "netns", "add", space)
            if options.buffers_mib:
                most = options.buffers_mib * lab.MIB
                for limit in LIMITS[:2]:
                    lab.run("ip", "netns", "exec", space, "sysctl", "-qw", f"{limit}=4096 131072 {most}")
        delay = os.path.join(lab.ROOT, "tests/bench/delay.py")
        command = [sys.executable, delay, NEAR, FAR, "--milliseconds", str(rtt / 2), "--mbits", str(options.mbits)]
        self.relay = lab.Process(command, os.path.join(place, f"delay-{rtt}"))
        lab.wait_until("the path", lambda: self.relay.check() or "ready" in self.relay.words(), 20)

    def limits(self):
        return "; ".join(
            f"{limit} {' '.join(lab.run('ip', 'netns', 'exec', NEAR, 'sysctl', '-n', limit).split())}" for limit in LIMITS
        )

    def close(self):
        self.relay.stop()
        for space in (NEAR, FAR):
            lab.run("ip", "netns", "delete", space)


def listens(space):
    shown = subprocess.run(
        ["ip", "netns", "exec", space, "ss", "-Hltn", "sport", "=", f":{PORT}"], capture_output=True, check=True
    )
    return bool(shown.stdout.strip())


def fetch(options, place, torrent, content, kind):
    """One fetch over the path; returns its MB/s, and the CPU seconds a GiB of both ends."""
    peer = peers.KINDS[kind](options)
    home = os.path.join(place, "run")
    piece = options.piece_kib * 1024
    there = peers.Job(torrent, content, piece, SEED, PORT)
    here = peers.Job(torrent, content, piece, FETCHER, PORT, os.path.join(home, "out"), [there.endpoint])
    os.makedirs(here.folder)
    started = []
    try:
        source = lab.Process(peer.seed(there), os.path.join(home, "seed"), NEAR)
        started.append(source)
        lab.wait_until("the seed to listen", lambda: source.check() or listens(NEAR), 60)
        if peer.hashes_first:
            lab.wait_quiet(source)
        before = source.cpu()
        sink = lab.Process(peer.fetch(here), os.path.join(home, "fetch"), FAR)
        started.append(sink)
        end = lab.wait_until("the fetch", lambda: has_all(sink, peer), TIMEOUT, pause=0.01)
        cpu = sink.cpu() + source.cpu() - before
        sink.stop()
        if not lab.same(content, here.target):
            raise lab.Failure(f"different bytes\n{sink.words()}")
        return options.mib * lab.MIB / 1e6 / (end - sink.started), cpu * 1024 / options.mib
    finally:
        for process in reversed(started):
            process.stop()
        shutil.rmtree(home)


def play(options, place, torrent, content, rtt):
    """All kinds over one path, in turn, and their table."""
    path = Path(options, rtt, place)
    try:
        rate = f", {options.mbits:.0f} Mbit/s" if options.mbits else ""
        print(f"\nRound trip {rtt:g} ms{rate}; {path.limits()}; {lab.conditions()}\n", flush=True)
        results = {kind: [] for kind in options.kinds.split(",")}
        for number in range(options.runs):
            for kind, runs in results.items():
                try:
                    runs.append(fetch(options, place, torrent, content, kind))
                    lab.note(f"{number + 1} {kind}, {rtt:g} ms: {runs[-1][0]:.0f} MB/s")
                except lab.Failure as failure:
                    lab.note(f"{number + 1} {kind}, {rtt:g} ms failed: {failure}")
    finally:
        path.close()
    middle = {kind: statistics.median(speed for speed, _ in runs) for kind, runs in results.items() if runs}
    rows = []
    for kind, runs in results.items():
        if not runs:
            rows.append([kind, "failed", *["-"] * 3])
            continue
        ratios = [f"{middle[kind] / middle[other]:.2f}" if other in middle else "-" for other in ("floor", "rqbit")]
        cpu = min(cpu for _, cpu in runs)
        rows.append([kind, lab.spread([speed for speed, _ in runs]), *ratios, f"{cpu:.2f}"])
    lab.table(["client", "MB/s median (min-max)", "x floor", "x rqbit", "CPU s/GiB, both, best run"], rows)
    print(f"\nload at the end: {os.getloadavg()[0]:.1f}", flush=True)


def main():
    parser = lab.arguments(__doc__)
    parser.add_argument("--rtt", default="20,100", help="round trips, in milliseconds")
    parser.add_argument("--mbits", type=float, default=0, help="rate of the path; 0 for none")
    parser.add_argument("--mib", type=int, default=512, help="size of the file")
    parser.add_argument("--piece-kib", type=int, default=1024, help="KiB of a piece")
    parser.add_argument("--runs", type=int, default=3, help="runs of every client, in turn")
    parser.add_argument("--kinds", default="floor,swarm,rqbit,libtorrent", help="clients")
    parser.add_argument("--buffers-mib", type=int, default=0, help="most memory of a socket; 0 for the system's own")
    parser.add_argument("--quick", action="store_true", help="64 MiB and one run: whether it works")
    options = parser.parse_args()
    if options.quick:
        options.mib, options.runs = 64, 1
    if os.geteuid() != 0:
        sys.exit("namespaces with a path between them need root")
    lab.isolate()
    os.makedirs("/run/netns", exist_ok=True)
    lab.run("mount", "-t", "tmpfs", "none", "/run/netns")
    place = lab.workplace(options.work)
    lab.room_for(place, options.mib * 2 + 128)
    content = os.path.join(place, "source", "payload.bin")
    os.mkdir(os.path.dirname(content))
    lab.content(content, options.mib)
    torrent = os.path.join(place, "payload.torrent")
    lab.torrent(torrent, content, options.piece_kib * 1024, f"http://{SEED}:1/announce")
    print(f"{options.mib} MiB, pieces of {options.piece_kib} KiB, {options.runs} run(s)", flush=True)
    for rtt in options.rtt.split(","):
        play(options, place, torrent, content, float(rtt))


if __name__ == "__main__":
    main()
