//! A small BitTorrent tracker: discovery over HTTP and UDP, never data.
//!
//! It tells peers of a swarm about each other (BEP 3, 7, 15, 21, 23, 24, 31, 41, 48) and holds
//! nothing else: no names, no content, no peer ids. What it holds is bounded, and what it is
//! sent cannot make it fail or send more than it was sent to anybody who has not proven its
//! address.
//!
//! ```no_run
//! # async fn example() -> Result<(), swarm_tracker::Error> {
//! use swarm_tracker::{Tracker, TrackerConfig};
//!
//! let tracker = Tracker::start(TrackerConfig::default()).await?;
//! println!("http://{}/announce", tracker.http_addrs()[0]);
//! tracker.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! The same code runs as the `swarm-tracker` binary, as `swarm tracker` ([`args`]), and inside
//! `swarm seed`, which hands over the HTTP connections that reach its peer port
//! ([`Tracker::serve_http_connection`]).

pub mod args;
mod clock;
pub mod config;
mod connection_id;
mod entropy;
mod error;
mod event;
mod http;
pub mod model;
mod net;
pub mod run;
mod sampler;
mod service;
mod stats;
mod store;
mod swarms;
mod tasks;
mod tracker;
mod udp;

pub use config::TrackerConfig;
pub use error::{Error, Protocol};
pub use event::{TrackerEvent, TrackerEvents};
pub use stats::TrackerStats;
pub use swarm_core::wire::tracker::ScrapeEntry;
pub use tracker::Tracker;
