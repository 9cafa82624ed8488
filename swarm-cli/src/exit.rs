//! Exit codes, and the one error type that carries them.
//!
//! The codes are a contract: scripts test them. Every failure knows its code from the type
//! of what went wrong, says `what, where, why` in one line, and may give a hint.
//!
//! Not here: printing (see `view`).

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use swarm_core::types::Untrusted;

/// What the process tells its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// All done.
    Done,
    /// A fault of ours.
    Internal,
    /// The command line makes no sense.
    Usage,
    /// Some inputs failed, others are done.
    Partial,
    /// No peers, or a timeout.
    NoPeers,
    /// The disk is full.
    DiskFull,
    /// A file cannot be read or written.
    File,
    /// A different file is in the way.
    Conflict,
    /// A torrent or a link that is none.
    BadTorrent,
    /// Data is not what the torrent says.
    NotWhole,
    /// The tracker refuses us.
    Refused,
    /// The network, or an address that cannot be listened on.
    Network,
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// Whoever read our output has gone: end without a word, as the signal would have.
    ClosedPipe,
}

impl Code {
    /// The number, as in CLI.md. A closed pipe ends as SIGPIPE would.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::NoPeers => 4,
            Self::DiskFull => 5,
            Self::File => 6,
            Self::Conflict => 7,
            Self::BadTorrent => 8,
            Self::NotWhole => 9,
            Self::Refused => 10,
            Self::Network => 11,
            Self::Interrupted => 130,
            Self::ClosedPipe => 141,
            Self::Terminated => 143,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}

/// Why a command, or one of its inputs, came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    pub(crate) fn bad_torrent(what: &str, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self::new(
            Code::BadTorrent,
            format!("bad torrent {}: {}", Untrusted::new(what), Untrusted::new(&why)),
        )
    }

    /// `op` names what was tried: `read`, `write`, `create`.
    pub(crate) fn io(op: &str, path: &Path, error: &io::Error) -> Self {
        let (code, hint) = blame(error);
        let path = path.to_string_lossy();
        let failure =
            Self::new(code, format!("cannot {op} {}: {}", Untrusted::new(&path), plain(error)));
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// A failed write to standard output. A reader that has gone is no error to speak of.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Code::ClosedPipe, "standard output was closed");
        }
        Self::new(blame(error).0, format!("cannot write to standard output: {}", plain(error)))
    }

    /// A signal ended the command.
    pub(crate) fn stopped(code: Code) -> Self {
        Self::new(code, "stopped")
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says which input it was about.
    #[must_use]
    pub(crate) fn about(mut self, what: &str) -> Self {
        self.message = format!("{}: {}", Untrusted::with_limit(what, 100), self.message);
        self
    }

    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The `error:` line and, where there is one, the `hint:` line; no newline at the end.
    pub(crate) fn report(&self) -> String {
        if matches!(self.code, Code::Interrupted | Code::Terminated) {
            return self.message.clone();
        }
        match &self.hint {
            Some(hint) => format!("error: {}\nhint: {hint}", self.message),
            None => format!("error: {}", self.message),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The system's reason without Rust's `(os error N)`.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let cut = text.find(" (os error").unwrap_or(text.len());
    let reason = text.get(..cut).unwrap_or(&text);
    Untrusted::with_limit(reason, Untrusted::FAILURE_MAX).to_string()
}

fn blame(error: &io::Error) -> (Code, Option<&'static str>) {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (Code::DiskFull, Some("free some space and run the same line again to continue"))
        }
        io::ErrorKind::AlreadyExists => (Code::Conflict, None),
        _ => (Code::File, None),
    }
}

/// What several inputs come to: done, the one failure, or some of each.
pub(crate) fn combined(codes: &[Code]) -> Code {
    let failed = codes.iter().copied().find(|code| *code != Code::Done);
    match failed {
        None => Code::Done,
        Some(_) if codes.contains(&Code::Done) => Code::Partial,
        Some(first) => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_why_and_the_code_follows() {
        for (kind, code) in [
            (io::ErrorKind::StorageFull, 5),
            (io::ErrorKind::PermissionDenied, 6),
            (io::ErrorKind::NotFound, 6),
            (io::ErrorKind::AlreadyExists, 7),
        ] {
            let failure = Failure::io("write", Path::new("a"), &kind.into());
            assert_eq!(failure.code().number(), code);
        }
        let error = io::Error::from_raw_os_error(2);
        let failure = Failure::io("read", Path::new("a\u{1b}b"), &error);
        assert_eq!(failure.report(), "error: cannot read a\\u{1b}b: No such file or directory");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error_to_speak_of() {
        let failure = Failure::stdout(&io::ErrorKind::BrokenPipe.into());
        assert_eq!(failure.code(), Code::ClosedPipe);
        assert_eq!(Failure::stdout(&io::ErrorKind::StorageFull.into()).code(), Code::DiskFull);
    }

    #[test]
    fn some_failed_is_partial_and_all_failed_is_the_first_reason() {
        let (done, bad, peers) = (Code::Done, Code::BadTorrent, Code::NoPeers);
        assert_eq!(combined(&[done, done]), done);
        assert_eq!(combined(&[done, bad]), Code::Partial);
        assert_eq!(combined(&[bad, peers]), bad);
        assert_eq!(combined(&[]), done);
    }
}
