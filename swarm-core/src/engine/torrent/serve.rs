//! Blocks to peers: named to the connection, and read by workers when it asks for that.
//!
//! A connection sends what is in memory straight from the file. What is not it reports back,
//! and such blocks are read in long runs: requests come in order, so they mostly lie end to
//! end, and a run costs one job and one read. What has been read goes to the connection and
//! does not pass the torrent's task again.
//!
//! Not here: which requests are served, and how much may be under way (`proto`), what is in
//! memory (`storage`), sending (`peer`).

use super::TorrentTask;
use super::content::Content;
use crate::data::BlockBuf;
use crate::data::jobs::ReadBlocks;
use crate::data::workers::JobPanicked;
use crate::engine::peer::{Outbox, Source};
use crate::proto::PeerKey;
use crate::storage::StorageError;
use crate::types::Span;

/// Blocks in one read: 256 KiB.
const RUN_BLOCKS_MAX: usize = 16;

/// Blocks of one peer that lie end to end.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    peer: PeerKey,
    spans: Vec<Span>,
}

impl Content {
    /// What connections send from.
    pub(super) fn source(&self) -> Source {
        Source { storage: self.storage.clone(), geometry: self.geometry }
    }
}

impl TorrentTask {
    /// Names the blocks that this turn decided to serve to their connections.
    pub(super) fn post_serves(&mut self) {
        let mut spans = Vec::new();
        for of_peer in self.serves.chunk_by(|(one, _), (next, _)| one == next) {
            let Some((peer, _)) = of_peer.first() else { continue };
            let Some(link) = self.links.get(peer) else { continue };
            spans.clear();
            spans.extend(of_peer.iter().map(|(_, span)| *span));
            link.outbox.post_blocks(&spans);
        }
        self.serves.clear();
    }

    /// Puts the reads that connections asked for in this turn in line.
    pub(super) fn line_up_reads(&mut self) {
        let mut reads = std::mem::take(&mut self.reads);
        for run in runs(reads.drain(..)) {
            self.line_up_run(run);
        }
        // Keeps its capacity for the next turn.
        self.reads = reads;
    }

    fn line_up_run(&mut self, run: Run) {
        let (Some(content), Some(link)) = (&self.content, self.links.get(&run.peer)) else {
            return;
        };
        let Some(first) = run.spans.first() else { return };
        let read = ReadBlocks {
            storage: content.storage.clone(),
            offset: content.geometry.span_range(*first).start,
            lengths: run.spans.iter().map(|span| span.length).collect(),
            pool: self.shared.pool.clone(),
        };
        let outbox = link.outbox.clone();
        self.jobs.push(read.job(move |blocks| deliver(&outbox, run.spans, blocks)));
    }
}

/// Hands what a worker has read to the connection, or that it could not be read.
fn deliver(
    outbox: &Outbox,
    spans: Vec<Span>,
    blocks: Result<Result<Vec<BlockBuf>, StorageError>, JobPanicked>,
) {
    match blocks {
        Ok(Ok(blocks)) => {
            outbox.post_read(spans.into_iter().zip(blocks));
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "a piece we have cannot be read");
            outbox.post_unread(spans);
        }
        Err(JobPanicked) => outbox.post_unread(spans),
    }
}

/// Cuts blocks into runs of one peer that lie end to end, in the order they came.
fn runs(reads: impl Iterator<Item = (PeerKey, Span)>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (peer, span) in reads {
        match runs.last_mut() {
            Some(run) if run.peer == peer && run.goes_on_with(span) => run.spans.push(span),
            _ => runs.push(Run { peer, spans: vec![span] }),
        }
    }
    runs
}

impl Run {
    fn goes_on_with(&self, span: Span) -> bool {
        self.spans.len() < RUN_BLOCKS_MAX
            && self.spans.last().is_some_and(|last| {
                last.piece == span.piece && last.begin.checked_add(last.length) == Some(span.begin)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PieceIndex;

    fn span(piece: u32, block: u32) -> Span {
        Span { piece: PieceIndex::new(piece), begin: block * 16_384, length: 16_384 }
    }

    fn lengths(reads: Vec<(u32, Span)>) -> Vec<(u32, usize)> {
        let reads = reads.into_iter().map(|(peer, span)| (PeerKey(peer), span));
        runs(reads).into_iter().map(|run| (run.peer.0, run.spans.len())).collect()
    }

    #[test]
    fn blocks_end_to_end_are_one_read_up_to_a_quarter_mebibyte() {
        let reads = (0..20).map(|block| (1, span(0, block))).collect();
        assert_eq!(lengths(reads), [(1, 16), (1, 4)]);
    }

    #[test]
    fn another_peer_a_gap_and_another_piece_begin_a_new_read() {
        let reads = vec![
            (1, span(0, 0)),
            (2, span(0, 1)),
            (2, span(0, 3)),
            (2, span(1, 0)),
            (2, span(1, 1)),
        ];
        assert_eq!(lengths(reads), [(1, 1), (2, 1), (2, 1), (2, 2)]);
    }
}
