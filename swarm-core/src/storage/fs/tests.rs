//! The state machine of files, each transition and each way to die in it.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cuts the power: after so many changes to the folder nothing happens any more.
#[derive(Debug)]
pub(super) struct Fuse {
    left: AtomicUsize,
}

impl Default for Fuse {
    fn default() -> Self {
        Self { left: AtomicUsize::new(usize::MAX) }
    }
}

impl Fuse {
    pub(super) fn set(&self, left: usize) {
        self.left.store(left, Ordering::Relaxed);
    }

    pub(super) fn burn(&self) -> io::Result<()> {
        let burn = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, burn) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("the power is cut")),
        }
    }
}
