//! The tables in the tree.

use super::play::play;
use super::{Outcome, Scenario, rows};
use std::fmt::Write as _;
use std::sync::Mutex;

/// The seed of all lines.
const SEED: u64 = 1;
const HEAD: &str = "times over the floor, of honest hosts with our software; mean of the others over the same floor";

#[test]
fn the_table_of_crowds_stands() {
    let long = std::env::var("SWARM_SIM").is_ok_and(|form| form == "long");
    let (name, rows) = if long {
        let rows = [rows::CROWDS, rows::VAST, rows::TWINS].concat();
        ("sim_crowds_long", rows)
    } else {
        ("sim_crowds", rows::CROWDS.iter().map(rows::small).collect())
    };
    if let Ok(wanted) = std::env::var("SWARM_ROWS") {
        let wanted: Vec<&str> = wanted.split(',').collect();
        let all = [rows::CROWDS, rows::VAST, rows::TWINS].concat();
        let some = if long { all } else { rows };
        let some: Vec<Scenario> =
            some.into_iter().filter(|row| wanted.contains(&row.name)).collect();
        table(&some);
        return;
    }
    let table = table(&rows);
    insta::with_settings!({ snapshot_path => "../../snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, table);
    });
}

/// Plays on two threads, for a line takes one.
fn table(rows: &[Scenario]) -> String {
    let next = Mutex::new(rows.iter().enumerate());
    let lines = Mutex::new(vec![String::new(); rows.len()]);
    let play_next = || {
        let Some((at, row)) = next.lock().unwrap().next() else { return false };
        let outcome = play(row, seed());
        let line = line(row, &outcome);
        eprintln!("{line}   floor {:.1} s, {} events", outcome.floor, outcome.events);
        lines.lock().unwrap()[at] = line;
        true
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| while play_next() {});
        }
    });
    let mut table = format!(
        "{HEAD}\n\n{:15}{:>6}{:>7}{:>7}{:>7}{:>7}{:>7}{:>8}{:>7}{:>8}{:>8}{:>7}{:>9}\n",
        "crowd",
        "peers",
        "pieces",
        "T50",
        "T95",
        "Tlast",
        "mean",
        "others",
        "sent",
        "waste%",
        "again%",
        "idle%",
        "done"
    );
    for line in lines.lock().unwrap().iter() {
        table += line;
        table += "\n";
    }
    table
}

fn seed() -> u64 {
    std::env::var("SWARM_SEED").map_or(SEED, |seed| seed.parse().expect("a number"))
}

fn line(row: &Scenario, outcome: &Outcome) -> String {
    let pieces = row.content.div_ceil(u64::from(row.piece));
    let mut line = format!("{:15}{:>6}{pieces:>7}", row.name, row.fetchers);
    let Outcome { t50, t95, last, mean, .. } = outcome;
    write!(line, "{t50:>7.2}{t95:>7.2}{last:>7.2}{mean:>7.2}").expect("a string takes all");
    match outcome.others {
        Some(others) => write!(line, "{others:>8.2}"),
        None => write!(line, "{:>8}", "-"),
    }
    .expect("a string takes all");
    let percent = |share: f64| share * 100.0;
    let (wasted, again) = (percent(outcome.wasted), percent(outcome.asked_again));
    let (sent, idle) = (outcome.seed_sent, percent(outcome.idle));
    let done = format!("{}/{}", outcome.finished, outcome.of);
    write!(line, "{sent:>7.2}{wasted:>8.2}{again:>8.2}{idle:>7.1}{done:>9}  {}", row.what)
        .expect("a string takes all");
    line
}
