//! `swarm fetch`: every link a torrent of one session, until each is complete or has failed.
//!
//! One loop owns everything: it adds torrents as their links are read, listens to their
//! events, feeds the view, watches timeouts and signals. A link that fails does not hold up
//! the others.
//!
//! Not here: what a link is (see `link`), how it is read (see `load`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, FuturesUnordered, SelectAll, StreamExt};
use swarm_core::metainfo::Metainfo;
use swarm_core::session::{Completed, Event, TorrentEvent, TorrentHandle};
use swarm_core::types::Moment;
use swarm_core::{Error, Session};

use super::linger::{Hearsay, Stay};
use super::watch::{SILENCE, Watched};
use super::{Context, few_places, load, note_of, session_failure, shut_down};
use crate::diagnosis::Diagnosis;
use crate::exit::{self, Code, Failure};
use crate::link::{self, HostPort, Link};
use crate::plan::{After, FetchPlan};
use crate::units;
use crate::view::{Done, Note, Snapshot, Stage, TICK};

/// Runs until every link is complete or has failed, or a signal comes.
pub(crate) async fn run(mut plan: FetchPlan, context: &mut Context) -> Result<Code, Failure> {
    context.warn(&plan.network.warnings)?;
    if !plan.network.web_seeds.is_empty() {
        context.warn(&["--web-seed: not yet supported; going on without".to_owned()])?;
    }
    let links = std::mem::take(&mut plan.links);
    let builder = Session::builder().config(plan.network.config.clone());
    let session = builder.build().await.map_err(session_failure)?;
    context.warn(&few_places(&session, &plan.network.config))?;
    let mut fetch = Fetch {
        plan: &plan,
        session: &session,
        context,
        jobs: Vec::new(),
        work: FuturesUnordered::new(),
        events: SelectAll::new(),
        resolved: Vec::new(),
    };
    let end = match fetch.start(links) {
        Ok(()) => fetch.drive().await,
        Err(failure) => Err(failure),
    };
    drop(fetch);
    context.view.clear();
    shut_down(&session, context).await;
    end
}

/// How long a fetch that ends when it is complete waits for a failing disk, unless
/// `--stall-timeout` says otherwise. One that goes on serving waits as long as it takes.
const DISK_PATIENCE: Duration = Duration::from_secs(30);

struct Fetch<'a> {
    plan: &'a FetchPlan,
    session: &'a Session,
    context: &'a mut Context,
    jobs: Vec<Job>,
    work: FuturesUnordered<BoxFuture<'a, Step>>,
    events: SelectAll<BoxStream<'static, (usize, Event)>>,
    /// Addresses of peers given by name, for torrents that are added later.
    resolved: Vec<SocketAddr>,
}

/// One link on its way.
struct Job {
    /// As given.
    link: String,
    /// What to call it. Untrusted.
    label: String,
    state: State,
}

enum State {
    /// Its `.torrent` is being read.
    Loading,
    Running(Box<Watched>),
    /// Complete and still serving.
    Serving(Box<Watched>, Stay),
    Ended(Code),
}

/// What a piece of work came to; the number is the job's.
enum Step {
    Loaded(usize, Result<Loaded, Failure>),
    /// The metadata of a magnet link whose files are to be chosen.
    Metadata(usize, Result<Arc<Metainfo>, Error>),
    Finished(usize, Result<Completed, Error>),
    /// Addresses of a peer given by name.
    Resolved(Result<Vec<SocketAddr>, Failure>),
    Forgotten,
}

enum Loaded {
    Added(TorrentHandle),
    /// Another link of the same command names the same torrent.
    Twice,
}

