//! The commands. Each takes its plan and a [`Context`], and ends in an exit code.
//!
//! Not here: what was typed (see `args`), what it means (see `plan`), how it looks (see `view`).

mod copies;
pub(crate) mod create;
pub(crate) mod docs;
pub(crate) mod fetch;
mod hash;
pub(crate) mod inspect;
pub(crate) mod linger;
mod load;
mod make;
mod own_tracker;
pub(crate) mod seed;
pub(crate) mod verify;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use swarm_core::session::{Event, TorrentEvent};
use swarm_core::types::{Moment, Untrusted};
use swarm_core::{Config, Error, Session};

use crate::args::{Command, ShowArgs};
use crate::clock::Clock;
use crate::confine;
use crate::exit::{Code, Failure, plain};
use crate::plan::{self, CreatePlan, FetchPlan, SeedPlan};
use crate::signals::Signals;
use crate::view::{Note, View, has_color, write_stderr};
use watch::Watched;

/// Does what the command line says, and tells what went wrong.
pub(crate) fn run(command: Command) -> ExitCode {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let result = plan::check_environment(names).and_then(|()| run_checked(command));
    result.unwrap_or_else(|failure| {
        // Whoever closed our output has heard enough.
        if failure.code() != Code::ClosedPipe {
            write_stderr(&failure.report());
        }
        failure.code().into()
    })
}

fn run_checked(command: Command) -> Result<ExitCode, Failure> {
    let code = match command {
        Command::Seed(args) => {
            let plan = SeedPlan::new(*args)?;
            transfer(plan.show, &[], async |context| seed::run(plan, context).await)
        }
        Command::Fetch(args) => {
            let plan = FetchPlan::new(*args)?;
            let folders = plan.folders();
            transfer(plan.show, &folders, async |context| fetch::run(plan, context).await)
        }
        Command::Create(args) => {
            let plan = CreatePlan::new(&args)?;
            let view = View::plain(args.quiet);
            with_context(view, async |context| create::run(plan, context).await)
        }
        Command::Verify(args) => {
            let view = View::plain(args.quiet || args.json);
            with_context(view, async |context| verify::run(args, context).await)
        }
        Command::Inspect(args) => inspect::run(&args),
        Command::Completions { shell } => docs::completions(shell),
        Command::Man => docs::man(),
        // The same code as the `swarm-tracker` binary, which ends by itself.
        Command::Tracker(args) => return Ok(swarm_tracker::run::main(&args)),
    };
    code.map(ExitCode::from)
}

/// `seed` and `fetch`: a failure of the whole is an event too. What writes into known `folders`
/// only is kept from writing anywhere else.
fn transfer(
    show: ShowArgs,
    folders: &[PathBuf],
    work: impl AsyncFnOnce(&mut Context) -> Result<Code, Failure>,
) -> Result<Code, Failure> {
    log(show.verbose)?;
    if !folders.is_empty() {
        confine::to(folders);
    }
    with_context(View::new(show), async |context| match work(context).await {
        Ok(code) => Ok(code),
        Err(failure) if failure.code() == Code::ClosedPipe => Err(failure),
        Err(failure) => {
            let code = failure.code();
            context.view.clear();
            context.view.note(&Note::Error { link: None, failure })?;
            Ok(code)
        }
    })
}

/// Runs on all cores. Work that does not stop in time is left behind: the process ends.
fn with_context(
    view: View,
    work: impl AsyncFnOnce(&mut Context) -> Result<Code, Failure>,
) -> Result<Code, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::new(Code::Internal, format!("cannot start threads: {error}")))?;
    let end = runtime.block_on(async {
        let mut context = Context::new(view)?;
        work(&mut context).await
    });
    runtime.shutdown_background();
    end
}

/// `-v` shows what the library logs; `SWARM_LOG` says it in detail.
fn log(verbose: u8) -> Result<(), Failure> {
    let filter = match (std::env::var(plan::LOG_VARIABLE), verbose) {
        (Ok(filter), _) => filter,
        (Err(_), 0) => return Ok(()),
        (Err(_), 1) => "swarm=debug,swarm_core=debug,swarm_tracker=debug".to_owned(),
        (Err(_), _) => "trace".to_owned(),
    };
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|error| Failure::usage(format!("{}: {error}", plan::LOG_VARIABLE)))?;
    let set = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(has_color())
        .with_writer(std::io::stderr)
        .try_init();
    set.map_err(|error| Failure::new(Code::Internal, format!("no log: {error}")))
}

