#!/usr/bin/env python3
"""Real clients and ours in one swarm, byte-compared.

    SWARM_BIN=target/release/swarm tests/interop/run.py [CASE...]

Without names every case runs. Each case has a network namespace of its own without a way out,
a folder of its own, an end in time, and ends the processes it started and no others. A client
that is not installed is a failure: `.ci/run` installs them all.
"""

import filecmp
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

from clients import KINDS, Failure, Libtorrent, Opentracker, OurTracker, Swarm, missing, plain_environment, wait

FETCH_TIMEOUT = 90
CASE_TIMEOUT = 240
OTHERS = ("libtorrent", "transmission", "aria2", "rqbit")
#: Bytes of a folder's files: empty, tiny, odd, longer than a piece.
FOLDER = {"empty": 0, "one": 1, "a/odd.bin": 100_003, "a/b/deep.bin": 3_333_333, "z last.bin": 1 << 20}
SINGLE = (12 << 20) + 12_345


class Case:
    """The folder, the clients and the content of one case."""

    def __init__(self, place):
        self.place = place
        self.clients = []
        self.tracker = None
        self.random = random.Random(7)

    def client(self, kind):
        client = kind(self.place, len(self.clients) + 1)
        self.clients.append(client)
        return client

    def single(self):
        """One file."""
        path = os.path.join(self.place, "source", "payload.bin")
        os.makedirs(os.path.dirname(path))
        self.write(path, SINGLE)
        return path

    def folder(self):
        """A folder with files of every awkward size."""
        path = os.path.join(self.place, "source", "folder")
        for name, length in FOLDER.items():
            target = os.path.join(path, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            self.write(target, length)
        return path

    def write(self, path, length):
        with open(path, "wb") as file:
            file.write(self.random.randbytes(length))

    def create(self, path, tracker_kind=None, scheme="http"):
        """A torrent of `path` and the tracker it names, which runs."""
        torrent = path + ".torrent"
        command = [os.environ["SWARM_BIN"], "create", path, "-o", torrent, "--piece-size", "64KiB"]
        if tracker_kind is None:
            run(command)
            return torrent
        tracker = self.client(tracker_kind)
        run([*command, "--tracker", f"{scheme}://{tracker.endpoint}/announce"])
        self.tracker = tracker.serve([info_hash(torrent)])
        return torrent

    def seed(self, client, torrent, source):
        """Serves the source; the torrent's tracker, if it has one, knows when this returns."""
        client.seed(torrent, source)
        if self.tracker:
            wait(f"{client.kind} to announce", lambda: self.tracker.knows_a_seed(info_hash(torrent)))

    def out(self, client):
        folder = os.path.join(client.home, "out")
        os.makedirs(folder)
        return folder

    def expect(self, client, folder, source):
        """Waits until what `client` has on the disk is the source, byte for byte."""
        target = os.path.join(folder, os.path.basename(source))
        try:
            wait(f"{client.kind} to have it all", lambda: same(source, target, client.makes_empty_files), FETCH_TIMEOUT)
        except Failure as failure:
            words = "\n".join(f"--- {other.kind} said:\n{other.words()}" for other in self.clients)
            raise Failure(f"{failure}\n{words}") from None

    def expect_exit(self, client, code=0):
        """A fetch of ours that does not stay ends by itself."""
        found = client.process.wait(FETCH_TIMEOUT)
        if found != code:
            raise Failure(f"swarm fetch ended with {found}, not {code}\n{client.words()}")

    def stop(self):
        for client in reversed(self.clients):
            client.stop()


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=plain_environment())
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: {done.returncode}\n{done.stderr}")
    return done.stdout


def same(source, target, with_empty):
    """Whether two files or two trees are equal; empty files may be left out."""
    if os.path.isfile(source):
        return os.path.isfile(target) and filecmp.cmp(source, target, shallow=False)
    # A client may leave notes of its own beside the files; ours are all there and right.
    names = {name for name in files_of(source) if with_empty or os.path.getsize(os.path.join(source, name))}
    return names <= files_of(target) and all(
        filecmp.cmp(os.path.join(source, name), os.path.join(target, name), shallow=False) for name in names
    )


def files_of(folder):
    found = set()
    for at, _, names in os.walk(folder):
        found |= {os.path.relpath(os.path.join(at, name), folder) for name in names}
    return found


def info_hash(torrent):
    import libtorrent

    return str(libtorrent.torrent_info(torrent).info_hashes().v1)


