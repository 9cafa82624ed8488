//! The tracker's flags, as typed: for the `swarm-tracker` binary and for `swarm tracker`.
//!
//! Not here: running it (see [`crate::run`]).

use crate::config::{
    DEFAULT_PORT, HttpLimits, INTERVAL_MAX, INTERVAL_MIN, Limits, PEERS_PER_ADDRESS_MAX,
    TrackerConfig, all_addresses,
};
use clap::builder::BoolishValueParser;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Flags of the tracker.
#[derive(Clone, Debug, clap::Args)]
#[non_exhaustive]
pub struct TrackerArgs {
    /// Serve HTTP announces here (repeat), or `off` [default: port 6969 of all addresses]
    #[arg(long, value_name = "ADDR:PORT", env = "SWARM_TRACKER_HTTP", value_delimiter = ' ')]
    pub http: Vec<Listen>,

    /// Serve UDP announces here (repeat), or `off` [default: port 6969 of all addresses]
    #[arg(long, value_name = "ADDR:PORT", env = "SWARM_TRACKER_UDP", value_delimiter = ' ')]
    pub udp: Vec<Listen>,

    /// Serve only the info hashes in this file, one a line; SIGHUP reads it again
    #[arg(long, value_name = "FILE", env = "SWARM_TRACKER_ALLOW")]
    pub allow: Option<PathBuf>,

    /// Time between two announces of a peer, from 1m to 2h
    #[arg(long, value_name = "DURATION", env = "SWARM_TRACKER_INTERVAL", default_value = "15m",
        value_parser = parse_interval)]
    pub interval: Duration,

    /// Most swarms held at a time
    #[arg(long, value_name = "N", env = "SWARM_TRACKER_MAX_SWARMS", default_value = "1000000",
        value_parser = parse_count)]
    pub max_swarms: usize,

    /// Most peers held at a time
    #[arg(long, value_name = "N", env = "SWARM_TRACKER_MAX_PEERS", default_value = "5000000",
        value_parser = parse_count)]
    pub max_peers: usize,

    /// Most peers of one swarm
    #[arg(long, value_name = "N", env = "SWARM_TRACKER_MAX_PEERS_PER_SWARM",
        default_value = "100000", value_parser = parse_count)]
    pub max_peers_per_swarm: usize,

    /// Most peers of one public address (IPv6: /64) in one swarm
    #[arg(long, value_name = "N", env = "SWARM_TRACKER_MAX_PEERS_PER_ADDRESS",
        default_value = "8", value_parser = parse_site_count)]
    pub max_peers_per_address: usize,

    /// Most HTTP connections at a time
    #[arg(long, value_name = "N", env = "SWARM_TRACKER_MAX_CONNECTIONS", default_value = "4096",
        value_parser = parse_count)]
    pub max_connections: usize,

    /// Most HTTP connections of one public address (IPv6: /64) at a time
    #[arg(long, value_name = "N", env = "SWARM_TRACKER_MAX_CONNECTIONS_PER_ADDRESS",
        default_value = "64", value_parser = parse_count)]
    pub max_connections_per_address: usize,

    /// Write events to stdout, one JSON object a line
    #[arg(long, env = "SWARM_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,

    /// Log to stderr; twice for more
    #[arg(short, long, action = clap::ArgAction::Count, env = "SWARM_VERBOSE")]
    pub verbose: u8,
}

/// Where to listen, or nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Not at all.
    Off,
    /// At this address; port 0 takes a free one.
    At(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let expected = "expected ADDR:PORT such as 0.0.0.0:6969 or [::]:6969, or `off`";
        text.parse().map(Self::At).map_err(|_| expected.to_owned())
    }
}

impl TrackerArgs {
    /// What the flags mean. The allow-list is a file yet to be read.
    #[must_use]
    pub fn config(&self) -> TrackerConfig {
        TrackerConfig {
            http: addresses(&self.http),
            udp: addresses(&self.udp),
            limits: Limits {
                interval: self.interval,
                swarms_max: self.max_swarms,
                peers_max: self.max_peers,
                peers_per_swarm_max: self.max_peers_per_swarm,
                peers_per_address_max: self.max_peers_per_address,
            },
            http_limits: HttpLimits {
                connections_max: self.max_connections,
                connections_per_address_max: self.max_connections_per_address,
                ..HttpLimits::default()
            },
            ..TrackerConfig::default()
        }
    }
}

fn addresses(listen: &[Listen]) -> Vec<SocketAddr> {
    if listen.is_empty() {
        return all_addresses(DEFAULT_PORT);
    }
    listen
        .iter()
        .filter_map(|listen| match listen {
            Listen::Off => None,
            Listen::At(addr) => Some(*addr),
        })
        .collect()
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err("expected a number from 1".to_owned()),
    }
}

fn parse_site_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=PEERS_PER_ADDRESS_MAX) => Ok(count),
        _ => Err(format!("expected a number from 1 to {PEERS_PER_ADDRESS_MAX}")),
    }
}

/// Reads a span of whole seconds: `90`, `90s`, `15m`, `1h30m`.
fn parse_interval(text: &str) -> Result<Duration, String> {
    let secs = parse_seconds(text).ok_or("expected a duration such as 90s, 15m or 1h30m")?;
    let interval = Duration::from_secs(secs);
    if (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
        Ok(interval)
    } else {
        Err(format!("expected {} to {} seconds", INTERVAL_MIN.as_secs(), INTERVAL_MAX.as_secs()))
    }
}

fn parse_seconds(text: &str) -> Option<u64> {
    let mut secs = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit);
        let factor = match unit {
            "" | "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        secs = secs.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: TrackerArgs,
    }

    fn parse(line: &str) -> Result<TrackerArgs, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.args)
    }

    #[test]
    fn without_flags_it_is_the_default_configuration() {
        let config = parse("t").unwrap().config();
        let default = TrackerConfig::default();
        assert_eq!((config.http, config.udp), (default.http.clone(), default.udp));
        assert_eq!((config.limits, config.http_limits), (default.limits, default.http_limits));
        assert_eq!(default.http, all_addresses(6969));
    }

    #[test]
    fn every_flag_reaches_the_configuration() {
        let line = "t --http 127.0.0.1:1 --http [::1]:2 --udp off --interval 1h30m --max-swarms 3 \
            --max-peers 4 --max-peers-per-swarm 5 --max-peers-per-address 6 --max-connections 7 \
            --max-connections-per-address 8 --json -vv --allow x";
        let args = parse(&line.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap();
        let config = args.config();
        assert_eq!(config.http, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
        assert!(config.udp.is_empty() && args.json && args.verbose == 2 && args.allow.is_some());
        let limits = config.limits;
        assert_eq!(limits.interval, Duration::from_secs(5400));
        let caps = (limits.swarms_max, limits.peers_max, limits.peers_per_swarm_max);
        assert_eq!((caps, limits.peers_per_address_max), ((3, 4, 5), 6));
        let http = config.http_limits;
        assert_eq!((http.connections_max, http.connections_per_address_max), (7, 8));
    }

    #[test]
    fn nonsense_is_refused() {
        for flags in [
            "--interval 59s",
            "--interval 3h",
            "--interval x",
            "--interval 1x",
            "--interval h",
            "--http 6969",
            "--http host:1",
            "--max-swarms 0",
            "--max-peers -1",
            "--max-peers-per-address 1025",
        ] {
            assert!(parse(&format!("t {flags}")).is_err(), "{flags}");
        }
    }
}
