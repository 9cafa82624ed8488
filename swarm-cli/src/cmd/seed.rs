//! `swarm seed`: makes or checks the torrents, prints the lines that fetch them, serves.
//!
//! Not here: hashing (see `make`), the tracker beside it (see `own_tracker`), which of our
//! addresses are told (see `addresses`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll, StreamExt};
use swarm_core::metainfo::{Metainfo, PeerAddr};
use swarm_core::session::{Event, TorrentEvent, TorrentHandle};
use swarm_core::types::{Moment, Untrusted};
use swarm_core::{AddTorrent, Error, Session};
use tokio::sync::mpsc;

use super::linger::{Hearsay, Stay};
use super::own_tracker::{HANDED_OVER_MAX, OwnTracker};
use super::watch::Watched;
use super::{Context, create, few_places, load, make, note_of, session_failure, shut_down};
use crate::addresses;
use crate::exit::{Code, Failure};
use crate::link::HostPort;
use crate::plan::{SeedContent, SeedPlan};
use crate::units;
use crate::view::{Note, Seeding, TICK};

/// Runs until a signal comes, or what `--until-copies` or `--until-idle` waits for.
pub(crate) async fn run(plan: SeedPlan, context: &mut Context) -> Result<Code, Failure> {
    context.view.link_first();
    context.warn(&plan.network.warnings)?;
    let contents = contents(&plan, context).await?;
    let mut builder = Session::builder().config(plan.network.config.clone());
    let (to_tracker, connections) = mpsc::channel(HANDED_OVER_MAX);
    if plan.network.trackers {
        builder = builder.http_connections(to_tracker);
    }
    let session = builder.build().await.map_err(session_failure)?;
    context.warn(&few_places(&session, &plan.network.config))?;
    let listen = session.listen_addrs();
    let tracker = if plan.network.trackers {
        let hashes = contents.iter().map(|content| content.metainfo.hashes().wire());
        let (tracker, warning) = OwnTracker::start(&listen, hashes, connections).await?;
        context.warn(warning.as_slice())?;
        Some(tracker)
    } else {
        None
    };
    let reachable = addresses::reachable(&listen, &addresses::local());
    let mut seed = Seed {
        plan: &plan,
        session: &session,
        context,
        tracker,
        reachable,
        torrents: Vec::new(),
        events: SelectAll::new(),
        resolving: FuturesUnordered::new(),
    };
    let end = seed.serve(contents).await;
    let tracker = seed.tracker.take();
    drop(seed);
    context.view.clear();
    // The tracker outlives the session, to hear its goodbye.
    shut_down(&session, context).await;
    drop(tracker);
    end
}

/// One torrent to be served.
struct ToServe {
    metainfo: Arc<Metainfo>,
    content: PathBuf,
    /// Hashed by us a moment ago.
    fresh: bool,
    /// The `.torrent` that was written, if any.
    written: Option<PathBuf>,
}

async fn contents(plan: &SeedPlan, context: &mut Context) -> Result<Vec<ToServe>, Failure> {
    match &plan.content {
        SeedContent::Existing { torrent, content } => {
            let metainfo = load::torrent(torrent)?;
            let content = load::locate(&metainfo, content);
            Ok(vec![ToServe { metainfo: Arc::new(metainfo), content, fresh: false, written: None }])
        }
        SeedContent::New { paths, torrent, write_to } => {
            let mut contents = Vec::new();
            for path in paths {
                let state_folder = plan.network.config.state_folder.as_deref();
                let made = make::torrent(context, path, torrent, state_folder).await?;
                if let Some(path) = write_to {
                    create::write(path, &made.metainfo, false)?;
                }
                contents.push(ToServe {
                    metainfo: made.metainfo,
                    content: made.content,
                    fresh: true,
                    written: write_to.clone(),
                });
            }
            Ok(contents)
        }
    }
}

struct Seed<'a> {
    plan: &'a SeedPlan,
    session: &'a Session,
    context: &'a mut Context,
    tracker: Option<OwnTracker>,
    /// Our addresses as others can use them, the best first.
    reachable: Vec<SocketAddr>,
    torrents: Vec<Served>,
    events: SelectAll<BoxStream<'static, (usize, Event)>>,
    resolving: FuturesUnordered<BoxFuture<'a, Result<Vec<SocketAddr>, Failure>>>,
}

struct Served {
    watched: Watched,
    metainfo: Arc<Metainfo>,
    stay: Stay,
}

impl<'a> Seed<'a> {
    async fn serve(&mut self, contents: Vec<ToServe>) -> Result<Code, Failure> {
        for content in contents {
            let handle = match self.session.add(self.torrent(&content)).await {
                Ok(handle) => handle,
                Err(Error::AlreadyAdded(_)) => {
                    let path = content.content.to_string_lossy().into_owned();
                    let text = format!("{} is served already", Untrusted::new(&path));
                    self.context.warn(&[text])?;
                    continue;
                }
                Err(error) => return Err(session_failure(error)),
            };
            self.added(handle, &content);
            if !content.fresh
                && let Some(code) = self.check().await?
            {
                return Ok(code);
            }
            let seeding = self.announcement(&content);
            self.context.view.note(&Note::Seeding(seeding))?;
        }
        let named = self.plan.network.peers.iter().filter(|peer| peer.literal().is_none());
        self.resolving.extend(named.map(|peer| peer.resolve().boxed()));
        self.drive().await
    }

