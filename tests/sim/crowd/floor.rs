//! The least time that any schedule needs, seconds.
//!
//! Kumar and Ross: the seed sends everything once, the slowest downlink takes everything, all
//! uplinks together send everything to everybody. With racks also the cut around each: what
//! its hosts and its line bring in must bring everything to each of them.
//!
//! Where only the seed and one fetcher can be dialled, the others get nothing but from these.
//!
//! Only honest hosts are counted: what the others take and give is what they cost. Nor are those
//! who come late: there is no floor for them, so theirs is that of the first.

use super::{Incident, Scenario};

pub(super) fn floor(scenario: &Scenario) -> f64 {
    let honest: Vec<(usize, f64)> = scenario
        .uplinks()
        .take(scenario.fetchers)
        .enumerate()
        .filter(|(fetcher, _)| !scenario.is_odd(*fetcher))
        .map(|(fetcher, up)| (fetcher, rate(up)))
        .collect();
    let content = scenario.content as f64;
    let (seed, down) = (rate(scenario.seed_up), rate(scenario.down));
    let all = seed + honest.iter().map(|(_, up)| up).sum::<f64>();
    let least = (content / seed).max(content / down).max(honest.len() as f64 * content / all);
    if let (Incident::WalledButOne, Some((_, one))) = (scenario.incident, honest.first()) {
        return least.max((honest.len() - 1) as f64 * content / (seed + one));
    }
    let Some(racks) = scenario.racks else { return least };
    (0..racks.count)
        .map(|rack| {
            let inside = honest.iter().filter(|(at, _)| scenario.rack_of(*at) == Some(rack));
            let ups: Vec<f64> = inside.map(|(_, up)| *up).collect();
            // The seed is in the first rack: nothing has to come in there.
            let enters = if rack == 0 { seed } else { rate(racks.line) };
            let whole = if rack == 0 { 0.0 } else { content / enters };
            whole.max(ups.len() as f64 * content / (ups.iter().sum::<f64>() + enters))
        })
        .fold(least, f64::max)
}

/// Mbit/s in bytes a second.
fn rate(mbit: u64) -> f64 {
    mbit as f64 * 1e6 / 8.0
}
