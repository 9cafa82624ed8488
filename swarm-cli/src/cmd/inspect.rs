//! `swarm inspect`: shows what is in a `.torrent` or a magnet link. Reads, writes nothing.

use swarm_core::metainfo::{File, Magnet, Metainfo, Warning};
use swarm_core::types::{InfoHashes, Untrusted};

use super::load;
use crate::args::InspectArgs;
use crate::exit::{Code, Failure};
use crate::link::Link;
use crate::units;
use crate::view::{FileJson, InspectJson, Table, pretty, write_listing};

pub(crate) fn run(args: &InspectArgs) -> Result<Code, Failure> {
    let text = match subject(&args.link)? {
        Subject::Torrent(metainfo) if args.json => pretty(&torrent_json(&metainfo)),
        Subject::Torrent(metainfo) => torrent_text(&metainfo),
        Subject::Magnet(magnet) if args.json => pretty(&magnet_json(&magnet)),
        Subject::Magnet(magnet) => magnet_text(&magnet),
    };
    write_listing(text.as_bytes())?;
    Ok(Code::Done)
}

enum Subject {
    Torrent(Box<Metainfo>),
    Magnet(Box<Magnet>),
}

fn subject(link: &str) -> Result<Subject, Failure> {
    if link == "-" {
        return load::stdin().map(|metainfo| Subject::Torrent(Box::new(metainfo)));
    }
    match Link::parse(link)? {
        Link::Magnet(magnet) => Ok(Subject::Magnet(magnet)),
        Link::File(path) => load::torrent(&path).map(|it| Subject::Torrent(Box::new(it))),
        Link::Url(_) => Err(Failure::usage("inspect reads files and magnet links")
            .hint("curl -sL URL | swarm inspect -")),
    }
}

fn torrent_json(metainfo: &Metainfo) -> InspectJson {
    let file = |file: &File| FileJson { path: file.path.join("/"), length: file.length };
    InspectJson {
        name: Some(metainfo.name().to_owned()),
        info_hash_v1: v1(metainfo.hashes()),
        info_hash_v2: v2(metainfo.hashes()),
        piece_length: Some(metainfo.geometry().piece_length()),
        piece_count: Some(metainfo.geometry().piece_count()),
        total_length: Some(metainfo.content_length()),
        private: Some(metainfo.is_private()),
        files: metainfo.files().iter().filter(|file| !file.pad).map(file).collect(),
        trackers: metainfo.trackers().to_vec(),
        web_seeds: metainfo.web_seeds().to_vec(),
        comment: metainfo.comment().map(str::to_owned),
        created_by: metainfo.created_by().map(str::to_owned),
        creation_date: metainfo.creation_date(),
        magnet: metainfo.magnet().to_string(),
        warnings: metainfo.warnings().iter().map(Warning::to_string).collect(),
    }
}

/// What a link does not say is null.
fn magnet_json(magnet: &Magnet) -> InspectJson {
    InspectJson {
        name: magnet.name().map(str::to_owned),
        info_hash_v1: v1(magnet.hashes()),
        info_hash_v2: v2(magnet.hashes()),
        piece_length: None,
        piece_count: None,
        total_length: None,
        private: None,
        files: Vec::new(),
        trackers: magnet.trackers().iter().map(|url| vec![url.clone()]).collect(),
        web_seeds: magnet.web_seeds().to_vec(),
        comment: None,
        created_by: None,
        creation_date: None,
        magnet: magnet.to_string(),
        warnings: magnet.warnings().iter().map(Warning::to_string).collect(),
    }
}

fn v1(hashes: InfoHashes) -> Option<String> {
    hashes.get_v1().map(|hash| hash.to_string())
}

fn v2(hashes: InfoHashes) -> Option<String> {
    hashes.get_v2().map(|hash| hash.to_string())
}

fn safe(text: &str) -> String {
    Untrusted::new(text).to_string()
}

fn comment(text: &str) -> String {
    Untrusted::with_limit(text, Untrusted::COMMENT_MAX).to_string()
}

fn torrent_text(metainfo: &Metainfo) -> String {
    let mut table = Table::default();
    table.field("name", [safe(metainfo.name())]);
    table.field("info hash v1", v1(metainfo.hashes()));
    table.field("info hash v2", v2(metainfo.hashes()));
    let length = metainfo.content_length();
    table.field("size", [format!("{} ({})", units::size(length), units::count(length, "byte"))]);
    let geometry = metainfo.geometry();
    let piece = units::size(u64::from(geometry.piece_length()));
    table.field("pieces", [format!("{} of {piece}", geometry.piece_count())]);
    table.field(
        "private",
        metainfo.is_private().then(|| "yes: peers from its trackers only".to_owned()),
    );
    table.field("comment", metainfo.comment().map(comment));
    table.field("created by", metainfo.created_by().map(safe));
    table.field("created on", metainfo.creation_date().map(date));
    table.field("source", metainfo.source().map(safe));
    tiers(&mut table, metainfo.trackers());
    table.field("web seeds", metainfo.web_seeds().iter().map(|url| safe(url)));
    table.field("warnings", metainfo.warnings().iter().map(Warning::to_string));
    table.field("magnet", [metainfo.magnet().to_string()]);
    files(&mut table, metainfo);
    table.text().to_owned()
}

fn tiers(table: &mut Table, tiers: &[Vec<String>]) {
    let many = tiers.len() > 1;
    let tier = |(number, urls): (usize, &Vec<String>)| {
        let urls = urls.iter().map(|url| safe(url)).collect::<Vec<_>>().join(", ");
        if many { format!("tier {number}: {urls}") } else { urls }
    };
    table.field("trackers", (1..).zip(tiers).map(tier));
}

fn files(table: &mut Table, metainfo: &Metainfo) {
    let rows: Vec<[String; 4]> = (1u32..)
        .zip(metainfo.files().iter().filter(|file| !file.pad))
        .map(|(number, file)| {
            let path = safe(&file.path.join("/"));
            [String::new(), number.to_string(), units::size(file.length), path]
        })
        .collect();
    table.field("files", [rows.len().to_string()]);
    table.rows([false, true, true, false], &rows);
}

fn magnet_text(magnet: &Magnet) -> String {
    let mut table = Table::default();
    table.field("name", magnet.name().map(safe));
    table.field("info hash v1", v1(magnet.hashes()));
    table.field("info hash v2", v2(magnet.hashes()));
    table.field("trackers", magnet.trackers().iter().map(|url| safe(url)));
    table.field("web seeds", magnet.web_seeds().iter().map(|url| safe(url)));
    table.field("peers", magnet.peers().iter().map(|peer| safe(&peer.to_string())));
    let selection = magnet.selection().map(|ranges| {
        // The link counts files from 0; every command here counts from 1.
        let range = |range: &std::ops::RangeInclusive<u32>| {
            let (first, last) = (range.start().saturating_add(1), range.end().saturating_add(1));
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        ranges.iter().map(range).collect::<Vec<_>>().join(",")
    });
    table.field("only files", selection);
    table.field("warnings", magnet.warnings().iter().map(Warning::to_string));
    table.field("magnet", [magnet.to_string()]);
    table.text().to_owned()
}

/// `2026-11-21 23:37:09 UTC`, by the proleptic Gregorian calendar.
fn date(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of year 0, so that leap days end a year; eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (time / 3600, time % 3600 / 60, time % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_827_696), "2000-02-29 12:34:56 UTC");
        assert_eq!(date(1_795_304_229), "2026-11-21 23:37:09 UTC");
        assert_eq!(date(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }
}
