//! What a plan accepts and refuses.

use clap::Parser;

use super::*;
use crate::args::Command;
use crate::exit::Code;

fn command(line: &str) -> Command {
    Cli::try_parse_from(line.split(' ')).unwrap().command
}

fn fetch(line: &str) -> Result<FetchPlan, Failure> {
    let Command::Fetch(args) = command(line) else { panic!("not a fetch: {line}") };
    FetchPlan::new(*args)
}

fn seed(line: &str) -> Result<SeedPlan, Failure> {
    let Command::Seed(args) = command(line) else { panic!("not a seed: {line}") };
    SeedPlan::new(*args)
}

fn create(line: &str) -> Result<CreatePlan, Failure> {
    let Command::Create(args) = command(line) else { panic!("not a create: {line}") };
    CreatePlan::new(&args)
}

fn refused<T: std::fmt::Debug>(plan: Result<T, Failure>) -> String {
    let failure = plan.unwrap_err();
    assert_eq!(failure.code(), Code::Usage);
    failure.message().to_owned()
}

#[test]
fn the_definitions_hold_together() {
    Cli::command().debug_assert();
}

#[test]
fn a_comma_joins_one_tier_and_each_flag_starts_another() {
    let plan =
        create("swarm create x --tracker http://a/1,udp://b:1 --tracker https://c/").unwrap();
    assert_eq!(plan.torrent.tiers, [vec!["http://a/1", "udp://b:1"], vec!["https://c/"]]);
}

#[test]
fn urls_of_the_wrong_kind_are_refused() {
    for url in ["a", "ftp://a", "http://", "http:///x", "udp://?x", "http://a,"] {
        refused(create(&format!("swarm create x --tracker {url}")));
    }
    refused(create("swarm create x --web-seed udp://a"));
}

#[test]
fn a_bad_link_among_good_ones_is_kept_with_its_failure() {
    let plan = fetch("swarm fetch nonsense a.torrent").unwrap();
    let good: Vec<bool> = plan.links.iter().map(|(_, link)| link.is_ok()).collect();
    assert_eq!(good, [false, true]);
}

#[test]
fn the_same_link_twice_is_fetched_once() {
    assert_eq!(fetch("swarm fetch a.torrent a.torrent").unwrap().links.len(), 1);
}

#[test]
fn limits_and_listen_addresses_reach_the_configuration() {
    let plan = fetch(
        "swarm fetch a.torrent --up 80Mbit --max-peers 7 --listen [::1]:5 --listen 1.2.3.4:0",
    );
    let config = plan.unwrap().network.config;
    assert_eq!(config.up_limit, Some(10_000_000));
    assert_eq!(config.down_limit, None);
    assert_eq!((config.peers_max, config.peers_per_torrent_max), (7, 7));
    assert_eq!(config.listen, ["[::1]:5".parse().unwrap(), "1.2.3.4:0".parse().unwrap()]);
}

#[test]
fn what_does_not_exist_yet_is_a_warning_and_turning_it_off_is_fine() {
    let plan = fetch("swarm fetch a.torrent --dht --public").unwrap();
    assert_eq!(plan.network.warnings.len(), 2);
    let plan = fetch("swarm fetch a.torrent --no-dht --no-lsd --no-pex --no-upnp --no-tracker");
    let network = plan.unwrap().network;
    assert!(network.warnings.is_empty() && !network.trackers);
}

#[test]
fn flags_of_a_new_torrent_do_not_go_with_an_existing_one() {
    for flag in ["--piece-size 1M", "--private", "--comment x", "--name x", "--v1", "-o x"] {
        refused(seed(&format!("swarm seed x --torrent t {flag}")));
    }
    refused(seed("swarm seed x y --torrent t"));
    assert!(seed("swarm seed x --torrent t --no-tracker --no-date").is_ok());
}

#[test]
fn one_name_does_not_fit_several_torrents() {
    refused(seed("swarm seed x y --name z"));
    refused(seed("swarm seed x y -o z"));
    refused(seed("swarm seed x -o -"));
    assert!(seed("swarm seed x y").is_ok());
}

#[test]
fn what_cannot_be_made_yet_says_so() {
    for flag in ["--v2", "--hybrid"] {
        let said = refused(create(&format!("swarm create x {flag}")));
        assert_eq!(said, format!("{flag}: not yet supported"));
    }
}

#[test]
fn piece_sizes_are_powers_of_two() {
    for size in ["8K", "300K", "512M"] {
        refused(create(&format!("swarm create x --piece-size {size}")));
    }
    assert_eq!(
        create("swarm create x --piece-size 1M").unwrap().torrent.piece_length,
        Some(1 << 20)
    );
}

#[test]
fn a_list_is_one_link_a_line() {
    let list = "  a \n\n# no\nb\r\n";
    assert_eq!(read_list(list.as_bytes()).unwrap(), ["a", "b"]);
    assert!(read_list(&[0xff, 0xfe][..]).is_err());
}

#[test]
fn a_list_is_bounded() {
    let endless = std::io::repeat(b'a');
    assert!(refused(read_list(endless)).contains("too long"));
}

#[test]
fn a_misspelt_variable_is_refused_and_known_ones_are_not() {
    let check = |name: &str| check_environment([name.to_owned(), "PATH".to_owned()]);
    assert!(check("SWARM_NO_DHT").is_ok());
    assert!(check("SWARM_LOG").is_ok());
    assert!(check("SWARM_TIEMOUT").is_err());
    assert!(check("SWARMING").is_ok());
}

#[test]
fn every_shared_flag_has_a_variable() {
    let cli = Cli::command();
    let commands = cli.get_subcommands();
    let transfer = commands.filter(|command| matches!(command.get_name(), "seed" | "fetch"));
    for command in transfer {
        let flags = command.get_arguments().filter(|arg| arg.get_help_heading().is_some());
        let making = ["v1", "v2", "hybrid", "comment", "name"];
        for flag in flags.filter(|arg| !making.contains(&arg.get_id().as_str())) {
            assert!(flag.get_env().is_some(), "{} has no variable", flag.get_id());
        }
    }
}

#[test]
fn the_state_folder_follows_the_environment_and_may_be_none() {
    let given = |variables: &'static [(&str, &str)]| {
        state_folder(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    };
    let expected = |path: &str| Some(PathBuf::from(path));
    assert_eq!(given(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]), expected("/s/swarm"));
    assert_eq!(given(&[("HOME", "/h")]), expected("/h/.local/state/swarm"));
    assert_eq!(
        given(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")]),
        expected("/h/.local/state/swarm")
    );
    assert_eq!(given(&[("XDG_STATE_HOME", ""), ("HOME", "")]), None);
    assert_eq!(given(&[]), None);
}
