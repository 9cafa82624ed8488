//! The extension protocol (BEP 10): its handshake, and the extensions whose message is a few
//! fixed bytes (`lt_donthave`, BEP 54; `upload_only`, BEP 21).
//!
//! Each side numbers the extensions it understands, and is sent messages under its own
//! numbers. A handshake may come again and then only carries what changed, so everything in
//! [`ExtendedHandshake`] is optional. A value that is out of range counts as not there, and
//! nothing in a dictionary from a stranger is kept beyond its bound (LIMITS B26).
//!
//! Not here: which extensions a torrent offers (a private one must not offer `ut_pex`), the
//! messages of `ut_metadata`.

use super::ut_metadata::METADATA_MAX;
use super::{Message, frame};
use crate::bencode::{self, Dict, DictEncoder, Limits};
use crate::types::{BLOCK_SIZE, PieceIndex};
use bytes::Bytes;
use std::net::IpAddr;

/// Id of the extension handshake, on both sides.
pub const HANDSHAKE_ID: u8 = 0;
/// Entries of `m` that are looked at.
pub const EXTENSIONS_MAX: usize = 64;
/// Bytes of the client's name that are kept.
pub const CLIENT_NAME_MAX: usize = 64;
/// Most requests a peer may say it queues; a larger number counts as this one.
pub const REQQ_MAX: u16 = 2_048;

/// An extension that this crate knows by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Extension {
    /// Metadata from peers (BEP 9).
    UtMetadata,
    /// Addresses from peers (BEP 11).
    UtPex,
    /// A piece announced before is gone (BEP 54).
    LtDonthave,
    /// Whether the sender fetches anything (BEP 21), when that changes.
    UploadOnly,
    /// The sender is a peer of this crate (see [`super::mate`]).
    Mate,
}

/// Numbers for extensions: what one side wants to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// By place in [`Extension::ALL`]: `None` is not mentioned, 0 is switched off.
    ids: [Option<u8>; Extension::ALL.len()],
}

/// The extension handshake, or a change to an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtendedHandshake {
    /// `m`: under which ids the sender wants which messages.
    pub ids: ExtensionIds,
    /// `metadata_size`: bytes of the `info` dictionary, 1 to [`METADATA_MAX`].
    pub metadata_size: Option<u32>,
    /// `reqq`: requests the sender queues, 1 to [`REQQ_MAX`].
    pub reqq: Option<u16>,
    /// `v`: name and version of the client, at most [`CLIENT_NAME_MAX`] bytes. Untrusted.
    pub client: Option<String>,
    /// `yourip`: the address the sender sees us at. Untrusted.
    pub your_ip: Option<IpAddr>,
    /// `p`: the TCP port the sender listens on, never 0.
    pub port: Option<u16>,
    /// `upload_only`: the sender fetches nothing (BEP 21).
    pub upload_only: Option<bool>,
    /// `swarm_run`: the sender takes several blocks in one `piece` message, up to so many bytes,
    /// from more than [`BLOCK_SIZE`] to [`frame::RUN_MAX`] (see [`super::mate`]).
    pub run_max: Option<u32>,
}

/// An extension handshake that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtendedError {
    /// The payload is no bencode, or too much of it.
    #[error("extension handshake: {0}")]
    Bencode(#[from] bencode::Error),
    /// The payload is some other value than a dictionary.
    #[error("extension handshake is no dictionary")]
    NotADictionary,
}

impl Extension {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::UtMetadata, Self::UtPex, Self::LtDonthave, Self::UploadOnly, Self::Mate];

    /// The name in `m`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UtMetadata => "ut_metadata",
            Self::UtPex => "ut_pex",
            Self::LtDonthave => "lt_donthave",
            Self::UploadOnly => "upload_only",
            Self::Mate => "swarm_mate",
        }
    }

    /// The id under which we want to be sent this extension's messages: a constant of ours.
    #[must_use]
    pub const fn local_id(self) -> u8 {
        match self {
            Self::UtMetadata => 1,
            Self::UtPex => 2,
            Self::LtDonthave => 3,
            Self::UploadOnly => 4,
            Self::Mate => 5,
        }
    }

    /// The extension a message is of that came to us under this id.
    #[must_use]
    pub fn from_local_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.local_id() == id)
    }
}

impl ExtensionIds {
    /// Our own numbers for these extensions.
    #[must_use]
    pub fn local(extensions: &[Extension]) -> Self {
        let id =
            |extension: Extension| extensions.contains(&extension).then_some(extension.local_id());
        Self { ids: Extension::ALL.map(id) }
    }

    /// The id to send this extension's messages under; `None` when the other side does not
    /// want them.
    #[must_use]
    pub fn id_of(&self, extension: Extension) -> Option<u8> {
        let mut all = Extension::ALL.into_iter().zip(self.ids);
        all.find_map(|(other, id)| id.filter(|id| other == extension && *id != 0))
    }

    /// Takes over what a later handshake changes; what it does not mention stays.
    pub fn update(&mut self, changes: &Self) {
        for (id, change) in self.ids.iter_mut().zip(changes.ids) {
            *id = change.or(*id);
        }
    }

