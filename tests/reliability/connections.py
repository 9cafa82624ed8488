#!/usr/bin/env python3
"""Many connections: idle, hostile, short-lived; and few descriptors.

    tests/reliability/connections.py [CASE...] [--list]        (as root)

Each case is a seed of its own in a network of its own. It prints a table of what was measured and ends with 1 when
something did not hold.
"""

import os
import socket
import time

import rig
from rig import HOST, PORT, Crowd, lab

MIB = lab.MIB
TARGET = (HOST, PORT)


def rate(options, place, torrent, mib, home):
    """MB/s of one honest fetch, whole."""
    fetch = rig.fetch(options, place, torrent, home=home)
    done = fetch.wait_for("done", 120)
    fetch.wait_end()
    lab.run("rm", "-rf", os.path.join(place, home, "out"))
    return mib * MIB / 1e6 / max(done["seconds"], 1e-3)


def idle_peers(options, place, verdict):
    """10,000 peers that have said hello and nothing else, of a torrent of 1,000 pieces."""
    content, torrent, info_hash = rig.made(place, "idle", 250, 256)
    seed = rig.seed(options, place, torrent, content, "--max-peers", options.peers + 100, descriptors=16_384)
    before = sorted(rate(options, place, torrent, 250, f"before-{n}") for n in range(3))[1]
    empty = seed.rss()
    crowd = Crowd(TARGET, info_hash, rig.spread)
    began = time.monotonic()
    whole = crowd.fill(options.peers, 200)
    verdict.hold(whole, f"{crowd.handshaken()} peers within {time.monotonic() - began:.0f} s")
    crowd.pump(10)
    crowd.keep_alive()
    used, began = seed.cpu(), time.monotonic()
    crowd.pump(30)
    share = (seed.cpu() - used) / (time.monotonic() - began)
    rss = seed.rss()
    verdict.hold(crowd.handshaken() >= options.peers, f"{crowd.handshaken()} still there after 40 s")
    verdict.hold(rss <= 150 * MIB, f"RSS {rss / MIB:.0f} MiB, {(rss - empty) / options.peers / 1024:.1f} KiB a peer")
    verdict.hold(share <= 0.05, f"{share * 100:.1f} % of a core")
    crowd.keep_alive()
    during = sorted(rate(options, place, torrent, 250, f"during-{n}") for n in range(3))[1]
    verdict.fact(f"a fetch beside them: {during:.0f} MB/s, {before:.0f} without ({during / before:.2f})")
    crowd.close()
    began = time.monotonic()
    lab.wait_until("their descriptors to be free", lambda: seed.descriptors() < 100, 60)
    verdict.fact(f"all gone {time.monotonic() - began:.1f} s after they left")
    verdict.must(seed.alive() and not seed.panicked(), "down or panicked")


def one_address(options, place, verdict, source="10.9.1.1", label="from one address"):
    """5,000 connections from one address, while an honest peer comes from another (P34)."""
    content, torrent, info_hash = rig.made(place, "one", 64, 256)
    seed = rig.seed(options, place, torrent, content)
    base, rss = seed.descriptors(), seed.rss()
    crowd = Crowd(TARGET, info_hash, lambda _: source)
    for _ in range(5000):
        crowd.open()
        if crowd.opened % 100 == 0:
            crowd.turn(0)
    crowd.pump(5)
    held = seed.descriptors() - base
    verdict.fact(f"of 5,000 {label} {crowd.handshaken()} are peers, {held} descriptors")
    fetch = rig.fetch(options, place, torrent)
    while fetch.alive():
        crowd.turn(0.02)
        if time.monotonic() - fetch.started > 60:
            raise lab.Failure(f"the honest peer waits\n{fetch.words()}")
    verdict.hold(fetch.code == 0, "the honest peer got everything")
    verdict.hold(held <= 400, f"{held} descriptors <= 400")
    verdict.hold(seed.rss() - rss <= 32 * MIB, f"RSS grew by {(seed.rss() - rss) / MIB:.1f} MiB")
    crowd.close()
    verdict.must(seed.alive() and not seed.panicked(), "down or panicked")