    fn torrent(&self, content: &ToServe) -> AddTorrent {
        let network = &self.plan.network;
        let mut torrent = AddTorrent::seed(Arc::clone(&content.metainfo), &content.content);
        if content.fresh {
            torrent = torrent.already_verified();
        }
        torrent = torrent.peers(network.peers.iter().filter_map(HostPort::literal));
        for tier in &network.tiers {
            torrent = torrent.tracker_tier(tier.iter().cloned());
        }
        // Our own tracker has to know of us like of any other peer, in both families.
        if let Some(tracker) = &self.tracker {
            let best = |v4: bool| self.reachable.iter().find(|addr| addr.is_ipv4() == v4);
            for addr in [best(true), best(false)].into_iter().flatten() {
                // By UDP where there is one: it needs nobody to hand it over.
                torrent = torrent.tracker_tier(tracker.urls(*addr).last());
            }
        }
        if network.trackers { torrent } else { torrent.without_torrent_trackers() }
    }

    fn added(&mut self, handle: TorrentHandle, content: &ToServe) {
        let at = self.torrents.len();
        self.events.push(handle.events().map(move |event| (at, event)).boxed());
        let now = self.context.clock.now();
        self.torrents.push(Served {
            watched: Watched::new(handle, content.metainfo.name(), now),
            metainfo: Arc::clone(&content.metainfo),
            stay: Stay::new(now),
        });
    }

