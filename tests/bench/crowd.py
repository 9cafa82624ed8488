#!/usr/bin/env python3
"""A crowd around one seed, every host behind an uplink and a downlink of its own.

    tests/bench/crowd.py [--scenario flash12,mixed12 | --all] [--kinds swarm,libtorrent,aria2,rqbit]
        [--runs 1] [--json FILE] [--quick]        (as root)

No schedule is faster than the floor of Kumar and Ross: the seed sends everything once, the slowest downlink takes
everything, and all uplinks together send everything N times. Given are the times at which half, 95 % and all of the
fetchers had the content, over that floor; the mean of what each took from its own start; what the seed's link sent
over the size of the content; and the CPU seconds of everybody together for each GiB that arrived. Which pieces a
fetcher has is read off its disk, never asked of it.

With `--json` every run appends one line to a file. The scenarios have the names of their twins in `tests/sim`.
"""

import json
import os
import shutil
import signal
import statistics
import sys
import time
from dataclasses import dataclass

import lab
import peers

#: The hosts, number 0 is the seed, share one network with the tracker.
NETWORK = "10.97.0"
TRACKER = f"{NETWORK}.250"
HUB = "hub"
#: Bytes that show, cheaply, whether a piece may have arrived: its end.
TAIL = 32
#: Between two looks at the disks, seconds.
LOOK = 0.1
#: With whom the others share a crowd in which half of the fetchers are foreign.
FOREIGN = "libtorrent"


@dataclass(frozen=True)
class Scenario:
    """A crowd; rates in Mbit/s. Uplinks are given out in turn."""

    what: str
    fetchers: int = 12
    mib: int = 48
    piece_kib: int = 256
    uplinks: tuple = (20,)
    seed_up: float = 20
    down: float = 200
    #: Every second fetcher is FOREIGN, unless the others are too.
    half_foreign: bool = False
    #: The seed is killed as soon as every piece is on some fetcher's disk.
    seed_dies: bool = False
    #: So many more fetchers come, one every `pause` seconds.
    late: int = 0
    pause: float = 2
    #: Of so many fetchers one leaves as soon as it has everything; 0 for none.
    leaver: int = 0

    def rates(self):
        return [self.uplinks[at % len(self.uplinks)] for at in range(self.fetchers + self.late)]

    def floor(self):
        """Seconds; for those who come late there is none, so theirs is the floor of the first ones."""
        bits = self.mib * lab.MIB * 8 / 1e6
        ups = self.rates()[: self.fetchers]
        return max(bits / self.seed_up, bits / self.down, len(ups) * bits / (self.seed_up + sum(ups)))


SCENARIOS = {
    "flash12": Scenario("12 fetchers, every uplink 20"),
    "mixed12": Scenario("12 fetchers, uplinks 40, 20 and 10 in turn", uplinks=(40, 20, 10)),
    "fastseed12": Scenario("12 fetchers, uplinks 20, the seed's 80", seed_up=80),
    "small24": Scenario("24 fetchers, small content", fetchers=24, mib=24, piece_kib=64),
    "halfforeign12": Scenario(f"12 fetchers, every second one {FOREIGN}", half_foreign=True),
    "seeddies12": Scenario("12 fetchers, the seed killed once one copy is out", seed_dies=True),
    "churn12": Scenario("12 fetchers, 12 more every 2 s, a third leave when they are done", late=12, leaver=3),
}


