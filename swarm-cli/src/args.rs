//! The command line as typed: the one definition behind parsing, `--help`, the man page,
//! the completions and the `SWARM_*` variables.
//!
//! Not here: what it means together (see `plan`), the tracker's flags (see `swarm_tracker`).

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use crate::exit::Code;
use crate::link::HostPort;
use crate::units;

/// Seed and fetch files over BitTorrent: one machine seeds, the others run the line it prints.
#[derive(Debug, Parser)]
#[command(
    name = "swarm",
    version,
    propagate_version = true,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = AFTER_HELP
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The definitions, for help, man page and completions. Values of variables stay out of
/// them, so that the text is the same everywhere.
pub(crate) fn command() -> clap::Command {
    let quiet = |command: clap::Command| command.mut_args(|arg| arg.hide_env_values(true));
    Cli::command().mut_subcommands(quiet)
}

/// Columns of help that is not read on a terminal.
const HELP_WIDTH: usize = 100;

/// Reads the command line. Help, versions and mistakes are printed here and end the process
/// with the code returned.
pub(crate) fn parse() -> Result<Command, Code> {
    let mut command = command();
    if !std::io::stdout().is_terminal() {
        command = command.term_width(HELP_WIDTH);
    }
    let matches = command.try_get_matches();
    let parsed = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map(|cli| cli.command).map_err(|error| {
        let code = match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Code::Done,
            _ => Code::Usage,
        };
        match error.print() {
            // Help that cannot be written; a reader that has read enough is no failure.
            Err(error) if code == Code::Done && error.kind() != std::io::ErrorKind::BrokenPipe => {
                let failure = crate::exit::Failure::stdout(&error);
                crate::view::write_stderr(&failure.report());
                failure.code()
            }
            _ => code,
        }
    })
}

const AFTER_HELP: &str = "\
Examples:
  swarm seed disk.img                  print a magnet link and serve the file
  swarm fetch 'magnet:?xt=...'         fetch what a link names into this folder
  swarm fetch -o /srv a.torrent        fetch into another folder

Exit codes: 0 done, 1 internal, 2 usage, 3 some inputs failed, 4 no peers or timeout,
5 disk full, 6 file error, 7 file in the way, 8 bad torrent or link, 9 verification failed,
10 refused by the tracker, 11 network, 130 and 143 stopped by a signal.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve files or folders, and print the line that fetches them
    Seed(Box<SeedArgs>),
    /// Fetch what magnet links or .torrent files name
    Fetch(Box<FetchArgs>),
    /// Write a .torrent for a file or folder
    Create(Box<CreateArgs>),
    /// Show what is in a .torrent or a magnet link
    Inspect(InspectArgs),
    /// Check data against a .torrent
    Verify(VerifyArgs),
    /// Run a tracker
    Tracker(Box<swarm_tracker::args::TrackerArgs>),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

/// `swarm seed`.
#[derive(Debug, Args)]
pub(crate) struct SeedArgs {
    /// Files or folders to serve
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Serve the content of this .torrent; PATH holds it, and is verified first
    #[arg(short, long, value_name = "FILE", env = "SWARM_TORRENT")]
    pub(crate) torrent: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) linger: LingerArgs,
    /// Also write the .torrent here
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) meta: MetaArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) show: ShowArgs,
}

