//! Telling trackers about a torrent, and the torrent about the peers they know.

use super::torrent::TorrentTask;
use crate::metainfo::Metainfo;
use crate::proto::torrent::Snapshot;

impl TorrentTask {
    pub(super) fn announce_from(&mut self, _metainfo: &Metainfo) {}
    pub(super) fn report_to_trackers(&mut self, _snapshot: &Snapshot) {}
    pub(super) fn tell_trackers_completed(&mut self) {}
}
