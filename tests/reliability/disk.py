#!/usr/bin/env python3
"""A disk in trouble under the real binary: full, read-only, out of inodes, failing, slow, gone; files changed by others.

    tests/reliability/disk.py [CASE...] [--list]        (as root)

What must hold each time: the error is named, the process stays up, it goes on by itself within 60 s after the fault
ends, and what it wrote or served is right byte for byte. System calls are made to fail by `strace --inject`, since
this binary makes them without the C library and a preloaded library would not see them.
"""

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import time

import rig
from rig import BLOCK, HOST, PORT, lab

MIB = lab.MIB
PATIENCE = ("--stall-timeout", "5m")


class Fault:
    """Lets system calls of a running process fail, until it is ended."""

    def __init__(self, process, place, *rules):
        calls = ",".join(rule.split(":")[0] for rule in rules)
        injections = [f"--inject={rule}" for rule in rules]
        self.log = os.path.join(place, "strace")
        self.strace = lab.Process(
            ["strace", "-f", "-q", "-p", str(process.pid), "-o", self.log, f"--trace={calls}", *injections],
            os.path.join(place, "strace-home"),
        )
        rig.running.append(self.strace)
        self.process = process
        lab.wait_until("strace to hold it", lambda: self.strace.check() or self.traced(), 10)

    def traced(self):
        for name, value in lab.status_fields(f"/proc/{self.process.pid}/status"):
            if name == "TracerPid":
                return value.strip() != "0"
        return False

    def injected(self):
        with contextlib.suppress(FileNotFoundError), open(self.log, encoding="utf-8", errors="replace") as file:
            return sum("(INJECTED)" in line or "(DELAYED)" in line for line in file)
        return 0

    def end(self):
        """Lets go of the process and returns how many calls were touched."""
        self.strace.signal(signal.SIGINT)
        lab.wait_until("strace to let go", lambda: not self.strace.alive(), 20)
        return self.injected()


def goes_on(verdict, process, fault_ended, content, target, timeout=60):
    """It recovers by itself in time and what it has is right."""
    process.wait_for("done", timeout + 60)
    took = time.monotonic() - fault_ended
    verdict.hold(process.wait_end(20) == 0, f"done {took:.0f} s after the fault ended, exit 0")
    verdict.must(took <= timeout + 15, f"not within {timeout} s and the rest of the transfer")
    verdict.hold(lab.same(content, target), "right byte for byte")
    verdict.must(not process.panicked(), "a panic")


def mounted(place, name, *options):
    folder = os.path.join(place, name)
    os.makedirs(folder, exist_ok=True)
    lab.run("mount", "-t", "tmpfs", "-o", ",".join(options), "none", folder)
    return folder


def full_disk(options, place, verdict):
    """64 MiB of room for a torrent of 100 MiB; then there is room. A second fetch elsewhere goes on meanwhile."""
    content, torrent, _ = rig.made(place, "large", 100, 256)
    rig.seed(options, place, torrent, content)
    out = mounted(place, "fetch/out", "size=64m")
    fetch = rig.fetch(options, place, torrent, *PATIENCE)
    told = fetch.wait_for("suspended")
    verdict.hold(told["code"] == 5, f"told {time.monotonic() - fetch.started:.1f} s after the start: {told['message']}")
    other = rig.fetch(options, place, torrent, home="other")
    verdict.hold(other.wait_end(60) == 0, "another fetch on another disk got everything")
    verdict.hold(fetch.alive() and fetch.cpu_share(5) < 0.1, "waits, and does not spin")
    lab.run("mount", "-o", "remount,size=256m", out)
    ended = time.monotonic()
    fetch.wait_for("recovered", 60)
    verdict.fact(f"recovered {time.monotonic() - ended:.1f} s after there was room")
    goes_on(verdict, fetch, ended, content, os.path.join(out, "large"))
    lab.run("umount", "-l", out)


