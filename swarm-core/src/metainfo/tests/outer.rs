//! What a `.torrent` says beside `info`.

use super::*;

/// A torrent with these outer keys.
fn with(write: impl FnOnce(&mut DictEncoder<'_>)) -> Metainfo {
    let info = read(&single(|_| {})).info_bytes().clone();
    read(&encode_dict(|torrent| {
        torrent.raw("info", &info);
        write(torrent);
    }))
}

fn strings(out: &mut Encoder, items: &[&str]) {
    items.iter().for_each(|item| out.bytes(item));
}

#[test]
fn announce_counts_only_without_an_announce_list() {
    let only = with(|torrent| torrent.bytes("announce", "http://a.example/ann"));
    assert_eq!(only.trackers(), [["http://a.example/ann"]]);
    let both = with(|torrent| {
        torrent.bytes("announce", "http://a.example/ann");
        torrent.list("announce-list", |tiers| {
            tiers.list(|tier| strings(tier, &["udp://b.example:1", " http://c.example/ \n"]));
            tiers.list(|_| {});
            tiers.list(|tier| strings(tier, &["udp://b.example:1", "https://d.example/"]));
        });
    });
    let tiers = [
        vec!["udp://b.example:1".to_owned(), "http://c.example/".to_owned()],
        vec!["https://d.example/".to_owned()],
    ];
    assert_eq!(both.trackers(), tiers, "trimmed, no empty tier, no tracker twice");
    let unusable = with(|torrent| {
        torrent.bytes("announce", "http://a.example/ann");
        torrent
            .list("announce-list", |tiers| tiers.list(|tier| strings(tier, &["wss://b.example"])));
    });
    assert_eq!(unusable.trackers(), [["http://a.example/ann"]]);
    assert_eq!(unusable.warnings().len(), 1);
    let flat = with(|torrent| {
        torrent.list("announce-list", |tiers| strings(tiers, &["http://a/", "http://b/"]));
    });
    assert_eq!(flat.trackers(), [["http://a/"], ["http://b/"]]);
}

#[test]
fn refused_urls_are_left_out_with_a_warning() {
    let metainfo = with(|torrent| {
        torrent.list("announce-list", |tiers| {
            tiers.list(|tier| {
                strings(tier, &["http://t.example/?info_hash=x", "file:///etc/passwd"]);
                tier.int(3);
            });
        });
        torrent
            .list("url-list", |list| strings(list, &["ftp://s.example/", "https://s.example/f"]));
        torrent.list("httpseeds", |list| strings(list, &["http://s.example/seed"]));
    });
    assert!(metainfo.trackers().is_empty());
    assert_eq!(metainfo.web_seeds(), ["https://s.example/f"]);
    let refused = |url: &str, reason| Warning::TrackerRefused { url: url.to_owned(), reason };
    let warnings = [
        Warning::HttpSeedsIgnored,
        refused("http://t.example", UrlRefusal::Imitation),
        refused("file:///…/…", UrlRefusal::Scheme),
        Warning::TrackersIgnored(1),
        Warning::WebSeedRefused { url: "ftp://s.example".to_owned(), reason: UrlRefusal::Scheme },
    ];
    assert_eq!(metainfo.warnings(), warnings);
}

#[test]
fn trackers_web_seeds_and_nodes_are_bounded() {
    let metainfo = with(|torrent| {
        torrent.list("announce-list", |tiers| {
            for tier in 0..30 {
                tiers.list(|out| {
                    (0..5).for_each(|at| out.bytes(format!("http://t{tier}-{at}.example/")));
                });
            }
        });
        torrent.list("url-list", |list| {
            (0..70).for_each(|at| list.bytes(format!("http://s.example/{at}")));
        });
        torrent.list("nodes", |list| {
            for port in 0..70 {
                list.list(|pair| {
                    pair.bytes("node.example");
                    pair.int(port);
                });
            }
        });
    });
    assert_eq!(metainfo.trackers().iter().map(Vec::len).sum::<usize>(), TRACKERS_MAX);
    assert_eq!(metainfo.web_seeds().len(), WEB_SEEDS_MAX);
    assert_eq!(metainfo.nodes().len(), NODES_MAX);
    assert_eq!((TRACKERS_MAX, WEB_SEEDS_MAX, NODES_MAX), (100, 50, 50));
    let ignored =
        [Warning::TrackersIgnored(50), Warning::WebSeedsIgnored(20), Warning::NodesIgnored(20)];
    assert_eq!(metainfo.warnings(), ignored);
}

#[test]
fn remarks_are_read_and_written_back() {
    let metainfo = with(|torrent| {
        torrent.bytes("announce", "http://a.example/");
        torrent.bytes("comment", "c\u{1b}[31m");
        torrent.bytes("created by", "x 1");
        torrent.int("creation date", 1_700_000_000);
        torrent.bytes("url-list", "http://s.example/");
        torrent.list("nodes", |list| {
            list.list(|pair| {
                pair.bytes("::1");
                pair.int(7);
            });
        });
    });
    assert_eq!(metainfo.comment(), Some("c\u{1b}[31m"));
    assert_eq!(metainfo.created_by(), Some("x 1"));
    assert_eq!(metainfo.creation_date(), Some(1_700_000_000));
    assert_eq!(metainfo.nodes()[0].to_string(), "[::1]:7");
    let again = read(&metainfo.to_torrent());
    assert_eq!(again.to_torrent(), metainfo.to_torrent());
    assert_eq!(again.comment(), metainfo.comment());
    assert_eq!(again.nodes(), metainfo.nodes());
    assert_eq!(again.web_seeds(), metainfo.web_seeds());
    let odd = with(|torrent| {
        torrent.int("creation date", -5);
        torrent.int("comment", 5);
    });
    assert_eq!((odd.creation_date(), odd.comment()), (None, None));
}

#[test]
fn nothing_outside_of_info_is_taken_from_peers() {
    let metainfo = with(|torrent| torrent.bytes("announce", "http://a.example/"));
    let peers = from_peers(&metainfo).unwrap();
    assert!(peers.trackers().is_empty() && peers.web_seeds().is_empty());
}

#[test]
fn a_magnet_link_carries_hash_name_and_trackers() {
    let metainfo = with(|torrent| {
        torrent.list("announce-list", |tiers| {
            tiers.list(|tier| strings(tier, &["udp://a.example:1"]));
            tiers.list(|tier| strings(tier, &["udp://b.example:2"]));
        });
        torrent.bytes("url-list", "http://s.example/");
    });
    let magnet = Magnet::parse(&metainfo.magnet().to_string()).unwrap();
    assert_eq!(magnet.hashes(), metainfo.hashes());
    assert_eq!(magnet.name(), Some("a"));
    assert_eq!(magnet.trackers(), ["udp://a.example:1", "udp://b.example:2"]);
    assert_eq!(magnet.web_seeds(), ["http://s.example/"]);
}

#[test]
fn warnings_are_safe_to_print() {
    let metainfo = with(|torrent| torrent.bytes("announce", "evil://\u{1b}[2J\u{202e}"));
    let shown = metainfo.warnings()[0].to_string();
    assert!(shown.contains("\\u{1b}") && !shown.contains('\u{1b}') && !shown.contains('\u{202e}'));
}