/// What every command needs of the process.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) clock: Clock,
    pub(crate) view: View,
    pub(crate) signals: Signals,
}

impl Context {
    /// Needs a tokio runtime.
    pub(crate) fn new(view: View) -> Result<Self, Failure> {
        Ok(Self { clock: Clock::start(), view, signals: Signals::install()? })
    }

    fn warn(&mut self, messages: &[String]) -> Result<(), Failure> {
        for message in messages {
            self.view.note(&Note::Warning { message: message.clone() })?;
        }
        Ok(())
    }
}

/// A session that does not stop in time is left behind: the process ends anyway, and what
/// was verified is on the disk. A further signal does not wait at all.
const SHUTDOWN_MAX: Duration = Duration::from_millis(850);

async fn shut_down(session: &Session, context: &mut Context) {
    tokio::select! {
        () = session.shutdown() => {}
        _ = context.signals.next() => {}
        () = tokio::time::sleep(SHUTDOWN_MAX) => {}
    }
}

/// What to say when the system allows fewer connections than were asked for.
fn few_places(session: &Session, config: &Config) -> Vec<String> {
    let most = session.stats().peers_max;
    let text = format!(
        "at most {most} connections, not {}: few files may be open (see ulimit -n)",
        config.peers_max
    );
    Vec::from_iter((most < config.peers_max).then_some(text))
}

/// The session's errors by blame, as exit codes.
fn session_failure(error: Error) -> Failure {
    match error {
        Error::Bind { addr, source } => {
            let failure =
                Failure::new(Code::Network, format!("cannot listen on {addr}: {}", plain(&source)));
            match source.kind() {
                std::io::ErrorKind::AddrInUse => failure.hint(
                    "another program uses this port: choose another, or port 0 for a free one",
                ),
                std::io::ErrorKind::PermissionDenied => {
                    failure.hint("ports below 1024 need privileges: choose a higher one")
                }
                _ => failure,
            }
        }
        Error::Storage(error) => Failure::io(error.op, &error.path, &error.source),
        Error::Conflict { path } => {
            let path = path.to_string_lossy();
            Failure::new(
                Code::Conflict,
                format!("{} exists and is different", Untrusted::new(&path)),
            )
            .hint("--overwrite replaces it, -o DIR fetches into another folder")
        }
        Error::Unsupported => Failure::new(Code::BadTorrent, error.to_string())
            .hint("ask for a v1 or hybrid torrent of the same content"),
        Error::Locked { .. } => {
            Failure::new(Code::Conflict, Untrusted::new(&error.to_string()).to_string())
                .hint("wait for the other to end, or fetch into another folder with -o DIR")
        }
        Error::System(error) => {
            Failure::new(Code::Internal, format!("the system fails: {}", plain(&error)))
        }
        Error::EmptySelection | Error::TooMany(_) => Failure::usage(error.to_string()),
        Error::AlreadyAdded(_) => Failure::usage(error.to_string()),
        _ => Failure::new(Code::Internal, error.to_string()),
    }
}

/// What of a torrent's events is told.
fn note_of(watched: &mut Watched, now: Moment, event: Event) -> Option<Note> {
    let info_hash = watched.info_hash();
    Some(match event {
        Event::Suspended { error, retry_in } => {
            let failure = session_failure(error);
            if !watched.ails(now, &failure) {
                return None;
            }
            Note::Suspended { info_hash, name: watched.name(), failure, retry_in }
        }
        Event::Recovered => Note::Recovered { info_hash, name: watched.name() },
        Event::Unreadable(error) => {
            let (name, why) = (watched.name(), session_failure(error));
            let name = Untrusted::new(&name);
            Note::Warning { message: format!("{name}: {}; serving the rest", why.message()) }
        }
        Event::Metadata(metainfo) => Note::Metadata {
            info_hash,
            name: metainfo.name().to_owned(),
            total_bytes: metainfo.content_length(),
            files: metainfo.files().iter().filter(|file| !file.pad).count(),
            pieces: metainfo.geometry().piece_count(),
        },
        Event::FileDone { file } => {
            let metainfo = watched.handle.metainfo()?;
            let file = metainfo.files().get(file.as_usize())?;
            Note::FileDone { info_hash, path: file.path.join("/"), length: file.length }
        }
        Event::Torrent(TorrentEvent::PeerBanned { addr }) => Note::PeerBanned { info_hash, addr },
        Event::Tracker { url, result: Err(why) } => {
            Note::Trouble { info_hash, message: format!("tracker {url}: {why}") }
        }
        _ => return None,
    })
}
