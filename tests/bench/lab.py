"""What every benchmark here needs: isolation, content, measured processes, medians.

Not here: how a client is called (see `peers`), what a figure means (see `BENCHMARKS.md`).
"""

import argparse
import atexit
import contextlib
import hashlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MIB = 1 << 20
GIB = 1 << 30
TICK = os.sysconf("SC_CLK_TCK")
#: Set for the copy of a benchmark that runs inside its own namespaces.
INSIDE = "SWARM_BENCH_INSIDE"


class Failure(Exception):
    """A run went wrong; the text says how."""


def arguments(text):
    """A parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    binary = os.environ.get("SWARM_BIN", os.path.join(ROOT, "target/release/swarm"))
    parser.add_argument("--swarm", default=binary, help="our binary")
    parser.add_argument("--floor", default=os.path.join(ROOT, "target/release/examples/floor"), help="the floor")
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    parser.add_argument("--work", default=memory, help="folder for the content; in memory, or the disk is measured")
    warm = "use the memory once before anything is measured: where a virtual machine's memory is fresh, its first use"
    parser.add_argument("--warm", action="store_true", help=f"{warm} would be measured")
    return parser


def routes():
    """Every route out that this network namespace has; those of loopback do not lead out."""
    found = ""
    for family in ("-4", "-6"):
        shown = subprocess.run(["ip", "-o", family, "route"], capture_output=True, text=True, check=True).stdout
        found += "".join(f"{line}\n" for line in shown.splitlines() if " dev lo" not in line)
    return found


def isolate():
    """Runs this script again in namespaces of its own and ends with it; returns only in there, and never with a
    route out."""
    if INSIDE not in os.environ:
        # With a process namespace nothing outlives the benchmark, however it ends.
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork"]
        command += ["--kill-child", "--mount-proc"]
        if os.geteuid() != 0:
            command.append("--map-root-user")
        os.environ[INSIDE] = "1"
        sys.exit(forward([*command, sys.executable, *sys.argv]))
    # Also what is still to be removed when that happens is removed then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if routes():
        sys.exit(f"this network has a way out; nothing is measured here:\n{routes()}")
    run("ip", "link", "set", "lo", "up")


def forward(command):
    """Runs `unshare` and returns how it ended. It ignores SIGTERM, so what runs in it is told instead."""
    outer = subprocess.Popen(command)

    def tell(*_):
        with open(f"/proc/{outer.pid}/task/{outer.pid}/children", encoding="ascii") as file:
            for inner in file.read().split():
                os.kill(int(inner), signal.SIGTERM)

    signal.signal(signal.SIGTERM, tell)
    # Ctrl-C reaches everybody by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return outer.wait()


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def workplace(parent):
    """A folder that goes when the benchmark ends."""
    place = tempfile.mkdtemp(prefix="swarm-bench-", dir=parent)
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    # Some clients change their user and must still read their settings.
    os.chmod(place, 0o755)
    return place


def content(path, mib):
    """A file of random bytes, in the page cache once it is written."""
    with open(path, "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))


def parts(folder, count, mib):
    """A folder of so many files that together have `mib`: `00.bin`, `01.bin` and so on, as they are ordered."""
    os.makedirs(folder)
    for number in range(count):
        content(os.path.join(folder, f"{number:02}.bin"), mib // count)


def torrent(path, source, piece_length, tracker):
    """Writes a v1 torrent of a file or a folder of files, made by none of the programs measured; returns its
    info hash. The files of a folder must end where a piece does."""
    names = sorted(os.listdir(source)) if os.path.isdir(source) else []
    hashes, files = [], b""
    for each in [os.path.join(source, name) for name in names] or [source]:
        with open(each, "rb") as file:
            while piece := file.read(piece_length):
                hashes.append(hashlib.sha1(piece).digest())
        own = os.path.basename(each).encode()
        files += b"d6:lengthi%de4:pathl%d:%bee" % (os.path.getsize(each), len(own), own)
    name = os.path.basename(source).encode()
    what = b"5:filesl%be" % files if names else b"6:lengthi%de" % os.path.getsize(source)
    info = b"d%b4:name%d:%b12:piece lengthi%de" % (what, len(name), name, piece_length)
    info += b"6:pieces%d:%be" % (20 * len(hashes), b"".join(hashes))
    with open(path, "wb") as file:
        file.write(b"d8:announce%d:%b4:info%be" % (len(tracker), tracker.encode(), info))
    return hashlib.sha1(info).hexdigest()


def room_for(place, mib):
    """Ends the benchmark unless so much fits in `place`, and in memory if that is where it lies."""
    free = shutil.disk_usage(place).free // MIB
    if place.startswith("/dev/shm"):
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        free = min(free, int(lines["MemAvailable"].split()[0]) // 1024 - 1024)
    if free < mib:
        sys.exit(f"{mib} MiB do not fit in {place}, which has {free}")


def warm_up(place, mib):
    """Writes so much into `place` and removes it again."""
    path = os.path.join(place, "warm")
    with open(path, "wb") as file:
        for _ in range(mib):
            file.write(bytes(MIB))
    os.remove(path)


class Process:
    """A program under measurement. What it used is read from the kernel, never asked of it."""

    def __init__(self, command, home, namespace=None):
        os.makedirs(home, exist_ok=True)
        self.log = os.path.join(home, "log")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SWARM_")}
        for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            environment[variable] = home
        if namespace:
            # `ip` becomes the command, so the id is the command's own.
            command = ["ip", "netns", "exec", namespace, *command]
        self.command = command
        self.peak_rss = 0
        self.usage = None
        self.code = None
        self.started = time.monotonic()
        with open(self.log, "wb") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            try:
                self.popen = subprocess.Popen(command, **streams, env=environment)
            except OSError as error:
                raise Failure(f"{command[0]} does not start: {error}") from None
        self.pid = self.popen.pid

    def alive(self):
        """Whether it still runs; keeps what the kernel says of it when it has ended."""
        if self.code is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.usage = usage
                self.code = self.popen.returncode = os.waitstatus_to_exitcode(status)
        return self.code is None

    def cpu(self):
        """CPU seconds so far, user and kernel."""
        if self.usage:
            return self.usage.ru_utime + self.usage.ru_stime
        with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def switches(self):
        """Voluntary and involuntary context switches so far; of a live process, those of its live threads."""
        if self.usage:
            return self.usage.ru_nvcsw, self.usage.ru_nivcsw
        counts = {"voluntary_ctxt_switches": 0, "nonvoluntary_ctxt_switches": 0}
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            for name, value in status_fields(f"/proc/{self.pid}/task/{thread}/status"):
                if name in counts:
                    counts[name] += int(value.split()[0])
        return tuple(counts.values())

    def watch_rss(self):
        """Keeps the peak of its memory in bytes. `wait4` would count this script's own before `exec`."""
        for name, value in status_fields(f"/proc/{self.pid}/status"):
            if name == "VmHWM":
                self.peak_rss = max(self.peak_rss, int(value.split()[0]) * 1024)
        return self.peak_rss

    def words(self):
        """The end of what it printed."""
        with open(self.log, "rb") as file:
            return file.read()[-1500:].decode(errors="replace")

    def check(self):
        if not self.alive():
            raise Failure(f"{' '.join(self.command)} ended with {self.code}\n{self.words()}")

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def stop(self):
        """Ends it at once."""
        while self.alive():
            self.signal(signal.SIGKILL)
            time.sleep(0.005)