impl<'a> Fetch<'a> {
    fn start(&mut self, links: Vec<(String, Result<Link, Failure>)>) -> Result<(), Failure> {
        for (at, (text, link)) in links.into_iter().enumerate() {
            let label = link.as_ref().map_or_else(|_| text.clone(), Link::label);
            self.jobs.push(Job { link: text, label, state: State::Loading });
            match link {
                Ok(link) => {
                    let work = add(self.session, self.plan, link);
                    self.work.push(work.map(move |result| Step::Loaded(at, result)).boxed());
                }
                Err(failure) => self.fail(at, failure, None)?,
            }
        }
        let named = self.plan.network.peers.iter().filter(|peer| peer.literal().is_none());
        self.work.extend(named.map(|peer| peer.resolve().map(Step::Resolved).boxed()));
        Ok(())
    }

    async fn drive(&mut self) -> Result<Code, Failure> {
        let mut ticker = tokio::time::interval(TICK);
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if self.is_over() {
                return Ok(self.outcome());
            }
            tokio::select! {
                code = self.context.signals.next() => return self.interrupted(code),
                Some(step) = self.work.next(), if !self.work.is_empty() => self.on_step(step)?,
                Some((at, event)) = self.events.next(), if !self.events.is_empty() => {
                    self.on_event(at, event)?;
                }
                _ = ticker.tick() => self.on_tick()?,
            }
        }
    }

    fn is_over(&self) -> bool {
        self.jobs.iter().all(|job| matches!(job.state, State::Ended(_)))
    }

    fn outcome(&self) -> Code {
        let codes = self.jobs.iter().filter_map(|job| match job.state {
            State::Ended(code) => Some(code),
            _ => None,
        });
        exit::combined(&codes.collect::<Vec<_>>())
    }

    fn on_step(&mut self, step: Step) -> Result<(), Failure> {
        match step {
            Step::Loaded(at, Ok(Loaded::Added(handle))) => self.added(at, handle),
            Step::Loaded(at, Ok(Loaded::Twice)) => return self.named_twice(at),
            Step::Loaded(at, Err(failure)) => return self.fail(at, failure, None),
            Step::Metadata(at, Ok(metainfo)) => return self.choose(at, &metainfo),
            Step::Finished(at, result) => return self.finished(at, result),
            Step::Resolved(Err(failure)) => {
                return self.context.warn(&[failure.message().to_owned()]);
            }
            Step::Resolved(Ok(addrs)) => self.dial(addrs),
            // Whatever ends the wait for metadata ends the wait for completion too.
            Step::Metadata(_, Err(_)) | Step::Forgotten => {}
        }
        Ok(())
    }

    fn added(&mut self, at: usize, handle: TorrentHandle) {
        if !self.resolved.is_empty() {
            handle.add_peers(self.resolved.clone());
        }
        self.events.push(handle.events().map(move |event| (at, event)).boxed());
        let waits = handle.clone();
        self.work.push(async move { Step::Finished(at, waits.completed().await) }.boxed());
        if handle.metainfo().is_none() && !self.plan.only.is_all() {
            let waits = handle.clone();
            self.work.push(async move { Step::Metadata(at, waits.metadata().await) }.boxed());
        }
        let now = self.context.clock.now();
        if let Some(job) = self.jobs.get_mut(at) {
            job.state = State::Running(Box::new(Watched::new(handle, &job.label, now)));
        }
    }

    fn named_twice(&mut self, at: usize) -> Result<(), Failure> {
        let Some(job) = self.jobs.get_mut(at) else { return Ok(()) };
        job.state = State::Ended(Code::Done);
        let text = format!("{} names a torrent that is being fetched already", shown(&job.label));
        self.context.warn(&[text])
    }

    /// Applies `--only` to a magnet link, now that its files are known.
    fn choose(&mut self, at: usize, metainfo: &Metainfo) -> Result<(), Failure> {
        match (self.plan.only.apply(metainfo), self.jobs.get(at).map(|job| &job.state)) {
            (Ok(selection), Some(State::Running(watched))) => watched.handle.select(selection),
            (Err(failure), _) => return self.fail(at, failure, None),
            _ => {}
        }
        Ok(())
    }

    /// Gives addresses that were resolved to every torrent, also those still to come.
    fn dial(&mut self, addrs: Vec<SocketAddr>) {
        for job in &self.jobs {
            if let State::Running(watched) = &job.state {
                watched.handle.add_peers(addrs.clone());
            }
        }
        self.resolved.extend(addrs);
    }

    fn finished(&mut self, at: usize, result: Result<Completed, Error>) -> Result<(), Failure> {
        // Events from before the end come before the end.
        while let Some(Some((at, event))) = self.events.next().now_or_never() {
            self.on_event(at, event)?;
        }
        let completed = match result {
            Ok(completed) => completed,
            Err(error) => return self.fail(at, session_failure(error), None),
        };
        let Some(job) = self.jobs.get_mut(at) else { return Ok(()) };
        let State::Running(watched) = std::mem::replace(&mut job.state, State::Ended(Code::Done))
        else {
            return Ok(());
        };
        let mut done = done(&watched, &completed);
        let mut limits = watched.handle.stats().limits;
        limits.merge(&self.session.stats().limits);
        done.limits = limits.hits().collect();
        if let After::Serve(_) = self.plan.after {
            job.state = State::Serving(watched, Stay::new(self.context.clock.now()));
        }
        self.context.view.note(&Note::Done(done))
    }

    fn fail(&mut self, at: usize, failure: Failure, why: Option<Diagnosis>) -> Result<(), Failure> {
        let Some(job) = self.jobs.get_mut(at) else { return Ok(()) };
        if matches!(job.state, State::Ended(_)) {
            return Ok(());
        }
        let before = std::mem::replace(&mut job.state, State::Ended(failure.code()));
        if let State::Running(watched) = before {
            // The session forgets it in its own time; other links go on.
            self.work.push(forget(watched.handle).boxed());
        }
        let link = Some((link::without_secrets(&job.link), job.label.clone()));
        self.context.view.note(&Note::Error { link, failure })?;
        match why {
            Some(diagnosis) => self.context.view.note(&Note::Report(diagnosis)),
            None => Ok(()),
        }
    }

    fn on_event(&mut self, at: usize, event: Event) -> Result<(), Failure> {
        let now = self.context.clock.now();
        let watched = match self.jobs.get_mut(at).map(|job| &mut job.state) {
            Some(State::Running(watched)) => watched,
            Some(State::Serving(watched, stay)) => {
                if let Event::Torrent(TorrentEvent::PeerCompleted { id, .. }) = event {
                    stay.copies.completed(id);
                }
                watched
            }
            _ => return Ok(()),
        };
        match note_of(watched, now, event) {
            Some(note) => self.context.view.note(&note),
            None => Ok(()),
        }
    }

    fn on_tick(&mut self) -> Result<(), Failure> {
        let now = self.context.clock.now();
        let (mut late, mut over) = (Vec::new(), Vec::new());
        let mut rows = Vec::with_capacity(self.jobs.len());
        for (at, job) in self.jobs.iter_mut().enumerate() {
            let row = match &mut job.state {
                State::Loading => Snapshot { name: job.label.clone(), ..Snapshot::default() },
                State::Ended(_) => Snapshot { stage: Stage::Ended, ..Snapshot::default() },
                State::Serving(watched, stay) => {
                    over.extend(is_over(self.plan, watched, stay, now).then_some(at));
                    watched.look(now)
                }
                State::Running(watched) => {
                    let row = watched.look(now);
                    late.extend(overdue(self.plan, watched, now).map(|failure| (at, failure)));
                    row
                }
            };
            rows.push(row);
        }
        self.context.view.tick(now, &rows)?;
        for (at, (failure, why)) in late {
            self.fail(at, failure, why)?;
        }
        for at in over {
            self.released(at);
        }
        Ok(())
    }

    /// A torrent has been served for as long as was asked.
    fn released(&mut self, at: usize) {
        let Some(job) = self.jobs.get_mut(at) else { return };
        if let State::Serving(watched, _) =
            std::mem::replace(&mut job.state, State::Ended(Code::Done))
        {
            self.work.push(forget(watched.handle).boxed());
        }
    }

    /// Says how to go on; what is verified is on the disk already.
    fn interrupted(&mut self, code: Code) -> Result<Code, Failure> {
        self.context.view.clear();
        let running = self.jobs.iter().any(|job| matches!(job.state, State::Running(_)));
        let text = if running { "stopped: run the same line again to continue" } else { "stopped" };
        self.context.view.note(&Note::Summary(text.to_owned()))?;
        Ok(code)
    }
}