def we_seed(case, other, content="single"):
    source = getattr(case, content)()
    theirs = KINDS[other]
    torrent = case.create(source, None if theirs.takes_peers else OurTracker)
    ours, theirs = case.client(Swarm), case.client(theirs)
    case.seed(ours, torrent, source)
    folder = case.out(theirs)
    theirs.fetch(torrent, folder, peers=[ours.endpoint])
    case.expect(theirs, folder, source)


def they_seed(case, other, content="single"):
    source = getattr(case, content)()
    torrent = case.create(source)
    theirs, ours = case.client(KINDS[other]), case.client(Swarm)
    theirs.seed(torrent, source)
    folder = case.out(ours)
    ours.fetch(torrent, folder, peers=[theirs.endpoint], stay=False)
    case.expect_exit(ours)
    case.expect(ours, folder, source)


def mixed(case, tracker_kind, seed, scheme="http"):
    """One seed; everybody else fetches at the same time and gives to the others."""
    source = case.single()
    torrent = case.create(source, tracker_kind, scheme)
    case.seed(case.client(KINDS[seed]), torrent, source)
    waiting = []
    # aria2 talks to UDP trackers through the port of its DHT, which is off here.
    others = [kind for kind in OTHERS if scheme == "http" or kind != "aria2"]
    for kind in ("swarm", *others, "swarm"):
        client = case.client(KINDS[kind])
        folder = case.out(client)
        client.fetch(torrent, folder)
        waiting.append((client, folder))
    for client, folder in waiting:
        case.expect(client, folder, source)


def magnet_from_us(case, other):
    """The link that `swarm seed` prints is all the other side gets."""
    source = case.single()
    ours, theirs = case.client(Swarm), case.client(KINDS[other])
    ours.start_seed(None, source)
    link = ours.magnet()
    folder = case.out(theirs)
    theirs.fetch(link, folder)
    case.expect(theirs, folder, source)


def magnet_from_them(case, other):
    source = case.folder()
    torrent = case.create(source)
    theirs, ours = case.client(KINDS[other]), case.client(Swarm)
    theirs.seed(torrent, source)
    link = f"magnet:?xt=urn:btih:{info_hash(torrent)}&x.pe={theirs.endpoint}"
    folder = case.out(ours)
    ours.fetch(link, folder, stay=False)
    case.expect_exit(ours)
    case.expect(ours, folder, source)


def hybrid(case, direction):
    """A torrent of both versions, made by libtorrent, moves by its v1 half."""
    import libtorrent

    source = case.folder()
    # BEP 47's pad files lie between the files of a hybrid, so every file starts a piece.
    made = libtorrent.create_torrent(libtorrent.list_files(source), 64 << 10)
    libtorrent.set_piece_hashes(made, os.path.dirname(source))
    torrent = os.path.join(case.place, "hybrid.torrent")
    with open(torrent, "wb") as file:
        file.write(libtorrent.bencode(made.generate()))
    hashes = libtorrent.torrent_info(torrent).info_hashes()
    if not (hashes.has_v1() and hashes.has_v2()):
        raise Failure("libtorrent made no hybrid")
    ours, theirs = case.client(Swarm), case.client(Libtorrent)
    first, second = (theirs, ours) if direction == "from" else (ours, theirs)
    first.seed(torrent, source)
    folder = case.out(second)
    second.fetch(torrent, folder, peers=[first.endpoint])
    case.expect(second, folder, source)


