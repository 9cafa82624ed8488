//! Sixteen lanes in 512-bit registers.
//!
//! `rounds!` makes the hashes of the operations below. [`Avx512`] is the proof that the CPU has
//! what they need: nobody has one without having asked.

#![expect(unsafe_code, reason = "only `unsafe` tells the compiler what the CPU said it has")]
#![expect(clippy::indexing_slicing, reason = "constant indices into arrays of 16")]

use super::Line;
use super::rounds::{K1, K256, rounds, unrolled};
use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_rol_epi32, _mm512_set1_epi32, _mm512_set4_epi32,
    _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_srli_epi32, _mm512_ternarylogic_epi32,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    _mm512_xor_si512,
};
use std::mem::transmute;

pub(super) const LANES: usize = 16;
type V = __m512i;

rounds!("avx512f,avx512bw", LANES);

/// A CPU with the foundation of AVX-512 and its operations on bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) struct Avx512(());

impl Avx512 {
    pub(super) fn detected() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        has.then_some(Self(()))
    }

    /// Folds lines into SHA-1 states: as many as the shortest lane has.
    pub(super) fn sha1(self, states: &mut [[u32; LANES]; 5], lanes: &[&[Line]; LANES]) {
        // SAFETY: `self` exists only where `detected` found the features.
        unsafe { sha1(states, lanes) }
    }

    /// Folds lines into SHA-256 states: as many as the shortest lane has.
    pub(super) fn sha256(self, states: &mut [[u32; LANES]; 8], lanes: &[&[Line]; LANES]) {
        // SAFETY: `self` exists only where `detected` found the features.
        unsafe { sha256(states, lanes) }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load<const N: usize>(states: &[[u32; LANES]; N]) -> [V; N] {
    // SAFETY: both are 64 bytes, and any bits are a value of either.
    states.map(|words| unsafe { transmute::<[u32; LANES], V>(words) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store<const N: usize>(state: [V; N], states: &mut [[u32; LANES]; N]) {
    // SAFETY: both are 64 bytes, and any bits are a value of either.
    *states = state.map(|words| unsafe { transmute::<V, [u32; LANES]>(words) });
}

/// Line `at` of every lane, turned on its side: word `t` of all lanes in vector `t`. One copy for
/// each hash, `N`, is inlined into it; one for both would not be (a twentieth slower).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transposed<const N: usize>(lanes: &[&[Line]; LANES], at: usize) -> [V; 16] {
    // SAFETY: both are 64 bytes, and any bits are a value of either.
    let rows = lanes.map(|lane| unsafe { transmute::<Line, V>(lane[at]) });
    let fours: [_; 4] = std::array::from_fn(|four| {
        let row = 4 * four;
        words_of_four(rows[row], rows[row + 1], rows[row + 2], rows[row + 3])
    });
    let columns: [_; 4] = std::array::from_fn(|word| {
        quarters(fours[0][word], fours[1][word], fours[2][word], fours[3][word])
    });
    std::array::from_fn(|word| swapped(columns[word % 4][word / 4]))
}

/// Four rows to four vectors: vector `j` holds, in its quarter `i`, word `4i + j` of each row.
#[inline]
#[target_feature(enable = "avx512f")]
fn words_of_four(a: V, b: V, c: V, d: V) -> [V; 4] {
    let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
    let (high_ab, high_cd) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab, cd),
        _mm512_unpackhi_epi64(ab, cd),
        _mm512_unpacklo_epi64(high_ab, high_cd),
        _mm512_unpackhi_epi64(high_ab, high_cd),
    ]
}

/// Vector `i` of the result is quarter `i` of each of the four.
#[inline]
#[target_feature(enable = "avx512f")]
fn quarters(a: V, b: V, c: V, d: V) -> [V; 4] {
    let (low_ab, low_cd) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0x44>(c, d));
    let (high_ab, high_cd) =
        (_mm512_shuffle_i32x4::<0xee>(a, b), _mm512_shuffle_i32x4::<0xee>(c, d));
    [
        _mm512_shuffle_i32x4::<0x88>(low_ab, low_cd),
        _mm512_shuffle_i32x4::<0xdd>(low_ab, low_cd),
        _mm512_shuffle_i32x4::<0x88>(high_ab, high_cd),
        _mm512_shuffle_i32x4::<0xdd>(high_ab, high_cd),
    ]
}

/// Big-endian words as numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn swapped(x: V) -> V {
    let order = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    _mm512_shuffle_epi8(x, order)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(word: u32) -> V {
    _mm512_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: V, b: V) -> V {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor(a: V, b: V) -> V {
    _mm512_xor_si512(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: V, b: V, c: V) -> V {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

/// `b` where `a` has ones, else `c`.
#[inline]
#[target_feature(enable = "avx512f")]
fn choose(a: V, b: V, c: V) -> V {
    _mm512_ternarylogic_epi32::<0xca>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn majority(a: V, b: V, c: V) -> V {
    _mm512_ternarylogic_epi32::<0xe8>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rol<const BITS: i32>(x: V) -> V {
    _mm512_rol_epi32::<BITS>(x)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn shr<const BITS: u32>(x: V) -> V {
    _mm512_srli_epi32::<BITS>(x)
}
