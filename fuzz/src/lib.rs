//! The fuzz targets: each takes bytes and panics when what it stands for does not hold.
//!
//! The binaries in `fuzz_targets` hand over what libFuzzer thinks of; `seeds` keeps what it
//! found worth keeping, and the ordinary tests (`tests/replay.rs`) run these same functions
//! over that.

pub mod bencode;
pub mod extended;
pub mod frame;
pub mod gossip;
pub mod handshake;
pub mod magnet;
pub mod metainfo;
pub mod path_element;
pub mod peer_session;
pub mod picker_ops;
pub mod resume_record;
mod script;
pub mod tracker_reply;
pub mod tracker_request;
pub mod tracker_store_ops;
pub mod url_filter;
pub mod v2_layers;

/// What a target is called, and the target.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("bencode", bencode::run),
    ("extended", extended::run),
    ("frame", frame::run),
    ("gossip", gossip::run),
    ("handshake", handshake::run),
    ("magnet", magnet::run),
    ("metainfo", metainfo::run),
    ("path_element", path_element::run),
    ("peer_session", peer_session::run),
    ("picker_ops", picker_ops::run),
    ("resume_record", resume_record::run),
    ("tracker_reply", tracker_reply::run),
    ("tracker_request", tracker_request::run),
    ("tracker_store_ops", tracker_store_ops::run),
    ("url_filter", url_filter::run),
    ("v2_layers", v2_layers::run),
];
