//! Chance from a seed, the same on every machine.

/// Splitmix64: small, and the same everywhere.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Rng(u64);

impl Rng {
    pub(in crate::sim) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(in crate::sim) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(in crate::sim) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// An index below `count`, which is not 0.
    pub(in crate::sim) fn index(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).expect("a count fits 64 bits");
        usize::try_from(self.below(count)).expect("below a count")
    }

    pub(super) fn choose<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.index(from.len())])
    }
}
