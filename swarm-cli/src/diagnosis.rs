//! Why nothing comes: what each source of peers gave, what became of the dials.
//!
//! A fetch that stands still says so in one line while it waits, and in full when it ends.

use std::fmt::Write as _;

use swarm_core::session::TorrentStats;
use swarm_core::types::Untrusted;

use crate::units;

/// How a torrent's search for peers went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) sources: Vec<Source>,
    pub(crate) dials: Dials,
    /// Peers connected now.
    pub(crate) connected: usize,
    /// Connected peers that have all of the torrent.
    pub(crate) seeds: usize,
    /// Whether any metadata has come, or the link brought it.
    pub(crate) has_metadata: bool,
}

/// A tracker, or the peers that the user or the link named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Untrusted.
    pub(crate) name: String,
    pub(crate) peers: usize,
    pub(crate) state: Answer,
}

/// What a source said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Waiting,
    Given,
    /// Untrusted.
    Failed(String),
    /// The tracker itself says no. Untrusted.
    Refused(String),
}

/// How the engine begins the text of a tracker's own refusal.
const REFUSAL: &str = "tracker refused";

/// Connection attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dials {
    pub(crate) known: usize,
    pub(crate) tried: u64,
    pub(crate) connected: u64,
    pub(crate) failed: Vec<(String, u64)>,
}

/// Sources named one by one while waiting; the full report names all.
const SOURCES_SHOWN: usize = 4;

impl Diagnosis {
    pub(crate) fn of(stats: &TorrentStats) -> Self {
        let sources = stats.sources.iter().map(|source| Source {
            name: source.name.clone(),
            peers: source.peers,
            state: match (&source.error, source.answered) {
                (Some(error), _) if error.starts_with(REFUSAL) => Answer::Refused(error.clone()),
                (Some(error), _) => Answer::Failed(error.clone()),
                (None, true) => Answer::Given,
                (None, false) => Answer::Waiting,
            },
        });
        let failed = stats.dials.failed.iter().map(|(why, times)| (why.to_string(), *times));
        Self {
            sources: sources.collect(),
            dials: Dials {
                known: stats.dials.known,
                tried: stats.dials.tried,
                connected: stats.dials.connected,
                failed: failed.collect(),
            },
            connected: stats.peers.len(),
            seeds: stats.peers.iter().filter(|peer| peer.progress >= 1.0).count(),
            has_metadata: stats.pieces > 0,
        }
    }

    /// Every tracker refuses us and there is no other way to a peer: waiting is in vain.
    pub(crate) fn is_refused(&self) -> bool {
        let refused = |source: &Source| matches!(source.state, Answer::Refused(_));
        !self.sources.is_empty()
            && self.sources.iter().all(refused)
            && self.dials.known == 0
            && self.connected == 0
    }

    /// What is shown while waiting: the verdict, then each source.
    pub(crate) fn lines(&self) -> Vec<String> {
        if self.sources.is_empty() && self.connected == 0 {
            return vec![
                "no way to find a peer: no tracker and no peer is named; \
                 try --peer HOST:PORT or --tracker URL"
                    .to_owned(),
            ];
        }
        let mut lines = vec![self.verdict()];
        if self.connected > 0 {
            return lines;
        }
        if let (Some(first), true) = (lines.first_mut(), self.dials.tried > 0) {
            let _ = write!(first, ": {}", self.dials.text());
        }
        lines.extend(self.sources.iter().take(SOURCES_SHOWN).map(Source::short));
        if self.sources.len() > SOURCES_SHOWN {
            lines.push(format!("{} more sources", self.sources.len() - SOURCES_SHOWN));
        }
        lines
    }

    /// [`Self::lines`] in one, for logs.
    pub(crate) fn line(&self) -> String {
        self.lines().join("; ")
    }

    /// Everything known, over several lines.
    pub(crate) fn report(&self) -> String {
        let mut report = self.verdict();
        for source in &self.sources {
            let _ = write!(report, "\n  {}", source.short());
        }
        if self.sources.is_empty() {
            report.push_str("\n  no tracker and no peer is named");
        }
        let known = units::count_len(self.dials.known, "address");
        let known = known.replace("addresss", "addresses");
        let _ = write!(report, "\n  {known} known, {}", self.dials.text());
        if let Some(hint) = self.hint() {
            let _ = write!(report, "\nhint: {hint}");
        }
        report
    }

