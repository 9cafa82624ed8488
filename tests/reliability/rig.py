"""What the suites here need beside `lab`: many addresses, crowds of connections, a process under watch, verdicts.

Everything runs where `lab.isolate` puts it: in namespaces of its own, without a way out. There `10.9.0.0/16` are
addresses of this machine that are not loopback, so that the limits meant for the network count.

Not here: what must hold (see the suites), measured speed (see `tests/bench`).
"""

import argparse
import contextlib
import errno
import hashlib
import json
import os
import resource
import select
import shutil
import socket
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/bench"))

import lab  # noqa: E402 (found through the line above)

#: Where the swarm under test listens, and where an honest peer comes from.
HOST, HONEST = "10.9.255.1", "10.9.255.2"
PORT = 7000
BLOCK = 16 << 10
PROTOCOL = b"\x13BitTorrent protocol"
#: Seconds after which peers that are to stay say so.
KEEP_ALIVE = 40
#: Connections that this script may have at the same time, and files besides.
DESCRIPTORS = 30_000


def arguments(text):
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    binary = os.environ.get("SWARM_BIN", os.path.join(ROOT, "target/release/swarm"))
    parser.add_argument("cases", nargs="*", metavar="CASE", help="which; all when none is named")
    parser.add_argument("--swarm", default=binary, help="our binary")
    parser.add_argument("--work", default=None, help="folder for the content, on a disk")
    parser.add_argument("--keep", default=None, help="folder that what a failed case leaves is copied to")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    return parser


def enter():
    """Moves into namespaces of our own and gives them addresses."""
    lab.isolate()
    lab.run("ip", "address", "add", "10.9.0.0/16", "dev", "lo")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, max(DESCRIPTORS, most)))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(text, cases, extend=None):
    """Runs the cases named on the command line; each is a function of the options and a folder."""
    parser = arguments(text)
    if extend:
        extend(parser)
    options = parser.parse_args()
    if options.list:
        print("\n".join(cases))
        return
    options.swarm = os.path.abspath(options.swarm)
    unknown = [name for name in options.cases if name not in cases]
    if unknown:
        sys.exit(f"no such case: {', '.join(unknown)}")
    enter()
    lab.note(lab.conditions())
    verdicts = []
    for name in options.cases or cases:
        place = lab.workplace(options.work)
        lab.note(f"{name}: {cases[name].__doc__.splitlines()[0]}")
        verdict = Verdict(name)
        try:
            cases[name](options, place, verdict)
        except (lab.Failure, OSError) as failure:
            verdict.miss(str(failure))
        finally:
            if verdict.misses and options.keep:
                with contextlib.suppress(shutil.Error, OSError):
                    shutil.copytree(place, options.keep, symlinks=True, dirs_exist_ok=True)
            stop_all()
        verdicts.append(verdict)
        shutil.rmtree(place, ignore_errors=True)
    lab.table(["case", "verdict", "what was measured"], [verdict.row() for verdict in verdicts])
    sys.exit(any(verdict.misses for verdict in verdicts))


class Verdict:
    """What a case measured, and what of it did not hold."""

    def __init__(self, name):
        self.name = name
        self.facts = []
        self.misses = []

    def fact(self, text):
        lab.note(f"  {text}")
        self.facts.append(text)

    def miss(self, text):
        lab.note(f"  FAILED: {text}")
        self.misses.append(text)

    def hold(self, condition, text):
        """Notes a fact that must be."""
        if condition:
            self.fact(text)
        else:
            self.miss(text)

    def must(self, condition, text):
        """The same for what goes without saying: told only when it does not hold."""
        if not condition:
            self.miss(text)

    def row(self):
        words = "; ".join(self.facts + [f"**{miss}**" for miss in self.misses])
        return self.name, "failed" if self.misses else "holds", words.replace("\n", " ")


#: Processes that a case has started and that end with it.
running = []


def stop_all():
    while running:
        running.pop().stop()


class Swarm(lab.Process):
    """Our binary, with what it says in JSON and what it uses."""

    def __init__(self, options, home, *arguments, descriptors=None, before=()):
        command = [*before, options.swarm, *map(str, arguments), "--json"]
        if descriptors:
            command = ["prlimit", f"--nofile={descriptors}:{descriptors}", *command]
        super().__init__(command, home)
        running.append(self)
        self.read = 0

    def rss(self):
        return self.status("VmRSS")

    def status(self, wanted):
        """One figure of `/proc/PID/status` in bytes; 0 when it has ended."""
        for name, value in lab.status_fields(f"/proc/{self.pid}/status"):
            if name == wanted:
                return int(value.split()[0]) * 1024
        return 0

    def descriptors(self):
        """How many files and sockets it has open."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        return 0

    def events(self):
        """What it has said since the last call; lines that are no JSON are left out."""
        with open(self.log, "rb") as file:
            file.seek(self.read)
            new = file.read()
        whole = new.rfind(b"\n") + 1
        self.read += whole
        found = []
        for line in new[:whole].splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    found.append(event)
        return found

    def wait_for(self, name, timeout=60):
        """The first event of this name from now on."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for event in self.events():
                if event.get("event") == name:
                    return event
            if not self.alive():
                raise lab.Failure(f"no {name!r}, and it ended with {self.code}\n{self.words()}")
            time.sleep(0.02)
        raise lab.Failure(f"no {name!r} within {timeout} s\n{self.words()}")

    def wait_end(self, timeout=60):
        """Its exit code."""
        lab.wait_until("it to end", lambda: not self.alive(), timeout)
        return self.code

    def panicked(self):
        with open(self.log, "rb") as file:
            return b"panicked" in file.read()

    def cpu_share(self, seconds):
        """The share of one core that it uses during so many seconds."""
        before, began = self.cpu(), time.monotonic()
        time.sleep(seconds)
        return (self.cpu() - before) / (time.monotonic() - began)