/// Reads one link and adds its torrent.
async fn add(session: &Session, plan: &FetchPlan, link: Link) -> Result<Loaded, Failure> {
    let mut torrent = load::link(session, link, plan).await?.overwrite(plan.overwrite);
    torrent = torrent.peers(plan.network.peers.iter().filter_map(HostPort::literal));
    for tier in &plan.network.tiers {
        torrent = torrent.tracker_tier(tier.iter().cloned());
    }
    if !plan.network.trackers {
        torrent = torrent.without_torrent_trackers();
    }
    match session.add(torrent).await {
        Ok(handle) => Ok(Loaded::Added(handle)),
        Err(Error::AlreadyAdded(_)) => Ok(Loaded::Twice),
        Err(error) => Err(session_failure(error)),
    }
}

async fn forget(handle: TorrentHandle) -> Step {
    handle.remove().await;
    Step::Forgotten
}

/// Whether a complete torrent has been served for as long as was asked.
fn is_over(plan: &FetchPlan, watched: &Watched, stay: &mut Stay, now: Moment) -> bool {
    let After::Serve(linger) = &plan.after else { return true };
    let copy = watched.handle.metainfo().map_or(u64::MAX, |meta| meta.content_length());
    stay.look(now, &watched.handle.stats(), copy);
    stay.is_idle(now, linger) || stay.has_copies(now, linger, Hearsay::default())
}