/// `swarm fetch`.
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// Magnet links, .torrent files, their http(s) URLs or info hashes; - reads a list on stdin
    #[arg(required = true, value_name = "LINK")]
    pub(crate) links: Vec<String>,
    /// Folder to fetch into; the torrent's own name goes below it
    #[arg(short, long, value_name = "DIR", default_value = ".", env = "SWARM_OUTPUT")]
    pub(crate) output: PathBuf,
    /// Fetch only these files: a glob, or numbers such as 1,3-5 as `inspect` shows them
    #[arg(long, value_name = "GLOB|NUMBERS", env = "SWARM_ONLY", value_delimiter = '\n')]
    pub(crate) only: Vec<String>,
    /// Go on serving when complete
    #[arg(long, env = "SWARM_SEED", value_parser = BoolishValueParser::new())]
    pub(crate) seed: bool,
    #[command(flatten)]
    pub(crate) linger: LingerArgs,
    /// Give up when not complete after this long
    #[arg(long, value_name = "DURATION", env = "SWARM_TIMEOUT",
        value_parser = units::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Give up when nothing has come for this long
    #[arg(long, value_name = "DURATION", env = "SWARM_STALL_TIMEOUT",
        value_parser = units::parse_duration)]
    pub(crate) stall_timeout: Option<Duration>,
    /// Replace different files that are in the way
    #[arg(long, env = "SWARM_OVERWRITE", value_parser = BoolishValueParser::new())]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) show: ShowArgs,
}

/// How long to serve; `fetch` serves when it is told either.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LingerArgs {
    /// Serve until N peers have become complete and nobody depends on us
    #[arg(long, value_name = "N", env = "SWARM_UNTIL_COPIES",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) until_copies: Option<u32>,
    /// Serve until nothing has been sent for this long
    #[arg(long, value_name = "DURATION", env = "SWARM_UNTIL_IDLE",
        value_parser = units::parse_duration)]
    pub(crate) until_idle: Option<Duration>,
}

/// What `seed` and `fetch` share: how to find peers and how to treat them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
#[expect(clippy::struct_excessive_bools, reason = "one field per flag, as typed")]
pub(crate) struct NetworkArgs {
    /// Address to listen on (repeat); default a free port on all addresses
    #[arg(long, value_name = "ADDR:PORT", env = "SWARM_LISTEN", value_delimiter = ' ')]
    pub(crate) listen: Vec<SocketAddr>,
    /// Peer to connect to (repeat)
    #[arg(long, value_name = "HOST:PORT", env = "SWARM_PEER", value_delimiter = ' ')]
    pub(crate) peer: Vec<HostPort>,
    /// Tracker to announce to (repeat); a comma joins several into one tier
    #[arg(long, value_name = "URL", env = "SWARM_TRACKER", value_delimiter = ' ')]
    pub(crate) tracker: Vec<String>,
    /// Web seed: an HTTP server that has the same content (repeat)
    #[arg(long, value_name = "URL", env = "SWARM_WEB_SEED", value_delimiter = ' ')]
    pub(crate) web_seed: Vec<String>,
    /// Announce to the public DHT (does not exist yet)
    #[arg(long, env = "SWARM_PUBLIC", value_parser = BoolishValueParser::new(),
        conflicts_with = "no_dht")]
    pub(crate) public: bool,
    /// Find peers through the public DHT (does not exist yet)
    #[arg(long, env = "SWARM_DHT", value_parser = BoolishValueParser::new(),
        conflicts_with = "no_dht")]
    pub(crate) dht: bool,
    /// Do not use the DHT
    #[arg(long, env = "SWARM_NO_DHT", value_parser = BoolishValueParser::new())]
    pub(crate) no_dht: bool,
    /// Do not look for peers on the local network
    #[arg(long, env = "SWARM_NO_LSD", value_parser = BoolishValueParser::new())]
    pub(crate) no_lsd: bool,
    /// Do not exchange peer addresses with peers
    #[arg(long, env = "SWARM_NO_PEX", value_parser = BoolishValueParser::new())]
    pub(crate) no_pex: bool,
    /// Do not ask the router to open a port
    #[arg(long, env = "SWARM_NO_UPNP", value_parser = BoolishValueParser::new())]
    pub(crate) no_upnp: bool,
    /// Run no tracker, and announce to none that the torrent names
    #[arg(long, env = "SWARM_NO_TRACKER", value_parser = BoolishValueParser::new())]
    pub(crate) no_tracker: bool,
    /// Upload limit, bytes a second: 500K, 10M, 2Mi, 80Mbit
    #[arg(long, value_name = "RATE", env = "SWARM_UP", value_parser = units::parse_rate)]
    pub(crate) up: Option<u64>,
    /// Download limit, likewise
    #[arg(long, value_name = "RATE", env = "SWARM_DOWN", value_parser = units::parse_rate)]
    pub(crate) down: Option<u64>,
    /// Most connections at a time
    #[arg(long, value_name = "N", env = "SWARM_MAX_PEERS",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_peers: Option<u32>,
}