QUIET = ("--no-tracker", "--no-pex")


def seed(options, place, torrent, content, *more, home="seed", **how):
    """A seed that serves."""
    process = Swarm(
        options, os.path.join(place, home), "seed", "--torrent", torrent, content, "--listen", f"{HOST}:{PORT}", *QUIET,
        *more, **how,
    )
    process.wait_for("seeding", 120)
    return process


def fetch(options, place, torrent, *more, home="fetch", peer=f"{HOST}:{PORT}", listen=f"{HONEST}:0", **how):
    """A fetch by an honest peer."""
    given = ["--peer", peer] if peer else []
    return Swarm(
        options, os.path.join(place, home), "fetch", torrent, "--listen", listen, *given, *QUIET,
        "-o", os.path.join(place, home, "out"), *more, **how,
    )


def made(place, name, mib, piece_kib):
    """A file of random bytes and its torrent; returns both and the info hash."""
    path = os.path.join(place, name)
    lab.content(path, mib)
    torrent = os.path.join(place, f"{name}.torrent")
    return path, torrent, lab.torrent(torrent, path, piece_kib << 10, "http://10.9.255.9:9/announce")


def zeros(path, length, piece_length):
    """The torrent of a file that is all zeros, whatever its length; returns its info hash."""
    whole = hashlib.sha1(bytes(piece_length)).digest()
    pieces = whole * (length // piece_length)
    assert length % piece_length == 0
    info = b"d6:lengthi%de4:name4:zero12:piece lengthi%de6:pieces%d:%be" % (length, piece_length, len(pieces), pieces)
    with open(path, "wb") as file:
        file.write(b"d4:info%be" % info)
    return hashlib.sha1(info).hexdigest()


class Connection:
    """One end of a connection that we opened."""

    __slots__ = ("socket", "number", "state", "unread")

    def __init__(self, own_socket, number):
        self.socket = own_socket
        self.number = number
        self.state = "connecting"
        self.unread = b""


class Crowd:
    """Many connections to one address, all from this process. `pump` moves them on."""

    def __init__(self, target, info_hash, source):
        self.target = target
        self.info_hash = bytes.fromhex(info_hash)
        #: The address that connection number N comes from.
        self.source = source
        self.poll = select.epoll()
        self.by_fd = {}
        self.opened = self.greeted = self.closed = 0

    def open(self, hello=True):
        """Begins one more connection, which says its handshake when it can."""
        number = self.opened
        self.opened += 1
        own = socket.socket()
        own.setblocking(False)
        own.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        own.bind((self.source(number), 0))
        code = own.connect_ex(self.target)
        if code not in (0, errno.EINPROGRESS):
            own.close()
            self.closed += 1
            return
        connection = Connection(own, number)
        connection.state = "connecting" if hello else "silent"
        self.by_fd[own.fileno()] = connection
        self.poll.register(own.fileno(), select.EPOLLOUT | select.EPOLLIN if hello else select.EPOLLIN)

    def live(self):
        return len(self.by_fd)

    def handshaken(self):
        """Connections that were answered and are open."""
        return sum(connection.state == "greeted" for connection in self.by_fd.values())

    def pump(self, seconds):
        """Serves all connections for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.turn(left)

    def turn(self, timeout):
        for fd, what in self.poll.poll(timeout, 1024):
            connection = self.by_fd.get(fd)
            if connection is None:
                continue
            try:
                self.serve(connection, what)
            except OSError:
                self.drop(connection)

    def serve(self, connection, what):
        if connection.state == "connecting" and what & select.EPOLLOUT:
            peer_id = b"-ZZ0000-%012d" % connection.number
            connection.socket.send(PROTOCOL + self.reserved() + self.info_hash + peer_id)
            connection.state = "said"
            self.poll.modify(connection.socket.fileno(), select.EPOLLIN)
        if what & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            data = connection.socket.recv(64 << 10)
            if not data:
                raise ConnectionResetError
            self.received(connection, data)

    def reserved(self):
        return bytes(8)

    def received(self, connection, data):
        """What came is not looked at, beyond that it did."""
        if connection.state == "said":
            connection.state = "greeted"
            self.greeted += 1

    def drop(self, connection):
        fd = connection.socket.fileno()
        with contextlib.suppress(OSError):
            self.poll.unregister(fd)
        del self.by_fd[fd]
        connection.socket.close()
        self.closed += 1

    def fill(self, count, timeout, batch=64):
        """Opens connections until so many are greeted; those refused are tried again. False when time ran out."""
        end, spoken = time.monotonic() + timeout, time.monotonic()
        while (greeted := self.handshaken()) < count and time.monotonic() < end:
            waiting = self.live() - greeted
            for _ in range(min(batch - waiting, count - greeted - waiting)):
                self.open()
            self.turn(0.01)
            if time.monotonic() - spoken > KEEP_ALIVE:
                spoken = time.monotonic()
                self.keep_alive()
        return greeted >= count

    def keep_alive(self):
        for connection in list(self.by_fd.values()):
            if connection.state == "greeted":
                try:
                    connection.socket.send(bytes(4))
                except OSError:
                    self.drop(connection)

    def close(self):
        for connection in list(self.by_fd.values()):
            self.drop(connection)


def spread(number):
    """An address for each of up to 60,000 connections: 10.9.0.1 and on."""
    return f"10.9.{number // 250 % 240}.{number % 250 + 1}"


def of_254(number):
    """One of 254 addresses."""
    return f"10.9.1.{number % 254 + 1}"


def loopback(number):
    """An address of loopback for each connection."""
    return f"127.{number // 62500 + 1}.{number // 250 % 250}.{number % 250 + 1}"
