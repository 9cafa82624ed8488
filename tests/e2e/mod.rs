//! Sessions and processes on real sockets and real disks, over loopback.
//!
//! Nothing sleeps: every test waits for an event or a completion, with an end in time.
//! What many peers do to each other in all orders is the simulator's to show (`sim`); here
//! the sockets, the disk, the limits and the lifecycle are looked at.

mod content;
mod crash;
mod disk;
mod lifecycle;
mod names;
mod pex;
mod process;
mod resume;
mod swarm;

use crate::support::within;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Once};
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
    HOOK.call_once(end_at_a_panic_of_ours);
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

static HOOK: Once = Once::new();

/// A panic on a thread that is no test's is a bug of the library that a test might not see:
/// it ends the whole run.
fn end_at_a_panic_of_ours() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        if name.starts_with("tokio") || name.starts_with("swarm") {
            // Past the harness, which would keep the words for a test that does not fail.
            let _ = writeln!(std::io::stderr(), "a panic on thread {name}: {panic}");
            std::process::exit(101);
        }
    }));
}
