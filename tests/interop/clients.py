"""The clients that swarms are made of: how each is started, fed and asked whether it is ready.

Every client gets a network namespace, which is a host of its own: one address, one line to
the namespace of the case, which routes between them and to nowhere else. No DHT, no local
discovery, no port mapping. What a client fetched is judged by the bytes on the disk, never by
what it says.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
START_TIMEOUT = 60
#: Where peers connect, and where two of the clients are asked how they are.
PORT, CONTROL = 7000, 8000


class Failure(Exception):
    """A case went wrong; the text says how."""


def wait(what, condition, timeout=START_TIMEOUT):
    """Returns the first true answer of `condition`, or fails after `timeout` seconds."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.05)
    raise Failure(f"timed out after {timeout} s: {what}")


def plain_environment():
    """The environment without our own variables: `swarm` refuses those that it does not know."""
    return {key: value for key, value in os.environ.items() if not key.startswith("SWARM_")}


def is_listening(process, port):
    """Whether a TCP port accepts in the network of `process`, read from the kernel so that
    nobody is disturbed."""
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{process.pid}/net/{table}", encoding="ascii") as rows:
            for row in rows.readlines()[1:]:
                fields = row.split()
                if fields[1].endswith(f":{port:04X}") and fields[3] == "0A":
                    return True
    return False


def host(number):
    """A namespace with one address, joined to this one. Returns its name and the address."""
    name, here, there = f"host{number}", f"10.99.{number}.1", f"10.99.{number}.2"
    ip = lambda *words: subprocess.run(["ip", *words], check=True)
    ip("netns", "add", name)
    ip("link", "add", name, "type", "veth", "peer", "name", "line", "netns", name)
    ip("address", "add", f"{here}/24", "dev", name)
    ip("-n", name, "address", "add", f"{there}/24", "dev", "line")
    ip("link", "set", name, "up")
    ip("-n", name, "link", "set", "line", "up")
    ip("-n", name, "link", "set", "lo", "up")
    ip("-n", name, "route", "add", "default", "via", here)
    return name, there


class Client:
    """One process that seeds or fetches one torrent."""

    kind = ""
    #: Can be told of a peer on the command line; the others know only the torrent's tracker.
    takes_peers = True
    #: Makes the files of a torrent that are empty.
    makes_empty_files = True

    def __init__(self, place, number):
        self.place = place
        self.namespace, self.address = host(number)
        self.port = PORT
        self.home = os.path.join(place, f"{self.kind}-{number}")
        self.log = os.path.join(self.home, "log")
        self.process = None
        os.makedirs(self.home)

    @property
    def endpoint(self):
        return f"{self.address}:{self.port}"

    def spawn(self, command):
        environment = plain_environment()
        for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            environment[variable] = self.home
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *command],
            stdin=subprocess.DEVNULL,
            stdout=open(self.log + ".out", "wb"),
            stderr=open(self.log, "wb"),
            env=environment,
            start_new_session=True,
        )

    def seed(self, torrent, content):
        """Serves `content` (the file or the folder) and returns once peers are welcome."""
        self.start_seed(torrent, content)
        wait(f"{self.kind} to seed\n{self.words()}", self.is_ready)

    def is_ready(self):
        return self.listens()

    def listens(self):
        self.check_alive()
        return is_listening(self.process, self.port)

    def check_alive(self):
        if self.process.poll() is not None:
            raise Failure(f"{self.kind} ended with {self.process.returncode}\n{self.words()}")

    def words(self):
        """The end of what it printed."""
        text = ""
        for name in (self.log, self.log + ".out"):
            if os.path.exists(name):
                text += open(name, "rb").read()[-1500:].decode(errors="replace")
        return text

    def stop(self):
        if self.process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                pass
            try:
                self.process.wait(5)
                break
            except subprocess.TimeoutExpired:
                continue


