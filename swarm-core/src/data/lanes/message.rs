//! One message on its way through a hash, and steps of many at once.
//!
//! Whole lines go straight from where they lie into the hash; only the bytes of a line that is
//! cut are kept. Many messages share each step, and the padding at their ends.

use super::schedule::Job;
use super::{Algorithm, Line, Width};
use std::marker::PhantomData;

/// A message that is hashed as it comes.
#[derive(Clone, Debug)]
pub(in crate::data) struct Message<A, const N: usize> {
    state: [u32; N],
    /// The start of the next line: the last `length % 64` bytes.
    cut: Line,
    length: u64,
    algorithm: PhantomData<A>,
}

const LINE: usize = size_of::<Line>();
/// The bytes at the end of a message that hold its length.
const LENGTH: usize = size_of::<u64>();

impl<A: Algorithm<N>, const N: usize> Default for Message<A, N> {
    fn default() -> Self {
        Self { state: A::INITIAL, cut: [0; LINE], length: 0, algorithm: PhantomData }
    }
}

impl<A: Algorithm<N>, const N: usize> Message<A, N> {
    /// Goes on where one of whole lines was left.
    pub(in crate::data) const fn after_lines(state: [u32; N], lines: u64) -> Self {
        let length = lines * LINE as u64;
        Self { state, cut: [0; LINE], length, algorithm: PhantomData }
    }

    /// The chaining value: of all bytes taken, when they were whole lines.
    pub(in crate::data) const fn state(&self) -> [u32; N] {
        self.state
    }

    /// Bytes taken so far.
    pub(in crate::data) const fn length(&self) -> u64 {
        self.length
    }

    /// Takes the next bytes.
    pub(in crate::data) fn update(&mut self, bytes: &[u8]) {
        let job = self.feed(bytes);
        A::one(job.state, job.lines);
    }

    /// The hash in words.
    pub(in crate::data) fn finish(mut self) -> [u32; N] {
        let (lines, used) = self.padding();
        A::one(&mut self.state, lines.get(..used).unwrap_or_default());
        self.state
    }

    /// Takes the next bytes; the whole lines among them are left to the job.
    fn feed<'a>(&'a mut self, mut bytes: &'a [u8]) -> Job<'a, N> {
        let held = self.held();
        self.length += bytes.len() as u64;
        if held > 0 {
            let room = self.cut.get_mut(held..).unwrap_or_default();
            let (now, rest) = bytes.split_at(room.len().min(bytes.len()));
            let room = room.split_at_mut(now.len());
            room.0.copy_from_slice(now);
            if !room.1.is_empty() {
                return Job { state: &mut self.state, lines: &[] };
            }
            A::one(&mut self.state, &[self.cut]);
            bytes = rest;
        }
        let (lines, cut) = bytes.as_chunks();
        self.cut.split_at_mut(cut.len()).0.copy_from_slice(cut);
        Job { state: &mut self.state, lines }
    }

    /// The end of the message as the standard pads it: one or two lines.
    fn padding(&self) -> ([Line; 2], usize) {
        let held = self.held();
        let mut lines = [[0; LINE]; 2];
        let used = if held < LINE - LENGTH { 1 } else { 2 };
        let bytes = lines.as_flattened_mut();
        let cut = self.cut.iter().take(held).chain(&[0x80]);
        bytes.iter_mut().zip(cut).for_each(|(place, byte)| *place = *byte);
        // A piece is far shorter than 2^61 bytes.
        let bits = (self.length * 8).to_be_bytes();
        let end = bytes.iter_mut().skip(used * LINE - LENGTH);
        end.zip(bits).for_each(|(place, byte)| *place = byte);
        (lines, used)
    }

    const fn held(&self) -> usize {
        // Below 64.
        self.length.to_le_bytes()[0] as usize % LINE
    }
}

/// Feeds each message its next bytes.
pub(in crate::data) fn update_all<'a, A: Algorithm<N> + 'a, const N: usize>(
    width: Width,
    batch: impl Iterator<Item = (&'a mut Message<A, N>, &'a [u8])>,
) {
    A::many(width, batch.map(|(message, bytes)| message.feed(bytes)));
}

/// Ends each message; its hash in words.
pub(in crate::data) fn finish_all<A: Algorithm<N>, const N: usize>(
    width: Width,
    messages: impl Iterator<Item = Message<A, N>>,
) -> Vec<[u32; N]> {
    let (mut states, ends): (Vec<_>, Vec<_>) =
        messages.map(|message| (message.state, message.padding())).unzip();
    let jobs = states
        .iter_mut()
        .zip(&ends)
        .map(|(state, (lines, used))| Job { state, lines: lines.get(..*used).unwrap_or_default() });
    A::many(width, jobs);
    states
}
