//! How close to the floor crowds of several shapes come, as a table in the tree.
//!
//! The floor is Kumar and Ross's: nobody can be faster than the seed's uplink, the slowest
//! downlink, or all uplinks together. A change of the picker or the choker that costs time
//! shows up as a change of the table. Numbers are ratios to the floor.

use super::content::Content;
use super::spec::{Spec, mbit};
use super::world::World;
use std::fmt::Write as _;
use std::time::Duration;

/// A crowd's lines, in Mbit/s.
struct Shape {
    name: &'static str,
    seed_up: u64,
    /// Uplinks of the fetchers in turn.
    ups: &'static [u64],
    down: u64,
}

const SHAPES: &[Shape] = &[
    Shape { name: "equal 20/200", seed_up: 20, ups: &[20], down: 200 },
    Shape { name: "mixed 40,20,10/200", seed_up: 20, ups: &[40, 20, 10], down: 200 },
    Shape { name: "fast seed 80, 20/200", seed_up: 80, ups: &[20], down: 200 },
    Shape { name: "narrow down 20/20", seed_up: 40, ups: &[20], down: 20 },
];
const CROWDS: &[usize] = &[1, 4, 12];
const CONTENT: u64 = 8 << 20;
const PIECE: u32 = 64 * 1024;

#[test]
fn the_table_of_completion_times_stands() {
    let mut table = String::from(
        "8 MiB in pieces of 64 KiB; times over the floor, and what the seed sent over the content\n\n",
    );
    writeln!(table, "{:22}{:>6}{:>8}{:>8}{:>8}", "shape", "peers", "T50", "Tlast", "sent").unwrap();
    for shape in SHAPES {
        for peers in CROWDS {
            let (middle, last, sent) = run(shape, *peers);
            writeln!(table, "{:22}{peers:>6}{middle:>8.2}{last:>8.2}{sent:>8.2}", shape.name)
                .unwrap();
        }
    }
    println!("{table}");
    insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("sim_table", table);
    });
}

fn run(shape: &Shape, peers: usize) -> (f64, f64, f64) {
    let mut world = World::new(1, Content::new(CONTENT, PIECE));
    world.tracker = true;
    world.audit_every = 5_003;
    let seed = world.add(Spec::seed().up(mbit(shape.seed_up)).down(mbit(shape.down)));
    let ups: Vec<u64> = shape.ups.iter().copied().cycle().take(peers).map(mbit).collect();
    let crowd: Vec<usize> =
        ups.iter().map(|up| world.add(Spec::leech().up(*up).down(mbit(shape.down)))).collect();
    world.finish(&crowd, Duration::from_secs(600));
    let floor = floor(shape, &ups);
    let mut times: Vec<f64> = crowd
        .iter()
        .map(|host| world.hosts[*host].done_at.expect("finished").as_micros() as f64 / 1e6 / floor)
        .collect();
    times.sort_by(f64::total_cmp);
    let sent = world.hosts[seed].totals.uploaded as f64 / CONTENT as f64;
    (times[(peers - 1) / 2], times[peers - 1], sent)
}

fn floor(shape: &Shape, ups: &[u64]) -> f64 {
    let content = CONTENT as f64;
    let seed = mbit(shape.seed_up);
    let all = (seed + ups.iter().sum::<u64>()) as f64;
    (content / seed as f64)
        .max(content / mbit(shape.down) as f64)
        .max(content * ups.len() as f64 / all)
}
