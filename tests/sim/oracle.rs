//! What a core must never break, looked at after every step.
//!
//! | invariant | where |
//! |---|---|
//! | `have-implies-hash`: announced or served means verified here | [`check_claim`], `World::serve` |
//! | `budget`: queues, open pieces and requests are within their bounds | [`check`], `Ledger` |
//! | `availability-exact`, `outstanding-sound`: the core's own books agree | [`check`] (`Torrent::audit`) |
//! | `outstanding-sound`, seen from outside: at most three copies of a block in flight | [`check_request`] |
//! | `choke-honoured`: no block to a choked peer but allowed-fast ones | `Ledger::serves` |
//! | every request is answered: at once by a reject when the peer is choked, else in the end | `Ledger::is_settled`, [`check_answered`] |
//! | `banned-stays`: no dial to a banned address, no connection from one | `World::obey`, [`check_bans`] |
//! | `private-quiet`: nobody is told of peers where the torrent forbids it | `World::send` |
//! | `quiescent`: who has everything and is asked for nothing sleeps | [`check_quiet`] |
//! | `honest-not-banned` | `World::emitted`, `World::disconnect` |
//! | `accounting`: the core counts the bytes that moved | [`check`] |
//! | `conservation`: nothing is left once everybody has gone | [`check_empty`] |

use super::content::Content;
use super::host::Host;
use super::ledger::Verdict;
use super::spec::Conduct;
use std::time::Duration;
use swarm_core::types::{Bitfield, Moment, Span};
use swarm_core::wire::Message;

/// Copies of one block in flight (LIMITS 5.2).
const COPIES_MAX: usize = 3;
/// Open pieces are always allowed two, whatever the budget.
const OPEN_MIN: u64 = 2;

/// Looks at what a step may have changed at one host. `thorough` also has the core go through
/// its own books.
pub(super) fn check(host: &mut Host, content: &Content, now: Moment, thorough: bool) -> Verdict {
    let piece = u64::from(content.geometry().piece_length());
    let allowed = host.spec.capacity.max(OPEN_MIN * piece);
    if host.open_bytes > allowed {
        let open = host.open_bytes;
        return Err(format!("budget: {open} bytes in open pieces, {allowed} allowed"));
    }
    for key in host.touched.drain(..) {
        host.peers.get(key).map_or(Ok(()), |peer| peer.ledger.is_settled())?;
    }
    if thorough {
        host.core.audit()?;
        check_accounts(host, now)?;
    }
    Ok(())
}

/// `accounting`: what the core says it moved is what moved.
fn check_accounts(host: &Host, now: Moment) -> Verdict {
    let said = host.core.moved(now);
    let moved = (host.totals.downloaded, host.totals.uploaded);
    if said != moved {
        return Err(format!("accounting: the core says {said:?} bytes, moved were {moved:?}"));
    }
    Ok(())
}

/// `banned-stays`: whom the core proved to lie it is not connected to.
pub(super) fn check_bans(host: &Host, hosts: &[Host]) -> Verdict {
    if host.banned.is_empty() {
        return Ok(());
    }
    match host.peers.values().find(|peer| host.has_banned(hosts[peer.remote].addr)) {
        Some(peer) => Err(format!("banned-stays: connected to #{}", peer.remote)),
        None => Ok(()),
    }
}

/// `quiescent`: woken by time alone at most once a second and peer, over a stretch in which
/// there was nothing to do. `before` is how often it had been woken before.
pub(super) fn check_quiet(host: &Host, before: u64, stretch: Duration) -> Verdict {
    let woken = host.wakes - before;
    let peers = u64::try_from(host.peers.len()).expect("few").max(1);
    if woken > peers * stretch.as_secs() {
        return Err(format!("quiescent: woken {woken} times in {stretch:?} with {peers} peers"));
    }
    Ok(())
}

/// `private-quiet`: in a private torrent nobody speaks of peer exchange (BEP 27).
pub(super) fn check_discretion(content: &Content, message: &Message) -> Verdict {
    let Message::Extended { payload, .. } = message else { return Ok(()) };
    let has = |word: &[u8]| payload.windows(word.len()).any(|part| part == word);
    if content.metainfo.is_private() && (has(b"6:ut_pex") || has(b"5:added")) {
        return Err(format!("private-quiet: {message:?}"));
    }
    Ok(())
}

/// `have-implies-hash` for what is told to peers.
pub(super) fn check_claim(have: &Bitfield, message: &Message) -> Verdict {
    let honest = match message {
        Message::Have(piece) => have.contains(*piece),
        Message::HaveAll => have.is_all() && !have.is_empty(),
        Message::Bitfield(bits) => {
            Bitfield::from_wire(bits, have.len()).is_ok_and(|claimed| !claimed.has_any_not_in(have))
        }
        _ => true,
    };
    if honest { Ok(()) } else { Err(format!("have-implies-hash: {message:?}")) }
}

/// A request is for something missing and wanted, and few peers owe the same block; the latter
/// takes a look at all peers and is left out when not `thorough`.
pub(super) fn check_request(host: &Host, span: Span, thorough: bool) -> Verdict {
    if host.have.contains(span.piece) {
        return Err(format!("requests {span:?} of a verified piece"));
    }
    if host.spec.wanted.as_ref().is_some_and(|wanted| !wanted.contains(span.piece)) {
        return Err(format!("requests {span:?}, which is not wanted"));
    }
    if !thorough {
        return Ok(());
    }
    let copies = host.peers.values().filter(|peer| peer.ledger.counts_on(span)).count();
    if copies > COPIES_MAX {
        return Err(format!("outstanding-sound: {copies} copies of {span:?} in flight"));
    }
    Ok(())
}

/// With the fast extension every request between honest hosts is answered (BEP 6).
pub(super) fn check_answered(hosts: &[Host]) -> Verdict {
    let honest = |host: &&Host| host.alive && host.spec.conduct == Conduct::Honest;
    for host in hosts.iter().filter(honest) {
        for peer in host.peers.values().filter(|peer| honest(&&hosts[peer.remote])) {
            let count = peer.ledger.unanswered();
            if count > 0 && peer.ledger.answers_are_due() {
                return Err(format!("{} waits for {count} answers of #{}", host.addr, peer.remote));
            }
        }
    }
    Ok(())
}

/// `conservation`: all peers have left.
pub(super) fn check_empty(host: &mut Host, content: &Content, now: Moment) -> Verdict {
    if !host.alive {
        return Ok(());
    }
    if host.peers.len() > 0 {
        return Err(format!("{} peers left", host.peers.len()));
    }
    if host.is_complete() && !host.open.is_empty() {
        return Err(format!("conservation: blocks of {} pieces left", host.open.len()));
    }
    check(host, content, now, true)
}
