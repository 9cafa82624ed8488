//! Ctrl-C and SIGTERM: the first asks to stop, the second ends at once.

use crate::exit::{Code, Failure};

/// Both signals, from the moment of creation on.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Needs a tokio runtime.
    #[cfg(unix)]
    pub(crate) fn install() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |error: std::io::Error| {
            Failure::new(Code::Internal, format!("cannot listen for signals: {error}"))
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    /// Needs a tokio runtime.
    #[cfg(not(unix))]
    pub(crate) fn install() -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// The next signal, as the code to end with.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> Code {
        tokio::select! {
            _ = self.interrupt.recv() => Code::Interrupted,
            _ = self.terminate.recv() => Code::Terminated,
        }
    }

    /// The next signal, as the code to end with.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) -> Code {
        if tokio::signal::ctrl_c().await.is_err() {
            return std::future::pending().await;
        }
        Code::Interrupted
    }
}
