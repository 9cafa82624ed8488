//! Bytes to messages and back. Every file has the same anatomy: types, limits, decode, encode, tests.
//!
//! Decoders borrow, allocate nothing that the length on the wire decides alone, and never panic.

pub mod message;
pub mod tracker;
pub mod tracker_http;
pub mod tracker_udp;

pub use message::Message;
