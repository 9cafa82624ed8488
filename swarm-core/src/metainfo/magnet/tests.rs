//! Tests of magnet links: what people paste, what attackers write, and the way back.

use proptest::prelude::*;

use super::read::SELECTION_RANGES_MAX;
use super::*;
use crate::metainfo::{TRACKERS_MAX, UrlRefusal};
use crate::types::{InfoHash, InfoHashV2};

const V1: &str = "0123456789abcdef0123456789abcdef01234567";
const V2: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn v1() -> InfoHashes {
    InfoHashes::v1(V1.parse().unwrap())
}

fn with(fields: &str) -> Magnet {
    Magnet::parse(&format!("magnet:?xt=urn:btih:{V1}&{fields}")).unwrap()
}

#[test]
fn hashes_are_read_in_hex_and_base32_in_either_case() {
    let base32 = data_encoding::BASE32.encode(v1().get_v1().unwrap().as_bytes());
    for hash in [V1.to_owned(), V1.to_uppercase(), base32.to_lowercase(), base32] {
        let magnet = Magnet::parse(&format!("MAGNET:?XT=URN:BTIH:{hash}")).unwrap();
        assert_eq!(magnet.hashes(), v1());
    }
    let hybrid =
        Magnet::parse(&format!("magnet:?xt=urn:btmh:1220{V2}&xt.1=urn:btih:{V1}")).unwrap();
    assert_eq!(hybrid.hashes(), InfoHashes::hybrid(V1.parse().unwrap(), V2.parse().unwrap()));
}

#[test]
fn a_bare_hash_is_a_link() {
    assert_eq!(Magnet::parse(&format!(" {V1}\n")).unwrap(), Magnet::from_hashes(v1()));
    let v2 = InfoHashes::v2(V2.parse().unwrap());
    assert_eq!(V2.parse::<Magnet>().unwrap().hashes(), v2);
    assert_eq!(Magnet::parse(&V1[1..]), Err(MagnetError::NotMagnet));
}

#[test]
fn links_without_a_known_hash_are_refused() {
    let parse = |text: &str| Magnet::parse(text).unwrap_err();
    assert_eq!(parse(""), MagnetError::NotMagnet);
    assert_eq!(parse("magnet:"), MagnetError::NotMagnet);
    assert_eq!(parse("http://a.example/?xt=urn:btih:00"), MagnetError::NotMagnet);
    assert_eq!(parse("magnet:?"), MagnetError::NoHash);
    assert_eq!(parse("magnet:?dn=x"), MagnetError::NoHash);
    assert_eq!(parse("magnet:?xt=urn:ed2k:31D6CFE0D16AE931B73C59D7E0C089C0"), MagnetError::NoHash);
    assert_eq!(parse("magnet:?xt=urn:btih:1234"), MagnetError::BadHash);
    assert_eq!(parse(&format!("magnet:?xt=urn:btih:{}g", &V1[1..])), MagnetError::BadHash);
    assert_eq!(parse(&format!("magnet:?xt=urn:btmh:1114{V2}")), MagnetError::BadHash);
    assert_eq!(parse(&format!("magnet:?xt=urn:btmh:{V2}")), MagnetError::BadHash);
    let two = format!("magnet:?xt=urn:btih:{V1}&xt=urn:btih:{}", V1.replace('0', "f"));
    assert_eq!(parse(&two), MagnetError::AmbiguousHash);
}

#[test]
fn foreign_topics_are_ignored_with_a_warning() {
    let magnet = with("xt=urn:ed2k:31D6CFE0&xt=urn:btih:broken&xt=urn:tree:tiger:X");
    assert_eq!(magnet.hashes(), v1());
    assert_eq!(magnet.warnings(), [Warning::TopicsIgnored(3)]);
}

#[test]
fn every_field_is_read() {
    let magnet = with(
        "dn=My+file%20%F0%9F%A6%80&tr=http%3A%2F%2Ft.example%2Fann%3Fa%3Db%26c&tr.1=udp://t.example:1\
         &amp;ws=https%3A%2F%2Fs.example%2Fa+b&x.pe=10.0.0.1:6881&x.pe=%5B::1%5D:1&x.pe=host.example:2\
         &so=7,0,2,5-6,3&unknown=1&junk",
    );
    assert_eq!(magnet.name(), Some("My file 🦀"));
    assert_eq!(magnet.trackers(), ["http://t.example/ann?a=b&c", "udp://t.example:1"]);
    assert_eq!(magnet.web_seeds(), ["https://s.example/a+b"]);
    let peers: Vec<_> = magnet.peers().iter().map(|peer| (peer.host.as_str(), peer.port)).collect();
    assert_eq!(peers, [("10.0.0.1", 6881), ("::1", 1), ("host.example", 2)]);
    assert_eq!(magnet.selection(), Some(&[0..=0, 2..=3, 5..=7][..]));
    assert_eq!(magnet.warnings(), []);
}