def full_state_disk(options, place, verdict):
    """No room for what is remembered between runs: everything works, the next start hashes."""
    content, torrent, _ = rig.made(place, "stated", 32, 256)
    for home in ("seed", "fetch"):
        state = mounted(place, f"{home}/swarm", "size=64k")
        with contextlib.suppress(OSError), open(os.path.join(state, "filler"), "wb") as file:
            file.write(bytes(64 << 10))
    seed = rig.seed(options, place, torrent, content)
    fetch = rig.fetch(options, place, torrent)
    verdict.hold(fetch.wait_end(60) == 0, "a fetch between two such got everything")
    verdict.hold(lab.same(content, os.path.join(place, "fetch/out/stated")), "right byte for byte")
    records = sum(len(names) for _, _, names in os.walk(os.path.join(place, "seed/swarm")))
    verdict.hold(records == 1, "no half record lies there")
    verdict.must(seed.alive() and not seed.panicked() and not fetch.panicked(), "down or panicked")
    for home in ("seed", "fetch"):
        lab.run("umount", "-l", os.path.join(place, home, "swarm"))


def read_only(options, place, verdict):
    """A disk that cannot be written: refused at once when nothing could ever be written, waited for when it could."""
    content, torrent, _ = rig.made(place, "refused", 32, 256)
    rig.seed(options, place, torrent, content)
    out = mounted(place, "fetch/out", "size=128m", "ro")
    refused = rig.fetch(options, place, torrent, *PATIENCE)
    code = refused.wait_end(20)
    told = refused.words().splitlines()[-1]
    verdict.hold(code == 6 and "Read-only file system" in told, f"ended with {code} at once: {told}")
    lab.run("mount", "-o", "remount,rw", out)
    fetch = rig.fetch(options, place, torrent, "--down", "8M", *PATIENCE)
    lab.wait_until("a quarter of it", lambda: any(
        event.get("have_bytes", 0) > 8 * MIB for event in fetch.events()), 30)
    fault = Fault(fetch, place, *(f"{call}:error=EROFS" for call in ("pwritev", "pwrite64", "ftruncate", "renameat2")))
    told = fetch.wait_for("suspended")
    verdict.hold(told["code"] == 6, f"half way: {told['message']}")
    time.sleep(5)
    fault.end()
    goes_on(verdict, fetch, time.monotonic(), content, os.path.join(out, "refused"))
    lab.run("umount", "-l", out)


def no_inodes(options, place, verdict):
    """A disk with room for 20 files, and a torrent of 60."""
    content = os.path.join(place, "files")
    lab.parts(content, 60, 60)
    torrent = os.path.join(place, "files.torrent")
    lab.torrent(torrent, content, 256 << 10, "http://10.9.255.9:9/announce")
    rig.seed(options, place, torrent, content)
    out = mounted(place, "fetch/out", "size=256m", "nr_inodes=20")
    fetch = rig.fetch(options, place, torrent, *PATIENCE)
    told = fetch.wait_for("suspended")
    verdict.hold(told["code"] == 5, f"told: {told['message']}")
    lab.run("mount", "-o", "remount,nr_inodes=1000", out)
    goes_on(verdict, fetch, time.monotonic(), content, os.path.join(out, "files"))
    lab.run("umount", "-l", out)


