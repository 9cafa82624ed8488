//! Dying at a named point, for the tests of what comes after.
//!
//! In builds with debug assertions, and in no others, `SWARM_CRASH_AT=POINT:N` kills the
//! process without warning when it comes to that point for the Nth time (the first is 1).
//! A release build has neither the points nor the name of the variable in it.
//!
//! Not here: the tests (`tests/e2e/crash.rs`), which know the points by these names.

/// Where a process can be made to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// A verified piece is about to be written.
    BeforeWrite,
    /// A piece is written and nobody knows yet.
    AfterWrite,
    /// A checkpoint is due, nothing is forced to the disk.
    BeforeSync,
    /// The content is on the disk, the claim is not.
    AfterSync,
    /// The new record is half written under its temporary name.
    MidRecord,
    /// The new record is on the disk under its temporary name.
    BeforeRename,
    /// The new record has its name.
    AfterRename,
    /// The folder is on the disk too.
    AfterFolderSync,
    /// Everything is verified and on the disk, nothing has its final name.
    BeforeFinish,
    /// The content has its final name.
    AfterFinish,
    /// The record that is not needed any more is about to go.
    BeforeForget,
}

/// Dies here if this is the place.
#[cfg(debug_assertions)]
pub(crate) fn at(point: Point) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static PLAN: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);
    let plan = PLAN.get_or_init(|| {
        let text = std::env::var("SWARM_CRASH_AT").ok()?;
        let (name, number) = text.rsplit_once(':')?;
        Some((name.to_owned(), number.parse().ok()?))
    });
    let Some((name, number)) = plan else { return };
    if *name == format!("{point:?}") && HITS.fetch_add(1, Ordering::Relaxed) + 1 == *number {
        // As a kill from outside: nothing is flushed, dropped or told.
        let killed =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        debug_assert!(killed.is_ok(), "a process may kill itself");
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) const fn at(_: Point) {}