#[test]
fn a_selection_chooses_files_and_a_bad_one_is_ignored() {
    let magnet = with("so=1,4-6");
    let chosen: Vec<u32> = (0..9).filter(|file| magnet.selects(FileIndex::new(*file))).collect();
    assert_eq!(chosen, [1, 4, 5, 6]);
    assert!(with("").selects(FileIndex::new(5)));
    for bad in ["so=", "so=a", "so=3-1", "so=-1", "so=1-", "so=1,,2", "so=0-4294967295", "so=+1"] {
        let magnet = with(bad);
        assert_eq!(magnet.selection(), None, "{bad}");
        assert_eq!(magnet.warnings(), [Warning::SelectionIgnored], "{bad}");
    }
    let ranges = |count: usize| "0,".repeat(count - 1) + "0";
    assert!(with(&format!("so={}", ranges(100))).selection().is_some());
    let apart: Vec<String> = (0..=SELECTION_RANGES_MAX).map(|at| (2 * at).to_string()).collect();
    let fits = with(&format!("so={}", apart[1..].join(",")));
    assert_eq!(fits.selection().map(<[_]>::len), Some(SELECTION_RANGES_MAX));
    assert_eq!(with(&format!("so={}", apart.join(","))).selection(), None);
}

#[test]
fn peers_need_a_host_and_a_port() {
    for bad in [
        "a", "a:", ":1", "a:0", "a:65536", "a:+1", "::1:1", "[::1]", "[a]:1", "[::1:1", "a b:1",
        "u@h:1",
    ] {
        assert_eq!(bad.parse::<PeerAddr>(), Err(PeerAddrError), "{bad}");
    }
    let magnet = with("x.pe=nonsense&x.pe=a:1&x.pe=a:1");
    assert_eq!(magnet.peers().len(), 1);
    assert_eq!(magnet.warnings(), [Warning::PeersIgnored(1)]);
}

#[test]
fn everything_in_a_link_is_bounded() {
    let long = format!("magnet:?xt=urn:btih:{V1}&dn={}", "x".repeat(MAGNET_MAX_BYTES));
    assert_eq!(Magnet::parse(&long), Err(MagnetError::TooLong(long.len())));
    assert!(Magnet::parse(&long[..MAGNET_MAX_BYTES]).is_ok());
    let many: Vec<String> =
        (1..=300).map(|at| format!("tr=http://t{at}.example/&x.pe=h:{at}")).collect();
    let magnet = with(&many.join("&"));
    assert_eq!((magnet.trackers().len(), magnet.peers().len()), (TRACKERS_MAX, PEERS_MAX));
    assert_eq!(magnet.warnings(), [Warning::PeersIgnored(200), Warning::TrackersIgnored(200)]);
    let peers = (1..=300).filter_map(|port| PeerAddr::new("h", port));
    assert_eq!(Magnet::from_hashes(v1()).with_peers(peers).peers().len(), PEERS_MAX);
}

#[test]
fn dangerous_trackers_are_left_out() {
    let magnet = with("tr=file:///etc/passwd&tr=http://t.example/?info_hash=x");
    assert!(magnet.trackers().is_empty());
    let reasons: Vec<_> = magnet
        .warnings()
        .iter()
        .map(|warning| match warning {
            Warning::TrackerRefused { reason, .. } => *reason,
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(reasons, [UrlRefusal::Scheme, UrlRefusal::Imitation]);
}

#[test]
fn a_link_is_written_for_other_clients_to_read() {
    let magnet = Magnet::from_hashes(v1())
        .with_name("a b&c")
        .with_trackers(["http://t.example:1/a?b=c".to_owned()])
        .with_peers(["127.0.0.1:1", "[::1]:2"].iter().map(|peer| peer.parse().unwrap()));
    assert_eq!(
        magnet.to_string(),
        format!(
            "magnet:?xt=urn:btih:{V1}&dn=a%20b%26c&tr=http%3A%2F%2Ft.example%3A1%2Fa%3Fb%3Dc\
             &x.pe=127.0.0.1:1&x.pe=[::1]:2"
        )
    );
}

fn hashes() -> impl Strategy<Value = InfoHashes> {
    (any::<[u8; 20]>(), any::<[u8; 32]>(), 0..3).prop_map(|(v1, v2, which)| {
        let (v1, v2) = (InfoHash::new(v1), InfoHashV2::new(v2));
        match which {
            0 => InfoHashes::v1(v1),
            1 => InfoHashes::v2(v2),
            _ => InfoHashes::hybrid(v1, v2),
        }
    })
}

proptest! {
    #[test]
    fn a_link_that_is_written_is_read_back(
        hashes in hashes(),
        name in "\\PC{0,20}",
        trackers in prop::collection::vec("http://[a-w]{1,9}/[ -\\[\\]-~]{0,20}", 0..4),
        ports in prop::collection::btree_set(1u16.., 0..4),
        selection in prop::collection::vec((0u32..1000, 0u32..50), 0..6),
    ) {
        let mut magnet = Magnet::from_hashes(hashes)
            .with_name(&name)
            .with_trackers(trackers.clone())
            .with_web_seeds(trackers)
            .with_peers(ports.iter().filter_map(|port| PeerAddr::new("fe80::1", *port)));
        magnet.warnings.clear();
        if !selection.is_empty() {
            let ranges: Vec<String> =
                selection.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect();
            magnet.selection = with(&format!("so={}", ranges.join(","))).selection;
            for file in 0..1100 {
                let chosen = selection.iter().any(|(a, n)| (*a..=a + n).contains(&file));
                prop_assert_eq!(magnet.selects(FileIndex::new(file)), chosen);
            }
        }
        prop_assert_eq!(Magnet::parse(&magnet.to_string()), Ok(magnet));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(magnet:\\?)?(xt=urn:bt[im]h:)?\\PC{0,60}") {
        if let Ok(magnet) = Magnet::parse(&text) {
            prop_assert_eq!(Magnet::parse(&magnet.to_string()).unwrap().hashes(), magnet.hashes());
        }
    }
}
