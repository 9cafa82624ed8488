#!/usr/bin/env python3
"""Hashing a file in the page cache: `swarm create` and `swarm verify` against mktorrent and one plain thread.

    tests/bench/create.py [--mib 1024] [--piece 1048576] [--runs 5] [--threads N]

`one thread` is the floor of anything that uses one: it reads a piece and hashes it, with the
SHA-1 of OpenSSL, and writes nothing. The piece hashes of both torrents must be the same.
"""

import hashlib
import os
import statistics
import time

import lab

TIMEOUT = 300
PIECES = b"6:pieces"


def timed(command, home):
    """Runs a command; returns its seconds, CPU seconds and peak memory."""
    process = lab.Process(command, home)

    def ended():
        process.watch_rss()
        return not process.alive()

    end = lab.wait_until(command[0], ended, TIMEOUT, pause=0.005)
    if process.code != 0:
        process.check()
    return end - process.started, process.cpu(), process.peak_rss


def one_thread(path, piece_length):
    """The floor: read a piece, hash it, go on."""
    begin, cpu = time.monotonic(), time.process_time()
    buffer = memoryview(bytearray(piece_length))
    with open(path, "rb", buffering=0) as file:
        while length := file.readinto(buffer):
            hashlib.sha1(buffer[:length]).digest()
    return time.monotonic() - begin, time.process_time() - cpu, piece_length


def piece_hashes(path):
    """The piece hashes in a torrent, told from the rest by their length alone."""
    with open(path, "rb") as file:
        text = file.read()
    length, _, rest = text[text.index(PIECES) + len(PIECES):].partition(b":")
    return rest[: int(length)]


def main():
    parser = lab.arguments(__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--piece", type=int, default=1 << 20, help="bytes of a piece, a power of two")
    parser.add_argument("--runs", type=int, default=5, help="runs of everything, in turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of mktorrent")
    options = parser.parse_args()
    lab.isolate()
    place = lab.workplace(options.work)
    content, ours, theirs = (os.path.join(place, name) for name in ("payload.bin", "ours", "theirs"))
    lab.content(content, options.mib)
    exponent = str(options.piece.bit_length() - 1)
    tracker = "http://127.0.0.1:1/announce"
    create = [options.swarm, "create", "--quiet", "--overwrite", "--piece-size", str(options.piece)]
    create += ["-o", ours, content]
    mktorrent = ["mktorrent", "-t", str(options.threads), "-l", exponent, "-a", tracker, "-o", theirs, content]
    cases = {
        "one thread": lambda: one_thread(content, options.piece),
        f"mktorrent -t {options.threads}": lambda: timed(mktorrent, os.path.join(place, "home")),
        "swarm create": lambda: timed(create, os.path.join(place, "home")),
        "swarm verify": lambda: timed([options.swarm, "verify", "--quiet", ours, content], os.path.join(place, "home")),
    }
    print(f"{options.mib} MiB, pieces of {options.piece} bytes; {lab.conditions()}", flush=True)
    results = {name: [] for name in cases}
    for number in range(options.runs):
        for name, case in cases.items():
            if os.path.exists(theirs) and name.startswith("mktorrent"):
                os.remove(theirs)
            results[name].append(case())
            lab.note(f"{number + 1} {name}: {results[name][-1][0]:.2f} s")
    if piece_hashes(ours) != piece_hashes(theirs):
        raise lab.Failure("the torrents differ")
    report(results, options.mib)
    print(f"load at the end: {os.getloadavg()[0]:.1f}")


def report(results, mib):
    speeds = {name: [mib * lab.MIB / 1e6 / seconds for seconds, _, _ in runs] for name, runs in results.items()}
    middle = {name: statistics.median(values) for name, values in speeds.items()}
    floor, other = list(middle.values())[:2]
    rows = []
    for name, runs in results.items():
        rows.append([
            name,
            lab.spread(speeds[name]),
            f"{middle[name] / floor:.2f}",
            f"{middle[name] / other:.2f}",
            f"{statistics.median(cpu for _, cpu, _ in runs) * 1024 / mib:.2f}",
            f"{statistics.median(rss for _, _, rss in runs) / lab.MIB:.0f}",
        ])
    lab.table(["program", "MB/s median (min-max)", "x one thread", "x mktorrent", "CPU s/GiB", "peak RSS MiB"], rows)


if __name__ == "__main__":
    main()