class Network:
    """A bridge in a namespace of its own; on it one namespace a host, with shaped links."""

    def __init__(self):
        self.spaces = []
        # Names of namespaces live in the file system: a private one, so that none outlives us.
        os.makedirs("/run/netns", exist_ok=True)
        lab.run("mount", "-t", "tmpfs", "none", "/run/netns")
        lab.run("ip", "netns", "add", HUB)
        lab.run("ip", "-n", HUB, "link", "add", "bridge", "type", "bridge")
        lab.run("ip", "-n", HUB, "link", "set", "bridge", "up")
        lab.run("ip", "-n", HUB, "address", "add", f"{TRACKER}/24", "dev", "bridge")

    def shape(self, number, up, down):
        """Makes a host send at most `up` and receive at most `down` Mbit/s; adds it if it is not there yet."""
        if number == len(self.spaces):
            self.add(number)
        for where, device, rate in ((f"host{number}", "eth0", up), (HUB, f"port{number}", down)):
            shape = ["root", "tbf", "rate", f"{round(rate * 1000)}kbit", "burst", "64kb", "latency", "60ms"]
            lab.run("tc", "-n", where, "qdisc", "replace", "dev", device, *shape)

    def add(self, number):
        space, port = f"host{number}", f"port{number}"
        lab.run("ip", "netns", "add", space)
        lab.run("ip", "link", "add", port, "netns", HUB, "type", "veth", "peer", "name", "eth0", "netns", space)
        lab.run("ip", "-n", HUB, "link", "set", port, "master", "bridge", "up")
        lab.run("ip", "-n", space, "address", "add", f"{address(number)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            lab.run("ip", "-n", space, "link", "set", device, "up")
        self.spaces.append(space)


def address(number):
    return f"{NETWORK}.{number + 1}"


def sent(process):
    """Bytes that the host of a process has sent, as its link counts them."""
    with open(f"/proc/{process.pid}/net/dev", encoding="ascii") as file:
        for line in file:
            device, _, counts = line.partition(":")
            if device.strip() == "eth0":
                return int(counts.split()[8])
    raise lab.Failure("the seed's host has no link")


class Fetcher:
    """A fetcher, and which pieces of the content it has on its disk so far."""

    def __init__(self, kind, process, job, content, leaves):
        self.kind, self.process, self.job, self.content = kind, process, job, content
        self.leaves = leaves
        self.seconds = None
        self.cpu = 0.0
        self.missing = {at: content[at : at + job.piece_length] for at in range(0, len(content), job.piece_length)}

    def look(self):
        """Looks at the disk; notes when everything is there, and leaves then if it is one that leaves."""
        if self.seconds is not None:
            return
        self.process.check()
        try:
            with open(self.job.written() or self.job.target, "rb") as file:
                self.missing = {at: piece for at, piece in self.missing.items() if not has(file, at, piece)}
        except FileNotFoundError:
            return
        if not self.missing:
            self.seconds = time.monotonic() - self.process.started
            if self.leaves:
                self.cpu = self.process.cpu()
                self.process.signal(signal.SIGTERM)


def has(file, at, piece):
    file.seek(at + len(piece) - TAIL)
    if file.read(TAIL) != piece[-TAIL:]:
        return False
    file.seek(at)
    return file.read(len(piece)) == piece


class Crowd:
    """One run of a scenario; everything it starts ends with it."""

    def __init__(self, options, scenario, kind, network):
        self.options, self.scenario, self.kind, self.network = options, scenario, kind, network
        self.place = lab.workplace(options.work)
        lab.room_for(self.place, scenario.mib * (scenario.fetchers + scenario.late + 2))
        self.source = os.path.join(self.place, "source", "payload.bin")
        os.mkdir(os.path.dirname(self.source))
        lab.content(self.source, scenario.mib)
        self.torrent = os.path.join(self.place, "payload.torrent")
        piece = scenario.piece_kib * 1024
        self.info_hash = lab.torrent(self.torrent, self.source, piece, f"http://{TRACKER}:6969/announce")
        with open(self.source, "rb") as file:
            self.content = file.read()
        self.tracker = self.seed = None
        self.seed_counts = self.seed_cpu = 0
        self.fetchers = []

    def kind_of(self, number):
        return FOREIGN if self.scenario.half_foreign and number % 2 == 0 else self.kind

    def start(self, number):
        home = os.path.join(self.place, f"peer-{number}")
        folder = os.path.join(home, "out")
        os.makedirs(folder)
        piece = self.scenario.piece_kib * 1024
        job = peers.Job(self.torrent, self.source, piece, address(number), 7000, folder, tracker=True, stay=True)
        kind = self.kind_of(number) if number else self.kind
        peer = peers.KINDS[kind](self.options)
        process = lab.Process(peer.fetch(job) if number else peer.seed(job), home, self.network.spaces[number])
        if number == 0:
            return process
        leaves = self.scenario.leaver > 0 and number % self.scenario.leaver == 0
        self.fetchers.append(Fetcher(kind, process, job, self.content, leaves))
        return process

    def run(self):
        """Returns when all have everything or the time is over."""
        self.tracker = peers.opentracker(self.place, f"{TRACKER}:6969", self.info_hash, HUB)
        self.seed = self.start(0)
        lab.wait_quiet(self.seed)
        time.sleep(2)  # for its announce
        before, cpu, begin = sent(self.seed), self.seed.cpu(), time.monotonic()
        first, late = self.scenario.fetchers, self.scenario.late
        for number in range(first):
            self.start(number + 1)
        while time.monotonic() < begin + self.options.timeout:
            time.sleep(LOOK)
            come = int((time.monotonic() - begin) / self.scenario.pause) if late else 0
            for number in range(len(self.fetchers), min(first + come, first + late)):
                self.start(number + 1)
            for fetcher in self.fetchers:
                fetcher.look()
            if self.seed.alive():
                self.seed_counts, self.seed_cpu = sent(self.seed) - before, self.seed.cpu() - cpu
            elif not self.scenario.seed_dies:
                self.seed.check()
            if self.scenario.seed_dies and self.seed.alive() and self.is_out():
                self.seed.stop()
            if len(self.fetchers) == first + late and all(fetcher.seconds for fetcher in self.fetchers):
                break
        for fetcher in self.fetchers:
            fetcher.cpu = fetcher.cpu or fetcher.process.cpu()

    def is_out(self):
        """Whether every piece is on some fetcher's disk."""
        missing = [fetcher.missing.keys() for fetcher in self.fetchers]
        return not set.intersection(*map(set, missing))

    def end(self):
        for process in [*(fetcher.process for fetcher in self.fetchers), self.seed, self.tracker]:
            if process:
                process.stop()
        if self.options.keep:
            lab.note(f"logs of {self.kind} are in {shutil.copytree(self.place, self.options.keep, dirs_exist_ok=True)}")
        shutil.rmtree(self.place)

    def figures(self):
        """One dictionary for every kind of fetcher there was."""
        gib = len(self.fetchers) * self.scenario.mib / 1024
        cpu = self.seed_cpu + sum(fetcher.cpu for fetcher in self.fetchers)
        shared = {
            "floor_seconds": self.scenario.floor(),
            "seed_sent": self.seed_counts / len(self.content),
            "cpu_seconds_per_gib": cpu / gib,
        }
        kinds = list(dict.fromkeys(fetcher.kind for fetcher in self.fetchers))
        for kind in kinds:
            ours = [fetcher for fetcher in self.fetchers if fetcher.kind == kind]
            seconds = sorted(fetcher.seconds for fetcher in ours if fetcher.seconds)
            mean = statistics.mean(seconds) if seconds else None
            name = " beside ".join([kind, *(other for other in kinds if other != kind)])
            yield {"client": name, "fetchers": len(ours), "seconds": seconds, "mean_seconds": mean, **shared}


def quantile(figures, share):
    """When so many in a hundred of the fetchers had everything, over the floor."""
    seconds = figures["seconds"]
    index = max(0, -(-figures["fetchers"] * share // 100) - 1)
    return f"{seconds[index] / figures['floor_seconds']:.2f}" if index < len(seconds) else "-"


def row(figures):
    mean = figures["mean_seconds"]
    return [
        figures["client"],
        *(quantile(figures, share) for share in (50, 95, 100)),
        f"{mean:.1f}" if mean else "-",
        f"{figures['seed_sent']:.2f}",
        f"{figures['cpu_seconds_per_gib']:.1f}",
        f"{len(figures['seconds'])} of {figures['fetchers']}",
    ]


HEAD = ["client", "T50 x floor", "T95 x floor", "Tlast x floor", "mean s", "seed sent x file", "CPU s/GiB, all", "finished"]


def record(options, name, figures):
    """Appends one line to the file that the simulator's figures are compared with."""
    line = {"scenario": name, "quick": options.quick, "load": os.getloadavg()[0], **figures}
    with open(options.json, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def play(options, network, name):
    """All runs of one scenario, and its table."""
    scenario = SCENARIOS[name]
    if options.quick:
        scenario = Scenario(**{**vars(scenario), "mib": scenario.mib // 8, "late": min(scenario.late, 3)})
    for number, rate in enumerate([scenario.seed_up, *scenario.rates()]):
        network.shape(number, rate, scenario.down)
    content = f"{scenario.mib} MiB in pieces of {scenario.piece_kib} KiB"
    print(f"\n{name}: {scenario.what}; {content}; floor {scenario.floor():.1f} s; {lab.conditions()}\n", flush=True)
    rows = []
    for _ in range(options.runs):
        for kind in options.kinds.split(","):
            crowd = Crowd(options, scenario, kind, network)
            try:
                crowd.run()
                for figures in crowd.figures():
                    rows.append(row(figures))
                    if options.json:
                        record(options, name, figures)
            except lab.Failure as failure:
                lab.note(f"{kind} failed: {failure}")
                rows.append([kind, "failed", *["-"] * (len(HEAD) - 2)])
            finally:
                crowd.end()
            lab.note(" ".join(rows[-1]))
    lab.table(HEAD, rows)
    print(f"\nload at the end: {os.getloadavg()[0]:.1f}", flush=True)


def main():
    parser = lab.arguments(__doc__)
    parser.add_argument("--scenario", default="flash12", help=f"of {', '.join(SCENARIOS)}; several with commas between")
    parser.add_argument("--all", action="store_true", help="every scenario")
    parser.add_argument("--kinds", default="swarm,libtorrent,aria2,rqbit", help="clients, each a crowd of its own")
    parser.add_argument("--runs", type=int, default=1, help="crowds of every kind, in turn")
    parser.add_argument("--timeout", type=float, default=200, help="seconds a crowd may take")
    parser.add_argument("--json", help="file to append a line to for every run")
    parser.add_argument("--keep", help="folder to copy logs and files to")
    parser.add_argument("--quick", action="store_true", help="an eighth of the content: whether it works")
    options = parser.parse_args()
    names = list(SCENARIOS) if options.all else options.scenario.split(",")
    if unknown := [name for name in names if name not in SCENARIOS]:
        sys.exit(f"no such scenario: {', '.join(unknown)}")
    if os.geteuid() != 0:
        sys.exit("shaped links need root")
    lab.isolate()
    network = Network()
    for name in names:
        play(options, network, name)


if __name__ == "__main__":
    main()
