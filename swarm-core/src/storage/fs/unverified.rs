//! Bytes that are written before they are verified.
//!
//! They go where verified ones would, with one exception: what belongs to a file that has its
//! final name goes to the shared file, which is read by nobody else at that place, until the
//! piece has proved right; then it is held against the file. Compared earlier, a lie would look
//! like a conflict.
//!
//! Not here: what is verified (`data`).

use super::super::StorageError;
use super::super::crash::{self, Point};
use super::super::vectored::{ReadRun, WriteRun, read_all, total, write_all};
use super::handles::{Access, Key};
use super::table::{Place, Slot};
use super::{COMPARE_BYTES, FsStorage};
use crate::geometry::FileSlice;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;

impl FsStorage {
    pub(super) fn write_apart(
        &self,
        offset: u64,
        bufs: &[IoSlice<'_>],
    ) -> Result<(), StorageError> {
        let bytes = offset..offset.saturating_add(total(bufs));
        self.may_write(&bytes)?;
        crash::at(Point::BeforeWrite);
        self.change(|| {
            let slots = self.slots();
            let mut run = WriteRun::new(bufs);
            for slice in self.table.layout().slices(bytes) {
                let mut bufs = run.take(slice.length);
                match self.place_apart(&slots, slice) {
                    Some(at) => self
                        .open(Key::Shared, Place::Shared, Access::Write)
                        .and_then(|file| write_all(&file, at, &mut bufs))
                        .map_err(|error| self.failed_apart("write", error))?,
                    None => self.write_slice(&slots, slice, &mut bufs)?,
                }
            }
            crash::at(Point::AfterWrite);
            Ok(())
        })
    }

    pub(super) fn read_apart(
        &self,
        offset: u64,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Result<(), StorageError> {
        let bytes = offset..offset.saturating_add(total(bufs));
        let slots = self.slots();
        let mut run = ReadRun::new(bufs);
        for slice in self.table.layout().slices(bytes) {
            let mut bufs = run.take(slice.length);
            match self.place_apart(&slots, slice) {
                Some(at) => self.read_shared(at, &mut bufs)?,
                None => self.read_slice(&slots, slice, &mut bufs)?,
            }
        }
        Ok(())
    }

    /// Holds what was written apart in a range against the files it belongs to.
    pub(super) fn compare_apart(&self, bytes: Range<u64>) -> Result<(), StorageError> {
        let slots = self.slots();
        let mut written = vec![0; COMPARE_BYTES];
        for slice in self.table.layout().slices(bytes) {
            let Some(from) = self.place_apart(&slots, slice) else { continue };
            let mut done = 0;
            while done < slice.length {
                let length = (slice.length - done).min(COMPARE_BYTES as u64);
                let count = usize::try_from(length).unwrap_or(COMPARE_BYTES);
                let written = written.split_at_mut(count).0;
                self.read_shared(from + done, &mut [IoSliceMut::new(written)])?;
                let part = FileSlice { offset: slice.offset + done, length, ..slice };
                self.compare(&slots, part, &[IoSlice::new(written)]).map_err(|error| {
                    let path = self.table.path(slice.file.as_usize(), Place::Content);
                    self.error("write", &path, error)
                })?;
                done += length;
            }
        }
        Ok(())
    }

    fn read_shared(&self, at: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<(), StorageError> {
        self.open(Key::Shared, Place::Shared, Access::Read)
            .and_then(|file| read_all(&file, at, bufs))
            .map_err(|error| self.failed_apart("read", error))
    }

    /// Where in the shared file a slice lies while it is not verified, if it lies there.
    fn place_apart(&self, slots: &[Slot], slice: FileSlice) -> Option<u64> {
        let index = slice.file.as_usize();
        let is_finished = slots.get(index).is_some_and(|slot| slot.place == Place::Content);
        let start = self.table.stored(index)?.offset;
        (is_finished && !slice.pad).then(|| start + slice.offset)
    }

    fn failed_apart(&self, op: &'static str, error: io::Error) -> StorageError {
        self.error(op, self.table.shared(), error)
    }
}
