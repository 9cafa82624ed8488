//! Deterministic state machines: no socket, no clock, no lock, no payload.
//!
//! The contract of [`torrent::Torrent`]: `handle` one [`Input`] (or `receive` one block
//! header), then `poll` every [`Output`] until `None`, then wait for the next input or for
//! `deadline`, whichever is first, and say what time it is. Equal inputs at equal moments
//! with an equal seed give equal outputs.

pub mod announce;
pub mod candidates;
pub mod choker;
pub mod event;
pub mod input;
pub mod limits;
pub mod neighbours;
pub mod output;
mod peer;
pub mod pex;
pub mod picker;
pub mod torrent;

pub use event::Event;
pub use input::Input;
pub use output::{Disposition, Output};
pub use torrent::Torrent;

/// One connection, from its handshake to its end. Given by the driver, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub u32);
