#!/usr/bin/env python3
"""Hours of ordinary life: a tracker, a seed, a fetch that stays, and peers that come and go every second.

    tests/reliability/soak.py [--minutes 30] [--rate 2M] [--torrents 5]        (as root)

Every second a peer comes, says hello, asks for blocks and goes without a word; every 15 s a fetch of our own begins and
is killed half-way by `kill -9`, or runs the same line again to its end. Rates are limited, so that this disturbs nobody:
it looks for what grows, not for speed. Memory and descriptors of the three that stay are noted every 5 s; the slope
is that of a straight line through what came after the first third.
"""

import os
import random
import signal
import statistics
import time

import rig
from rig import BLOCK, HOST, PORT, Crowd, lab

TRACKER = ("10.9.255.9", 6969)
SAMPLE = 5
KIB = 1024


class Stayer:
    """A process that must not grow."""

    def __init__(self, name, process):
        self.name = name
        self.process = process
        self.samples = []

    def look(self, now):
        self.process.check()
        self.samples.append((now, self.process.rss(), self.process.descriptors(), self.process.cpu()))

    def verdict(self, verdict):
        late = self.samples[len(self.samples) // 3 :]
        hours = [(at - late[0][0]) / 3600 for at, *_ in late]
        slope = statistics.linear_regression(hours, [rss / lab.MIB for _, rss, *_ in late]).slope
        half = len(late) // 2
        before, after = ([rss for _, rss, *_ in part] for part in (late[:half], late[half:]))
        descriptors = [count for _, _, count, _ in late]
        cpu = (late[-1][3] - late[0][3]) / max(late[-1][0] - late[0][0], 1)
        verdict.fact(
            f"{self.name}: RSS {statistics.median(before) / lab.MIB:.1f} -> {statistics.median(after) / lab.MIB:.1f} MiB "
            f"(slope {slope:+.2f} MiB/h, peak {max(rss for _, rss, *_ in self.samples) / lab.MIB:.1f}), "
            f"descriptors {min(descriptors)}-{max(descriptors)}, {cpu * 100:.1f} % of a core, "
            f"log {os.path.getsize(self.process.log) / KIB:.0f} KiB"
        )
        verdict.must(not self.process.panicked(), f"{self.name}: a panic")
        # A short run cannot tell a slope of 1 MiB/h from noise; a median that moved by 2 MiB it can.
        grown = statistics.median(after) - statistics.median(before)
        verdict.must(grown < 2 * lab.MIB, f"{self.name}: the median moved by {grown / KIB:+.0f} KiB between the halves")
        verdict.must(max(descriptors) < 600, f"{self.name}: at most {max(descriptors)} descriptors")


class Passers(Crowd):
    """Peers that come, ask for some blocks, and vanish."""

    def received(self, connection, data):
        super().received(connection, data)
        # Whether it is unchoked or not: some of these are out of place, and answered or counted.
        connection.socket.send(b"\0\0\0\1\2")
        for _ in range(random.randrange(4)):
            piece = random.randrange(16)
            connection.socket.send(b"\0\0\0\x0d\6" + piece.to_bytes(4, "big") + bytes(4) + BLOCK.to_bytes(4, "big"))


class Visitor:
    """A fetch of ours again and again: killed half-way two times of three."""

    def __init__(self, options, place, torrents):
        self.options, self.place, self.torrents = options, place, torrents
        self.process = None
        self.done = self.killed = self.failed = 0
        self.end = 0

    def step(self, now):
        if self.process is None:
            self.number = random.randrange(len(self.torrents))
            content, torrent, _ = self.torrents[self.number]
            self.process = rig.Swarm(
                self.options, os.path.join(self.place, "visitor"), "fetch", torrent, "--listen", f"{rig.HONEST}:0",
                "-o", os.path.join(self.place, "visitor/out"), "--down", self.options.rate,
            )
            self.end = now + random.uniform(1, 14) if random.random() < 0.66 else now + 120
            return
        if self.process.alive() and now < self.end:
            return
        if self.process.alive():
            self.process.signal(signal.SIGKILL)
            self.process.wait_end(10)
            self.killed += 1
        elif self.process.code == 0:
            self.done += 1
            content = self.torrents[self.number][0]
            out = os.path.join(self.place, "visitor/out", os.path.basename(content))
            if not lab.same(content, out):
                self.failed += 1
            os.remove(out)
        else:
            lab.note(self.process.words())
            self.failed += 1
        if self.process.panicked():
            self.failed += 1
        rig.running.remove(self.process)
        self.process = None


def soak(options, place, verdict):
    """Churn at low rates."""
    torrents = []
    for number in range(options.torrents):
        path = os.path.join(place, f"content-{number}")
        lab.content(path, 16)
        torrent = f"{path}.torrent"
        torrents.append((path, torrent, lab.torrent(torrent, path, 64 * KIB, f"http://{TRACKER[0]}:{TRACKER[1]}/announce")))
    tracker = rig.Swarm(
        options, os.path.join(place, "tracker"), "tracker", "--http", "{}:{}".format(*TRACKER), "--interval", "60s"
    )
    seeds = [
        rig.Swarm(
            options, os.path.join(place, f"seed-{number}"), "seed", "--torrent", torrent, path, "--listen",
            f"{HOST}:{PORT + number}", "--up", options.rate,
        )
        for number, (path, torrent, _) in enumerate(torrents)
    ]
    stays = rig.Swarm(
        options, os.path.join(place, "stays"), "fetch", *(torrent for _, torrent, _ in torrents), "--seed", "--listen",
        f"10.9.255.3:{PORT}", "-o", os.path.join(place, "stays/out"), "--up", options.rate, "--down", options.rate,
    )
    stayers = [Stayer("tracker", tracker), Stayer("seed", seeds[0]), Stayer("fetch that stays", stays)]
    crowds = [Passers((HOST, PORT), torrents[0][2], rig.spread), Passers(("10.9.255.3", PORT), torrents[-1][2], rig.spread)]
    visitor = Visitor(options, place, torrents)
    began, sampled = time.monotonic(), 0.0
    while (passed := time.monotonic() - began) < options.minutes * 60:
        for crowd in crowds:
            crowd.open()
            if crowd.live() > 40:
                crowd.drop(random.choice(list(crowd.by_fd.values())))
        end = time.monotonic() + 1
        while time.monotonic() < end:
            for crowd in crowds:
                crowd.turn(0.1)
        visitor.step(time.monotonic())
        if passed - sampled >= SAMPLE:
            sampled = passed
            for stayer in stayers:
                stayer.look(passed)
            if int(passed) % 300 < SAMPLE:
                sizes = ", ".join(f"{s.name} {s.samples[-1][1] / lab.MIB:.1f} MiB {s.samples[-1][2]} fds" for s in stayers)
                lab.note(f"  {passed / 60:.0f} min: {sizes}; {visitor.done} done, {visitor.killed} killed, {visitor.failed} failed")
    for stayer in stayers:
        stayer.verdict(verdict)
    passers = sum(crowd.opened for crowd in crowds)
    verdict.hold(visitor.failed == 0 and visitor.done > 0,
                 f"{passers} peers came and went; {visitor.done} fetches whole and right, {visitor.killed} killed, {visitor.failed} failed")
    for stayer in stayers:
        stayer.process.signal(signal.SIGTERM)
        verdict.must(stayer.process.wait_end(5) == 143, f"{stayer.name} did not end in 5 s")


def extend(parser):
    parser.add_argument("--minutes", type=float, default=30, help="how long")
    parser.add_argument("--rate", default="2M", help="bytes a second of each")
    parser.add_argument("--torrents", type=int, default=5, help="how many torrents")


if __name__ == "__main__":
    random.seed(7)
    rig.main(__doc__, {"soak": soak}, extend)
