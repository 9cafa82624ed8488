//! Reads torrents from where links point: files, standard input, web servers.
//!
//! Everything read is bounded in bytes and, over the network, in time.
//!
//! Not here: what makes a torrent valid (see `swarm_core::metainfo`), where a URL may lead
//! (`Session::download_torrent`).

use std::io::Read;
use std::path::{Path, PathBuf};

use swarm_core::metainfo::{Metainfo, TORRENT_SIZE_MAX, shown_url};
use swarm_core::session::WebError;
use swarm_core::types::Untrusted;
use swarm_core::{AddTorrent, Session};

use crate::exit::{Code, Failure};
use crate::link::Link;
use crate::plan::FetchPlan;
use crate::units;

/// A torrent to fetch, from any link.
pub(super) async fn link(
    session: &Session,
    link: Link,
    plan: &FetchPlan,
) -> Result<AddTorrent, Failure> {
    let metainfo = match link {
        Link::Magnet(magnet) => return Ok(AddTorrent::fetch_magnet(*magnet, &plan.folder)),
        Link::File(path) => blocking(move || torrent(&path)).await?,
        Link::Url(url) => {
            let bytes = download(session, &url).await?;
            blocking(move || parse(&shown_url(&url), &bytes)).await?
        }
    };
    let selection = plan.only.apply(&metainfo)?;
    Ok(AddTorrent::fetch(metainfo, &plan.folder).selection(selection))
}

/// Reading and hashing a large `.torrent` takes longer than a network task may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let end = tokio::task::spawn_blocking(work).await;
    end.unwrap_or_else(|error| Err(Failure::new(Code::Internal, error.to_string())))
}

/// Reads and checks a `.torrent` file.
pub(super) fn torrent(path: &Path) -> Result<Metainfo, Failure> {
    let failed = |error| Failure::io("read", path, &error);
    let file = std::fs::File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        let shown = path.to_string_lossy();
        return Err(Failure::new(Code::BadTorrent, format!("{shown} is a folder, not a .torrent")));
    }
    parse(&path.to_string_lossy(), &read(file).map_err(failed)?)
}

/// Reads and checks a `.torrent` from standard input.
pub(super) fn stdin() -> Result<Metainfo, Failure> {
    let bytes = read(std::io::stdin().lock());
    let failed = |error| Failure::io("read", &PathBuf::from("standard input"), &error);
    parse("standard input", &bytes.map_err(failed)?)
}

/// One byte more than is accepted: enough for the parser to say so.
fn read(input: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(TORRENT_SIZE_MAX).unwrap_or(u64::MAX).saturating_add(1);
    input.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(what: &str, bytes: &[u8]) -> Result<Metainfo, Failure> {
    Metainfo::from_torrent(bytes).map_err(|error| Failure::bad_torrent(what, error))
}

async fn download(session: &Session, url: &str) -> Result<Vec<u8>, Failure> {
    session.download_torrent(url).await.map_err(|error| {
        let shown = shown_url(url);
        if let WebError::TooLong(_) = error {
            let most = units::size(u64::try_from(TORRENT_SIZE_MAX).unwrap_or(u64::MAX));
            return Failure::bad_torrent(&shown, format!("more than {most}"));
        }
        let (shown, why) = (Untrusted::with_limit(&shown, 100), error.to_string());
        Failure::new(Code::Network, format!("cannot fetch {shown}: {}", Untrusted::new(&why)))
    })
}

/// Where the content of a torrent lies, when the user names it or the folder that holds it.
pub(super) fn locate(metainfo: &Metainfo, path: &Path) -> PathBuf {
    let inside = path.join(metainfo.name());
    if metainfo.is_single_file() {
        return if path.is_dir() { inside } else { path.to_owned() };
    }
    if !inside.is_dir() || found(metainfo, path) > found(metainfo, &inside) {
        return path.to_owned();
    }
    inside
}

/// How many of the first files are there with the right length.
fn found(metainfo: &Metainfo, root: &Path) -> usize {
    let files = metainfo.files().iter().filter(|file| !file.pad && file.length > 0);
    let there = |path: PathBuf, length| path.metadata().is_ok_and(|meta| meta.len() == length);
    let probe = files.take(PROBED_FILES);
    probe
        .filter(|file| {
            there(file.path.iter().fold(root.to_owned(), |at, part| at.join(part)), file.length)
        })
        .count()
}

const PROBED_FILES: usize = 100;
