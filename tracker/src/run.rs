//! Runs a tracker as a process: allow-list file, signals, output, exit code.
//!
//! stdout carries the announce URLs, or with `--json` events; the rest goes to stderr.

use crate::args::TrackerArgs;
use crate::{Error, Tracker, TrackerEvent, TrackerEvents};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use swarm_core::types::InfoHash;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

/// Lines that may wait for a slow reader of stdout.
const LINES_QUEUED: usize = 1024;
/// How long the last lines may take.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Names the log filter, in the syntax of `tracing-subscriber`.
const LOG_VARIABLE: &str = "SWARM_LOG";

/// Why the tracker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// Whoever read its output has gone.
    ClosedPipe,
}

impl End {
    /// The exit code: 130, 143, or 141.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::ClosedPipe => 141,
        }
    }
}

/// Why the tracker did not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It cannot start.
    #[error(transparent)]
    Start(#[from] Error),
    /// The allow-list cannot be read.
    #[error("cannot read the allow-list {}: {source}", path.display())]
    AllowFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of the allow-list is no info hash.
    #[error("{}, line {line}: not an info hash of 40 hexadecimal digits", path.display())]
    AllowLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Every address is off.
    #[error("nothing to serve: both --http and --udp are off")]
    NothingToServe,
    /// No threads, no signals, no output.
    #[error("cannot run: {0}")]
    System(#[from] io::Error),
}

impl RunError {
    /// The exit code: 11 for an address, 6 for a file, 2 for the flags, else 1.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Start(Error::Bind { .. }) => 11,
            Self::AllowFile { .. } | Self::AllowLine { .. } => 6,
            Self::NothingToServe => 2,
            Self::Start(Error::Entropy(_)) | Self::System(_) => 1,
        }
    }

    /// What to try, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Start(Error::Bind { source, .. }) => match source.kind() {
                io::ErrorKind::AddrInUse => {
                    Some("another program listens there; name another port with --http and --udp")
                }
                io::ErrorKind::PermissionDenied => Some("ports below 1024 need privileges"),
                io::ErrorKind::AddrNotAvailable => Some("this machine does not have that address"),
                _ => None,
            },
            Self::AllowLine { .. } => {
                Some("one info hash a line; lines that begin with # are skipped")
            }
            _ => None,
        }
    }
}

/// Runs a tracker until a signal, on a runtime of its own, and says on stderr why it could
/// not. For a `main` that does nothing else.
#[must_use]
pub fn main(args: &TrackerArgs) -> ExitCode {
    log(args.verbose);
    match run(args) {
        Ok(end) => end.exit_code().into(),
        Err(error) => {
            // With stderr gone there is nobody to tell; the code still says it.
            let _ = tell_error(args.json, &error);
            error.exit_code().into()
        }
    }
}

/// Runs a tracker until a signal, on a runtime of its own. A second signal does not wait for
/// the shutdown.
///
/// # Errors
/// When it cannot start; nothing has been written then.
pub fn run(args: &TrackerArgs) -> Result<End, RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let end = runtime.block_on(serve(args));
    runtime.shutdown_background();
    end
}

async fn serve(args: &TrackerArgs) -> Result<End, RunError> {
    let mut signals = Signals::install()?;
    let mut config = args.config();
    if config.http.is_empty() && config.udp.is_empty() {
        return Err(RunError::NothingToServe);
    }
    config.allowed = args.allow.as_deref().map(read_allowed).transpose()?;
    let tracker = Tracker::start(config).await?;
    let events = args.json.then(|| tracker.events());
    let mut output = Output::start();
    output.tell(start_text(&tracker, args.json));
    let end = watch(args, &tracker, events, &mut output, &mut signals).await?;
    let last_words = async {
        tracker.shutdown().await;
        if args.json {
            let missed = output.missed;
            let done = json!({"v": 1, "event": "done", "missed": missed, "stats": tracker.stats()});
            output.tell(done.to_string());
        }
        output.finish().await
    };
    tokio::select! {
        written = last_words => Ok(written?.unwrap_or(end)),
        again = signals.stop() => Ok(again),
    }
}

