//! The command line as meant: checked, completed, contradictions refused.
//!
//! What a plan holds can be carried out; what cannot is a usage error before anything runs.
//!
//! Not here: reading torrents, resolving names, anything that touches the network.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::CommandFactory;
use swarm_core::Config;

use crate::args::{
    Cli, CreateArgs, FetchArgs, LingerArgs, MetaArgs, NetworkArgs, SeedArgs, ShowArgs,
};
use crate::cmd::linger::Linger;
use crate::exit::Failure;
use crate::link::{HostPort, Link};
use crate::selection::Only;

/// Filter of the log that `-v` shows, beside the flags.
pub(crate) const LOG_VARIABLE: &str = "SWARM_LOG";
/// Links read from standard input, bytes: a list of 100,000 long magnets.
const LIST_BYTES_MAX: u64 = 64 << 20;
/// Goodbyes to trackers take at most this long, so that Ctrl-C ends within a second.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// How a session finds and treats peers.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) config: Config,
    pub(crate) peers: Vec<HostPort>,
    pub(crate) tiers: Vec<Vec<String>>,
    pub(crate) web_seeds: Vec<String>,
    /// Run a tracker of our own (`seed`), announce to those a torrent names (`fetch`).
    pub(crate) trackers: bool,
    /// Said once, at the start.
    pub(crate) warnings: Vec<String>,
}

/// `swarm fetch`.
#[derive(Debug)]
pub(crate) struct FetchPlan {
    /// Each as given, and what it turned out to be.
    pub(crate) links: Vec<(String, Result<Link, Failure>)>,
    pub(crate) folder: PathBuf,
    pub(crate) only: Only,
    pub(crate) after: After,
    pub(crate) timeout: Option<Duration>,
    pub(crate) stall_timeout: Option<Duration>,
    pub(crate) overwrite: bool,
    pub(crate) network: Network,
    pub(crate) show: ShowArgs,
}

/// What a fetch does when it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    End,
    Serve(Linger),
}

/// `swarm seed`.
#[derive(Debug)]
pub(crate) struct SeedPlan {
    pub(crate) content: SeedContent,
    pub(crate) linger: Linger,
    pub(crate) network: Network,
    pub(crate) show: ShowArgs,
}

/// What is served.
#[derive(Debug)]
pub(crate) enum SeedContent {
    /// New torrents, one per path.
    New { paths: Vec<PathBuf>, torrent: NewTorrent, write_to: Option<PathBuf> },
    /// The content of an existing `.torrent`.
    Existing { torrent: PathBuf, content: PathBuf },
}

/// What a new torrent says, beside its content.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewTorrent {
    pub(crate) piece_length: Option<u32>,
    pub(crate) private: bool,
    pub(crate) dated: bool,
    pub(crate) comment: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) tiers: Vec<Vec<String>>,
    pub(crate) web_seeds: Vec<String>,
}

/// `swarm create`.
#[derive(Debug)]
pub(crate) struct CreatePlan {
    pub(crate) path: PathBuf,
    pub(crate) output: Output,
    pub(crate) overwrite: bool,
    pub(crate) torrent: NewTorrent,
}

/// Where a `.torrent` is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// `NAME.torrent` in the current folder.
    Named,
    File(PathBuf),
    Stdout,
}

impl FetchPlan {
    pub(crate) fn new(args: FetchArgs) -> Result<Self, Failure> {
        let only = Only::parse(&args.only)?;
        let network = Network::new(&args.network)?;
        let mut texts = Vec::new();
        let mut listed = false;
        for text in args.links {
            match text.as_str() {
                "-" if listed => return Err(Failure::usage("- can be given once only")),
                "-" => {
                    listed = true;
                    texts.extend(read_list(std::io::stdin().lock())?);
                }
                _ => texts.push(text),
            }
        }
        if texts.is_empty() {
            return Err(Failure::usage("the list on standard input names no link"));
        }
        let mut seen = BTreeSet::new();
        texts.retain(|text| seen.insert(text.clone()));
        let links = texts.into_iter().map(|text| {
            let link = Link::parse(&text);
            (text, link)
        });
        Ok(Self {
            links: links.collect(),
            folder: args.output,
            only,
            after: match linger(args.linger) {
                linger if args.seed || linger != Linger::default() => After::Serve(linger),
                _ => After::End,
            },
            timeout: args.timeout,
            stall_timeout: args.stall_timeout,
            overwrite: args.overwrite,
            network,
            show: args.show,
        })
    }
}

