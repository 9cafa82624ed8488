"""libtorrent as a peer under measurement. Prints `ready` once it has everything that it wants, and goes on serving.

    lt_peer.py TORRENT FOLDER --listen ADDRESS:PORT [--peer ADDRESS:PORT]... [--only NUMBER]

Its defaults, but for what the network here does not have: no DHT, no local discovery, no port mapping; TCP in the
clear, and private addresses allowed. What is in FOLDER already is checked first, as with the other clients.
"""

import argparse
import time

import libtorrent

SETTINGS = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "in_enc_policy": 2,
    "out_enc_policy": 2,
    "allow_multiple_connections_per_ip": True,
    "ssrf_mitigation": False,
}
#: Between two looks at the torrent, seconds: the error of the time at which it says `ready`.
LOOK = 0.02
#: A peer that is not there is dialled again after so many seconds.
REDIAL = 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("torrent")
    parser.add_argument("folder")
    parser.add_argument("--listen", required=True)
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("--only", type=int, help="want this file alone")
    options = parser.parse_args()

    session = libtorrent.session({**SETTINGS, "listen_interfaces": options.listen})
    torrent = libtorrent.add_torrent_params()
    torrent.ti = libtorrent.torrent_info(options.torrent)
    torrent.save_path = options.folder
    if options.only is not None:
        torrent.file_priorities = [4 if at == options.only else 0 for at in range(torrent.ti.num_files())]
    torrent.flags &= ~(libtorrent.torrent_flags.paused | libtorrent.torrent_flags.auto_managed)
    handle = session.add_torrent(torrent)
    peers = [(host, int(port)) for host, port in (peer.rsplit(":", 1) for peer in options.peer)]

    dialled = 0.0
    states = libtorrent.torrent_status.states
    while (status := handle.status()).state not in (states.finished, states.seeding):
        if status.num_peers < len(peers) and time.monotonic() - dialled > REDIAL:
            dialled = time.monotonic()
            for peer in peers:
                handle.connect_peer(peer)
        time.sleep(LOOK)
    print("ready", flush=True)
    while True:
        time.sleep(60)


main()