def failing_calls(options, place, verdict):
    """Calls of a fetch fail for 20 s each: writes, syncs, opens, renames; at once and at 1 % and 10 %."""
    content, torrent, _ = rig.made(place, "failing", 96, 64)
    rig.seed(options, place, torrent, content)
    matrix = {
        "writes-all": ["pwritev:error=EIO"],
        "writes-1%": ["pwritev:error=EIO:when=100+100"],
        "writes-10%-interrupted": ["pwritev:error=EINTR:when=10+10"],
        "writes-10%-full": ["pwritev:error=ENOSPC:when=10+10"],
        "writes-read-only": ["pwritev:error=EROFS:when=50+1"],
        "syncs-all": ["fdatasync:error=EIO", "fsync:error=EIO", "syncfs:error=EIO"],
        "opens-all": ["pwritev:error=EIO:when=1..4", "openat2:error=EIO", "openat:error=EIO"],
        "renames-all": ["renameat2:error=EIO", "renameat:error=EIO", "rename:error=EIO"],
    }
    for name, rules in matrix.items():
        fetch = rig.fetch(options, place, torrent, "--down", "8M", *PATIENCE, home=name)
        fetch.wait_for("progress")
        fault, began = Fault(fetch, os.path.join(place, name), *rules), time.monotonic()
        kinds = []
        lab.wait_until("a while", lambda: passed(fetch, kinds) > 20 + began or not fetch.alive(), 30, pause=0.2)
        count, ended = fault.end(), time.monotonic()
        if fetch.alive() and "done" not in kinds:
            fetch.wait_for("done", 75)
        verdict.hold(fetch.wait_end(20) == 0, f"{name}: {count} calls failed, suspended {kinds.count('suspended')} times, "
                     f"done {time.monotonic() - ended:.0f} s after")
        verdict.must(fetch.code == 0, fetch.words()[-300:])
        right = lab.same(content, os.path.join(place, name, "out/failing"))
        verdict.must(right and not fetch.panicked(), f"{name}: wrong bytes or a panic")
        lab.run("rm", "-rf", os.path.join(place, name, "out"))


def passed(process, kinds):
    """Notes the events meanwhile; returns the time."""
    kinds += [event["event"] for event in process.events()]
    return time.monotonic()


def failing_reads(options, place, verdict):
    """Reads and `sendfile` of a seed fail for 15 s: nothing wrong is served, and it is served again."""
    content, torrent, _ = rig.made(place, "reads", 48, 64)
    rules = {
        "sendfile": ["sendfile:error=EIO:when=20+20"],
        "reads-all": ["sendfile:error=EIO", "preadv:error=EIO", "preadv2:error=EIO"],
    }
    for name, faults in rules.items():
        seed = rig.seed(options, place, torrent, content, home=f"seed-{name}")
        fetch = rig.fetch(options, place, torrent, "--down", "4M", *PATIENCE, home=name)
        fetch.wait_for("progress")
        fault = Fault(seed, os.path.join(place, name), *faults)
        time.sleep(15)
        count, ended = fault.end(), time.monotonic()
        done = fetch.wait_for("done", 90)
        verdict.hold(fetch.wait_end(20) == 0, f"{name}: {count} calls failed, done {time.monotonic() - ended:.0f} s after")
        verdict.hold(done["wasted"] == 0 or name == "sendfile", f"{done['wasted']} bytes wasted")
        verdict.hold(lab.same(content, os.path.join(place, name, "out/reads")), "right byte for byte")
        verdict.must(seed.alive() and not seed.panicked(), "the seed is down or panicked")
        seed.stop()


def slow_disk(options, place, verdict):
    """Each write takes half a second and each sync two: memory is bounded, it goes on, and SIGTERM ends it in 5 s."""
    content, torrent, _ = rig.made(place, "slow", 128, 64)
    rig.seed(options, place, torrent, content)
    fetch = rig.fetch(options, place, torrent, "--down", "40M", *PATIENCE)
    fetch.wait_for("progress")
    fault = Fault(fetch, place, "pwritev:delay_enter=500000", "fdatasync:delay_enter=2000000")
    before = fetch.rss()
    time.sleep(15)
    verdict.hold(fetch.rss() <= 160 * MIB, f"RSS {before / MIB:.0f} -> {fetch.rss() / MIB:.0f} MiB")
    have = [event["have_bytes"] for event in fetch.events() if event["event"] == "progress"]
    verdict.hold(have[-1] > have[0], f"goes on: {have[0] / MIB:.0f} -> {have[-1] / MIB:.0f} MiB in 15 s")
    began = time.monotonic()
    fetch.signal(signal.SIGTERM)
    lab.wait_until("it to end", lambda: not fetch.alive(), 30)
    verdict.hold(time.monotonic() - began <= 5, f"ended {time.monotonic() - began:.1f} s after SIGTERM, {fetch.code}")
    fault.strace.stop()
    again = rig.fetch(options, place, torrent)
    verdict.hold(again.wait_end(60) == 0, "the same line goes on")
    verdict.hold(lab.same(content, os.path.join(place, "fetch/out/slow")), "right byte for byte")


