#!/usr/bin/env python3
"""A flash crowd: one seed, N fetchers that start at once, every host behind an uplink and a downlink of its own.

    tests/bench/crowd.py [--kinds swarm,libtorrent] [--hosts 12] [--mib 48] [--piece 262144]
        [--up 20] [--down 200] [--seed-up 20] [--mixed] [--runs 1]        (rates in Mbit/s; as root)

No schedule is faster than the floor of Kumar and Ross: the seed sends everything once, the
slowest downlink takes everything, and all uplinks together send everything N times. Given are
the times at which half, 95 % and all of the fetchers had the file, over that floor, and what
the seed sent over the size of the file. Which pieces a fetcher has is read off its disk.
"""

import os
import shutil
import sys
import time

import lab
import peers

#: The hosts, number 0 is the seed, share one network with the tracker.
NETWORK = "10.97.0"
TRACKER = f"{NETWORK}.250"
HUB = "hub"
#: Bytes that show, cheaply, whether a piece may have arrived: its end.
TAIL = 32


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

    def host(self, number, up, down):
        """Adds a host that sends at most `up` and receives at most `down` Mbit/s."""
        space, port = f"host{number}", f"port{number}"
        lab.run("ip", "netns", "add", space)
        lab.run("ip", "link", "add", port, "netns", HUB, "type", "veth", "peer", "name", "eth0", "netns", space)
        lab.run("ip", "-n", HUB, "link", "set", port, "master", "bridge", "up")
        lab.run("ip", "-n", space, "address", "add", f"{address(number)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            lab.run("ip", "-n", space, "link", "set", device, "up")
        for where, device, rate in ((space, "eth0", up), (HUB, port, down)):
            shape = ["root", "tbf", "rate", f"{round(rate * 1000)}kbit", "burst", "64kb", "latency", "60ms"]
            lab.run("tc", "-n", where, "qdisc", "add", "dev", device, *shape)
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


class Watch:
    """Which pieces of the content a fetcher has on its disk so far."""

    def __init__(self, job, content, piece_length):
        self.job = job
        self.content = content
        self.missing = [slice(at, at + piece_length) for at in range(0, len(content), piece_length)]

    def complete(self):
        try:
            with open(self.job.written() or self.job.target, "rb") as file:
                self.missing = [piece for piece in self.missing if not self.has(file, piece)]
        except FileNotFoundError:
            return False
        return not self.missing

    def has(self, file, piece):
        wanted = self.content[piece]
        file.seek(piece.start + len(wanted) - TAIL)
        if file.read(TAIL) != wanted[-TAIL:]:
            return False
        file.seek(piece.start)
        return file.read(len(wanted)) == wanted


def floor_seconds(options, uplinks):
    bits = options.mib * lab.MIB * 8 / 1e6
    return max(bits / options.seed_up, bits / options.down, len(uplinks) * bits / (options.seed_up + sum(uplinks)))


def crowd(options, kind, network):
    """One crowd of one kind of client; returns its row of figures."""
    place = lab.workplace(options.work)
    content = os.path.join(place, "source", "payload.bin")
    os.mkdir(os.path.dirname(content))
    lab.content(content, options.mib)
    torrent = os.path.join(place, "payload.torrent")
    info_hash = lab.torrent(torrent, content, options.piece, f"http://{TRACKER}:6969/announce")
    with open(content, "rb") as file:
        bytes_wanted = file.read()
    peer = peers.KINDS[kind](options)

    def start(number):
        home = os.path.join(place, f"peer-{number}")
        folder = os.path.join(home, "out")
        os.makedirs(folder)
        job = peers.Job(torrent, content, options.piece, address(number), 7000, folder, tracker=True, stay=True)
        command = peer.fetch(job) if number else peer.seed(job)
        return lab.Process(command, home, network.spaces[number]), Watch(job, bytes_wanted, options.piece)

    running = [peers.opentracker(place, f"{TRACKER}:6969", info_hash, HUB)]
    try:
        seed, _ = start(0)
        running.append(seed)
        lab.wait_quiet(seed)
        time.sleep(2)  # for its announce
        before, begin = sent(seed), time.monotonic()
        started = [start(number) for number in range(1, options.hosts + 1)]
        running += [process for process, _ in started]
        watches = [watch for _, watch in started]
        finished = follow(running, watches, begin + options.timeout)
        shares = (sent(seed) - before) / len(bytes_wanted)
        return sorted(end - begin for end in finished), shares
    finally:
        for process in running:
            process.stop()
        if options.keep:
            lab.note(f"logs of {kind} are in {shutil.copytree(place, options.keep, dirs_exist_ok=True)}")
        shutil.rmtree(place)


def follow(running, watches, deadline):
    """Waits for the fetchers; returns when each had the file."""
    finished = []
    while watches and time.monotonic() < deadline:
        time.sleep(0.2)
        for process in running:
            process.check()
        waiting = [watch for watch in watches if not watch.complete()]
        finished += [time.monotonic()] * (len(watches) - len(waiting))
        watches = waiting
    return finished


def row(options, kind, floor, times, shares):
    def at(share):
        index = max(0, -(-options.hosts * share // 100) - 1)
        return f"{times[index] / floor:.2f}" if index < len(times) else "-"

    return [kind, at(50), at(95), at(100), f"{shares:.2f}", f"{len(times)} of {options.hosts}"]


def main():
    parser = lab.arguments(__doc__)
    parser.add_argument("--kinds", default="swarm,libtorrent,aria2,rqbit", help="clients, each a crowd of its own")
    parser.add_argument("--hosts", type=int, default=12, help="fetchers, at most 200")
    parser.add_argument("--mib", type=int, default=48, help="size of the file")
    parser.add_argument("--piece", type=int, default=1 << 18, help="bytes of a piece")
    parser.add_argument("--up", type=float, default=20, help="uplink of a fetcher")
    parser.add_argument("--down", type=float, default=200, help="downlink of every host")
    parser.add_argument("--seed-up", type=float, default=20, help="uplink of the seed")
    parser.add_argument("--mixed", action="store_true", help="uplinks of twice, once and half of --up in turn")
    parser.add_argument("--runs", type=int, default=1, help="crowds of every kind, in turn")
    parser.add_argument("--timeout", type=float, default=200, help="seconds a crowd may take")
    parser.add_argument("--keep", help="folder to copy logs and files to")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("shaped links need root")
    lab.isolate()
    network = Network()
    factors = [2, 1, 0.5] if options.mixed else [1]
    uplinks = [options.up * factors[number % len(factors)] for number in range(options.hosts)]
    for number, rate in enumerate([options.seed_up, *uplinks]):
        network.host(number, rate, options.down)
    floor = floor_seconds(options, uplinks)
    shape = f"{options.hosts} fetchers, {options.mib} MiB in pieces of {options.piece} bytes"
    print(f"{shape}, floor {floor:.1f} s; {lab.conditions()}", flush=True)
    rows = []
    for _ in range(options.runs):
        for kind in options.kinds.split(","):
            try:
                rows.append(row(options, kind, floor, *crowd(options, kind, network)))
            except lab.Failure as failure:
                lab.note(f"{kind} failed: {failure}")
                rows.append([kind, "failed", "-", "-", "-", "-"])
            lab.note(" ".join(rows[-1]))
    lab.table(["client", "T50 x floor", "T95 x floor", "Tlast x floor", "seed sent x file", "finished"], rows)
    print(f"load at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
