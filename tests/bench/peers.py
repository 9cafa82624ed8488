"""How each client is called as a seed and as a fetcher, and how its end is seen.

All of them keep to the address they are given, use TCP in the clear, and have neither DHT nor
local discovery nor port mapping. Beyond that each runs with its defaults: what its users get.
"""

import os
import sys
from dataclasses import dataclass, field

import lab

LIBTORRENT = os.path.join(lab.ROOT, "tests/bench/lt_peer.py")
RQBIT = ["rqbit", "-v", "error", "--disable-dht", "--disable-dht-persistence", "--disable-lsd"]
RQBIT += ["--disable-upnp-port-forward", "--ipv4-only"]
ARIA2 = ["aria2c", "--quiet", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false"]
ARIA2 += ["--file-allocation=none"]
SWARM = ["--quiet", "--no-dht", "--no-lsd", "--no-upnp"]


@dataclass
class Job:
    """What one client is to do."""

    torrent: str
    #: The original: a file, or a folder of files.
    content: str
    piece_length: int
    address: str
    port: int
    #: Where a fetcher or a partial seed has its files; a whole seed has them beside `content`.
    folder: str = ""
    #: `address:port` of the seeds, for a fetcher that is told of them.
    peers: list = field(default_factory=list)
    #: Number of the one file that a partial seed has, and more than which it does not want.
    only: int | None = None
    #: Whether peers find each other through the torrent's tracker.
    tracker: bool = False
    #: A fetcher that goes on serving when it has everything.
    stay: bool = False
    #: Bytes a second that a fetcher may receive; 0 for as many as come.
    limit: int = 0

    @property
    def endpoint(self):
        return f"{self.address}:{self.port}"

    @property
    def name(self):
        return os.path.basename(self.content)

    @property
    def target(self):
        """What a fetcher leaves, and where a partial seed has its file."""
        return os.path.join(self.folder, self.name)

    def written(self):
        """The file that a fetcher writes meanwhile, which may have a name of its own; None before there is one."""
        for path in (self.target, self.target + ".part"):
            if os.path.exists(path):
                return path
        return None


class Peer:
    #: Knows no peers but those of the torrent's tracker.
    needs_tracker = False
    #: Hashes its content before it serves it.
    hashes_first = True
    #: Can serve a part of the content.
    can_be_partial = True
    #: Printed by a fetcher that has everything but does not end by itself.
    done_word = None

    def __init__(self, options):
        self.options = options


class Swarm(Peer):
    def seed(self, job):
        if job.only is not None:
            return self.fetch(job, "--only", str(job.only + 1), "--seed")
        silent = [] if job.tracker else ["--no-tracker"]
        command = [self.options.swarm, "seed", *SWARM, *silent, "--listen", job.endpoint]
        return [*command, "--torrent", job.torrent, job.content]

    def fetch(self, job, *more):
        silent = [] if job.tracker else ["--no-tracker"]
        known = [word for peer in job.peers for word in ("--peer", peer)]
        stay = ["--seed"] if job.stay else []
        limit = ["--down", str(job.limit)] if job.limit else []
        command = [self.options.swarm, "fetch", *SWARM, *silent, *known, *stay, *limit, *more]
        return [*command, "--listen", job.endpoint, "-o", job.folder, job.torrent]


class Rqbit(Peer):
    def command(self, job, *more):
        listen = ["--listen-ip", job.address, "--listen-port", str(job.port)]
        limit = ["--ratelimit-download", str(job.limit)] if job.limit else []
        return [*RQBIT, *listen, *limit, "download", "--disable-http-api", *more, job.torrent]

    def seed(self, job):
        if job.only is not None:
            return self.command(job, "--overwrite", "-r", rf"{job.only:02}\.bin", "-o", job.folder)
        return self.command(job, "--overwrite", "-o", os.path.dirname(job.content))

    def fetch(self, job):
        known = ["--initial-peers", ",".join(job.peers)] if job.peers else []
        end = [] if job.stay else ["--exit-on-finish"]
        return self.command(job, *end, *known, "-o", job.folder)


class Libtorrent(Peer):
    done_word = b"ready"

    def command(self, job, folder, *more):
        return [sys.executable, LIBTORRENT, job.torrent, folder, "--listen", job.endpoint, *more]

    def seed(self, job):
        if job.only is not None:
            return self.command(job, job.folder, "--only", str(job.only))
        return self.command(job, os.path.dirname(job.content))

    def fetch(self, job):
        known = [word for peer in job.peers for word in ("--peer", peer)]
        return self.command(job, job.folder, *known)


class Aria2(Peer):
    needs_tracker = True

    def command(self, job, folder, *more):
        listen = [f"--listen-port={job.port}", f"--interface={job.address}"]
        return [*ARIA2, *listen, f"--dir={folder}", *more, job.torrent]

    def seed(self, job):
        forever = ["--check-integrity=true", "--seed-ratio=0.0"]
        if job.only is not None:
            return self.command(job, job.folder, f"--select-file={job.only + 1}", *forever)
        return self.command(job, os.path.dirname(job.content), *forever)

    def fetch(self, job):
        # It keeps pieces in memory for a while by default; the disk is where completion is read.
        stay = ["--seed-ratio=0.0", "--seed-time=600", "--disk-cache=0"] if job.stay else ["--seed-time=0"]
        return self.command(job, job.folder, *stay)


class Floor(Peer):
    """No client: the bytes moved, hashed and written without a protocol."""

    hashes_first = False
    can_be_partial = False

    def seed(self, job):
        return [self.options.floor, "seed", job.content, job.endpoint]

    def fetch(self, job):
        return [self.options.floor, "fetch", job.peers[0], job.target, str(job.piece_length)]


KINDS = {"floor": Floor, "swarm": Swarm, "rqbit": Rqbit, "libtorrent": Libtorrent, "aria2": Aria2}


def opentracker(place, endpoint, info_hash, namespace=None):
    """A tracker that is none of ours, for the clients that need one."""
    allowed, settings = os.path.join(place, "allowed"), os.path.join(place, "opentracker")
    with open(allowed, "w", encoding="ascii") as file:
        file.write(f"{info_hash}\n")
    with open(settings, "w", encoding="utf-8") as file:
        file.write(f"listen.tcp_udp {endpoint}\naccess.whitelist {allowed}\n")
    return lab.Process(["opentracker", "-f", settings], os.path.join(place, "tracker"), namespace)