/// Writes events and obeys signals until one says stop, or nobody reads any more.
async fn watch(
    args: &TrackerArgs,
    tracker: &Tracker,
    mut events: Option<TrackerEvents>,
    output: &mut Output,
    signals: &mut Signals,
) -> Result<End, RunError> {
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop(end) => return Ok(end),
                Signal::Reload => reload(args, tracker),
            },
            written = &mut output.writer, if args.json => return Ok(closed(written)?),
            event = next(&mut events) => {
                output.tell(event_json(&event).to_string());
                output.missed += events.as_mut().map_or(0, TrackerEvents::take_missed);
            }
        }
    }
}

/// The next event; never, when nobody asked for events.
async fn next(events: &mut Option<TrackerEvents>) -> TrackerEvent {
    let event = match events {
        Some(events) => events.next().await,
        None => None,
    };
    match event {
        Some(event) => event,
        // The channel ends at shutdown, which is after this.
        None => std::future::pending().await,
    }
}

/// Lines on their way to stdout. A thread of its own writes them: whoever reads slowly delays
/// neither the tracker nor a signal, but misses lines.
struct Output {
    lines: mpsc::Sender<String>,
    writer: JoinHandle<io::Result<()>>,
    /// Lines that were not written.
    missed: u64,
}

impl Output {
    fn start() -> Self {
        let (lines, mut queue) = mpsc::channel::<String>(LINES_QUEUED);
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(line) = queue.blocking_recv() {
                let mut stdout = io::stdout().lock();
                writeln!(stdout, "{line}")?;
                stdout.flush()?;
            }
            Ok(())
        });
        Self { lines, writer, missed: 0 }
    }

    fn tell(&mut self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.missed += 1;
        }
    }

    /// Waits a moment until all is written. Gives an end of its own when nobody reads.
    async fn finish(self) -> io::Result<Option<End>> {
        drop(self.lines);
        if self.writer.is_finished() {
            return Ok(None);
        }
        match tokio::time::timeout(LAST_WORDS, self.writer).await {
            Ok(Ok(Err(error))) => closed(Ok(Err(error))).map(Some),
            // Written, or not taken in time: the process ends as it was told to.
            Ok(_) | Err(_) => Ok(None),
        }
    }
}

/// The writer has ended by itself: a broken pipe is an end like any other.
fn closed(written: Result<io::Result<()>, JoinError>) -> io::Result<End> {
    match written {
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(End::ClosedPipe),
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) => Ok(End::ClosedPipe),
        Err(error) => Err(io::Error::other(error)),
    }
}

fn reload(args: &TrackerArgs, tracker: &Tracker) {
    let Some(path) = args.allow.as_deref() else { return };
    match read_allowed(path) {
        Ok(allowed) => tracker.set_allowed(Some(allowed)),
        Err(error) => {
            // The old list stays; with stderr gone there is nobody to tell.
            let _ = writeln!(io::stderr(), "warning: {error}; the old list stays");
        }
    }
}

fn read_allowed(path: &Path) -> Result<BTreeSet<InfoHash>, RunError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| RunError::AllowFile { path: path.to_owned(), source })?;
    parse_allowed(&text).map_err(|line| RunError::AllowLine { path: path.to_owned(), line })
}

/// Reads one hash a line; the error is the number of the first line that is none.
fn parse_allowed(text: &str) -> Result<BTreeSet<InfoHash>, usize> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| line.parse().map_err(|_| number))
        .collect()
}

/// What is written first: where it listens.
fn start_text(tracker: &Tracker, json: bool) -> String {
    let (http, udp) = (tracker.http_addrs(), tracker.udp_addrs());
    if json {
        return json!({"v": 1, "event": "listening", "http": http, "udp": udp}).to_string();
    }
    let http = http.iter().map(|addr| format!("http://{addr}/announce"));
    let udp = udp.iter().map(|addr| format!("udp://{addr}/announce"));
    http.chain(udp).collect::<Vec<_>>().join("\n")
}