class Swarm(Client):
    kind = "swarm"
    quiet = ["--no-dht", "--no-lsd", "--no-upnp"]

    def start_seed(self, torrent, content):
        command = [os.environ["SWARM_BIN"], "seed", *self.quiet, "--json", "--listen", self.endpoint]
        if torrent:
            command += ["--torrent", torrent]
        self.spawn([*command, content])

    def fetch(self, link, folder, peers=(), stay=True, more=()):
        command = [os.environ["SWARM_BIN"], "fetch", *self.quiet, "--json", "--listen", self.endpoint, "-o", folder]
        if peers:
            command.append("--no-tracker")
        for peer in peers:
            command += ["--peer", peer]
        if stay:
            command.append("--seed")
        command += more
        self.spawn([*command, link])

    def introduce(self, torrent, folder, peer):
        """Is connected and has next to nothing to give."""
        self.fetch(torrent, folder, [peer], more=["--up", "1000", "--down", "1000"])

    def last_event(self):
        """The last line of its JSON."""
        with open(self.log + ".out", encoding="utf-8") as lines:
            return json.loads(lines.readlines()[-1])

    def magnet(self):
        """The link that `seed` printed."""
        def printed():
            self.check_alive()
            for line in open(self.log + ".out", encoding="utf-8"):
                if '"event":"seeding"' in line.replace(" ", ""):
                    return json.loads(line)["magnet"]
            return None
        return wait("the line of `seed`", printed)


class Libtorrent(Client):
    kind = "libtorrent"

    def run(self, mode, link, folder, peers, rate=0):
        command = [sys.executable, os.path.join(HERE, "lt_client.py"), mode, link, folder, "--listen", self.endpoint]
        for peer in peers:
            command += ["--peer", peer]
        self.spawn([*command, "--rate", str(rate)])

    def introduce(self, torrent, folder, peer):
        """Is connected and has next to nothing to give."""
        self.run("fetch", torrent, folder, [peer], rate=1000)

    def start_seed(self, torrent, content):
        self.run("seed", torrent, os.path.dirname(content), ())

    def is_ready(self):
        self.check_alive()
        return b"ready" in open(self.log + ".out", "rb").read()

    def fetch(self, link, folder, peers=()):
        self.run("fetch", link, folder, peers)


class Transmission(Client):
    kind = "transmission"
    takes_peers = False
    makes_empty_files = False

    def start(self, torrent, folder):
        settings = {
            "bind-address-ipv4": self.address,
            "peer-port": self.port,
            "dht-enabled": False,
            "lpd-enabled": False,
            "utp-enabled": False,
            "port-forwarding-enabled": False,
            "rpc-bind-address": self.address,
            "rpc-port": CONTROL,
            "rpc-whitelist-enabled": False,
            "rename-partial-files": False,
            "download-dir": folder,
            "download-queue-enabled": False,
            "seed-queue-enabled": False,
            "ratio-limit-enabled": False,
        }
        with open(os.path.join(self.home, "settings.json"), "w", encoding="utf-8") as file:
            json.dump(settings, file)
        self.token = ""
        self.spawn(["transmission-daemon", "--foreground", "--config-dir", self.home, "--log-error"])
        wait("transmission's control port", lambda: is_listening(self.process, CONTROL))
        with open(torrent, "rb") as file:
            content = base64.b64encode(file.read()).decode()
        self.call("torrent-add", metainfo=content, **{"download-dir": folder})

    def start_seed(self, torrent, content):
        self.start(torrent, os.path.dirname(content))

    def is_ready(self):
        self.check_alive()
        found = self.call("torrent-get", ids=[1], fields=["percentDone", "status"])["torrents"]
        # Status 6 is seeding.
        return bool(found) and found[0]["percentDone"] >= 1 and found[0]["status"] == 6

    def fetch(self, link, folder, peers=()):
        self.start(link, folder)

    def call(self, method, **arguments):
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        url = f"http://{self.address}:{CONTROL}/transmission/rpc"
        for _ in range(5):
            request = urllib.request.Request(url, body, {"X-Transmission-Session-Id": self.token})
            try:
                answer = json.load(urllib.request.urlopen(request, timeout=10))
            except urllib.error.HTTPError as error:
                # The first call is refused and names the token that the next one must carry.
                self.token = error.headers.get("X-Transmission-Session-Id", "")
                continue
            if answer["result"] != "success":
                raise Failure(f"transmission, {method}: {answer['result']}")
            return answer["arguments"]
        raise Failure("transmission refuses its session id")


