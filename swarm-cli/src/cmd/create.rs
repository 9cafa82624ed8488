//! `swarm create`: writes a `.torrent`.
//!
//! The file appears whole or not at all. One that is there already and says something else
//! is not replaced unless asked.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use swarm_core::metainfo::Metainfo;
use swarm_core::types::Untrusted;

use super::{Context, load, make};
use crate::exit::{Code, Failure};
use crate::plan::{CreatePlan, Output};
use crate::units;
use crate::view::{Note, write_stdout};

pub(crate) async fn run(plan: CreatePlan, context: &mut Context) -> Result<Code, Failure> {
    if plan.output == Output::Stdout && std::io::stdout().is_terminal() {
        return Err(Failure::usage("a .torrent is no text for a terminal")
            .hint("send it into a file: swarm create -o - PATH > NAME.torrent"));
    }
    let made = make::torrent(context, &plan.path, &plan.torrent, None).await?;
    let path = match plan.output {
        Output::Stdout => {
            write_stdout(&made.metainfo.to_torrent())?;
            return Ok(Code::Done);
        }
        Output::File(path) => path,
        Output::Named => PathBuf::from(format!("{}.torrent", made.metainfo.name())),
    };
    let written = write(&path, &made.metainfo, plan.overwrite)?;
    let verb = if written { "wrote" } else { "unchanged:" };
    let shown = path.to_string_lossy();
    let geometry = made.metainfo.geometry();
    let text = format!(
        "{verb} {}: {} in {} of {}, info hash {}",
        Untrusted::new(&shown),
        units::size(made.metainfo.content_length()),
        units::count(geometry.piece_count(), "piece"),
        units::size(u64::from(geometry.piece_length())),
        made.metainfo.hashes().wire(),
    );
    context.view.note(&Note::Summary(text))?;
    Ok(Code::Done)
}

/// Writes the torrent; false when one that says the same is there already.
pub(super) fn write(path: &Path, metainfo: &Metainfo, overwrite: bool) -> Result<bool, Failure> {
    let failed = |error| Failure::io("write", path, &error);
    let bytes = metainfo.to_torrent();
    match std::fs::metadata(path) {
        // A pipe or a device: there is nothing to replace.
        Ok(there) if !there.is_file() => {
            return std::fs::write(path, bytes).map(|()| true).map_err(failed);
        }
        Ok(_) if says_the_same(path, metainfo) => return Ok(false),
        Ok(_) if !overwrite => {
            let shown = path.to_string_lossy();
            let message = format!("{} exists and is different", Untrusted::new(&shown));
            return Err(Failure::new(Code::Conflict, message).hint(
                "remove it or write another file with -o; `swarm create` takes --overwrite",
            ));
        }
        _ => {}
    }
    let temporary = temporary(path);
    let written = std::fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(&bytes))
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // It may not exist; the error to report is the one we have.
        drop(std::fs::remove_file(&temporary));
    }
    written.map(|()| true).map_err(failed)
}

/// Beside the target, so that the rename is atomic.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = format!(".{}.{}.tmp", name.unwrap_or_default(), std::process::id());
    path.with_file_name(name)
}

/// Alike but for the creation date, which changes with every run.
fn says_the_same(path: &Path, metainfo: &Metainfo) -> bool {
    load::torrent(path).is_ok_and(|there| {
        there.hashes() == metainfo.hashes()
            && there.trackers() == metainfo.trackers()
            && there.web_seeds() == metainfo.web_seeds()
            && there.comment() == metainfo.comment()
    })
}
