//! Which job runs in which lane.
//!
//! All lanes step together, as far as the shortest of them; a lane whose job is done takes the
//! next that waits, so that jobs of different lengths cost no more than their sum. When too few
//! are left to pay for a whole step, the rest goes one after another. An idle lane is shown the lines
//! of a busy one, and what it makes of them is thrown away.

use super::Line;

/// Lines to fold into a chaining value.
#[derive(Debug)]
pub(in crate::data) struct Job<'a, const N: usize> {
    pub(super) state: &'a mut [u32; N],
    pub(super) lines: &'a [Line],
}

struct Lanes<'a, const N: usize, const L: usize> {
    /// Word by word, and in each word lane by lane.
    states: [[u32; L]; N],
    jobs: [Option<Job<'a, N>>; L],
}

/// Does every job: side by side with `step` while at least `worth` are left, the rest with `one`.
/// `step` folds as many lines as each lane is given, which is the same number for all.
pub(super) fn run<'a, const N: usize, const L: usize>(
    jobs: impl Iterator<Item = Job<'a, N>>,
    worth: usize,
    step: impl Fn(&mut [[u32; L]; N], &[&[Line]; L]),
    one: impl Fn(&mut [u32; N], &[Line]),
) {
    let mut waiting = jobs.filter(|job| !job.lines.is_empty());
    let mut lanes = Lanes { states: [[0; L]; N], jobs: [const { None }; L] };
    loop {
        let busy = lanes.refill(&mut waiting);
        if busy < worth.max(1) {
            break;
        }
        lanes.step(&step);
    }
    for job in lanes.into_jobs().chain(waiting) {
        one(job.state, job.lines);
    }
}

impl<'a, const N: usize, const L: usize> Lanes<'a, N, L> {
    /// Gives waiting jobs to idle lanes; how many lanes are busy now.
    fn refill(&mut self, waiting: &mut impl Iterator<Item = Job<'a, N>>) -> usize {
        for (lane, idle) in self.jobs.iter_mut().enumerate().filter(|(_, job)| job.is_none()) {
            let Some(job) = waiting.next() else { break };
            for (words, word) in self.states.iter_mut().zip(&*job.state) {
                words.get_mut(lane).into_iter().for_each(|place| *place = *word);
            }
            *idle = Some(job);
        }
        self.jobs.iter().flatten().count()
    }

    fn step(&mut self, step: &impl Fn(&mut [[u32; L]; N], &[&[Line]; L])) {
        let all = || self.jobs.iter().flatten().map(|job| job.lines);
        let shortest = all().min_by_key(|lines| lines.len()).unwrap_or_default();
        let count = shortest.len();
        let lines = self.jobs.each_ref().map(|job| {
            let lines = job.as_ref().and_then(|job| job.lines.get(..count));
            lines.unwrap_or(shortest)
        });
        step(&mut self.states, &lines);
        for (lane, place) in self.jobs.iter_mut().enumerate() {
            let Some(job) = place else { continue };
            job.lines = job.lines.get(count..).unwrap_or_default();
            if job.lines.is_empty() {
                give_back(&self.states, lane, job);
                *place = None;
            }
        }
    }

    /// What is not done.
    fn into_jobs(self) -> impl Iterator<Item = Job<'a, N>> {
        let Self { states, jobs } = self;
        let jobs = jobs.into_iter().enumerate();
        jobs.filter_map(move |(lane, job)| {
            let mut job = job?;
            give_back(&states, lane, &mut job);
            Some(job)
        })
    }
}

fn give_back<const N: usize, const L: usize>(
    states: &[[u32; L]; N],
    lane: usize,
    job: &mut Job<'_, N>,
) {
    for (word, words) in job.state.iter_mut().zip(states) {
        words.get(lane).into_iter().for_each(|place| *word = *place);
    }
}
