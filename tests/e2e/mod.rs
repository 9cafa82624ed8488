//! Sessions and processes on real sockets and real disks, over loopback.
//!
//! Nothing sleeps: every test waits for an event or a completion, with an end in time.
//! What many peers do to each other in all orders is the simulator's to show (`sim`); here
//! the sockets, the disk, the limits and the lifecycle are looked at.

mod content;
mod lifecycle;
mod process;
mod swarm;

use crate::support::within;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use swarm_core::session::Completed;
use swarm_core::{AddTorrent, Config, Metainfo, Session, TorrentHandle};

/// A session on a free port of IPv4 loopback.
async fn session() -> Session {
    session_on("127.0.0.1:0").await
}

async fn session_on(listen: &str) -> Session {
    session_with(listen, |_| {}).await
}

async fn session_with(listen: &str, change: impl FnOnce(&mut Config)) -> Session {
    let mut config = Config::default();
    config.listen = vec![listen.parse().expect("an address")];
    change(&mut config);
    Session::builder().config(config).build().await.expect("a free port")
}

fn address(session: &Session) -> SocketAddr {
    session.listen_addrs()[0]
}

/// Serves what lies at `content`, once it has been checked.
async fn seed(session: &Session, metainfo: &Arc<Metainfo>, content: &Path) -> TorrentHandle {
    let handle = session.add(AddTorrent::seed(metainfo.clone(), content)).await.expect("added");
    let good = within("checking", handle.checked()).await.expect("checked");
    assert_eq!(good, metainfo.geometry().piece_count(), "the seed is whole");
    handle
}

async fn complete(handle: &TorrentHandle) -> Completed {
    within("completion", handle.completed()).await.expect("a completed fetch")
}
