//! Bounds that can bite, by name, and how often each has.
//!
//! A limit that nobody can see at work is taken for a bug of something else, or is deleted as
//! artificial. So wherever one refuses, drops or delays something, it is counted here; the names
//! are stable, and `LIMITS.md` says for each what it is, where it is kept and which test fails
//! without it.
//!
//! Not here: the bounds themselves, which live beside what they bound.

use std::fmt;

macro_rules! limits {
    ($($(#[$doc:meta])* $limit:ident = $name:literal,)*) => {
        /// A bound that has a counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Limit {
            $($(#[$doc])* $limit,)*
        }

        impl Limit {
            /// All of them, in the order in which they are shown.
            pub const ALL: &'static [Self] = &[$(Self::$limit,)*];

            /// Its name, which never changes.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$limit => $name,)*
                }
            }
        }

        /// How many limits there are.
        const COUNT: usize = [$(Limit::$limit,)*].len();
    };
}

limits! {
    /// Connections of the session, over all torrents.
    Peers = "peers",
    /// Connections of one torrent.
    PeersPerTorrent = "peers_per_torrent",
    /// Connections of one torrent with one address of the internet.
    PeersPerAddress = "peers_per_address",
    /// Connections of one torrent with one place that many machines may share: a loopback or
    /// private address, an IPv6 /64.
    PeersPerSite = "peers_per_site",
    /// Connections that come in, a second, over all addresses.
    AcceptRate = "accept_rate",
    /// Connections that come in, a second, from one address or one place.
    AcceptRatePerAddress = "accept_rate_per_address",
    /// Connections that have not said yet what they are.
    Unidentified = "unidentified_connections",
    /// Time for a handshake.
    HandshakeTime = "handshake_time",
    /// Connections that wait to be taken over as HTTP.
    HttpConnections = "http_connections",
    /// File descriptors of the process.
    Descriptors = "descriptors",
    /// Dials under way.
    HalfOpen = "half_open",
    /// Dials begun, a second.
    DialRate = "dial_rate",
    /// Dials of one address that failed in a row.
    Tries = "tries_per_address",
    /// Addresses known of a torrent.
    Candidates = "candidates",
    /// Addresses known of a torrent from one source.
    CandidatesPerSource = "candidates_per_source",
    /// Bans kept.
    Bans = "bans",
    /// Torrents of a session.
    Torrents = "torrents",
    /// Choke and interest messages of one peer, a second.
    Toggles = "toggles",
    /// Repeated `have` messages of one peer, a second.
    Haves = "haves",
    /// Other small messages of one peer, a second.
    Chatter = "chatter",
    /// Messages of unknown kind of one peer.
    UnknownMessages = "unknown_messages",
    /// Blocks that one peer sent and nobody had asked for.
    UnrequestedBlocks = "unrequested_blocks",
    /// Requests of one peer that make no sense.
    InvalidRequests = "invalid_requests",
    /// `have` messages of one peer before the metadata.
    EarlyHaves = "early_haves",
    /// Metadata requests of one peer.
    MetadataRequests = "metadata_requests",
    /// Peer exchange messages of one peer.
    PeerExchangeRate = "peer_exchange_rate",
    /// Bytes that one peer does not read.
    UnsentBytes = "unsent_bytes",
    /// Time without a word of one peer.
    IdleTime = "idle_time",
    /// Time without use of one peer.
    UselessTime = "useless_time",
    /// Announces under way.
    Announces = "announces",
    /// Bytes of a tracker's answer.
    TrackerReply = "tracker_reply",
    /// Time for an announce.
    TrackerTime = "tracker_time",
    /// Redirects in a row, or one to where none may lead.
    Redirects = "redirects",
    /// Addresses that a URL may not lead to.
    AddressRefused = "address_refused",
}

impl Limit {
    /// How many limits there are.
    pub const COUNT: usize = COUNT;
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often each limit has bitten.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LimitCounts([u64; Limit::COUNT]);

impl LimitCounts {
    /// Counts one bite.
    pub fn hit(&mut self, limit: Limit) {
        self.add(limit, 1);
    }

    /// Counts several.
    pub fn add(&mut self, limit: Limit, times: u64) {
        if let Some(count) = self.0.get_mut(limit as usize) {
            *count = count.saturating_add(times);
        }
    }

    /// Counts everything that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (limit, times) in other.hits() {
            self.add(limit, times);
        }
    }

    /// How often this one has bitten.
    #[must_use]
    pub fn get(&self, limit: Limit) -> u64 {
        self.0.get(limit as usize).copied().unwrap_or_default()
    }

    /// Those that have bitten at all, in the order of [`Limit::ALL`].
    pub fn hits(&self) -> impl Iterator<Item = (Limit, u64)> + '_ {
        Limit::ALL.iter().map(|limit| (*limit, self.get(*limit))).filter(|(_, times)| *times > 0)
    }
}

impl Default for LimitCounts {
    fn default() -> Self {
        Self([0; Limit::COUNT])
    }
}

/// Only what is not zero.
impl fmt::Debug for LimitCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.hits().map(|(limit, times)| (limit.name(), times))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_limit_has_its_own_place_and_a_snake_case_name() {
        let names: BTreeSet<&str> = Limit::ALL.iter().map(|limit| limit.name()).collect();
        assert_eq!(names.len(), Limit::COUNT);
        let is_plain = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(names.iter().all(|name| is_plain(name)), "{names:?}");
        let mut counts = LimitCounts::default();
        for limit in Limit::ALL {
            counts.hit(*limit);
        }
        assert!(counts.hits().map(|(limit, _)| limit).eq(Limit::ALL.iter().copied()));
        assert!(counts.hits().all(|(_, times)| times == 1));
    }

    #[test]
    fn counts_are_added_and_those_of_zero_not_shown() {
        let (mut one, mut other) = (LimitCounts::default(), LimitCounts::default());
        one.add(Limit::Peers, u64::MAX);
        other.hit(Limit::Peers);
        other.hit(Limit::Bans);
        one.merge(&other);
        assert_eq!(format!("{one:?}"), format!("{{\"peers\": {}, \"bans\": 1}}", u64::MAX));
    }
}
