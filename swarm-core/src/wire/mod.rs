//! Bytes to messages and back. Every file has the same anatomy: types, limits, decode, encode, tests.
//!
//! Decoders borrow, allocate nothing that the length on the wire decides alone, and never panic.

pub mod extended;
pub mod frame;
pub mod handshake;
pub mod mate;
pub mod message;
pub mod tracker;
pub mod tracker_http;
pub mod tracker_udp;
pub mod ut_metadata;
pub mod ut_pex;

pub use extended::{ExtendedHandshake, Extension, ExtensionIds};
pub use frame::{FrameLimits, Malformed};
pub use handshake::{Handshake, HandshakeProgress, NotAHandshake, Reserved};
pub use mate::MateMessage;
pub use message::Message;
pub use ut_metadata::MetadataMessage;
pub use ut_pex::PexMessage;
