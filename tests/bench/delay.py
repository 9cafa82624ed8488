#!/usr/bin/env python3
"""A long path between two namespaces: every packet arrives later, and at most so many a second.

    delay.py LEFT RIGHT --milliseconds 10 [--mbits 1000] [--queue-mib 64]

Run it inside the network namespace of neither; LEFT and RIGHT are names of namespaces, which get a device `far`
each. What goes into one comes out of the other after the delay, in order. Segments stay as large as TCP makes them
(up to 64 KiB), which is why Python is fast enough: a few GB/s pass through in half a core. The ends speak plain
TCP to one another, so that windows, buffers and congestion control take part as on a real path, which a relay of
connections would hide from them.

With a rate, packets queue in front of it and are dropped from the tail when the queue is full. Prints how
much went each way, and how much was dropped, when it ends.

Not here: loss and reordering.
"""

import argparse
import collections
import fcntl
import os
import select
import signal
import struct
import subprocess
import time

TUN, NO_INFO, WITH_HEADER = 0x1, 0x1000, 0x4000
SET_NAME, SET_OFFLOAD = 0x400454CA, 0x400454D0
#: The device may be given packets without a checksum, and long ones for it to cut (IPv4, IPv6).
CHECKSUM, CUT_4, CUT_6 = 0x1, 0x2, 0x4
DEVICE = "far"
LONGEST = 65536 + 64
#: Packets taken from a device before the other one has its turn.
TURN = 32


class Way:
    """One direction: packets that are on their way."""

    def __init__(self, source, sink, options):
        self.source, self.sink = source, sink
        self.delay = options.milliseconds / 1000
        self.bytes_per_second = options.mbits * 125_000
        self.most = int(options.queue_mib * 1024 * 1024)
        self.packets = collections.deque()
        self.free = 0.0
        self.bytes = self.dropped = 0

    def take(self):
        """Takes what the source has."""
        for _ in range(TURN):
            try:
                packet = os.read(self.source, LONGEST)
            except BlockingIOError:
                return
            now = time.monotonic()
            if self.bytes_per_second:
                if (self.free - now) * self.bytes_per_second > self.most:
                    self.dropped += len(packet)
                    continue
                self.free = max(self.free, now) + len(packet) / self.bytes_per_second
                now = self.free
            self.packets.append((now + self.delay, packet))

    def give(self, now):
        """Hands on what is due; returns when the next packet is."""
        while self.packets and self.packets[0][0] <= now:
            _, packet = self.packets.popleft()
            self.bytes += len(packet)
            try:
                os.write(self.sink, packet)
            except BlockingIOError:
                self.dropped += len(packet)
        return self.packets[0][0] if self.packets else None


def device(space, address):
    """A device in the namespace `space`; reading gives what is sent there, writing makes it arrive."""
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    # One name for both: the first one has moved when the second one is made.
    fcntl.ioctl(handle, SET_NAME, struct.pack("16sH22x", DEVICE.encode(), TUN | NO_INFO | WITH_HEADER))
    fcntl.ioctl(handle, SET_OFFLOAD, CHECKSUM | CUT_4 | CUT_6)
    for command in (
        f"ip link set {DEVICE} netns {space}",
        f"ip -n {space} link set lo up",
        f"ip -n {space} link set {DEVICE} txqueuelen 10000 up",
        f"ip -n {space} address add {address} dev {DEVICE}",
    ):
        subprocess.run(command.split(), check=True)
    return handle


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("left")
    parser.add_argument("right")
    parser.add_argument("--left-address", default="10.96.0.1/24")
    parser.add_argument("--right-address", default="10.96.0.2/24")
    parser.add_argument("--milliseconds", type=float, required=True, help="of one way: half a round trip")
    parser.add_argument("--mbits", type=float, default=0, help="rate of each way; 0 for as fast as it goes")
    parser.add_argument("--queue-mib", type=float, default=16, help="longest queue in front of the rate")
    options = parser.parse_args()
    left, right = device(options.left, options.left_address), device(options.right, options.right_address)
    ways = {left: Way(left, right, options), right: Way(right, left, options)}
    going = True

    def stop(*_):
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    poll = select.epoll()
    for handle in ways:
        poll.register(handle, select.EPOLLIN)
    print("ready", flush=True)
    while going:
        now = time.monotonic()
        due = [at for way in ways.values() if (at := way.give(now)) is not None]
        pause = max(0.0, min(due) - now) if due else 1.0
        for handle, _ in poll.poll(pause):
            ways[handle].take()
    for name, way in zip(("left to right", "right to left"), ways.values()):
        print(f"{name}: {way.bytes} bytes, {way.dropped} dropped", flush=True)


if __name__ == "__main__":
    main()