/// How a long-running command shows itself.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct ShowArgs {
    /// Print events as JSON, one object a line, on stdout
    #[arg(long, env = "SWARM_JSON", value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
    /// Show errors only
    #[arg(short, long, env = "SWARM_QUIET", value_parser = BoolishValueParser::new(),
        conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Log what happens to stderr; twice for more
    #[arg(short, long, action = clap::ArgAction::Count, env = "SWARM_VERBOSE")]
    pub(crate) verbose: u8,
}

/// What a new torrent says, beside its content.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Torrent")]
#[expect(clippy::struct_excessive_bools, reason = "one field per flag, as typed")]
pub(crate) struct MetaArgs {
    /// Piece length, a power of two such as 256K or 4M; default 16K to 16M by size: 480 to 960
    /// pieces up to 500 MB, at most 2000 up to 32 GiB
    #[arg(long, value_name = "SIZE", env = "SWARM_PIECE_SIZE",
        value_parser = units::parse_piece_size)]
    pub(crate) piece_size: Option<u32>,
    /// Peers may come from the torrent's own trackers only (BEP 27)
    #[arg(long, env = "SWARM_PRIVATE", value_parser = BoolishValueParser::new())]
    pub(crate) private: bool,
    /// Free text for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// Name of the torrent; default the file's or folder's
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Leave the creation date out, so that the same input gives the same file
    #[arg(long, env = "SWARM_NO_DATE", value_parser = BoolishValueParser::new())]
    pub(crate) no_date: bool,
    /// Make a v1 torrent (the default)
    #[arg(long, conflicts_with_all = ["v2", "hybrid"])]
    pub(crate) v1: bool,
    /// Make a v2 torrent (does not exist yet)
    #[arg(long, conflicts_with = "hybrid")]
    pub(crate) v2: bool,
    /// Make a torrent that is both v1 and v2 (does not exist yet)
    #[arg(long)]
    pub(crate) hybrid: bool,
}

/// `swarm create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The file or folder
    pub(crate) path: PathBuf,
    /// Where to write; - is stdout; default NAME.torrent in this folder
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Tracker (repeat); a comma joins several into one tier
    #[arg(long, value_name = "URL", env = "SWARM_TRACKER", value_delimiter = ' ')]
    pub(crate) tracker: Vec<String>,
    /// Web seed: an HTTP server that has the same content (repeat)
    #[arg(long, value_name = "URL", env = "SWARM_WEB_SEED", value_delimiter = ' ')]
    pub(crate) web_seed: Vec<String>,
    /// Replace an existing different .torrent
    #[arg(long, env = "SWARM_OVERWRITE", value_parser = BoolishValueParser::new())]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) meta: MetaArgs,
    /// Show errors only
    #[arg(short, long, env = "SWARM_QUIET", value_parser = BoolishValueParser::new())]
    pub(crate) quiet: bool,
}

/// `swarm inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A .torrent file (- is stdin) or a magnet link
    #[arg(value_name = "FILE|MAGNET")]
    pub(crate) link: String,
    /// Print one JSON object
    #[arg(long, env = "SWARM_JSON", value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
}

/// `swarm verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The .torrent file
    pub(crate) torrent: PathBuf,
    /// The file or folder it describes, or the folder that holds it
    pub(crate) path: PathBuf,
    /// Print one JSON object
    #[arg(long, env = "SWARM_JSON", value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
    /// Show errors only
    #[arg(short, long, env = "SWARM_QUIET", value_parser = BoolishValueParser::new())]
    pub(crate) quiet: bool,
}
