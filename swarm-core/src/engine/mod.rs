//! The driver: the only code that knows tokio, sockets, the clock and the system's entropy.
//!
//! One task per torrent drives its state machine, one per connection its socket; both sleep
//! until something happens and neither waits for the other. Disk and hash work is done by
//! the threads of `data`. Every task, queue and rate has a bound with a name.
//!
//! Not here: decisions (`proto`), the public face (`session`).

mod accept;
mod announcing;
mod budget;
pub(crate) mod clock;
pub(crate) mod descriptors;
pub(crate) mod dial;
pub(crate) mod door;
pub(crate) mod entropy;
pub(crate) mod gate;
pub(crate) mod listen;
pub(crate) mod meter;
mod peer;
pub(crate) mod shared;
mod source;
mod tasks;
pub(crate) mod torrent;
pub(crate) mod trackers;
pub(crate) mod web;

pub(crate) use accept::run as accept;
