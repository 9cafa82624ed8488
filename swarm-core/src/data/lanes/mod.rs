//! SHA-1 and SHA-256 of many messages side by side.
//!
//! One hash is a chain: each 64-byte line waits for the one before, and most of a core's vector
//! units idle. Many hashes are independent: lane `i` of every vector register works on message
//! `i`, with the instructions of a single one. What runs is chosen by the CPU at run time:
//!
//! | CPU has           | SHA-1    | SHA-256          | fewer messages than pay      |
//! |-------------------|----------|------------------|------------------------------|
//! | AVX-512 (F, BW)   | 16 lanes | 16 lanes         | `sha1`, `sha2` crates        |
//! | AVX2, SHA-NI      | 8 lanes  | the crate        | the crates (SHA-NI)          |
//! | AVX2              | 8 lanes  | 8 lanes          | the crates (portable)        |
//! | neither           | crate    | crate            |                              |
//!
//! Measured on an Intel Xeon core, in GB/s of CPU time: SHA-1 7.4 in 16 lanes and 2.5 in 8
//! against 1.9 of the crate with SHA-NI and 0.8 without; SHA-256 3.9 and 1.2 against 1.7 and
//! 0.4. Sixteen lanes are bound by the two vector ports, not by latency, so two interleaved
//! groups of 16 gained nothing (-5 to +5 %); neither did prefetching 4 to 32 lines ahead.
//! Gathering words instead of transposing whole lines took 1.2 to 1.8 times as long.
//!
//! Here is the only `unsafe` of the crate, in [`avx512`] and [`avx2`]: telling the compiler that the
//! CPU was asked, and calling arrays vectors. Elsewhere, and under Miri, there is none.
//!
//! Not here: pieces, leaves and trees (`hasher`), where messages come from (`scan`).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod message;
#[cfg(target_arch = "x86_64")]
mod rounds;
mod schedule;
#[cfg(test)]
mod tests;

pub(super) use message::{Message, finish_all, update_all};

use schedule::Job;

/// What SHA-1 and SHA-256 take at a time.
type Line = [u8; 64];

/// A hash of the SHA family with a chaining value of `N` words.
pub(super) trait Algorithm<const N: usize>: Sized {
    /// What a message starts from.
    const INITIAL: [u32; N];

    /// Folds lines into one state.
    fn one(state: &mut [u32; N], lines: &[Line]);

    /// Folds lines into states, as many side by side as pay. Every job is done afterwards.
    fn many<'a>(width: Width, jobs: impl Iterator<Item = Job<'a, N>>);

    /// From how many messages on this CPU's lanes are faster than one after another.
    fn worth(width: Width) -> usize;
}

/// Messages side by side in one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// One after another.
    One,
    /// In 256-bit registers.
    #[cfg(target_arch = "x86_64")]
    Eight(avx2::Avx2),
    /// In 512-bit registers.
    #[cfg(target_arch = "x86_64")]
    Sixteen(avx512::Avx512),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Sha1;
#[derive(Clone, Copy, Debug)]
pub(super) struct Sha256;

impl Width {
    /// What is fastest here: the widest lanes of this CPU. A build for debugging, where each
    /// intrinsic is a call, goes one after another; its tests ask for the [widest](Self::widest).
    pub(super) fn fastest() -> Self {
        if cfg!(debug_assertions) { Self::One } else { Self::widest() }
    }

    /// The widest that this CPU has. Cheap: the standard library remembers what it found.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn widest() -> Self {
        avx512::Avx512::detected()
            .map(Self::Sixteen)
            .or_else(|| avx2::Avx2::detected().map(Self::Eight))
            .unwrap_or(Self::One)
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(super) const fn widest() -> Self {
        Self::One
    }

    /// How many messages run side by side.
    pub(super) const fn lanes(self) -> usize {
        match self {
            Self::One => 1,
            #[cfg(target_arch = "x86_64")]
            Self::Eight(_) => avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Sixteen(_) => avx512::LANES,
        }
    }
}

/// Whether the CPU has SHA instructions, which the crates use.
fn has_sha_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("sha");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

impl Algorithm<5> for Sha1 {
    const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

    fn one(state: &mut [u32; 5], lines: &[Line]) {
        sha1::block_api::compress(state, lines);
    }

    fn many<'a>(width: Width, jobs: impl Iterator<Item = Job<'a, 5>>) {
        let worth = Self::worth(width);
        match width {
            Width::One => jobs.for_each(|job| Self::one(job.state, job.lines)),
            #[cfg(target_arch = "x86_64")]
            Width::Eight(cpu) => {
                schedule::run(jobs, worth, |s, lanes| cpu.sha1(s, lanes), Self::one);
            }
            #[cfg(target_arch = "x86_64")]
            Width::Sixteen(cpu) => {
                schedule::run(jobs, worth, |s, lanes| cpu.sha1(s, lanes), Self::one);
            }
        }
    }

    fn worth(width: Width) -> usize {
        match (width, has_sha_instructions()) {
            (Width::One, _) => usize::MAX,
            #[cfg(target_arch = "x86_64")]
            (Width::Eight(_), with) => {
                if with {
                    7
                } else {
                    3
                }
            }
            #[cfg(target_arch = "x86_64")]
            (Width::Sixteen(_), with) => {
                if with {
                    5
                } else {
                    3
                }
            }
        }
    }
}

impl Algorithm<8> for Sha256 {
    const INITIAL: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];

    fn one(state: &mut [u32; 8], lines: &[Line]) {
        sha2::block_api::compress256(state, lines);
    }

    fn many<'a>(width: Width, jobs: impl Iterator<Item = Job<'a, 8>>) {
        let worth = Self::worth(width);
        match width {
            Width::One => jobs.for_each(|job| Self::one(job.state, job.lines)),
            #[cfg(target_arch = "x86_64")]
            Width::Eight(cpu) => {
                schedule::run(jobs, worth, |s, lanes| cpu.sha256(s, lanes), Self::one);
            }
            #[cfg(target_arch = "x86_64")]
            Width::Sixteen(cpu) => {
                schedule::run(jobs, worth, |s, lanes| cpu.sha256(s, lanes), Self::one);
            }
        }
    }

    fn worth(width: Width) -> usize {
        match (width, has_sha_instructions()) {
            (Width::One, _) => usize::MAX,
            #[cfg(target_arch = "x86_64")]
            (Width::Eight(_), with) => {
                if with {
                    usize::MAX
                } else {
                    3
                }
            }
            #[cfg(target_arch = "x86_64")]
            (Width::Sixteen(_), with) => {
                if with {
                    8
                } else {
                    3
                }
            }
        }
    }
}