def status_fields(path):
    """The `name: value` lines of a file in /proc; none when the thread has gone."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [line.split(":\t", 1) for line in lines if ":\t" in line]


def wait_until(what, condition, timeout, pause=0.02):
    """Waits for `condition`; fails after `timeout` seconds. Returns when it came true."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"not within {timeout} s: {what}")
        time.sleep(pause)
    return time.monotonic()


def wait_quiet(process, timeout=120):
    """Waits until a process has stopped computing: seeds hash their content before they serve."""
    used = -1.0

    def quiet():
        nonlocal used
        process.check()
        before, used = used, process.cpu()
        return used - before < 0.02

    wait_until(f"{process.command[0]} to become quiet", quiet, timeout, pause=0.7)


def same(left, right):
    """Whether two files, or the files of two folders, hold the same bytes."""
    if os.path.isdir(left):
        return all(same(os.path.join(left, name), os.path.join(right, name)) for name in os.listdir(left))
    return subprocess.run(["cmp", "-s", left, right], check=False).returncode == 0


def spread(values, digits=0):
    """`median (min-max)`."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def table(head, rows):
    """Prints a Markdown table, so that results go into `BENCHMARKS.md` as they are."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


def note(text):
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)


def conditions():
    """One line that says on what and under which load the figures were taken."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        models = [line.split(": ", 1)[1].strip() for line in file if line.startswith("model name")]
    model = models[0] if models else os.uname().machine
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} x {model}, Linux {os.uname().release}, load {load}"