class Aria2(Client):
    kind = "aria2"
    takes_peers = False

    def run(self, torrent, folder, *more):
        command = ["aria2c", "--quiet", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false"]
        command += [f"--listen-port={self.port}", f"--interface={self.address}", f"--dir={folder}"]
        command += ["--disk-cache=0", "--file-allocation=none", "--bt-tracker-interval=1", *more]
        self.spawn([*command, torrent])

    def start_seed(self, torrent, content):
        self.run(torrent, os.path.dirname(content), "--check-integrity=true", "--seed-ratio=0.0")

    def fetch(self, link, folder, peers=()):
        self.run(link, folder, "--seed-ratio=0.0", "--seed-time=600")


class Rqbit(Client):
    kind = "rqbit"

    def run(self, link, folder, *more):
        command = ["rqbit", "-v", "error", "--disable-dht", "--disable-dht-persistence", "--disable-lsd"]
        command += ["--disable-upnp-port-forward", "--ipv4-only", "-i", "2s"]
        command += ["--listen-ip", self.address, "--listen-port", str(self.port)]
        command += ["--http-api-listen-addr", f"{self.address}:{CONTROL}"]
        self.spawn([*command, "download", "-o", folder, *more, link])

    def start_seed(self, torrent, content):
        self.run(torrent, os.path.dirname(content), "--overwrite")

    def is_ready(self):
        self.check_alive()
        url = f"http://{self.address}:{CONTROL}/torrents/0/stats/v1"
        try:
            stats = json.load(urllib.request.urlopen(url, timeout=5))
        except (OSError, ValueError):
            return False
        return stats.get("state") == "live" and stats.get("finished") and is_listening(self.process, self.port)

    def fetch(self, link, folder, peers=()):
        more = ["--initial-peers", ",".join(peers)] if peers else []
        self.run(link, folder, *more)


class OurTracker(Client):
    """`swarm tracker`."""

    kind = "our-tracker"

    def serve(self, info_hashes):
        self.spawn([os.environ["SWARM_BIN"], "tracker", "--http", self.endpoint, "--udp", self.endpoint])
        wait("our tracker to listen", lambda: self.check_alive() or is_listening(self.process, self.port))
        return self

    def knows_a_seed(self, info_hash):
        """Whether a seed has announced itself, by scrape."""
        quoted = urllib.parse.quote_from_bytes(bytes.fromhex(info_hash))
        url = f"http://{self.endpoint}/scrape?info_hash={quoted}"
        try:
            answer = urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            return False
        return b"8:completei0e" not in answer and b"8:completei" in answer


class Opentracker(OurTracker):
    """Debian's opentracker, which serves only the hashes on its list."""

    kind = "opentracker"

    def serve(self, info_hashes):
        allowed = os.path.join(self.home, "allowed")
        with open(allowed, "w", encoding="ascii") as file:
            file.writelines(f"{info_hash}\n" for info_hash in info_hashes)
        settings = os.path.join(self.home, "settings")
        with open(settings, "w", encoding="utf-8") as file:
            file.write(f"listen.tcp_udp {self.endpoint}\naccess.whitelist {allowed}\n")
        self.spawn(["opentracker", "-f", settings])
        wait("opentracker to listen", lambda: self.check_alive() or is_listening(self.process, self.port))
        return self


KINDS = {kind.kind: kind for kind in (Swarm, Libtorrent, Transmission, Aria2, Rqbit)}
PROGRAMS = ("transmission-daemon", "aria2c", "rqbit", "opentracker", "mktorrent", "ip", "unshare")


def missing():
    """Programs and modules that the cases need and this machine lacks."""
    found = [program for program in PROGRAMS if shutil.which(program) is None]
    probe = [sys.executable, "-c", "import libtorrent"]
    if subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        found.append("python module libtorrent")
    return found