/// Whether a torrent has taken too long, and why.
fn overdue(
    plan: &FetchPlan,
    watched: &Watched,
    now: Moment,
) -> Option<(Failure, Option<Diagnosis>)> {
    if let Some((ailing, failure)) = watched.ailment(now) {
        let is_late = plan.timeout.is_some_and(|limit| now >= Moment::ZERO + limit);
        let usual = (plan.after == After::End).then_some(DISK_PATIENCE);
        let patience = plan.stall_timeout.or(usual);
        let is_tired = patience.is_some_and(|patience| ailing >= patience);
        return (is_late || is_tired || watched.is_hopeless()).then(|| (failure.clone(), None));
    }
    let message = match (plan.timeout, plan.stall_timeout) {
        (Some(limit), _) if now >= Moment::ZERO + limit => {
            format!("not complete after {}", units::elapsed(limit))
        }
        (_, Some(limit)) if watched.silence(now) >= limit => {
            format!("nothing came for {}", units::elapsed(limit))
        }
        _ if watched.silence(now) >= SILENCE => {
            let diagnosis = Diagnosis::of(&watched.handle.stats());
            let failure = Failure::new(Code::Refused, "refused by every tracker");
            return diagnosis.is_refused().then_some((failure, Some(diagnosis)));
        }
        _ => return None,
    };
    let diagnosis = Diagnosis::of(&watched.handle.stats());
    let code = if diagnosis.is_refused() { Code::Refused } else { Code::NoPeers };
    Some((Failure::new(code, message), Some(diagnosis)))
}

fn done(watched: &Watched, completed: &Completed) -> Done {
    let path = std::path::absolute(&completed.path).unwrap_or_else(|_| completed.path.clone());
    Done {
        info_hash: watched.info_hash(),
        name: watched.name(),
        path: path.to_string_lossy().into_owned(),
        bytes: completed.bytes,
        elapsed: completed.elapsed,
        downloaded: completed.downloaded,
        uploaded: completed.uploaded,
        wasted: completed.wasted,
        peers: completed.peers,
        limits: Vec::new(),
    }
}

fn shown(link: &str) -> swarm_core::types::Untrusted<'_> {
    swarm_core::types::Untrusted::with_limit(link, 100)
}