    fn verdict(&self) -> String {
        let peers = units::count_len(self.connected, "peer");
        match (self.connected, self.has_metadata, self.seeds) {
            (0, ..) => "no peers".to_owned(),
            (_, false, _) => format!("{peers} connected, none has sent the metadata"),
            (_, true, 0) => format!("{peers} connected, none has all of it, none sends"),
            (_, true, _) => format!("{peers} connected, none sends"),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        let refused = self.dials.failed.first().is_some_and(|(why, _)| why.contains("refused"));
        let all_failed =
            self.sources.iter().all(|source| matches!(source.state, Answer::Failed(_)));
        match (self.sources.is_empty(), self.connected) {
            (true, 0) => Some(
                "name a peer with --peer HOST:PORT or a tracker with --tracker URL; \
                 a shell cuts a link at & unless it is in single quotes",
            ),
            (false, 0) if refused => Some("is the seed still running, and on that port?"),
            (false, 0) if all_failed => Some("is this machine on the network that the link means?"),
            _ => None,
        }
    }
}

impl Source {
    fn short(&self) -> String {
        let name = Untrusted::with_limit(&self.name, 80);
        match &self.state {
            Answer::Waiting => format!("{name}: no answer yet"),
            Answer::Given => format!("{name}: {}", units::count_len(self.peers, "peer")),
            Answer::Failed(why) | Answer::Refused(why) => {
                format!("{name}: {}", Untrusted::with_limit(why, Untrusted::FAILURE_MAX))
            }
        }
    }
}

impl Dials {
    fn text(&self) -> String {
        let mut text = units::count(self.tried, "dial");
        let _ = write!(text, ", {} connected", self.connected);
        for (why, times) in &self.failed {
            let _ = write!(text, ", {times} {why}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, peers: usize, state: Answer) -> Source {
        Source { name: name.to_owned(), peers, state }
    }

    #[test]
    fn a_link_that_names_nobody_says_what_to_add() {
        let line = Diagnosis::default().line();
        assert!(line.contains("--peer HOST:PORT"), "{line}");
        let report = Diagnosis::default().report();
        assert!(report.contains("a tracker with --tracker URL"), "{report}");
    }

    #[test]
    fn each_source_and_each_kind_of_failed_dial_is_named() {
        let diagnosis = Diagnosis {
            sources: vec![
                source("http://a/announce", 2, Answer::Given),
                source("udp://b", 0, Answer::Failed("timed out\u{1b}[1m".to_owned())),
                source("given", 0, Answer::Waiting),
            ],
            dials: Dials {
                known: 2,
                tried: 3,
                connected: 0,
                failed: vec![("connection refused".to_owned(), 2), ("timed out".to_owned(), 1)],
            },
            ..Diagnosis::default()
        };
        assert_eq!(
            diagnosis.report(),
            "no peers\n  http://a/announce: 2 peers\n  udp://b: timed out\\u{1b}[1m\n  \
             given: no answer yet\n  2 addresses known, 3 dials, 0 connected, \
             2 connection refused, 1 timed out\nhint: is the seed still running, and on that port?"
        );
        assert_eq!(
            diagnosis.line(),
            "no peers: 3 dials, 0 connected, 2 connection refused, 1 timed out; \
             http://a/announce: 2 peers; udp://b: timed out\\u{1b}[1m; given: no answer yet"
        );
    }

    #[test]
    fn only_trackers_that_all_refuse_end_the_search() {
        let no = || Answer::Refused("tracker refused: not registered".to_owned());
        let mut diagnosis = Diagnosis {
            sources: vec![source("a", 0, no()), source("b", 0, no())],
            ..<_>::default()
        };
        assert!(diagnosis.is_refused());
        diagnosis.dials.known = 1;
        assert!(!diagnosis.is_refused());
        diagnosis.dials.known = 0;
        diagnosis.sources.push(source("given", 0, Answer::Given));
        assert!(!diagnosis.is_refused());
        assert!(!Diagnosis::default().is_refused());
    }

    #[test]
    fn connected_peers_that_send_nothing_are_told_apart() {
        let mut diagnosis = Diagnosis { connected: 2, ..Diagnosis::default() };
        assert_eq!(diagnosis.line(), "2 peers connected, none has sent the metadata");
        diagnosis.has_metadata = true;
        assert_eq!(diagnosis.line(), "2 peers connected, none has all of it, none sends");
        diagnosis.seeds = 1;
        assert_eq!(diagnosis.line(), "2 peers connected, none sends");
    }
}