impl FetchPlan {
    /// Where it writes; nowhere when no link is one.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        if self.links.iter().all(|(_, link)| link.is_err()) {
            return Vec::new();
        }
        let state = self.network.config.state_folder.iter().cloned();
        state.chain([self.folder.clone()]).collect()
    }
}

impl SeedPlan {
    pub(crate) fn new(args: SeedArgs) -> Result<Self, Failure> {
        let network = Network::new(&args.network)?;
        let content = match args.torrent {
            Some(torrent) => existing(torrent, &args.paths, &args.meta, args.output.as_deref())?,
            None => {
                if args.paths.len() > 1 {
                    forbid_with_many(args.meta.name.is_some(), "--name")?;
                    forbid_with_many(args.output.is_some(), "--output")?;
                }
                if args.output.as_deref() == Some(Path::new("-")) {
                    return Err(Failure::usage("seed prints its link on stdout")
                        .hint("give --output a file, or use `swarm create -o -`"));
                }
                let torrent = NewTorrent::new(&args.meta, &network.tiers, &network.web_seeds)?;
                SeedContent::New { paths: args.paths, torrent, write_to: args.output }
            }
        };
        Ok(Self { content, linger: linger(args.linger), network, show: args.show })
    }
}

const fn linger(args: LingerArgs) -> Linger {
    Linger { until_copies: args.until_copies, until_idle: args.until_idle }
}

fn existing(
    torrent: PathBuf,
    paths: &[PathBuf],
    meta: &MetaArgs,
    output: Option<&Path>,
) -> Result<SeedContent, Failure> {
    let [content] = paths else {
        return Err(Failure::usage("--torrent takes exactly one PATH, the content it describes"));
    };
    let makes_new = [
        (meta.piece_size.is_some(), "--piece-size"),
        (meta.private, "--private"),
        (meta.comment.is_some(), "--comment"),
        (meta.name.is_some(), "--name"),
        (meta.v1 || meta.v2 || meta.hybrid, "--v1, --v2 and --hybrid"),
        (output.is_some(), "--output"),
    ];
    if let Some((_, flag)) = makes_new.iter().find(|(given, _)| *given) {
        return Err(Failure::usage(format!("{flag}: makes a new torrent; --torrent names one")));
    }
    Ok(SeedContent::Existing { torrent, content: content.clone() })
}

fn forbid_with_many(given: bool, flag: &str) -> Result<(), Failure> {
    if !given {
        return Ok(());
    }
    Err(Failure::usage(format!("{flag}: several PATHs make several torrents"))
        .hint("seed them one at a time, or put them into one folder"))
}

impl CreatePlan {
    pub(crate) fn new(args: &CreateArgs) -> Result<Self, Failure> {
        let tiers = tiers(&args.tracker)?;
        let web_seeds = web_seeds(&args.web_seed)?;
        Ok(Self {
            path: args.path.clone(),
            output: match &args.output {
                None => Output::Named,
                Some(path) if path == Path::new("-") => Output::Stdout,
                Some(path) => Output::File(path.clone()),
            },
            overwrite: args.overwrite,
            torrent: NewTorrent::new(&args.meta, &tiers, &web_seeds)?,
        })
    }
}

impl NewTorrent {
    fn new(meta: &MetaArgs, tiers: &[Vec<String>], web_seeds: &[String]) -> Result<Self, Failure> {
        if meta.v2 || meta.hybrid {
            let flag = if meta.v2 { "--v2" } else { "--hybrid" };
            return Err(Failure::usage(format!("{flag}: not yet supported"))
                .hint("leave it out: --v1 is the default, and every client reads it"));
        }
        if let Some(size) = meta.piece_size
            && !(size.is_power_of_two() && (PIECE_SIZE_MIN..=PIECE_SIZE_MAX).contains(&size))
        {
            return Err(Failure::usage(format!(
                "--piece-size {size}: not a power of two between 16K and 256M"
            )));
        }
        Ok(Self {
            piece_length: meta.piece_size,
            private: meta.private,
            dated: !meta.no_date,
            comment: meta.comment.clone(),
            name: meta.name.clone(),
            tiers: tiers.to_vec(),
            web_seeds: web_seeds.to_vec(),
        })
    }
}

