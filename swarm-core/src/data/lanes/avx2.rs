//! Eight lanes in 256-bit registers, for CPUs without AVX-512.
//!
//! As its wider sibling, with rotation and three-way logic put together from what there is.

#![expect(unsafe_code, reason = "only `unsafe` tells the compiler what the CPU said it has")]
#![expect(clippy::indexing_slicing, reason = "constant indices into arrays of 8 or 16")]

use super::Line;
use super::rounds::{K1, K256, rounds, unrolled};
use std::arch::x86_64::{
    __m256i, _mm_cvtsi32_si128, _mm_set_epi32, _mm256_add_epi32, _mm256_and_si256,
    _mm256_broadcastsi128_si256, _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set1_epi32,
    _mm256_shuffle_epi8, _mm256_sll_epi32, _mm256_srl_epi32, _mm256_unpackhi_epi32,
    _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm256_xor_si256,
};
use std::mem::transmute;

pub(super) const LANES: usize = 8;
type V = __m256i;

rounds!("avx2", LANES);

/// A CPU with AVX2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) struct Avx2(());

impl Avx2 {
    pub(super) fn detected() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// Folds lines into SHA-1 states: as many as the shortest lane has.
    pub(super) fn sha1(self, states: &mut [[u32; LANES]; 5], lanes: &[&[Line]; LANES]) {
        // SAFETY: `self` exists only where `detected` found the feature.
        unsafe { sha1(states, lanes) }
    }

    /// Folds lines into SHA-256 states: as many as the shortest lane has.
    pub(super) fn sha256(self, states: &mut [[u32; LANES]; 8], lanes: &[&[Line]; LANES]) {
        // SAFETY: `self` exists only where `detected` found the feature.
        unsafe { sha256(states, lanes) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load<const N: usize>(states: &[[u32; LANES]; N]) -> [V; N] {
    // SAFETY: both are 32 bytes, and any bits are a value of either.
    states.map(|words| unsafe { transmute::<[u32; LANES], V>(words) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn store<const N: usize>(state: [V; N], states: &mut [[u32; LANES]; N]) {
    // SAFETY: both are 32 bytes, and any bits are a value of either.
    *states = state.map(|words| unsafe { transmute::<V, [u32; LANES]>(words) });
}

/// Line `at` of every lane, turned on its side: word `t` of all lanes in vector `t`. One copy for
/// each hash, `N`, is inlined into it; one for both would not be (a twentieth slower).
#[inline]
#[target_feature(enable = "avx2")]
fn transposed<const N: usize>(lanes: &[&[Line]; LANES], at: usize) -> [V; 16] {
    // SAFETY: both are 64 bytes, and any bits are a value of either.
    let rows = lanes.map(|lane| unsafe { transmute::<Line, [V; 2]>(lane[at]) });
    let [first, second] = [0, 1].map(|half| square(rows.map(|row| row[half])));
    std::array::from_fn(|word| if word < 8 { first[word] } else { second[word - 8] })
}

/// Eight words of eight lanes, turned on their side.
#[inline]
#[target_feature(enable = "avx2")]
fn square(rows: [V; 8]) -> [V; 8] {
    let [low, high] =
        [0, 4].map(|row| words_of_four(rows[row], rows[row + 1], rows[row + 2], rows[row + 3]));
    std::array::from_fn(|word| {
        let (low, high) = (low[word % 4], high[word % 4]);
        swapped(match word {
            0..4 => _mm256_permute2x128_si256::<0x20>(low, high),
            _ => _mm256_permute2x128_si256::<0x31>(low, high),
        })
    })
}

/// Four rows to four vectors: vector `j` holds, in its half `i`, word `4i + j` of each row.
#[inline]
#[target_feature(enable = "avx2")]
fn words_of_four(a: V, b: V, c: V, d: V) -> [V; 4] {
    let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
    let (high_ab, high_cd) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(ab, cd),
        _mm256_unpackhi_epi64(ab, cd),
        _mm256_unpacklo_epi64(high_ab, high_cd),
        _mm256_unpackhi_epi64(high_ab, high_cd),
    ]
}

/// Big-endian words as numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn swapped(x: V) -> V {
    let order = _mm_set_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(order))
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(word: u32) -> V {
    _mm256_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: V, b: V) -> V {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor(a: V, b: V) -> V {
    _mm256_xor_si256(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: V, b: V, c: V) -> V {
    xor(xor(a, b), c)
}

#[inline]
#[target_feature(enable = "avx2")]
fn choose(a: V, b: V, c: V) -> V {
    xor(c, _mm256_and_si256(a, xor(b, c)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(a: V, b: V, c: V) -> V {
    _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_or_si256(a, b)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn rol<const BITS: i32>(x: V) -> V {
    _mm256_or_si256(
        _mm256_sll_epi32(x, _mm_cvtsi32_si128(BITS)),
        _mm256_srl_epi32(x, _mm_cvtsi32_si128(32 - BITS)),
    )
}

#[inline]
#[target_feature(enable = "avx2")]
fn shr<const BITS: u32>(x: V) -> V {
    _mm256_srl_epi32(x, _mm_cvtsi32_si128(BITS.cast_signed()))
}