def lost_disk(options, place, verdict):
    """A filesystem dies under a fetch, and its disk comes back as another device."""
    content, torrent, _ = rig.made(place, "lost", 96, 256)
    rig.seed(options, place, torrent, content)
    image, out = os.path.join(place, "image"), os.path.join(place, "fetch/out")
    os.makedirs(out)
    with open(image, "wb") as file:
        file.truncate(256 * MIB)
    lab.run("mkfs.ext4", "-q", image)
    lab.run("mount", "-o", "loop", image, out)
    fetch = rig.fetch(options, place, torrent, "--down", "12M", *PATIENCE)
    lab.wait_until("a third of it", lambda: any(
        event["event"] == "progress" and event["have_bytes"] > 32 * MIB for event in fetch.events()), 60)
    folder = os.open(out, os.O_RDONLY)
    fcntl.ioctl(folder, 0x8004587D, struct.pack("I", 2))  # EXT4_IOC_SHUTDOWN, and no log is flushed
    os.close(folder)
    told = fetch.wait_for("suspended")
    verdict.hold(told["code"] == 6, f"told: {told['message']}")
    lab.run("umount", "-l", out)
    # Of the same device the kernel would show the dead filesystem for as long as anybody holds a file of it.
    lab.run("cp", "--sparse=always", image, f"{image}-again")
    lab.run("mount", "-o", "loop", f"{image}-again", out)
    ended = time.monotonic()
    with contextlib.suppress(lab.Failure):
        fetch.wait_for("done", 75)
    if not fetch.alive() and fetch.code == 6:
        # Where the kernel keeps a fetch to its folders, those are the ones it began with: what is mounted there
        # later is not among them.
        verdict.fact(f"ended {time.monotonic() - ended:.0f} s after it came back, since it may not write there; the same line anew")
        fetch = rig.fetch(options, place, torrent, *PATIENCE)
        fetch.wait_for("done", 60)
    verdict.hold(fetch.wait_end(20) == 0, f"done {time.monotonic() - ended:.0f} s after it came back")
    verdict.hold(lab.same(content, os.path.join(out, "lost")), "right byte for byte")
    verdict.must(not fetch.panicked(), "a panic")
    lab.run("umount", "-l", out)