/// A block: a shorter piece has never been of use, and BEP 52 forbids it.
const PIECE_SIZE_MIN: u32 = 16 << 10;
/// More is refused by other clients.
const PIECE_SIZE_MAX: u32 = 256 << 20;

impl Network {
    fn new(args: &NetworkArgs) -> Result<Self, Failure> {
        let mut config = Config::default();
        if !args.listen.is_empty() {
            config.listen.clone_from(&args.listen);
        }
        config.up_limit = args.up;
        config.down_limit = args.down;
        config.peer_exchange = !args.no_pex;
        config.shutdown_timeout = SHUTDOWN_TIMEOUT;
        config.state_folder = state_folder(|name| std::env::var_os(name));
        crate::memory::fit(&mut config);
        if let Some(most) = args.max_peers.and_then(|most| usize::try_from(most).ok()) {
            config.peers_max = most;
            config.peers_per_torrent_max = most;
        }
        let mut warnings = Vec::new();
        for (given, flag) in [(args.public, "--public"), (args.dht, "--dht")] {
            if given {
                warnings.push(format!("{flag}: the DHT is not yet supported; going on without"));
            }
        }
        Ok(Self {
            config,
            peers: args.peer.clone(),
            tiers: tiers(&args.tracker)?,
            web_seeds: web_seeds(&args.web_seed)?,
            trackers: !args.no_tracker,
            warnings,
        })
    }
}

/// Where what was verified is recorded, as the XDG base directory specification has it. A
/// relative path there is to be ignored.
fn state_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("swarm"))
}

/// One tier per flag, its URLs parted by commas.
fn tiers(values: &[String]) -> Result<Vec<Vec<String>>, Failure> {
    let tier = |value: &String| value.split(',').map(tracker_url).collect::<Result<_, _>>();
    values.iter().map(tier).collect()
}

fn tracker_url(text: &str) -> Result<String, Failure> {
    let text = text.trim();
    if has_host(text, &["http", "https", "udp"]) {
        return Ok(text.to_owned());
    }
    Err(Failure::usage(format!("--tracker '{text}': expected an http, https or udp URL"))
        .hint("for example http://tracker.example:6969/announce"))
}

fn web_seeds(values: &[String]) -> Result<Vec<String>, Failure> {
    let check = |text: &String| {
        if has_host(text, &["http", "https"]) {
            return Ok(text.clone());
        }
        Err(Failure::usage(format!("--web-seed '{text}': expected an http or https URL")))
    };
    values.iter().map(check).collect()
}

fn has_host(url: &str, schemes: &[&str]) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let clean = url.chars().all(|c| !c.is_control() && !c.is_whitespace());
    clean && !host.is_empty() && schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme))
}

/// The links of a list: one a line; empty lines and those that start with # do not count.
fn read_list(input: impl Read) -> Result<Vec<String>, Failure> {
    let mut text = String::new();
    let stdin = Path::new("standard input");
    let read = input.take(LIST_BYTES_MAX).read_to_string(&mut text);
    let read = read.map_err(|error| Failure::io("read", stdin, &error))?;
    if u64::try_from(read).is_ok_and(|read| read == LIST_BYTES_MAX) {
        return Err(Failure::usage("the list on standard input is too long"));
    }
    let lines = text.lines().map(str::trim);
    let links = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(links.map(str::to_owned).collect())
}

/// A variable that is meant for us but spelt wrong would be silently ignored: refuse it.
pub(crate) fn check_environment(names: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    let mut known = BTreeSet::from([LOG_VARIABLE.to_owned()]);
    if cfg!(debug_assertions) {
        known.insert("SWARM_CRASH_AT".to_owned());
    }
    collect_variables(&Cli::command(), &mut known);
    let mut ours = names.into_iter().filter(|name| name.starts_with("SWARM_"));
    match ours.find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Failure::usage(format!("unknown environment variable {name}"))
            .hint("each command's --help lists its variables")),
    }
}

fn collect_variables(command: &clap::Command, known: &mut BTreeSet<String>) {
    let named = command.get_arguments().filter_map(clap::Arg::get_env);
    known.extend(named.filter_map(|name| name.to_str()).map(str::to_owned));
    for inner in command.get_subcommands() {
        collect_variables(inner, known);
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