def resume_beside_them(case):
    """Ours is killed half-way and goes on from what is on the disk, libtorrent seeding."""
    source = case.single()
    torrent = case.create(source)
    theirs, ours, again = case.client(Libtorrent), case.client(Swarm), case.client(Swarm)
    theirs.seed(torrent, source)
    folder = case.out(ours)
    ours.fetch(torrent, folder, peers=[theirs.endpoint], stay=False, more=["--down", "4M"])
    wait("the first half", lambda: sum(map(size_on_disk, walk(folder))) > SINGLE // 2)
    if ours.process.poll() is not None:
        raise Failure(f"swarm ended before it was killed\n{ours.words()}")
    ours.process.kill()
    ours.process.wait()
    again.fetch(torrent, folder, peers=[theirs.endpoint], stay=False)
    case.expect_exit(again)
    case.expect(again, folder, source)
    fetched = again.last_event()["downloaded"]
    if fetched > SINGLE * 2 // 3:
        raise Failure(f"{fetched} bytes were fetched again")


def full_disk(case):
    """A disk too small ends one fetch with its exit code; with room the same line goes on."""
    source = case.single()
    torrent = case.create(source)
    seed, ours, again = case.client(Swarm), case.client(Swarm), case.client(Swarm)
    seed.seed(torrent, source)
    folder = case.out(ours)
    run(["mount", "-t", "tmpfs", "-o", f"size={SINGLE // 2}", "tmpfs", folder])
    try:
        ours.fetch(torrent, folder, peers=[seed.endpoint], stay=False)
        case.expect_exit(ours, 5)
        run(["mount", "-o", f"remount,size={SINGLE * 2}", folder])
        again.fetch(torrent, folder, peers=[seed.endpoint], stay=False)
        case.expect_exit(again)
        case.expect(again, folder, source)
    finally:
        run(["umount", "-l", folder])


def introduced(case, friend, taker):
    """Who fetches knows only a friend that has nothing yet: the seed is found through peer exchange."""
    source = case.single()
    torrent = case.create(source)
    seed, friend, taker = case.client(Swarm), case.client(KINDS[friend]), case.client(KINDS[taker])
    case.seed(seed, torrent, source)
    friend.introduce(torrent, case.out(friend), seed.endpoint)
    wait(f"{friend.kind} to listen", friend.listens)
    folder = case.out(taker)
    taker.fetch(torrent, folder, peers=[friend.endpoint])
    case.expect(taker, folder, source)


def walk(folder):
    return [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]


def size_on_disk(path):
    try:
        return os.stat(path).st_blocks * 512
    except FileNotFoundError:
        return 0


CASES = {
    **{f"we-seed-{other}": (we_seed, other) for other in OTHERS},
    **{f"{other}-seeds-us": (they_seed, other) for other in OTHERS},
    **{f"we-seed-a-folder-{other}": (we_seed, other, "folder") for other in OTHERS},
    **{f"{other}-seeds-us-a-folder": (they_seed, other, "folder") for other in OTHERS},
    "mixed-swarm-our-tracker": (mixed, OurTracker, "swarm"),
    "mixed-swarm-our-tracker-udp": (mixed, OurTracker, "libtorrent", "udp"),
    "mixed-swarm-opentracker": (mixed, Opentracker, "libtorrent"),
    "mixed-swarm-opentracker-udp": (mixed, Opentracker, "swarm", "udp"),
    "our-magnet-libtorrent": (magnet_from_us, "libtorrent"),
    "our-magnet-rqbit": (magnet_from_us, "rqbit"),
    "libtorrent-magnet-us": (magnet_from_them, "libtorrent"),
    "rqbit-magnet-us": (magnet_from_them, "rqbit"),
    "hybrid-from-libtorrent": (hybrid, "from"),
    "hybrid-to-libtorrent": (hybrid, "to"),
    "resume-beside-libtorrent": (resume_beside_them,),
    "full-disk": (full_disk,),
    "we-introduce-libtorrent": (introduced, "swarm", "libtorrent"),
    "libtorrent-introduces-us": (introduced, "libtorrent", "swarm"),
}


def in_namespace(name):
    """Runs one case; this process already has a network and mounts to itself."""
    # Names of namespaces are mounts; they go with this process's own view of the mounts.
    os.makedirs("/run/netns", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/netns"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as switch:
        switch.write("1")
    function, *arguments = CASES[name]
    place = tempfile.mkdtemp(prefix="swarm-interop-")
    # opentracker gives up its privileges and must still read its list.
    os.chmod(place, 0o755)
    case = Case(place)
    try:
        function(case, *arguments)
    except (Failure, OSError, subprocess.SubprocessError) as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        case.stop()
        shutil.rmtree(place, ignore_errors=True)
    return 0


def outside(names):
    lacking = missing()
    if lacking:
        sys.exit(f"not installed: {', '.join(lacking)}")
    if not os.access(os.environ.get("SWARM_BIN", ""), os.X_OK):
        sys.exit("SWARM_BIN does not name the binary under test")
    os.environ["SWARM_BIN"] = os.path.abspath(os.environ["SWARM_BIN"])
    unshare = ["unshare", "--net", "--mount"]
    if os.geteuid() != 0:
        unshare.append("--map-root-user")
    failed = 0
    for name in names or CASES:
        begin = time.monotonic()
        command = ["timeout", "-k", "5", str(CASE_TIMEOUT), *unshare, sys.executable, os.path.abspath(__file__), "--inside", name]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
        failed += ended != 0
        print(f"{'ok  ' if ended == 0 else 'FAIL'} {name} ({time.monotonic() - begin:.1f} s)", flush=True)
    total = len(names or CASES)
    print(f"{total - failed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    names = sys.argv[1:]
    if names == ["--list"]:
        print("\n".join(CASES))
        return 0
    if names[:1] == ["--inside"]:
        return in_namespace(names[1])
    unknown = [name for name in names if name not in CASES]
    if unknown:
        sys.exit(f"no such case: {', '.join(unknown)}")
    return outside(names)


if __name__ == "__main__":
    sys.exit(main())
