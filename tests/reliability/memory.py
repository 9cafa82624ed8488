#!/usr/bin/env python3
"""A ceiling on memory: a torrent of 10 GiB from 200 peers at full speed, in 128 MiB and in 64 MiB.

    tests/reliability/memory.py [CASE...] [--gib 10] [--peers 200] [--list]        (as root)

The content is zeros, so that the peers need none of it; to the fetch it is bytes like others. It is written to a disk
(`--work`): a filesystem in memory would count. The ceiling is a control group's, of version 1 or 2, and counts the
page cache too, which the kernel takes back as it likes.
"""

import contextlib
import os
import struct
import time

import rig
from rig import BLOCK, lab

GROUPS = "/sys/fs/cgroup"
PIECE = 256 << 10


class Ceiling:
    """A control group with so much memory; what runs in it is killed when it takes more."""

    def __init__(self, mib):
        version2 = os.path.exists(os.path.join(GROUPS, "cgroup.controllers"))
        parent = GROUPS if version2 else os.path.join(GROUPS, "memory")
        self.folder = os.path.join(parent, f"swarm-ceiling-{os.getppid()}-{time.monotonic_ns()}")
        if version2:
            with contextlib.suppress(OSError):
                self.write(os.path.join(parent, "cgroup.subtree_control"), "+memory")
        os.mkdir(self.folder)
        limit, self.peak, self.failures = (
            ("memory.max", "memory.peak", "memory.events") if version2
            else ("memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control")
        )
        self.write(os.path.join(self.folder, limit), str(mib * lab.MIB))

    @staticmethod
    def write(path, text):
        with open(path, "w", encoding="ascii") as file:
            file.write(text)

    def enters(self):
        """Words before a command that put it in."""
        return ("sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', self.folder)

    def killed(self):
        with open(os.path.join(self.folder, self.failures), encoding="ascii") as file:
            counts = dict(line.split() for line in file)
        return int(counts.get("oom_kill", 0))

    def remove(self):
        with contextlib.suppress(OSError):
            os.rmdir(self.folder)


class Zeros(rig.Crowd):
    """Peers that have everything, which is zeros, and answer every request."""

    def __init__(self, target, info_hash, source, piece_count):
        super().__init__(target, info_hash, source)
        # All pieces, the spare bits clear.
        bits = bytearray(b"\xff" * (piece_count // 8))
        if piece_count % 8:
            bits.append(0xFF << (8 - piece_count % 8) & 0xFF)
        self.bitfield = struct.pack(">IB", len(bits) + 1, 5) + bytes(bits)
        self.zeros = memoryview(bytes(BLOCK))
        self.waiting = {}

    def received(self, connection, data):
        if connection.state == "said":
            connection.unread += data
            if len(connection.unread) < 68:
                return
            data, connection.unread = connection.unread[68:], b""
            connection.state = "greeted"
            self.say(connection, [self.bitfield, b"\0\0\0\1\1"])
        data = connection.unread + data
        at, out = 0, []
        while at + 4 <= len(data):
            length = int.from_bytes(data[at : at + 4], "big")
            if at + 4 + length > len(data):
                break
            if length == 13 and data[at + 4] == 6:
                out += [struct.pack(">IB", 9 + BLOCK, 7) + data[at + 5 : at + 13], self.zeros]
            at += 4 + length
        connection.unread = data[at:]
        if out:
            self.say(connection, out)

    def say(self, connection, parts):
        """Sends what the socket takes; the rest waits for it."""
        fd = connection.socket.fileno()
        waiting = self.waiting.setdefault(fd, [])
        waiting += parts
        try:
            while waiting:
                sent = connection.socket.sendmsg(waiting[:64])
                while waiting and sent >= len(waiting[0]):
                    sent -= len(waiting.pop(0))
                if sent:
                    waiting[0] = memoryview(waiting[0])[sent:]
        except BlockingIOError:
            self.poll.modify(fd, rig.select.EPOLLIN | rig.select.EPOLLOUT)
            return
        self.poll.modify(fd, rig.select.EPOLLIN)

    def serve(self, connection, what):
        if connection.state != "connecting" and what & rig.select.EPOLLOUT:
            self.say(connection, [])
        super().serve(connection, what)

    def drop(self, connection):
        self.waiting.pop(connection.socket.fileno(), None)
        super().drop(connection)


def within(options, place, verdict, mib):
    length = options.gib << 30
    free = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
    if free < length + (4 << 30):
        raise lab.Failure(f"{options.gib} GiB and some room do not fit in {place}")
    torrent = os.path.join(place, "zero.torrent")
    info_hash = rig.zeros(torrent, length, PIECE)
    ceiling = Ceiling(mib)
    try:
        fetch = rig.fetch(
            options, place, torrent, "--max-peers", options.peers + 50, peer=None, listen=f"{rig.HONEST}:{rig.PORT}",
            before=ceiling.enters(),
        )
        fetch.wait_for("progress")
        crowd = Zeros((rig.HONEST, rig.PORT), info_hash, rig.spread, length // PIECE)
        most = 0
        while fetch.alive():
            if crowd.live() < options.peers:
                crowd.open()
            crowd.turn(0.05)
            most = max(most, crowd.handshaken())
            if time.monotonic() - fetch.started > options.timeout:
                raise lab.Failure(f"not complete after {options.timeout} s\n{fetch.words()}")
            fetch.watch_rss()
        took = time.monotonic() - fetch.started
        verdict.hold(fetch.code == 0, f"{options.gib} GiB from {most} peers in {took:.0f} s, ended with {fetch.code}")
        verdict.hold(ceiling.killed() == 0, "not killed for memory")
        verdict.fact(f"peak RSS {fetch.peak_rss / lab.MIB:.0f} MiB under a ceiling of {mib} MiB")
        verdict.must(os.path.getsize(os.path.join(place, "fetch/out/zero")) == length, "the file is shorter")
        verdict.must(not fetch.panicked(), "a panic")
    finally:
        rig.stop_all()
        ceiling.remove()


def in_128(options, place, verdict):
    """128 MiB."""
    within(options, place, verdict, 128)


def in_64(options, place, verdict):
    """64 MiB: slower, and it gets there all the same."""
    within(options, place, verdict, 64)


def extend(parser):
    parser.add_argument("--gib", type=int, default=10, help="length of the content")
    parser.add_argument("--peers", type=int, default=200, help="how many peers give it")
    parser.add_argument("--timeout", type=int, default=900, help="seconds that it may take")


if __name__ == "__main__":
    rig.main(__doc__, {"in-128-mib": in_128, "in-64-mib": in_64}, extend)
