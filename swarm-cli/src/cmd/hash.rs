//! Blocking work with a progress bar, that a signal ends.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use swarm_core::data::check::Progress;

use super::Context;
use crate::exit::{Code, Failure};
use crate::units;
use crate::view::{Snapshot, Stage, TICK};

/// Shared between the work and the bar.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    done: AtomicU64,
    total: AtomicU64,
    stop: AtomicBool,
}

impl Gauge {
    /// Takes a report from the work, and tells it whether to go on.
    pub(super) fn report(&self, progress: Progress) -> ControlFlow<()> {
        self.done.store(progress.done, Ordering::Relaxed);
        self.total.store(progress.total, Ordering::Relaxed);
        if self.stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Runs `work` on a thread of its own and shows how far it is.
pub(super) async fn with_bar<T: Send + 'static>(
    context: &mut Context,
    name: &str,
    work: impl FnOnce(&Gauge) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let gauge = Arc::new(Gauge::default());
    let shared = Arc::clone(&gauge);
    let mut job = tokio::task::spawn_blocking(move || work(&shared));
    let start = context.clock.now();
    let mut ticker = tokio::time::interval(TICK);
    let end = loop {
        tokio::select! {
            end = &mut job => break end,
            code = context.signals.next() => {
                gauge.stop.store(true, Ordering::Relaxed);
                context.view.clear();
                return Err(Failure::stopped(code));
            }
            _ = ticker.tick() => {
                let now = context.clock.now();
                let done_bytes = gauge.done.load(Ordering::Relaxed);
                let row = Snapshot {
                    name: name.to_owned(),
                    stage: Stage::Hashing,
                    done_bytes,
                    total_bytes: gauge.total.load(Ordering::Relaxed),
                    rate: units::average(done_bytes, now.since(start)),
                    ..Snapshot::default()
                };
                context.view.tick(now, &[row])?;
            }
        }
    };
    context.view.clear();
    end.unwrap_or_else(|error| {
        Err(Failure::new(Code::Internal, format!("hashing failed: {error}")))
    })
}