    fn write(&self, m: &mut DictEncoder<'_>) {
        for (extension, id) in Extension::ALL.into_iter().zip(self.ids) {
            if let Some(id) = id {
                m.int(extension.name(), i64::from(id));
            }
        }
    }

    fn from_dict(m: Dict<'_>) -> Self {
        let mut found = Self::default();
        for (name, value) in m.iter().take(EXTENSIONS_MAX) {
            let id = value.as_int().and_then(|id| u8::try_from(id).ok());
            for (extension, slot) in Extension::ALL.into_iter().zip(&mut found.ids) {
                if extension.name().as_bytes() == name {
                    *slot = id.or(*slot);
                }
            }
        }
        found
    }
}

impl ExtendedHandshake {
    /// Reads the payload of an extension message with id [`HANDSHAKE_ID`].
    ///
    /// # Errors
    /// When it does not begin with a bencoded dictionary of reasonable depth and size.
    pub fn decode(payload: &[u8]) -> Result<Self, ExtendedError> {
        let (document, _ignored) = bencode::parse_prefix(payload, &Limits::WIRE)?;
        let dict = document.root().as_dict().ok_or(ExtendedError::NotADictionary)?;
        let within = |key: &[u8], max: i64| dict.int(key).filter(|n| (1..=max).contains(n));
        Ok(Self {
            ids: dict.dict(b"m").map(ExtensionIds::from_dict).unwrap_or_default(),
            metadata_size: within(b"metadata_size", i64::from(METADATA_MAX))
                .and_then(|size| u32::try_from(size).ok()),
            reqq: dict
                .int(b"reqq")
                .and_then(|reqq| u16::try_from(reqq.clamp(1, i64::from(REQQ_MAX))).ok()),
            client: dict.bytes(b"v").map(client_name),
            your_ip: dict.bytes(b"yourip").and_then(ip),
            port: within(b"p", i64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok()),
            upload_only: dict.int(b"upload_only").map(|flag| flag != 0),
            run_max: dict
                .int(b"swarm_run")
                .map(|bytes| bytes.clamp(0, i64::from(frame::RUN_MAX)))
                .and_then(|bytes| u32::try_from(bytes).ok())
                .filter(|bytes| *bytes > BLOCK_SIZE),
        })
    }

    /// The payload to send with id [`HANDSHAKE_ID`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let bytes = bencode::encode_dict(|dict| {
            dict.dict("m", |m| self.ids.write(m));
            let numbers = [
                ("metadata_size", self.metadata_size.map(i64::from)),
                ("reqq", self.reqq.map(i64::from)),
                ("p", self.port.map(i64::from)),
                ("upload_only", self.upload_only.map(i64::from)),
                ("swarm_run", self.run_max.map(i64::from)),
            ];
            for (key, number) in numbers {
                if let Some(number) = number {
                    dict.int(key, number);
                }
            }
            if let Some(client) = &self.client {
                dict.bytes("v", client);
            }
            match self.your_ip {
                Some(IpAddr::V4(ip)) => dict.bytes("yourip", ip.octets()),
                Some(IpAddr::V6(ip)) => dict.bytes("yourip", ip.octets()),
                None => {}
            }
        });
        Bytes::from(bytes)
    }

    /// The message to send.
    #[must_use]
    pub fn to_message(&self) -> Message {
        Message::Extended { id: HANDSHAKE_ID, payload: self.encode() }
    }
}

/// Reads an `lt_donthave` message (BEP 54): the piece its sender no longer has. `None` when it
/// is none.
#[must_use]
pub fn decode_donthave(payload: &[u8]) -> Option<PieceIndex> {
    let [piece] = frame::words(payload)?;
    Some(PieceIndex::new(piece))
}

/// The payload of an `lt_donthave` message.
#[must_use]
pub fn encode_donthave(piece: PieceIndex) -> Bytes {
    Bytes::copy_from_slice(&piece.get().to_be_bytes())
}

/// Reads an `upload_only` message: one byte, not 0 when its sender fetches nothing. `None`
/// when it is none.
#[must_use]
pub fn decode_upload_only(payload: &[u8]) -> Option<bool> {
    match payload {
        [flag] => Some(*flag != 0),
        _ => None,
    }
}

/// The payload of an `upload_only` message.
#[must_use]
pub fn encode_upload_only(upload_only: bool) -> Bytes {
    Bytes::copy_from_slice(&[u8::from(upload_only)])
}

/// The beginning of a name as text. A character that the cut goes through is left out.
fn client_name(bytes: &[u8]) -> String {
    let kept = bytes.get(..CLIENT_NAME_MAX).unwrap_or(bytes);
    let whole = match std::str::from_utf8(kept) {
        Err(error) if error.error_len().is_none() && kept.len() < bytes.len() => {
            kept.get(..error.valid_up_to()).unwrap_or_default()
        }
        _ => kept,
    };
    String::from_utf8_lossy(whole).into_owned()
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok();
    v4().or_else(v6)
}

#[cfg(test)]
mod tests;
