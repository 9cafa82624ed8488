//! A small BitTorrent tracker: discovery over HTTP and UDP, never data.
