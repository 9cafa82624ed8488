//! Every width of lanes against the crates, whatever the lengths, cuts and numbers of messages.

use super::{Algorithm, Message, Sha1, Sha256, Width, finish_all, update_all};
use proptest::prelude::*;
use sha1::Digest as _;

/// Every width that this CPU has.
fn widths() -> Vec<Width> {
    let mut widths = vec![Width::One, Width::widest()];
    #[cfg(target_arch = "x86_64")]
    widths.extend(super::avx2::Avx2::detected().map(Width::Eight));
    widths.dedup();
    widths
}

/// The hash as bytes, of messages that come in steps: `steps` bytes at a time, in turn.
fn hash<A: Algorithm<N> + Clone, const N: usize>(
    width: Width,
    messages: &[&[u8]],
    steps: &[usize],
) -> Vec<Vec<u8>> {
    let mut hashers = vec![Message::<A, N>::default(); messages.len()];
    let mut rests = messages.to_vec();
    for step in steps.iter().copied().chain([usize::MAX]) {
        let next = hashers.iter_mut().zip(&mut rests).map(|(hasher, rest)| {
            let (now, later) = rest.split_at(step.min(rest.len()));
            *rest = later;
            (hasher, now)
        });
        update_all(width, next);
    }
    let bytes = |words: [u32; N]| words.map(u32::to_be_bytes).as_flattened().to_vec();
    finish_all(width, hashers.into_iter()).into_iter().map(bytes).collect()
}

fn assert_right(messages: &[&[u8]], steps: &[usize]) {
    let sha1: Vec<_> = messages.iter().map(|m| sha1::Sha1::digest(m).to_vec()).collect();
    let sha256: Vec<_> = messages.iter().map(|m| sha2::Sha256::digest(m).to_vec()).collect();
    for width in widths() {
        assert_eq!(hash::<Sha1, 5>(width, messages, steps), sha1, "{width:?}");
        assert_eq!(hash::<Sha256, 8>(width, messages, steps), sha256, "{width:?}");
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut x = 1u64;
    let next = |_| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        x.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

#[test]
fn every_length_around_the_ends_of_lines_is_padded_right() {
    let bytes = noise(200);
    let messages: Vec<_> = (0..=200).map(|length| &bytes[..length]).collect();
    assert_right(&messages, &[]);
}

#[test]
fn every_number_of_equal_messages_is_right_up_to_two_lanes_full_and_one() {
    let bytes = noise(33 + 640);
    for count in 0..=33 {
        let messages: Vec<_> = (0..count).map(|at| &bytes[at..at + 640]).collect();
        assert_right(&messages, &[320]);
    }
}

#[test]
fn a_million_letters_in_every_lane_have_the_hash_of_the_standard() {
    let letters = vec![b'a'; 1_000_000];
    let expected = [
        0x34, 0xaa, 0x97, 0x3c, 0xd4, 0xc4, 0xda, 0xa4, 0xf6, 0x1e, 0xeb, 0x2b, 0xdb, 0xad, 0x27,
        0x31, 0x65, 0x34, 0x01, 0x6f,
    ];
    let hashes = hash::<Sha1, 5>(Width::widest(), &[letters.as_slice(); 16], &[]);
    assert!(hashes.iter().all(|hash| **hash == expected));
}

#[test]
fn this_cpu_gets_the_widest_lanes_it_has() {
    let lanes = Width::widest().lanes();
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512bw") {
        assert_eq!(lanes, 16);
    } else if is_x86_feature_detected!("avx2") {
        assert_eq!(lanes, 8);
    }
    assert!(Sha1::worth(Width::One) > 1 && (lanes == 1 || Sha1::worth(Width::widest()) <= lanes));
}

proptest! {
    #[test]
    fn lanes_agree_with_the_crates_on_uneven_messages_however_they_are_cut(
        lengths in prop::collection::vec((0usize..64, 0usize..700), 1..34),
        steps in prop::collection::vec(0usize..300, 0..5),
    ) {
        let bytes = noise(64 + 700);
        let messages: Vec<_> = lengths.iter().map(|(from, length)| &bytes[*from..from + length]).collect();
        assert_right(&messages, &steps);
    }
}