    /// Waits until the newest torrent's content has been hashed. Some of it is enough to
    /// serve, none of it is a mistake.
    async fn check(&mut self) -> Result<Option<Code>, Failure> {
        let Some(served) = self.torrents.last_mut() else { return Ok(None) };
        let handle = served.watched.handle.clone();
        let mut checked = std::pin::pin!(handle.checked());
        let mut ticker = tokio::time::interval(TICK);
        let good = loop {
            tokio::select! {
                good = &mut checked => break good.map_err(session_failure)?,
                code = self.context.signals.next() => return self.stopped(code).map(Some),
                _ = ticker.tick() => {
                    let now = self.context.clock.now();
                    let row = served.watched.look(now);
                    self.context.view.tick(now, &[row])?;
                }
            }
        };
        let pieces = served.metainfo.geometry().piece_count();
        let name = served.watched.name();
        let name = Untrusted::new(&name);
        match good {
            0 => Err(Failure::new(
                Code::NotWhole,
                format!("{name}: no piece is what the torrent says"),
            )
            .hint("is this the content the .torrent was made for?")),
            good if good < pieces => {
                let text =
                    format!("{name}: only {good} of {pieces} pieces are good; serving those");
                self.context.warn(&[text])?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// The lines that make a second machine fetch this.
    fn announcement(&self, content: &ToServe) -> Seeding {
        let metainfo = &content.metainfo;
        let network = &self.plan.network;
        let own = self.tracker.iter();
        let own =
            own.flat_map(|tracker| self.reachable.iter().flat_map(|addr| tracker.urls(*addr)));
        let magnet = metainfo
            .magnet()
            .with_trackers(own.chain(network.tiers.iter().flatten().cloned()))
            .with_web_seeds(network.web_seeds.iter().cloned())
            .with_peers(
                self.reachable
                    .iter()
                    .filter_map(|addr| PeerAddr::new(&addr.ip().to_string(), addr.port())),
            )
            .to_string();
        let hashes = metainfo.hashes();
        Seeding {
            name: metainfo.name().to_owned(),
            fetch_line: format!("{} fetch {}", own_name(), quoted(&magnet)),
            magnet,
            info_hash_v1: hashes.get_v1().map(|hash| hash.to_string()),
            info_hash_v2: hashes.get_v2().map(|hash| hash.to_string()),
            listen: self.session.listen_addrs(),
            torrent: content.written.as_ref().map(|path| path.to_string_lossy().into_owned()),
        }
    }

    async fn drive(&mut self) -> Result<Code, Failure> {
        let mut ticker = tokio::time::interval(TICK);
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                code = self.context.signals.next() => return self.stopped(code),
                Some((at, event)) = self.events.next(), if !self.events.is_empty() => {
                    self.on_event(at, event)?;
                }
                Some(resolved) = self.resolving.next(), if !self.resolving.is_empty() => {
                    self.on_resolved(resolved)?;
                }
                () = serve_tracker(&mut self.tracker) => {}
                _ = ticker.tick() => {
                    if let Some(reason) = self.on_tick()? {
                        return self.finished(&reason);
                    }
                }
            }
        }
    }

    fn on_event(&mut self, at: usize, event: Event) -> Result<(), Failure> {
        let now = self.context.clock.now();
        let Some(served) = self.torrents.get_mut(at) else { return Ok(()) };
        match event {
            Event::Torrent(TorrentEvent::PeerCompleted { id, .. }) => {
                served.stay.copies.completed(id);
                Ok(())
            }
            // Its metadata was ours to begin with.
            Event::Metadata(_) | Event::FileDone { .. } => Ok(()),
            Event::Failed(error) => Err(session_failure(error)),
            event => match note_of(&mut served.watched, now, event) {
                Some(note) => self.context.view.note(&note),
                None => Ok(()),
            },
        }
    }

    fn on_resolved(&mut self, resolved: Result<Vec<SocketAddr>, Failure>) -> Result<(), Failure> {
        match resolved {
            Ok(addrs) => {
                for served in &self.torrents {
                    served.watched.handle.add_peers(addrs.clone());
                }
                Ok(())
            }
            Err(failure) => self.context.warn(&[failure.message().to_owned()]),
        }
    }

    /// Shows everything; says why it is time to end, when it is.
    fn on_tick(&mut self) -> Result<Option<String>, Failure> {
        let now = self.context.clock.now();
        let mut rows = Vec::with_capacity(self.torrents.len());
        for served in &mut self.torrents {
            rows.push(served.watched.look(now));
            served.look(now);
        }
        self.context.view.tick(now, &rows)?;
        let linger = &self.plan.linger;
        let all = |is_over: &dyn Fn(&Served) -> bool| self.torrents.iter().all(is_over);
        if let Some(limit) = linger.until_idle
            && all(&|served| served.stay.is_idle(now, linger))
        {
            return Ok(Some(format!("idle for {}", units::elapsed(limit))));
        }
        if let Some(wanted) = linger.until_copies
            && all(&|served| served.stay.has_copies(now, linger, self.hearsay(served)))
        {
            return Ok(Some(format!("{} handed out", copies_text(u64::from(wanted)))));
        }
        Ok(None)
    }

    fn hearsay(&self, served: &Served) -> Hearsay {
        let Some(tracker) = &self.tracker else { return Hearsay::default() };
        let hash = served.metainfo.hashes().wire();
        // It knows us once in each family: see `torrent`.
        let ours = [true, false]
            .into_iter()
            .filter(|v4| self.reachable.iter().any(|addr| addr.is_ipv4() == *v4))
            .count();
        Hearsay { completed: tracker.completed(hash), knows_a_seed: tracker.seeds(hash) > ours }
    }

    fn copies(&self, served: &Served) -> u64 {
        served.stay.copies.total(self.hearsay(served).completed)
    }

    fn finished(&mut self, reason: &str) -> Result<Code, Failure> {
        self.summary(&format!("done: {reason}"))?;
        Ok(Code::Done)
    }

    fn stopped(&mut self, code: Code) -> Result<Code, Failure> {
        self.summary("stopped")?;
        Ok(code)
    }

    /// The last line: what was sent to how many.
    fn summary(&mut self, how: &str) -> Result<(), Failure> {
        let now = self.context.clock.now();
        for served in &mut self.torrents {
            served.look(now);
        }
        let sent: u64 = self.torrents.iter().map(|served| served.stay.sent()).sum();
        let peers: u64 = self.torrents.iter().map(|served| served.stay.copies.served()).sum();
        let copies: u64 = self.torrents.iter().map(|served| self.copies(served)).sum();
        let time = units::elapsed(now.since(Moment::ZERO));
        let text = format!(
            "{how}: {} sent to {}, {}, in {time}",
            units::size(sent),
            units::count(peers, "peer"),
            copies_text(copies),
        );
        self.context.view.clear();
        self.context.view.note(&Note::Summary(text))
    }
}

impl Served {
    fn look(&mut self, now: Moment) {
        let stats = self.watched.handle.stats();
        self.stay.look(now, &stats, self.metainfo.content_length());
    }
}

async fn serve_tracker(tracker: &mut Option<OwnTracker>) {
    match tracker {
        Some(tracker) => tracker.serve().await,
        None => std::future::pending().await,
    }
}

fn copies_text(copies: u64) -> String {
    if copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") }
}

/// How to call us from another terminal: by name where the shell finds us, else by path.
fn own_name() -> String {
    let Ok(own) = std::env::current_exe() else { return "swarm".to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let same = |found: PathBuf| found.canonicalize().ok() == own.canonicalize().ok();
    let first =
        std::env::split_paths(&path).map(|dir| dir.join("swarm")).find(|path| path.is_file());
    if first.is_some_and(same) {
        return "swarm".to_owned();
    }
    quote_if_needed(&own)
}

fn quote_if_needed(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { quoted(&text) }
}

/// In single quotes, as any POSIX shell reads it back.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_is_quoted() {
        assert_eq!(quoted("a&b?c=d"), "'a&b?c=d'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quote_if_needed(Path::new("/usr/bin/swarm")), "/usr/bin/swarm");
        assert_eq!(quote_if_needed(Path::new("/my bin/swarm")), "'/my bin/swarm'");
    }
}
