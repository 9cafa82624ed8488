//! Why an announce failed.
//!
//! Not here: what follows from a failure (`proto::announce`).

use crate::engine::web::WebError;
use crate::types::Limit;
use crate::wire::tracker_http::{self, Refusal, Retry};
use std::io;

/// Why an announce came to nothing. No variant holds a URL: it may be told to anyone, though
/// texts in it are a stranger's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AnnounceError {
    /// No answer was had.
    #[error(transparent)]
    Web(#[from] WebError),
    /// An answer that is none, or a refusal.
    #[error(transparent)]
    Reply(#[from] tracker_http::ReplyError),
}

impl AnnounceError {
    /// What the tracker said about coming again.
    pub(crate) const fn retry(&self) -> Retry {
        match self {
            Self::Reply(tracker_http::ReplyError::Refused(Refusal { retry, .. })) => *retry,
            _ => Retry::Unspecified,
        }
    }

    /// The bound that has bitten, if one has.
    pub(crate) const fn limit(&self) -> Option<Limit> {
        match self {
            Self::Web(error) => error.limit(),
            Self::Reply(tracker_http::ReplyError::TooLong(_)) => Some(Limit::TrackerReply),
            Self::Reply(_) => None,
        }
    }
}

impl From<io::Error> for AnnounceError {
    fn from(error: io::Error) -> Self {
        Self::Web(error.into())
    }
}