def one_address_loopback(options, place, verdict):
    """The same from one address of loopback, where limits are wider."""
    # The seed listens on an address of the other network; loopback reaches it all the same.
    one_address(options, place, verdict, source="127.0.0.1", label="from 127.0.0.1")


def many_addresses(options, place, verdict):
    """20,000 connections from 254 addresses that say nothing (P35)."""
    content, torrent, info_hash = rig.made(place, "many", 64, 256)
    seed = rig.seed(options, place, torrent, content, descriptors=1024)
    base = seed.descriptors()
    crowd = Crowd(TARGET, info_hash, rig.of_254)
    most = 0
    for _ in range(20_000):
        crowd.open(hello=False)
        if crowd.opened % 100 == 0:
            crowd.turn(0.01)
            most = max(most, seed.descriptors() - base)
    crowd.pump(2)
    most = max(most, seed.descriptors() - base)
    verdict.hold(most <= 992, f"at most {most} descriptors of 1,024 for 20,000 connections")
    crowd.close()
    fetch = rig.fetch(options, place, torrent)
    verdict.hold(fetch.wait_end(60) == 0, "after they left an honest peer got everything")
    lab.wait_until("descriptors to be free", lambda: seed.descriptors() <= base + 5, 30)
    verdict.must(seed.alive() and not seed.panicked(), "down or panicked")


def greeted_from_many(options, place, verdict):
    """The same, each with a handshake: the places of a torrent are all taken; who fetches already goes on."""
    content, torrent, info_hash = rig.made(place, "greeted", 96, 256)
    seed = rig.seed(options, place, torrent, content, "--up", "6M", descriptors=1024)
    base = seed.descriptors()
    fetch = rig.fetch(options, place, torrent)
    fetch.wait_for("progress")
    crowd = Crowd(TARGET, info_hash, rig.of_254)
    most = 0
    for _ in range(5_000):
        crowd.open()
        if crowd.opened % 50 == 0:
            crowd.turn(0.02)
            most = max(most, seed.descriptors() - base)
    while fetch.alive():
        crowd.turn(0.05)
    verdict.hold(fetch.code == 0, "who fetched got everything")
    verdict.hold(most <= 500 + 256 + 64, f"at most {most} descriptors, {crowd.handshaken()} of them are peers at the end")
    crowd.close()
    lab.wait_until("descriptors to be free", lambda: seed.descriptors() <= base + 5, 30)
    verdict.must(seed.alive() and not seed.panicked(), "down or panicked")


def churn(options, place, verdict, sources=(("254 addresses", rig.of_254), ("loopback", rig.loopback))):
    """2,000 connections a second that come and go, for 60 s (P36)."""
    content, torrent, info_hash = rig.made(place, "churn", 16, 256)
    seed = rig.seed(options, place, torrent, content)

    def storm(source, seconds):
        began, count, answered = time.monotonic(), 0, 0
        crowd = Crowd(TARGET, info_hash, source)
        while (passed := time.monotonic() - began) < seconds:
            while count < passed * 2000:
                crowd.open()
                count += 1
                if count % 20 == 0:
                    crowd.turn(0)
            crowd.turn(0.005)
            for connection in list(crowd.by_fd.values())[:-100]:
                crowd.drop(connection)
        answered = crowd.greeted
        crowd.close()
        return count, answered

    for name, source in sources:
        storm(source, 5)
        time.sleep(12)
        base, rss, used = seed.descriptors(), seed.rss(), seed.cpu()
        count, answered = storm(source, options.seconds)
        cpu = seed.cpu() - used
        # Connections that say nothing more are let go after 10 s.
        time.sleep(12)
        now, after = seed.descriptors(), seed.rss()
        verdict.fact(f"{name}: {count} connections in {options.seconds} s, {answered} answered, {cpu:.1f} CPU s")
        verdict.hold(now <= base * 1.05, f"descriptors {base} -> {now}")
        verdict.hold(after <= rss * 1.05 + MIB / 2, f"RSS {rss / MIB:.1f} -> {after / MIB:.1f} MiB")
    fetch = rig.fetch(options, place, torrent)
    verdict.hold(fetch.wait_end(60) == 0, "an honest peer got everything afterwards")
    verdict.must(seed.alive() and not seed.panicked(), "down or panicked")


