#!/usr/bin/env python3
"""Hashing content: `swarm create` and `swarm verify` against mktorrent, libtorrent and one plain thread.

    tests/bench/create.py [--mib 1024] [--pieces 16384 1048576 16777216] [--runs 5] [--threads N]
                          [--states hot sparse cold] [--disk FOLDER]

`one thread` is the floor of anything that uses one: it reads a piece and hashes it, with the
SHA-1 of OpenSSL, and writes nothing. libtorrent creates with as many hashing threads as it takes by default
(its Python module has no say in that) and checks with as many as `--threads`; both include the
start of Python, and a client that is missing is left out. The piece hashes of all torrents must be the same.

`hot` content lies in memory; `sparse` too, 15 of 16 MiB of it holes. `cold` content lies in `--disk`, on a file
system that forgets it when told to; before each run it is.
"""

import hashlib
import os
import shutil
import statistics
import sys
import time

import lab

TIMEOUT = 900
PIECES = b"6:pieces"
TRACKER = "http://127.0.0.1:1/announce"

LIBTORRENT_CREATE = """
import os, sys, libtorrent as lt
path, piece, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
files = lt.file_storage()
lt.add_files(files, path)
torrent = lt.create_torrent(files, piece, lt.create_torrent.v1_only)
lt.set_piece_hashes(torrent, os.path.dirname(path))
with open(out, "wb") as file:
    file.write(lt.bencode(torrent.generate()))
"""
LIBTORRENT_CHECK = """
import os, sys, time, libtorrent as lt
path, torrent, threads = sys.argv[1:]
quiet = {"enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False}
session = lt.session({"hashing_threads": int(threads), "listen_interfaces": "127.0.0.1:0", **quiet})
terms = lt.add_torrent_params()
terms.ti = lt.torrent_info(torrent)
terms.save_path = os.path.dirname(path)
handle = session.add_torrent(terms)
while not handle.status().is_seeding:
    if handle.status().errc.value():
        sys.exit(handle.status().errc.message())
    time.sleep(0.005)
os._exit(0)
"""


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


def sparse_content(path, mib):
    """One MiB of random bytes in sixteen, holes between."""
    with open(path, "wb") as file:
        for at in range(0, mib, 16):
            file.seek(at * lab.MIB)
            file.write(os.urandom(lab.MIB))
        file.truncate(mib * lab.MIB)


def forget(path):
    """Drops a file from the page cache."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cases(options, place, content, piece):
    """Name and command of everything that is measured, in the order of the table."""
    ours, theirs, third = (os.path.join(place, name) for name in ("ours", "theirs", "third"))
    home = os.path.join(place, "home")
    threads = str(options.threads)

    def program(*command, creates=None):
        def case():
            if creates and os.path.exists(creates):
                os.remove(creates)
            return timed(command, home)

        return case

    create = [options.swarm, "create", "--quiet", "--overwrite", "--piece-size", str(piece), "-o", ours, content]
    found = {"one thread": lambda: one_thread(content, piece)}
    exponent = piece.bit_length() - 1
    # It takes no shorter pieces, and overwrites nothing.
    if shutil.which("mktorrent") and exponent >= 15:
        command = ["mktorrent", "-t", threads, "-l", str(exponent), "-a", TRACKER, "-o", theirs, content]
        found[f"mktorrent -t {threads}"] = program(*command, creates=theirs)
    if has_libtorrent():
        found["libtorrent create"] = program(sys.executable, "-c", LIBTORRENT_CREATE, content, str(piece), third)
    found["swarm create"] = program(*create)
    if has_libtorrent():
        found[f"libtorrent check, {threads} threads"] = program(
            sys.executable, "-c", LIBTORRENT_CHECK, content, ours, threads
        )
    found["swarm verify"] = program(options.swarm, "verify", "--quiet", ours, content)
    return found, (ours, theirs, third)


def has_libtorrent():
    try:
        import libtorrent  # pylint: disable=import-outside-toplevel,unused-import
    except ImportError:
        return False
    return True


def measure(options, place, state, piece):
    """One table."""
    folder = place if state != "cold" else lab.workplace(options.disk)
    content = os.path.join(folder, "payload.bin")
    (sparse_content if state == "sparse" else lab.content)(content, options.mib)
    programs, torrents = cases(options, place, content, piece)
    print(f"\n{state}, {options.mib} MiB, pieces of {piece} bytes; {lab.conditions()}\n", flush=True)
    results = {name: [] for name in programs}
    for number in range(options.runs):
        for name, case in programs.items():
            if state == "cold":
                forget(content)
            results[name].append(case())
            lab.note(f"{state} {piece} {number + 1} {name}: {results[name][-1][0]:.2f} s")
    made = [torrent for torrent in torrents if os.path.exists(torrent)]
    if len({piece_hashes(torrent) for torrent in made}) != 1:
        raise lab.Failure("the torrents differ")
    for torrent in made:
        os.remove(torrent)
    report(results, options.mib)
    os.remove(content)


def report(results, mib):
    size = mib * lab.MIB / 1e6
    best = {name: size / min(seconds for seconds, _, _ in runs) for name, runs in results.items()}
    others = [name for name in results if name.startswith(("mktorrent", "libtorrent create"))]
    rows = []
    for name, runs in results.items():
        ratios = [f"{best[name] / best[other]:.2f}" for other in ("one thread", *others)]
        cpu = [cpu * 1024 / mib for _, cpu, _ in runs]
        rss = max(rss for _, _, rss in runs) / lab.MIB
        speeds = [size / seconds for seconds, _, _ in runs]
        rows.append([name, lab.spread(speeds), *ratios, lab.spread(cpu, 2), f"{rss:.0f}"])
    head = ["program", "MB/s median (min-max)", *(f"best x {name}" for name in ("one thread", *others))]
    lab.table([*head, "CPU s/GiB", "peak RSS MiB"], rows)


def main():
    parser = lab.arguments(__doc__)
    sizes = [1 << 14, 1 << 20, 1 << 24]
    parser.add_argument("--mib", type=int, default=1024, help="size of the content")
    parser.add_argument("--pieces", type=int, nargs="+", default=sizes, help="bytes of a piece, powers of two")
    parser.add_argument("--runs", type=int, default=5, help="runs of everything, in turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of the others")
    parser.add_argument("--states", nargs="+", choices=["hot", "sparse", "cold"], default=["hot", "sparse"])
    parser.add_argument("--disk", help="folder on a disk, for `cold`")
    options = parser.parse_args()
    if "cold" in options.states and not options.disk:
        parser.error("`cold` needs --disk")
    lab.isolate()
    place = lab.workplace(options.work)
    for state in options.states:
        for piece in options.pieces:
            measure(options, place, state, piece)
    print(f"\nload at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
