//! The data plane: block buffers, hashing, and the worker threads that verify, write and read.
//!
//! Payload lives here and in `engine`, never in `proto`. Nothing here knows a peer or a socket.
//!
//! A block travels in one [`BlockBuf`] in either direction: from the socket into a
//! [`PieceBuf`], from there to the hash and the disk; or from the disk to the socket. Buffers
//! come from a [`BlockPool`] and return to it when dropped, so memory is accounted by block
//! and a block that has not arrived costs nothing.

mod batch;
pub mod check;
pub mod create;
pub mod hasher;
pub mod jobs;
mod lanes;
mod piece;
mod pool;
mod scan;
#[cfg(test)]
mod tests;
pub mod workers;
mod zeros;

pub use piece::PieceBuf;
pub use pool::{BlockBuf, BlockPool};
pub use workers::{Job, Workers};