def few_descriptors(options, place, verdict):
    """`ulimit -n 64`, 200 files and 500 peers, at a seed and at a fetch."""
    content = os.path.join(place, "files")
    os.makedirs(content)
    for number in range(200):
        with open(os.path.join(content, f"{number:03}"), "wb") as file:
            file.write(os.urandom(64 << 10))
    torrent = os.path.join(place, "files.torrent")
    info_hash = lab.torrent(torrent, content, 64 << 10, "http://10.9.255.9:9/announce")
    seed = rig.seed(options, place, torrent, content, descriptors=64)
    fetch_port = PORT + 1
    fetch = rig.fetch(
        options, place, torrent, "--seed", "--down", "1M", listen=f"{rig.HONEST}:{fetch_port}", descriptors=64
    )
    crowds = [Crowd(TARGET, info_hash, rig.of_254), Crowd((rig.HONEST, fetch_port), info_hash, rig.of_254)]

    def press(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for crowd in crowds:
                for _ in range(min(20, 500 - crowd.live())):
                    crowd.open()
                crowd.turn(0.02)

    press(20)
    verdict.hold(seed.alive() and fetch.alive(), f"both up; descriptors {seed.descriptors()} and {fetch.descriptors()}")
    used, began = [process.cpu() for process in (seed, fetch)], time.monotonic()
    for crowd in crowds:
        crowd.pump(5)
    passed = time.monotonic() - began
    shares = [(process.cpu() - before) / passed for process, before in zip((seed, fetch), used)]
    verdict.hold(max(shares) <= 0.10, f"beside 500 peers that stay: {shares[0] * 100:.1f} and {shares[1] * 100:.1f} % CPU")
    for crowd in crowds:
        crowd.close()
    fetch.wait_for("done", 90)
    verdict.hold(lab.same(content, os.path.join(place, "fetch/out/files")), "once they left: complete and right")
    second = rig.fetch(options, place, torrent, home="second")
    verdict.hold(second.wait_end(60) == 0, "and both serve the next")
    verdict.must(not seed.panicked() and not fetch.panicked(), "a panic")


def stop_with_a_crowd(options, place, verdict):
    """SIGTERM with 500 peers and a tracker that never answers."""
    content, torrent, info_hash = rig.made(place, "stop", 64, 256)
    hung = socket.create_server(("10.9.255.9", 80), backlog=1000)
    ends = []
    for kind in ("seed", "fetch"):
        if kind == "seed":
            process = rig.seed(
                options, place, torrent, content, "--max-peers", "600", "--tracker", "http://10.9.255.9:80/announce"
            )
            crowd = Crowd(TARGET, info_hash, rig.spread)
        else:
            process = rig.fetch(
                options, place, torrent, "--max-peers", "600", "--tracker", "http://10.9.255.9:80/announce",
                "--down", "1M", listen=f"{rig.HONEST}:{PORT}",
            )
            crowd = Crowd((rig.HONEST, PORT), info_hash, rig.spread)
        verdict.hold(crowd.fill(500, 60), f"{crowd.handshaken()} peers at the {kind}")
        began = time.monotonic()
        process.signal(15)
        while process.alive():
            crowd.turn(0.005)
        ends.append(time.monotonic() - began)
        verdict.hold(process.code == 143, f"the {kind} ended with {process.code}")
        verdict.hold(ends[-1] < 5, f"in {ends[-1]:.2f} s")
        crowd.close()
        if kind == "seed":
            rig.seed(options, place, torrent, content, home="again")
    hung.close()


CASES = {
    "idle-peers": idle_peers,
    "one-address": one_address,
    "one-address-loopback": one_address_loopback,
    "many-addresses": many_addresses,
    "greeted-from-many": greeted_from_many,
    "churn": churn,
    "few-descriptors": few_descriptors,
    "stop-with-a-crowd": stop_with_a_crowd,
}


def extend(parser):
    parser.add_argument("--peers", type=int, default=10_000, help="peers of idle-peers")
    parser.add_argument("--seconds", type=int, default=60, help="how long churn lasts")


if __name__ == "__main__":
    rig.main(__doc__, CASES, extend)
