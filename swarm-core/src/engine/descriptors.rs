//! What the process's file descriptors are spent on.
//!
//! Connections, files and those who have not said yet what they are share what the system
//! allows, and some are left over for everything else: listeners, trackers, folders, what the
//! program around us opens. Who is allowed few serves few peers; he is never left with a
//! connection and no descriptor to read its blocks with.
//!
//! Not here: changing the system's limit, which is the user's.

use rustix::process::{Resource, getrlimit};

/// Descriptors left to everything else (LIMITS 5.2).
pub(crate) const RESERVE: usize = 32;
/// Files kept open by all torrents.
const OPEN_FILES_MAX: usize = 64;

/// How many of each there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Connections.
    pub(crate) peers: usize,
    /// Connections that have not said yet what they are.
    pub(crate) unidentified: usize,
    /// Files.
    pub(crate) files: usize,
}

impl Plan {
    /// For so many connections, or as many as this process may have.
    pub(crate) fn new(peers: usize) -> Self {
        let allowed = getrlimit(Resource::Nofile).current;
        let allowed =
            allowed.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let plan = Self::within(allowed, peers);
        if plan.peers < peers {
            tracing::warn!(
                allowed,
                wanted = peers,
                connections = plan.peers,
                "few files may be open (ulimit -n): fewer connections"
            );
        }
        plan
    }

    fn within(allowed: usize, peers: usize) -> Self {
        let room = allowed.saturating_sub(RESERVE);
        let files = OPEN_FILES_MAX.min(room / 4).max(1);
        let unidentified = super::door::UNIDENTIFIED_MAX.min(room / 4).max(1);
        let rest = room.saturating_sub(files + unidentified).max(1);
        Self { peers: peers.min(rest), unidentified, files }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_allowed_enough_gets_what_he_asked_for() {
        for allowed in [1_024, 20_000, usize::MAX] {
            let Plan { peers, files, .. } = Plan::within(allowed, 500);
            assert_eq!((peers, files), (500, 64));
        }
    }

    #[test]
    fn whoever_is_allowed_little_has_a_reserve_and_a_bit_of_everything() {
        let few = Plan::within(64, 500);
        assert_eq!(few, Plan { peers: 16, unidentified: 8, files: 8 });
        for allowed in 0..2_000 {
            let Plan { peers, unidentified, files } = Plan::within(allowed, 500);
            assert!(peers > 0 && unidentified > 0 && files > 0);
            let used = peers + unidentified + files + RESERVE;
            assert!(used <= allowed.max(RESERVE + 3), "{used} of {allowed}");
        }
    }

    #[test]
    fn this_process_is_allowed_something() {
        assert!(Plan::new(1).peers > 0);
    }
}
