//! SHA-1 and SHA-256 (FIPS 180-4) over lanes, written once for every width of vector.
//!
//! `rounds!` expects the operations on vectors of 32-bit words in scope (`V`, `splat`, `add`,
//! `xor`, `xor3`, `choose`, `majority`, `rol`, `shr`, `transposed`, `load`, `store`) and makes `sha1` and `sha256`
//! of them. It is a macro, because only a function that has the target feature itself may call
//! and inline intrinsics safely.
//!
//! The message schedule lives in 16 registers; word `t` replaces word `t - 16`. All rounds are
//! unrolled by constant parameter, so that indices and the roles of the state words cost nothing.

pub(super) const K1: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

#[rustfmt::skip]
pub(super) const K256: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// `$step::<0>` to `$step::<79>`, or as far as `$groups` times 16 goes.
macro_rules! unrolled {
    ($step:ident, $state:ident, $words:ident, $($group:literal)+) => {
        $(unrolled!(@ $step, $state, $words, $group, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);)+
    };
    (@ $step:ident, $state:ident, $words:ident, $group:literal, $($at:literal)+) => {
        $($state = $step::<{ $group * 16 + $at }>($state, &mut $words);)+
    };
}

macro_rules! rounds {
    ($features:literal, $lanes:ident) => {
        /// Folds the lines into the states, lane by lane; as many as the shortest lane has.
        #[target_feature(enable = $features)]
        fn sha1(states: &mut [[u32; $lanes]; 5], lanes: &[&[Line]; $lanes]) {
            let mut state = load(states);
            for at in 0..shortest(lanes) {
                let mut words = transposed::<5>(lanes, at);
                let before = state;
                unrolled!(sha1_step, state, words, 0 1 2 3 4);
                state = sums(before, state);
            }
            store(state, states);
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn sha1_step<const T: usize>([a, b, c, d, e]: [V; 5], words: &mut [V; 16]) -> [V; 5] {
            if T >= 16 {
                let mixed = xor3(words[(T + 13) % 16], words[(T + 8) % 16], words[(T + 2) % 16]);
                words[T % 16] = rol::<1>(xor(mixed, words[T % 16]));
            }
            let f = match T / 20 {
                0 => choose(b, c, d),
                2 => majority(b, c, d),
                _ => xor3(b, c, d),
            };
            // What does not depend on the round before comes first.
            let early = add(add(e, splat(K1[T / 20])), words[T % 16]);
            [add(add(early, f), rol::<5>(a)), a, rol::<30>(b), c, d]
        }

        /// As [`sha1()`].
        #[target_feature(enable = $features)]
        fn sha256(states: &mut [[u32; $lanes]; 8], lanes: &[&[Line]; $lanes]) {
            let mut state = load(states);
            for at in 0..shortest(lanes) {
                let mut words = transposed::<8>(lanes, at);
                let before = state;
                unrolled!(sha256_step, state, words, 0 1 2 3);
                state = sums(before, state);
            }
            store(state, states);
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn sha256_step<const T: usize>(state: [V; 8], words: &mut [V; 16]) -> [V; 8] {
            if T >= 16 {
                let (x, y) = (words[(T + 1) % 16], words[(T + 14) % 16]);
                let x = xor3(rol::<25>(x), rol::<14>(x), shr::<3>(x));
                let y = xor3(rol::<15>(y), rol::<13>(y), shr::<10>(y));
                words[T % 16] = add(add(words[T % 16], words[(T + 9) % 16]), add(x, y));
            }
            let [a, b, c, d, e, f, g, h] = state;
            let early = add(add(h, splat(K256[T])), words[T % 16]);
            let first = xor3(rol::<26>(e), rol::<21>(e), rol::<7>(e));
            let first = add(add(early, choose(e, f, g)), first);
            let second = xor3(rol::<30>(a), rol::<19>(a), rol::<10>(a));
            let second = add(second, majority(a, b, c));
            [add(first, second), a, b, c, add(d, first), e, f, g]
        }

        fn shortest(lanes: &[&[Line]; $lanes]) -> usize {
            lanes.iter().map(|lane| lane.len()).min().unwrap_or(0)
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn sums<const N: usize>(mut left: [V; N], right: [V; N]) -> [V; N] {
            for (left, right) in left.iter_mut().zip(right) {
                *left = add(*left, right);
            }
            left
        }
    };
}

pub(super) use {rounds, unrolled};
