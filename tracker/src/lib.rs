//! A small BitTorrent tracker: discovery over HTTP and UDP, never data.
mod clock;
pub mod config;
mod connection_id;
mod entropy;
mod sampler;
mod swarms;
mod tasks;
