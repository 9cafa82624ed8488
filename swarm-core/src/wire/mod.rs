//! Bytes to messages and back. Every file has the same anatomy: types, limits, decode, encode, tests.
//!
//! Decoders borrow, allocate nothing that the length on the wire decides alone, and never panic.

pub mod message;

pub use message::Message;