fn write_line(line: &serde_json::Value) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

fn event_json(event: &TrackerEvent) -> serde_json::Value {
    match event {
        TrackerEvent::Joined { info_hash, peer, complete } => json!({
            "v": 1, "event": "joined", "info_hash": info_hash.to_string(), "peer": peer,
            "complete": complete,
        }),
        TrackerEvent::Completed { info_hash, peer } => json!({
            "v": 1, "event": "completed", "info_hash": info_hash.to_string(), "peer": peer,
        }),
        TrackerEvent::Left { info_hash, peer } => json!({
            "v": 1, "event": "left", "info_hash": info_hash.to_string(), "peer": peer,
        }),
    }
}

fn tell_error(json: bool, error: &RunError) -> io::Result<()> {
    if json {
        let (code, message) = (error.exit_code(), error.to_string());
        write_line(&json!({"v": 1, "event": "error", "code": code, "message": message}))?;
    }
    let mut stderr = io::stderr().lock();
    writeln!(stderr, "error: {error}")?;
    error.hint().map_or(Ok(()), |hint| writeln!(stderr, "hint: {hint}"))
}

fn log(verbose: u8) {
    let filter = match (std::env::var(LOG_VARIABLE), verbose) {
        (Ok(filter), _) => filter,
        (Err(_), 0) => return,
        (Err(_), 1) => "swarm_tracker=debug".to_owned(),
        (Err(_), _) => "trace".to_owned(),
    };
    let filter = tracing_subscriber::EnvFilter::new(filter);
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Somebody else may have set one up: then it is theirs.
    let _ = subscriber.try_init();
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Stop(End),
    /// Read the allow-list again.
    Reload,
}

/// The signals a tracker obeys.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Stop(End::Interrupted),
            _ = self.terminate.recv() => Signal::Stop(End::Terminated),
            _ = self.hangup.recv() => Signal::Reload,
        }
    }

    async fn stop(&mut self) -> End {
        loop {
            if let Signal::Stop(end) = self.next().await {
                return end;
            }
        }
    }
}

/// Elsewhere there is Ctrl-C only.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn install() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        Signal::Stop(self.stop().await)
    }

    async fn stop(&mut self) -> End {
        if tokio::signal::ctrl_c().await.is_err() {
            // No signal will ever come.
            std::future::pending::<()>().await;
        }
        End::Interrupted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allow_list_has_one_hash_a_line() {
        let one = "0123456789abcdef0123456789ABCDEF01234567";
        let text = format!("# ours\n\n  {one}  \n{}\n", "f".repeat(40));
        assert_eq!(parse_allowed(&text).unwrap().len(), 2);
        assert!(parse_allowed(&text).unwrap().contains(&one.parse().unwrap()));
        assert_eq!(parse_allowed(&format!("{one}\nxyz\n")), Err(2));
        assert!(parse_allowed("").unwrap().is_empty());
    }

    #[test]
    fn a_missing_allow_list_is_a_file_error_with_its_name() {
        let error = read_allowed(Path::new("/nonexistent/list")).unwrap_err();
        assert_eq!(error.exit_code(), 6);
        assert!(error.to_string().starts_with("cannot read the allow-list /nonexistent/list: "));
    }

    #[test]
    fn events_are_one_line_each() {
        let (info_hash, peer) = (InfoHash::new([0xAB; 20]), "[::1]:9".parse().unwrap());
        let joined = TrackerEvent::Joined { info_hash, peer, complete: true };
        let expected = format!(
            "{{\"complete\":true,\"event\":\"joined\",\"info_hash\":\"{info_hash}\",\"peer\":\"[::1]:9\",\"v\":1}}"
        );
        assert_eq!(event_json(&joined).to_string(), expected);
    }
}
