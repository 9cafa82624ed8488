//! Progress where there is no terminal: one plain line per torrent every ten seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_core::types::Moment;

use super::{Snapshot, Stage, text, write_stderr};

/// How often a line is written.
const EVERY: Duration = Duration::from_secs(10);

/// Remembers what was said, so that an idle seed does not fill a log.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    next: Option<Moment>,
    said: BTreeMap<usize, String>,
}

impl Lines {
    pub(super) fn tick(&mut self, now: Moment, rows: &[Snapshot]) {
        for line in self.due(now, rows) {
            write_stderr(&line);
        }
    }

    /// The lines to write now: none before ten seconds have passed.
    fn due(&mut self, now: Moment, rows: &[Snapshot]) -> Vec<String> {
        let next = *self.next.get_or_insert(now + EVERY);
        if now < next {
            return Vec::new();
        }
        self.next = Some(now + EVERY);
        let mut lines = Vec::new();
        for (at, row) in rows.iter().enumerate().filter(|(_, row)| row.stage != Stage::Ended) {
            let line = text::plain_line(row);
            let repeated = self.said.get(&at) == Some(&line);
            if !(repeated && row.stage == Stage::Serving) {
                lines.push(line.clone());
            }
            self.said.insert(at, line);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(seconds)
    }

    fn row(stage: Stage) -> Snapshot {
        Snapshot { name: "a".to_owned(), stage, ..Snapshot::default() }
    }

    #[test]
    fn a_line_comes_every_ten_seconds() {
        let mut lines = Lines::default();
        let rows = [row(Stage::Metadata)];
        let said: Vec<u64> =
            (0..35).filter(|second| !lines.due(at(*second), &rows).is_empty()).collect();
        assert_eq!(said, [10, 20, 30]);
    }

    #[test]
    fn an_idle_seed_says_nothing_twice() {
        let mut lines = Lines::default();
        lines.due(at(0), &[]);
        let mut rows = [row(Stage::Serving)];
        assert_eq!(lines.due(at(10), &rows), ["a: serving, 0 peers, 0 B/s, 0 B sent"]);
        assert!(lines.due(at(20), &rows).is_empty());
        rows[0].uploaded = 5;
        assert_eq!(lines.due(at(30), &rows).len(), 1);
    }

    #[test]
    fn what_has_ended_is_not_shown() {
        let mut lines = Lines::default();
        lines.due(at(0), &[]);
        assert!(lines.due(at(10), &[row(Stage::Ended)]).is_empty());
    }
}
