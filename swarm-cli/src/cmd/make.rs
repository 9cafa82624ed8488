//! Makes a torrent from content on the disk: finds the files, hashes them on all cores,
//! puts the metadata together. Used by `create` and `seed`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use swarm_core::data::create::{Content, CreateError, Skip};
use swarm_core::metainfo::Metainfo;
use swarm_core::metainfo::create::{
    ContentHashes, CreateError as BuildError, FileEntry, MetainfoBuilder, choose_piece_length,
};
use swarm_core::types::Untrusted;

use super::Context;
use super::hash::{self, Gauge};
use crate::clock;
use crate::exit::{Code, Failure};
use crate::plan::NewTorrent;

/// Paths left out that are named one by one.
const SKIPPED_SHOWN: usize = 5;

/// A new torrent and where its content lies.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) metainfo: Arc<Metainfo>,
    pub(super) content: PathBuf,
}

/// Hashes `path`, with a bar, and builds its torrent. What was hashed before and not touched
/// since is taken from `state_folder`, where there is one.
pub(super) async fn torrent(
    context: &mut Context,
    path: &Path,
    plan: &NewTorrent,
    state_folder: Option<&Path>,
) -> Result<Made, Failure> {
    let root = path.to_owned();
    let plan = plan.clone();
    let state_folder = state_folder.map(Path::to_owned);
    let shown = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let work = move |gauge: &Gauge| {
        let content = Content::find(&root).map_err(unreadable)?;
        let metainfo = Arc::new(hash(&content, &plan, state_folder.as_deref(), gauge)?);
        Ok((metainfo, content.root, content.skipped))
    };
    let (metainfo, content, skipped) = hash::with_bar(context, &shown, work).await?;
    context.warn(&left_out(&skipped))?;
    Ok(Made { metainfo, content })
}

fn hash(
    content: &Content,
    plan: &NewTorrent,
    state_folder: Option<&Path>,
    gauge: &Gauge,
) -> Result<Metainfo, Failure> {
    let total = content.total_length();
    let piece_length = plan.piece_length.unwrap_or_else(|| choose_piece_length(total));
    let builder = builder(content, plan, piece_length);
    let known = state_folder.and_then(|folder| content.recall(folder, piece_length));
    let pieces = match known {
        Some(pieces) => pieces,
        None => {
            let pieces = content.hash(piece_length, 0, &|progress| gauge.report(progress));
            let pieces = pieces.map_err(unreadable)?;
            if let Some(folder) = state_folder {
                content.remember(folder, piece_length, &pieces);
            }
            pieces
        }
    };
    let bytes = builder.build(&ContentHashes::V1(pieces.concat())).map_err(unusable)?;
    Metainfo::from_torrent(&bytes).map_err(|error| unusable(error.into()))
}

fn builder(content: &Content, plan: &NewTorrent, piece_length: u32) -> MetainfoBuilder {
    let name = plan.name.clone().unwrap_or_else(|| content.name.clone());
    let mut builder = if content.is_file {
        MetainfoBuilder::file(name, content.total_length(), piece_length)
    } else {
        let entry = |file: &swarm_core::data::create::ContentFile| FileEntry {
            path: file.path.clone(),
            length: file.length,
        };
        MetainfoBuilder::folder(name, content.files.iter().map(entry).collect(), piece_length)
    };
    builder = builder.private(plan.private);
    builder = builder.created_by(concat!("swarm ", env!("CARGO_PKG_VERSION")));
    for tier in &plan.tiers {
        builder = builder.tracker_tier(tier.iter().cloned());
    }
    for url in &plan.web_seeds {
        builder = builder.web_seed(url);
    }
    if let Some(comment) = &plan.comment {
        builder = builder.comment(comment);
    }
    if plan.dated {
        builder = builder.creation_date(clock::unix_seconds());
    }
    builder
}

/// The content cannot be read, or is none.
fn unreadable(error: CreateError) -> Failure {
    match error {
        CreateError::Storage(error) => Failure::io(error.op, &error.path, &error.source),
        CreateError::Stopped => Failure::stopped(Code::Interrupted),
        CreateError::Name(_) => Failure::new(Code::File, safe(&error))
            .hint("torrents hold UTF-8 names only: rename the file"),
        CreateError::Changed(_) => Failure::new(Code::File, safe(&error))
            .hint("wait until nothing writes to it, then run the same line again"),
        error => Failure::new(Code::File, safe(&error)),
    }
}

/// The user asked for something that makes no torrent.
fn unusable(error: BuildError) -> Failure {
    Failure::usage(safe(&error))
}

fn safe(error: &impl ToString) -> String {
    Untrusted::new(&error.to_string()).to_string()
}

fn left_out(skipped: &[(PathBuf, Skip)]) -> Vec<String> {
    let mut warnings: Vec<String> = skipped
        .iter()
        .take(SKIPPED_SHOWN)
        .map(|(path, why)| {
            let why = match why {
                Skip::Symlink => "a symbolic link",
                _ => "no regular file",
            };
            format!("left out {}: {why}", Untrusted::new(&path.to_string_lossy()))
        })
        .collect();
    if skipped.len() > SKIPPED_SHOWN {
        warnings.push(format!("left out {} more", skipped.len() - SKIPPED_SHOWN));
    }
    warnings
}
