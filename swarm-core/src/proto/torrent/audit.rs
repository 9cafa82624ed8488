//! Checks that the parts agree with each other. For tests and the simulator: it walks
//! everything and is far too slow for real use.

use super::super::peer::Holdings;
use super::super::picker::{OPEN_MIN, WINDOW_MIN};
use super::Torrent;
use super::turns::useful;
use std::collections::BTreeSet;

impl Torrent {
    /// Checks the invariants that tie the picker, the pipelines and the budgets together.
    ///
    /// # Errors
    /// A sentence that names the invariant that does not hold.
    #[doc(hidden)]
    pub fn audit(&self) -> Result<(), String> {
        let sending: u64 = self.peers.values().map(|peer| peer.upload.serving.sending()).sum();
        if sending != self.sending {
            return Err(format!("budget: {sending} bytes sending, {} counted", self.sending));
        }
        let unchoked = self.peers.values().filter(|peer| peer.is_unchoked()).count();
        if unchoked != self.unchoked {
            return Err(format!("lanes: {unchoked} peers unchoked, {} counted", self.unchoked));
        }
        let veiled = self.peers.values().filter(|peer| peer.upload.veil.is_some());
        if !veiled.map(|peer| peer.key).eq(self.veiled.iter().copied()) {
            return Err(format!("veils: {:?} are not those that have one", self.veiled));
        }
        let slack = u64::from(crate::types::BLOCK_SIZE);
        if self.sending > self.params.config.send_budget + slack {
            return Err(format!("budget: {} bytes sending", self.sending));
        }
        self.audit_outstanding()?;
        self.audit_useful()?;
        self.audit_availability()
    }

    fn audit_outstanding(&self) -> Result<(), String> {
        let Some(content) = &self.content else { return Ok(()) };
        for peer in self.peers.values() {
            let asked: BTreeSet<_> = peer.download.pipeline.owed_blocks().collect();
            let owed: BTreeSet<_> = content.picker.owed(peer.key).collect();
            if asked != owed {
                return Err(format!(
                    "outstanding-sound: {:?} was asked for {asked:?}, owes {owed:?}",
                    peer.key
                ));
            }
            let limit = super::super::peer::pipeline::DEPTH_MAX;
            if asked.len() > limit {
                return Err(format!("outstanding-sound: {} requests in flight", asked.len()));
            }
        }
        // Pieces written through count by block, and may have a window whatever the budget.
        let pieces = OPEN_MIN as u64 * u64::from(content.geometry.piece_length());
        let least = pieces.max(WINDOW_MIN);
        if content.picker.open_bytes() > self.params.config.receive_budget.max(least) {
            return Err(format!("budget: {} bytes open", content.picker.open_bytes()));
        }
        Ok(())
    }

    fn audit_useful(&self) -> Result<(), String> {
        let Some(content) = &self.content else { return Ok(()) };
        for peer in self.peers.values() {
            let real = useful(content.picker.have(), &peer.have);
            if peer.upload.useful != real {
                let counted = peer.upload.useful;
                return Err(format!(
                    "useful-exact: {:?} lacks {real}, counted {counted}",
                    peer.key
                ));
            }
        }
        Ok(())
    }

    fn audit_availability(&self) -> Result<(), String> {
        let Some(content) = &self.content else { return Ok(()) };
        for piece in content.geometry.pieces() {
            let holders = self
                .peers
                .values()
                .filter(|peer| matches!(&peer.have, Holdings::Known(have) if have.contains(piece)));
            let (counted, real) = (content.picker.availability(piece), holders.count());
            if usize::try_from(counted) != Ok(real) {
                return Err(format!(
                    "availability-exact: piece {piece} counted {counted}, held by {real}"
                ));
            }
        }
        Ok(())
    }
}
