//! How near to us a URL may lead.
//!
//! What the user typed may lead anywhere. What a torrent names may lead into the local network
//! and onto this machine too, because that is where the tracker of a fleet is; but only in the
//! form of an announce, so that a torrent cannot have its readers push the buttons of a router
//! or of a service that trusts its neighbours.
//!
//! Not here: addresses that nothing may lead to (`resolve`), what a query may hold
//! (`metainfo::urls`).

use crate::proto::candidates::AddressPolicy;
use crate::proto::candidates::scope::Scope;
use url::Url;

/// Who named a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The user, or the program around us.
    User,
    /// A torrent or a link, which the user has not read.
    Torrent,
}

/// The nearest network that a URL may lead to.
pub(super) fn floor(url: &Url, trust: Trust, addresses: AddressPolicy) -> Scope {
    match (trust, addresses) {
        (Trust::User, _) => Scope::Loopback,
        (Trust::Torrent, AddressPolicy::Lan) if is_announce(url) => Scope::Loopback,
        (Trust::Torrent, _) => Scope::Global,
    }
}

/// Whether a request for this URL cannot be taken for anything but an announce: by UDP, where it
/// is nothing else to anybody, or to a path that says so.
fn is_announce(url: &Url) -> bool {
    url.scheme() == "udp" || url.path().to_ascii_lowercase().contains("announce")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torrent_may_lead_inwards_only_in_the_form_of_an_announce() {
        let floor_of = |url, trust, addresses| floor(&Url::parse(url).unwrap(), trust, addresses);
        for (url, is_announce) in [
            ("http://a/announce", true),
            ("https://a/x/Announce.php?passkey=1", true),
            ("http://a/announce/secret", true),
            ("udp://a:1", true),
            ("http://a/", false),
            ("http://a/cgi-bin/reboot?announce", false),
            ("http://announce.example/api", false),
        ] {
            let due = if is_announce { Scope::Loopback } else { Scope::Global };
            assert_eq!(floor_of(url, Trust::Torrent, AddressPolicy::Lan), due, "{url}");
            let strict = floor_of(url, Trust::Torrent, AddressPolicy::Internet);
            assert_eq!(strict, Scope::Global, "{url}");
            for addresses in [AddressPolicy::Lan, AddressPolicy::Internet] {
                assert_eq!(floor_of(url, Trust::User, addresses), Scope::Loopback, "{url}");
            }
        }
    }
}
