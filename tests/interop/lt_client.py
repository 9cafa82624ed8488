"""libtorrent as one peer of a test swarm. Prints `ready` when it serves everything it has.

    lt_client.py seed|fetch TORRENT_OR_MAGNET FOLDER --listen ADDRESS:PORT [--peer ADDRESS:PORT]...
                 [--rate BYTES]
"""

import argparse
import time

import libtorrent

SETTINGS = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    # TCP in the clear: uTP and encryption are not what is tested here.
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "in_enc_policy": 2,
    "out_enc_policy": 2,
    "allow_multiple_connections_per_ip": True,
    # Everybody lives at private addresses here.
    "ssrf_mitigation": False,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["seed", "fetch"])
    parser.add_argument("link")
    parser.add_argument("folder")
    parser.add_argument("--listen", required=True)
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("--rate", type=int, default=0, help="limit of both directions, bytes a second")
    options = parser.parse_args()

    session = libtorrent.session({**SETTINGS, "listen_interfaces": options.listen})
    if options.link.startswith("magnet:"):
        torrent = libtorrent.parse_magnet_uri(options.link)
    else:
        torrent = libtorrent.add_torrent_params()
        torrent.ti = libtorrent.torrent_info(options.link)
    torrent.save_path = options.folder
    torrent.flags &= ~(libtorrent.torrent_flags.paused | libtorrent.torrent_flags.auto_managed)
    handle = session.add_torrent(torrent)
    if options.rate:
        handle.set_download_limit(options.rate)
        handle.set_upload_limit(options.rate)

    told = False
    last_dial = 0.0
    while True:
        status = handle.status()
        if status.is_seeding and not told:
            print("ready", flush=True)
            told = True
        if options.peer and not told and status.num_peers == 0 and time.monotonic() - last_dial > 1:
            last_dial = time.monotonic()
            for peer in options.peer:
                host, port = peer.rsplit(":", 1)
                handle.connect_peer((host, int(port)))
        time.sleep(0.05)


main()
