//! A list of buffers, walked as one run of bytes.
//!
//! The system reads and writes as much as it likes at a time and may be interrupted; here that
//! is made whole. It takes at most 1,024 buffers in a call; rustix passes on the first of more,
//! which is then one more short transfer.

use rustix::io::Errno;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};

/// Buffers to fill, taken from front to back.
pub(super) struct ReadRun<'a, 'b> {
    rest: std::slice::IterMut<'a, IoSliceMut<'b>>,
    current: &'a mut [u8],
}

/// Buffers to write, taken from front to back.
pub(super) struct WriteRun<'a, 'b> {
    rest: std::slice::Iter<'a, IoSlice<'b>>,
    current: &'a [u8],
}

impl<'a, 'b> ReadRun<'a, 'b> {
    pub(super) fn new(bufs: &'a mut [IoSliceMut<'b>]) -> Self {
        Self { rest: bufs.iter_mut(), current: &mut [] }
    }

    /// The next `length` bytes of room, or all that is left when that is less.
    pub(super) fn take(&mut self, mut length: u64) -> Vec<IoSliceMut<'a>> {
        let mut taken = Vec::new();
        while length > 0 {
            if self.current.is_empty() {
                let Some(next) = self.rest.next() else { break };
                self.current = &mut *next;
                continue;
            }
            let now = at_most(length, self.current.len());
            let (head, tail) = std::mem::take(&mut self.current).split_at_mut(now);
            self.current = tail;
            length -= head.len() as u64;
            taken.push(IoSliceMut::new(head));
        }
        taken
    }
}

impl<'a, 'b> WriteRun<'a, 'b> {
    pub(super) fn new(bufs: &'a [IoSlice<'b>]) -> Self {
        Self { rest: bufs.iter(), current: &[] }
    }

    /// The next `length` bytes, or all that is left when that is less.
    pub(super) fn take(&mut self, mut length: u64) -> Vec<IoSlice<'a>> {
        let mut taken = Vec::new();
        while length > 0 {
            if self.current.is_empty() {
                let Some(next) = self.rest.next() else { break };
                self.current = next;
                continue;
            }
            let (head, tail) = self.current.split_at(at_most(length, self.current.len()));
            self.current = tail;
            length -= head.len() as u64;
            taken.push(IoSlice::new(head));
        }
        taken
    }
}

/// Bytes in all.
pub(super) fn total<T: std::ops::Deref<Target = [u8]>>(bufs: &[T]) -> u64 {
    bufs.iter().map(|buf| buf.len() as u64).sum()
}

/// Fills every buffer from `offset` on.
pub(super) fn read_all(
    file: &File,
    mut offset: u64,
    mut bufs: &mut [IoSliceMut<'_>],
) -> io::Result<()> {
    IoSliceMut::advance_slices(&mut bufs, 0);
    while !bufs.is_empty() {
        match rustix::io::preadv(file, bufs, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                offset += count as u64;
                IoSliceMut::advance_slices(&mut bufs, count);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Writes every buffer from `offset` on.
pub(super) fn write_all(
    file: &File,
    mut offset: u64,
    mut bufs: &mut [IoSlice<'_>],
) -> io::Result<()> {
    IoSlice::advance_slices(&mut bufs, 0);
    while !bufs.is_empty() {
        match rustix::io::pwritev(file, bufs, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                offset += count as u64;
                IoSlice::advance_slices(&mut bufs, count);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn at_most(length: u64, room: usize) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX).min(room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn more_buffers_than_the_system_takes_at_once_are_all_written_and_read() {
        let file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..5000u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let mut out: Vec<_> = content.chunks(2).map(IoSlice::new).collect();
        write_all(&file, 7, &mut out).unwrap();
        let mut back = vec![0; content.len()];
        let mut into: Vec<_> = back.chunks_mut(3).map(IoSliceMut::new).collect();
        read_all(&file, 7, &mut into).unwrap();
        assert_eq!(back, content);
    }

    #[test]
    fn reading_past_the_end_is_an_error_and_nothing_is_no_error() {
        let file = tempfile::tempfile().unwrap();
        let error = read_all(&file, 0, &mut [IoSliceMut::new(&mut [0; 1])]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        read_all(&file, 0, &mut [IoSliceMut::new(&mut [])]).unwrap();
        write_all(&file, 0, &mut [IoSlice::new(&[]), IoSlice::new(&[])]).unwrap();
    }

    proptest! {
        #[test]
        fn taking_in_any_portions_walks_every_byte_once(
            lens in prop::collection::vec(0usize..9, 0..9),
            portions in prop::collection::vec(0u64..9, 0..30),
        ) {
            let mut bytes: Vec<Vec<u8>> = lens.iter().map(|len| vec![0; *len]).collect();
            let all: usize = lens.iter().sum();
            let mut bufs: Vec<_> = bytes.iter_mut().map(|b| IoSliceMut::new(b)).collect();
            let mut run = ReadRun::new(&mut bufs);
            let mut next = 0u8;
            for portion in portions.iter().copied().chain([100]) {
                let taken = run.take(portion);
                let left = all - usize::from(next);
                prop_assert_eq!(total(&taken), portion.min(u64::try_from(left).unwrap()));
                for mut part in taken {
                    for byte in part.iter_mut() {
                        next += 1;
                        *byte = next;
                    }
                }
            }
            let seen: Vec<u8> = bytes.concat();
            prop_assert_eq!(&seen, &(1..=u8::try_from(all).unwrap()).collect::<Vec<_>>());
            let slices: Vec<_> = bytes.iter().map(|b| IoSlice::new(b)).collect();
            let mut run = WriteRun::new(&slices);
            let back: Vec<u8> = portions.iter().copied().chain([100])
                .flat_map(|portion| run.take(portion))
                .flat_map(|part| part.to_vec())
                .collect();
            prop_assert_eq!(back, seen);
        }
    }
}