class Reader:
    """A peer that asks for every block in turn, for ever, and compares what comes with what was."""

    def __init__(self, target, info_hash, content):
        with open(content, "rb") as file:
            self.content = file.read()
        self.target = target
        self.hello = rig.PROTOCOL + bytes(8) + bytes.fromhex(info_hash) + b"-ZZ0000-reader000000"
        self.socket = None
        self.unread = b""
        self.next = 0
        self.piece = 0
        self.right = self.wrong = self.ends = 0
        #: When the first wrong block came, and the last.
        self.wrong_at = []

    def connect(self):
        self.socket = socket.create_connection(self.target, 5, (rig.HONEST, 0))
        self.socket.setblocking(False)
        self.unread = b""
        self.socket.sendall(self.hello + struct.pack(">IB", 1, 2))
        self.greeted = False

    def ask(self, count):
        out = b""
        for _ in range(count):
            begin = self.next * BLOCK % len(self.content)
            self.next += 1
            out += struct.pack(">IBIII", 13, 6, begin // self.piece_length, begin % self.piece_length, BLOCK)
        with contextlib.suppress(BlockingIOError):
            self.socket.sendall(out)

    def run(self, seconds, piece_length):
        """Reads for so long; connects again when it is cut off."""
        self.piece_length = piece_length
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if self.socket is None:
                    self.connect()
                if select.select([self.socket], [], [], 0.05)[0]:
                    data = self.socket.recv(1 << 20)
                    if not data:
                        raise ConnectionResetError
                    self.unread += data
                    self.parse()
            except OSError:
                self.ends += 1
                self.close()
                time.sleep(0.05)

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket = None

    def parse(self):
        if not self.greeted:
            if len(self.unread) < 68:
                return
            self.unread, self.greeted = self.unread[68:], True
        while len(self.unread) >= 4:
            length = struct.unpack(">I", self.unread[:4])[0]
            if len(self.unread) < 4 + length:
                return
            body, self.unread = self.unread[4 : 4 + length], self.unread[4 + length :]
            if body[:1] == b"\x01":
                self.ask(16)
            elif body[:1] == b"\x07":
                self.judge(*struct.unpack(">II", body[1:9]), body[9:])
                self.ask(1)

    def judge(self, piece, begin, payload):
        at = piece * self.piece_length + begin
        if payload == self.content[at : at + len(payload)]:
            self.right += 1
        else:
            self.wrong += 1
            self.wrong_at.append(time.monotonic())


#: How long after a change bytes that were under way may still be of the changed file.
UNDER_WAY = 0.5


def changed_files(options, place, verdict):
    """A file is truncated, overwritten, removed, replaced by a link or a folder while its blocks leave by `sendfile`."""
    piece = 64 << 10

    def link(path):
        other = path + ".other"
        with open(other, "wb") as file:
            file.write(os.urandom(24 * MIB))
        os.remove(path)
        os.symlink(other, path)

    def folder(path):
        os.remove(path)
        os.mkdir(path)

    def overwrite(path):
        with open(path, "r+b") as file:
            file.write(os.urandom(24 * MIB))

    def replace(path):
        with open(path + ".new", "wb") as file:
            file.write(os.urandom(24 * MIB))
        os.rename(path + ".new", path)

    changes = {
        "truncated": lambda path: os.truncate(path, 1000),
        "cut in half": lambda path: os.truncate(path, 12 * MIB),
        "overwritten": overwrite,
        "replaced": replace,
        "removed": os.remove,
        "replaced by a link": link,
        "replaced by a folder": folder,
    }
    for name, change in changes.items():
        home = os.path.join(place, name.replace(" ", "-"))
        os.makedirs(home)
        content, torrent, info_hash = rig.made(home, "served", 24, 64)
        seed = rig.seed(options, home, torrent, content)
        reader = Reader((HOST, PORT), info_hash, content)
        reader.run(1, piece)
        before = reader.right
        with open(os.path.join(home, "kept"), "wb") as file:
            file.write(reader.content)
        change(content)
        changed = time.monotonic()
        reader.run(4, piece)
        late = sum(at > changed + UNDER_WAY for at in reader.wrong_at)
        verdict.hold(before > 100 and late == 0,
                     f"{name}: {before} blocks before, {reader.right - before} right and {reader.wrong} wrong after "
                     f"({late} later than {UNDER_WAY} s), {reader.ends} times cut off")
        if os.path.isdir(content):
            os.rmdir(content)
        elif os.path.lexists(content):
            os.remove(content)
        os.rename(os.path.join(home, "kept"), content)
        back = time.monotonic()
        reader.close()
        fetch = rig.fetch(options, home, torrent, *PATIENCE)
        fetch.wait_for("done", 90)
        verdict.hold(fetch.wait_end(20) == 0, f"put back: fetched whole {time.monotonic() - back:.0f} s later")
        verdict.hold(lab.same(content, os.path.join(home, "fetch/out/served")), "right byte for byte")
        if seed.panicked() or not seed.alive():
            verdict.miss(f"{name}: the seed is gone or panicked")
        seed.stop()
        lab.run("rm", "-rf", home)


CASES = {
    "full-disk": full_disk,
    "full-state-disk": full_state_disk,
    "read-only": read_only,
    "no-inodes": no_inodes,
    "failing-calls": failing_calls,
    "failing-reads": failing_reads,
    "slow-disk": slow_disk,
    "lost-disk": lost_disk,
    "changed-files": changed_files,
}

if __name__ == "__main__":
    rig.main(__doc__, CASES)
